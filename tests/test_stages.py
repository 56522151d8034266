"""Runs of several stages and with a head of its own train the same however their steps are computed.

On a network of one convolution, as most of a run's seconds are the tracing of its stages, and in one process of its
own, which has two devices.
"""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from forked import Started

from udal_tf.config import resolve
from udal_tf.data import sources
from udal_tf.models.layers import FusedBatchNorm, conv
from udal_tf.reporting import terminal
from udal_tf.run_dir import RunDir
from udal_tf.stopping import StopRequest
from udal_tf.training import distribute, experiment, loop
from udal_tf.training.stages import stages

# Soft pseudo-labels, as hard ones jump where the last bit of a sum decides.
TINY = {"epochs": 4, "steps_per_epoch": 1, "batch_size": 4, "threshold": 0.0, "temperature": 0.5}
RUNS = {
    # Batches of 1 and of 2 images for each labeled one, then two steps of a new head.
    "growing, crt": {"method": "crt", "retrain_head": 0.5, "unlabeled_curriculum": True, "unlabeled_ratio": 8,
            "curriculum_alpha": 0.0},
    "crt": {"method": "crt", "base": "supervised", "retrain_head": 0.5},
    # Two steps without weights, two with them.
    "ldam_drw": {"method": "ldam_drw", "base": "supervised", "reweight_start": 0.5},
}  # fmt: skip
WAYS = {
    "plain": {},
    "device": {"input": "device"},
    "compiled": {"input": "device", "jit": True},
    "replicas": {"strategy": "mirrored"},
}
COMPARED = [
    ("growing, crt", "device"), ("growing, crt", "replicas"), ("crt", "compiled"), ("ldam_drw", "compiled"),
    ("ldam_drw", "replicas"),
]  # fmt: skip


def build(config, shape, num_classes, precision="float32", own=None):
    inputs = keras.Input(shape)
    x = FusedBatchNorm(0.9, synchronized=True)(conv(4, 3, 2, "conv")(inputs))
    return keras.Model(inputs, keras.layers.Dense(num_classes)(keras.layers.GlobalAveragePooling2D()(x)))


class Noting(loop.StepRunner):
    """Notes each step's metrics."""

    rows: list[dict[str, float]] = []

    def __call__(self, source, count):
        rows = super().__call__(source, count)
        Noting.rows += [dict(zip(self.names, row.tolist(), strict=True)) for row in rows]
        return rows


def train_every_way(folder: pathlib.Path) -> None:
    """Leaves the weights, their averages and the metrics of each run by each way in a file."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
    loop.build_model, loop.StepRunner = build, Noting
    strategies = {}
    for run, way in [*((run, "plain") for run in RUNS), *COMPARED]:
        config = resolve({**TINY, **RUNS[run], "strategy": "one_device", **WAYS[way], "workdir": str(folder)})
        kind = config.device.strategy
        strategies[kind] = strategies.get(kind) or distribute.make_strategy(config.device)
        Noting.rows = []
        with strategies[kind].scope():
            training = loop._Run(config, sources.load(config.data), RunDir(folder))
            training._train(0, None, terminal.Progress(4, "steps", shown=False), StopRequest())
        learner = training.learner
        found = {f"weight {i}": v.numpy() for i, v in enumerate(learner.model.variables)}
        found |= {f"average {i}": v.numpy() for i, v in enumerate(learner.ema)}
        found |= {f"step {i}: {name}": v for i, row in enumerate(Noting.rows) for name, v in row.items()}
        np.savez(folder / f"{run} {way}.npz", **found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    ended = Started(train_every_way, folder, cwd=folder).finish()
    assert ended.returncode == 0, ended.stderr[-3000:]
    return folder


def test_these_runs_have_the_stages_that_are_meant(folder):
    of_run = stages(resolve({**TINY, **RUNS["growing, crt"], "workdir": "unused"}))
    assert [(s.first_step, s.unlabeled_ratio, s.head_alone) for s in of_run] == [
        (0, 1, False),
        (1, 2, False),
        (2, 8, True),
    ]
    steps = [np.load(folder / "growing, crt plain.npz").get(f"step {i}: confident") for i in range(4)]
    assert [value is not None for value in steps] == [True, True, False, False]


@pytest.mark.parametrize(("run", "way"), COMPARED)
def test_stages_and_heads_are_the_same_on_a_device_compiled_and_over_replicas(folder, run, way):
    ours, plain = (np.load(folder / f"{run} {name}.npz") for name in (way, "plain"))
    assert set(ours) == set(plain) and len(plain) > 20
    tolerance = 0.0 if way == "device" else 1e-5
    for name in plain:
        np.testing.assert_allclose(ours[name], plain[name], rtol=tolerance, atol=tolerance, err_msg=name)


def test_a_rollback_to_the_begin_of_the_second_stage_begins_it_again(undrawn, tmp_path, monkeypatch):
    heads = []

    class Breaking(loop.StepRunner):
        def __call__(self, source, count):
            head = self._learner.model.layers[-1].kernel.numpy()
            rows = super().__call__(source, count)
            if int(self._learner.step) == 3:
                heads.append(head)
                if len(heads) == 1:
                    rows = np.full_like(rows, np.nan)
            return rows

    monkeypatch.setattr(loop, "build_model", build)
    monkeypatch.setattr(loop, "StepRunner", Breaking)
    own = {"method": "crt", "base": "supervised", "retrain_head": 0.5, "learning_rate": 1.0, "on_nan": "rollback"}
    experiment.train_and_evaluate(resolve({**TINY, **own, "workdir": str(tmp_path / "run")}))
    np.testing.assert_array_equal(heads[1], heads[0])
