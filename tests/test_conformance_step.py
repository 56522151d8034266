"""Two whole training steps agree with the CReST release, from its initial weights on its batch."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.config import MethodConfig, OptimizerConfig, TrainConfig
from udal_tf.methods.learner import Learner
from udal_tf.methods.method import Problem
from udal_tf.models.wide_resnet import wide_resnet

# As the vectors' README states them.
NUM_CLASSES, PRIOR_RATIO, STEPS_PER_VECTOR = 10, 0.01, 2
METRIC_NAMES = {
    "loss.train": "loss",
    "loss.xe": "loss_labeled",
    "loss.xeu": "loss_unlabeled",
    "loss.wd": "loss_l2",
    "monitor.mask": "confident",
    "monitor.kl_model": "kl_uniform",
}


def initial_value(name: str, shape: list[int], number: int, seed: int) -> np.ndarray:
    noise = np.random.RandomState(1000 * seed + number).standard_normal(shape).astype(np.float32)
    kind = name.split("/")[-1].split(":")[0]
    if kind == "kernel":
        fan_out = np.prod(shape) / shape[-2]
        return noise * np.float32(np.sqrt(2.0 / fan_out))
    if kind == "gamma":
        return 1 + np.float32(0.1) * noise
    if kind == "moving_variance":
        return 1 + np.float32(0.1) * np.abs(noise)
    return np.float32(0.1) * noise


def entries(golden):
    return json.loads((golden / "vectors.json").read_text())


def batch_of(golden, entry: str, arrays) -> dict[str, tf.Tensor]:
    """The batch of an entry; a variant without pictures of its own shares those of the entry it varies."""
    if "xl" not in arrays:
        arrays = np.load(golden / f"step_{entry.split('_')[0]}.npz", allow_pickle=False)
    names = {"xl": "x_l", "xw": "x_w", "xs": "x_s", "xw2": "x_w2"}
    batch = {ours: arrays[theirs] for theirs, ours in names.items() if theirs in arrays}
    batch["labels_l"] = arrays["yl"][:, 0].astype(np.int64)
    # Some entries hold no true labels of the unlabelled pictures; training does not read them.
    batch["labels_u"] = arrays["yu"][:, 0].astype(np.int64) if "yu" in arrays else np.full(len(arrays["xw"]), -1)
    if "perm" in arrays:
        ends = np.cumsum([len(batch[key]) for key in ("x_l", "x_w", "x_w2")])[:-1]
        for key, pairs, draws in zip(
            ("x_l", "x_w", "x_w2"), np.split(arrays["perm"], ends), np.split(arrays["lam"], ends), strict=True
        ):
            batch[f"pair_{key}"], batch[f"mix_{key}"] = pairs.astype(np.int64), draws.astype(np.float32)
    return {key: tf.constant(value) for key, value in batch.items()}


# FixMatch: hard labels, threshold 0.3. MixMatch: T 0.5, no threshold, weight 75 without ramp.
SETTINGS = {
    "fixmatch": {"threshold": 0.3},
    "mixmatch": {"threshold": 0.0, "temperature": 0.5, "unlabeled_weight": 75.0},
}


def make_learner(entry: str, vector, seed: int) -> tuple[Learner, dict[str, tf.Variable]]:
    """The learner at the vector's initial weights, and its variables by the vector's names."""
    model = wide_resnet((32, 32, 3), NUM_CLASSES, depth=28, width=1)
    by_name = {f"{v.path}:0": v for v in model.variables}
    assert sorted(by_name) == sorted(vector["names"])
    for number, (name, shape) in enumerate(zip(vector["names"], vector["shapes"], strict=True)):
        by_name[name].assign(initial_value(name, shape, number, seed))
    prior = PRIOR_RATIO ** (np.arange(NUM_CLASSES) / (NUM_CLASSES - 1.0))
    alpha = vector["dalign_t"]
    base = entry.split("_")[0]
    method = MethodConfig(
        base=base,
        method="none" if alpha is None else "da",
        alpha_min=1.0 if alpha is None else alpha,
        k=0.0,
        **SETTINGS[base],
    )
    learner = Learner(model, Problem(prior / prior.sum()), method, OptimizerConfig(), TrainConfig())
    return learner, by_name


@pytest.fixture(scope="module")
def trained(golden):
    """For every entry: its vector, its arrays, and what our two steps gave."""
    results = {}
    vectors = entries(golden)
    for entry, vector in vectors["steps"].items():
        arrays = np.load(golden / f"step_{entry}.npz", allow_pickle=False)
        learner, by_name = make_learner(entry, vector, vectors["seed"])
        step = tf.function(learner.train_step)
        batch = batch_of(golden, entry, arrays)
        metrics = [{k: float(v) for k, v in step(batch).items()} for _ in range(STEPS_PER_VECTOR)]
        ema = {f"{v.path}:0": e for v, e in zip(learner.model.trainable_variables, learner.ema, strict=True)}
        results[entry] = (vector, arrays, learner, by_name, ema, metrics)
    assert results
    return results


def test_metrics_of_each_step(trained):
    for entry, (vector, _, _, _, _, metrics) in trained.items():
        for ours, theirs in zip(metrics, vector["metrics_per_step"], strict=True):
            for name, our_name in METRIC_NAMES.items():
                np.testing.assert_allclose(
                    ours[our_name], theirs[name], rtol=1e-5, atol=1e-6, err_msg=f"{entry} {name}"
                )


def test_learning_rates(trained):
    for vector, _, _, _, _, metrics in trained.values():
        np.testing.assert_allclose([m["learning_rate"] for m in metrics], vector["lr"], rtol=1e-6)


def test_moving_averages_after_two_steps(trained):
    for _, arrays, learner, _, _, _ in trained.values():
        np.testing.assert_allclose(learner.p_model(), arrays["p_model"], atol=1e-6)
        np.testing.assert_allclose(learner.label_average, arrays["p_data_ema"], atol=1e-6)


def test_norms_of_every_variable(trained):
    for _, (vector, _, _, by_name, ema, _) in trained.items():
        for number, name in enumerate(vector["names"]):
            raw = np.linalg.norm(by_name[name].numpy())
            averaged = np.linalg.norm(ema.get(name, by_name[name]).numpy())
            np.testing.assert_allclose(raw, vector["l2_norms_after"][number], rtol=0, atol=1e-4, err_msg=name)
            np.testing.assert_allclose(averaged, vector["ema_l2_norms_after"][number], rtol=0, atol=1e-4, err_msg=name)


def test_weights_after_two_steps(trained):
    for vector, arrays, _, by_name, ema, _ in trained.values():
        for key in arrays:
            if not re.fullmatch(r"[we]\d{3}", key):
                continue
            name = vector["names"][int(key[1:])]
            ours = by_name[name] if key[0] == "w" else ema.get(name, by_name[name])
            np.testing.assert_allclose(ours.numpy(), arrays[key], rtol=0, atol=1e-3, err_msg=f"{key} {name}")
