"""Several replicas and several workers train as one device does.

Replicas are two logical CPUs, workers two processes that talk over the loopback interface; both need processes of their
own, for TensorFlow's devices are set up once.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.config import DeviceConfig, resolve
from udal_tf.training import distribute
from udal_tf.training.distribute import DeviceError

REPOSITORY = pathlib.Path(__file__).parents[1]
SECONDS_ALLOWED = 900
# Sums of several devices differ in their last bits, so nothing here may jump: soft pseudo-labels, since hard ones do
# where two classes tie; predictions to two digits for CReST, which ranks them; MixMatch without the factor of 75 on
# whatever jumps in the network itself, at the bend of its activations.
SOFT = {"threshold": 0.0, "temperature": 0.5}
TRAININGS = {
    "fixmatch": {"method": "udal", "unlabeled_prior": ["estimate"], **SOFT},
    "mixmatch": {"base": "mixmatch", "method": "none", "unlabeled_weight": 1.0, **SOFT},
    "crest": {"method": "crest+", "generations": 2, **SOFT},
}
# A step moves a weight by the learning rate, 0.03, times the momentum.
WEIGHT_TOLERANCE, MOMENTUM_TOLERANCE = 1e-5, 1e-4
# Trains each of TRAININGS under a strategy: argv is the folder of all, the strategy, its name in the folder, settings.
TRAIN = """
import json, pathlib, sys
import tensorflow as tf

folder, strategy, name, given, trainings = sys.argv[1:]
if strategy == "mirrored":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
from udal_tf.config import resolve
from udal_tf.training import distribute, experiment, generations


class Rounded(generations.Predictor):
    def __call__(self, batches):
        return super().__call__(batches).round(2)


generations.Predictor = Rounded
tiny = {"epochs": 1, "steps_per_epoch": 3, "batch_size": 8, "unlabeled_ratio": 2}
shared = None
for training, own in json.loads(trainings).items():
    workdir = pathlib.Path(folder) / name / training
    config = resolve({**tiny, **json.loads(given), **own, "strategy": strategy, "workdir": str(workdir)})
    shared = shared or distribute.make_strategy(config.device)
    with shared.scope():
        experiment._train_and_evaluate(config, shared)
