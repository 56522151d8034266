"""examples/udal.py: it fits its screen, learns what it says, and its step is the program's."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from udal_tf import alignment
from udal_tf.config import resolve
from udal_tf.data.sources import load
from udal_tf.training.loop import make_learner

PATH = pathlib.Path(__file__).resolve().parents[1] / "examples" / "udal.py"


@pytest.fixture(scope="module")
def udal():
    spec = importlib.util.spec_from_file_location("udal_example", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def config():
    return resolve({"dataset": "digitslt", "fold": 1})


def test_it_is_one_screen_long():
    assert len(PATH.read_text(encoding="utf-8").splitlines()) <= 130


def test_it_learns_digits_to_at_least_85_percent():
    """As a reader starts it, with oneDNN, which TensorFlow leaves off on some processors."""
    environment = {**os.environ, "PYTHONPATH": str(PATH.parents[1]), "TF_ENABLE_ONEDNN_OPTS": "1"}
    ended = subprocess.run([sys.executable, str(PATH)], env=environment, capture_output=True, text=True, check=True)
    lines = ended.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["epoch", f"{epoch}:"] for epoch in range(1, 21)]
    accuracy = float(re.search(r"test accuracy (\d+\.\d)%$", lines[-1])[1])
    assert 85 <= accuracy <= 100


def test_its_settings_are_those_of_run_py(udal, config):
    method, optimizer, train = config.method, config.optimizer, config.train
    assert (method.base, method.method, method.unlabeled_weight) == ("fixmatch", "udal", 1.0)
    assert (method.alpha_min, method.k, method.threshold) == (udal.ALPHA_MIN, udal.K, udal.THRESHOLD)
    assert (train.epochs, train.steps_per_epoch) == (udal.EPOCHS, udal.STEPS_PER_EPOCH)
    assert (train.batch_size, train.unlabeled_batch_size) == (udal.LABELED_BATCH, udal.UNLABELED_BATCH)
    assert (optimizer.learning_rate, optimizer.momentum) == (udal.LEARNING_RATE, udal.MOMENTUM)
    assert (optimizer.weight_decay, optimizer.ema_decay) == (udal.WEIGHT_DECAY, udal.EMA_DECAY)
    assert config.model.batch_norm_momentum == udal.BATCH_NORM_MOMENTUM


def random_batch(udal, seed):
    """(x_l, y_l, u_weak, u_strong) as the example's step takes it."""
    random = np.random.RandomState(seed)
    x_l, u_weak, u_strong = (
        tf.constant(random.uniform(-1, 1, (size, 8, 8, 1)), tf.float32)
        for size in (udal.LABELED_BATCH, udal.UNLABELED_BATCH, udal.UNLABELED_BATCH)
    )
    return x_l, tf.constant(random.randint(0, 10, udal.LABELED_BATCH), tf.int64), u_weak, u_strong


def values(variables):
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize("step", [0, 500, 999])
def test_a_step_of_it_is_the_learners(udal, config, step):
    data = load(config.data)
    keras.utils.set_random_seed(step)
    learner = make_learner(config, data)
    p_data = tf.constant(data.p_data)
    model, optimizer, ema, history = udal.make_model_and_state(p_data)

    # One state for both: the learner's weights at this step, with a dense layer that makes confident predictions.
    random = np.random.RandomState(step)
    weights = learner.model.get_weights()
    weights[-2] = weights[-2] * 10
    predictions = random.dirichlet(np.ones(10), history.shape[0]).astype(np.float32)
    averages = [0.9 * v.numpy() for v in learner.model.trainable_variables]
    for network in (learner.model, model):
        network.set_weights(weights)
    for variables in (learner.ema, ema):
        for variable, value in zip(variables, averages, strict=True):
            variable.assign(value)
    for variable in (learner.history, history):
        variable.assign(predictions)
    for count in (learner.step, learner.optimizer.iterations, optimizer.iterations):
        count.assign(step)

    batch = random_batch(udal, seed=step)
    keys = ("x_l", "labels_l", "x_w", "x_s")
    unknown = {"labels_u": tf.fill([udal.UNLABELED_BATCH], tf.constant(-1, tf.int64))}
    theirs = learner.train_step({**dict(zip(keys, batch, strict=True)), **unknown})
    alpha = alignment.alpha(step // udal.STEPS_PER_EPOCH / udal.EPOCHS, udal.ALPHA_MIN, udal.K)
    ours = udal.train_step(model, optimizer, ema, history, p_data, alpha, batch)

    close = {"rtol": 1e-6, "atol": 1e-6}
    assert 0.05 < ours["confident"] < 0.95 and ours["loss_u"] > 0.01  # Both sides of the mask are in the test.
    np.testing.assert_allclose(alpha, theirs["alpha"], **close)
    np.testing.assert_allclose(ours["loss_l"], theirs["loss_labeled"], **close)
    np.testing.assert_allclose(ours["loss_u"], theirs["loss_unlabeled"], **close)
    np.testing.assert_allclose(ours["loss"], theirs["loss"], **close)
    moved = [np.abs(after - before).max() for after, before in zip(model.get_weights(), weights, strict=True)]
    assert min(moved) > 0
    for mine, learners in (
        (values(model.variables), values(learner.model.variables)),
        (values(ema), values(learner.ema)),
        ([alignment.p_model(history)], [learner.p_model()]),
        ([optimizer.learning_rate], [learner.optimizer.learning_rate]),
    ):
        for a, b in zip(mine, learners, strict=True):
            np.testing.assert_allclose(a, b, **close)