"""


def start(folder, strategy, name, given, trainings=TRAININGS, task=None) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_ENABLE_ONEDNN_OPTS": "1"}
    if task is not None:
        environment["TF_CONFIG"] = json.dumps(task)
    command = [sys.executable, "-c", TRAIN, str(folder), strategy, name, json.dumps(given), json.dumps(trainings)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=SECONDS_ALLOWED)
    assert process.returncode == 0, errors[-3000:]


def cluster() -> list[str]:
    """Two loopback addresses with ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def tasks() -> list[dict]:
    addresses = cluster()
    return [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}} for number in range(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds one_device, replicas, workers, each with a work folder per training."""
    folder = tmp_path_factory.mktemp("distribute")
    finish(start(folder, "one_device", "one_device", {}))
    unsynced = {"unsynced": {**TRAININGS["fixmatch"], "sync_batch_norm": False}}
    finish(start(folder, "mirrored", "replicas", {"sync_batch_norm": True}, TRAININGS | unsynced))
    workers = [start(folder, "multi_worker", "workers", {"sync_batch_norm": True}, task=task) for task in tasks()]
    for worker in workers:
        finish(worker)
    return folder


def rows(workdir: pathlib.Path) -> list[dict]:
    last = sorted(workdir.glob("generation_*"))
    text = ((last[-1] if last else workdir) / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def variables(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """All floating-point state of a work folder's last checkpoint, by its key there."""
    last = sorted(workdir.glob("generation_*"))
    reader = tf.train.load_checkpoint(str((last[-1] if last else workdir) / "checkpoints"))
    types = reader.get_variable_to_dtype_map()
    return {key: reader.get_tensor(key) for key, kind in types.items() if kind.is_floating and "SLOT" not in key}


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("several", ["replicas", "workers"])
def test_two_replicas_and_two_workers_train_as_one_device(folder, several, training):
    ours, theirs = folder / several / training, folder / "one_device" / training
    for one, other in zip(rows(ours), rows(theirs), strict=True):
        for name in one["train"]:
            np.testing.assert_allclose(one["train"][name], other["train"][name], rtol=1e-5, atol=1e-5, err_msg=name)
        for shares in ("p_model", "p_unlabeled"):
            np.testing.assert_allclose(one[shares], other[shares], atol=1e-5)
    one, other = variables(ours), variables(theirs)
    assert one.keys() == other.keys() and len(one) > 20
    for key in one:
        tolerance = MOMENTUM_TOLERANCE if "/optimizer/" in key else WEIGHT_TOLERANCE
        np.testing.assert_allclose(one[key], other[key], rtol=1e-5, atol=tolerance, err_msg=key)


@pytest.mark.parametrize("several", ["replicas", "workers"])
def test_generations_add_the_same_pictures(folder, several):
    added = [
        json.loads((folder / name / "crest" / "generation_1" / "labeled.json").read_text())
        for name in (several, "one_device")
    ]
    assert added[0] == added[1]


def test_without_synchronised_batch_norm_replicas_see_other_statistics(folder):
    names = ("replicas/unsynced", "one_device/fixmatch")
    one, other = (rows(folder / name)[0]["train"]["loss"] for name in names)
    assert abs(one - other) > 1e-3


def test_a_result_says_what_it_was_computed_on(folder):
    result = json.loads((folder / "replicas" / "fixmatch" / "result.json").read_text())
    assert result["hardware"]["strategy"] == "MirroredStrategy"
    assert result["hardware"]["replicas"] == 2
    assert result["hardware"]["cores"] == distribute.usable_cores()


def test_a_killed_worker_that_comes_back_ends_the_run_as_if_nothing_had_happened(tmp_path):
    flags = ["--epochs=4", "--steps_per_epoch=5", "--batch_size=8", "--unlabeled_ratio=2", "--threshold=0.12"]

    def run(workdir, task):
        environment = {**os.environ, "TF_CONFIG": json.dumps(task), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, str(REPOSITORY / "run.py"), *flags, f"--workdir={workdir}"]
        return subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    for process in [run(tmp_path / "whole", task) for task in tasks()]:
        finish(process)
    both = tasks()
    chief, worker = (run(tmp_path / "killed", task) for task in both)
    listed = tmp_path / "killed" / "checkpoints" / "checkpoint"
    deadline = time.monotonic() + SECONDS_ALLOWED
    while not (listed.exists() and "ckpt-10" in listed.read_text()):
        assert time.monotonic() < deadline and chief.poll() is None, chief.communicate()[1]
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    again = run(tmp_path / "killed", both[1])
    finish(again)
    printed, errors = chief.communicate(timeout=SECONDS_ALLOWED)
    assert chief.returncode == 0, errors[-3000:]
    assert "Starting again, to go on from the last checkpoint with all workers (1)" in printed
    figures = [
        [{key: value for key, value in row.items() if key != "seconds"} for row in rows(tmp_path / name)]
        for name in ("whole", "killed")
    ]
    assert figures[0] == figures[1]


def test_tpu_strategy_is_made_for_the_named_tpu(monkeypatch):
    calls = []

    class Resolver:
        def __init__(self, tpu):
            calls.append(("resolver", tpu))

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", Resolver)
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", lambda resolver: calls.append("connect"))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", lambda resolver: calls.append("initialize"))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", lambda resolver: calls.append("strategy") or "a strategy")
    assert distribute.make_strategy(DeviceConfig(tpu="node-1")) == "a strategy"
    assert calls == [("resolver", "node-1"), "connect", "initialize", "strategy"]
    calls.clear()
    distribute.make_strategy(DeviceConfig(tpu="local"))
    assert calls == [("resolver", "local"), "initialize", "strategy"]


def test_a_tpu_that_is_not_there_is_named():
    with pytest.raises(DeviceError, match="The TPU 'local' cannot be reached.*tensorflow-tpu"):
        distribute.make_strategy(DeviceConfig(tpu="local"))


def test_auto_takes_one_device_here_and_a_cluster_has_to_be_stated():
    assert distribute.make_strategy(DeviceConfig()).num_replicas_in_sync == 1
    with pytest.raises(DeviceError, match="multi_worker needs the cluster in TF_CONFIG"):
        distribute.make_strategy(DeviceConfig(strategy="multi_worker"))


def test_batches_that_do_not_divide_and_jit_over_replicas_are_refused():
    class TwoReplicas:
        num_replicas_in_sync = 2

    with pytest.raises(DeviceError, match="--batch_size must be a multiple of the 2 replicas, got 7"):
        distribute.check_fits(TwoReplicas(), 7, jit=False)
    with pytest.raises(DeviceError, match="--jit compiles the step of one device"):
        distribute.check_fits(TwoReplicas(), 8, jit=True)
    distribute.check_fits(TwoReplicas(), 8, jit=False)


def test_a_tpu_and_another_strategy_contradict_each_other():
    with pytest.raises(ValueError, match="--tpu=local is a strategy of its own"):
        resolve({"tpu": "local", "strategy": "mirrored"})


def test_cores_are_limited_by_the_containers_quota(monkeypatch, tmp_path):
    monkeypatch.setattr(distribute.os, "sched_getaffinity", lambda process: set(range(8)))
    for text, cores in (("max 100000", 8), ("250000 100000", 2), ("20000 100000", 1)):
        quota = tmp_path / "cpu.max"
        quota.write_text(text)
        monkeypatch.setattr(distribute, "_CPU_QUOTA", str(quota))
        assert distribute.usable_cores() == cores
