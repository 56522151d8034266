"""What a training leaves for prediction: the facts of its model, and weights that come back as they were."""

import json
import types

import numpy as np
import pytest
import tensorflow as tf
from run_files import make_row, scores

from udal_tf.config import resolve
from udal_tf.methods.network import Network
from udal_tf.models.build import build_model
from udal_tf.run_dir import RunDir
from udal_tf.run_records import best_row
from udal_tf.training import experiment
from udal_tf.training.weights import BestWeights, restore_weights


class Weights:
    """Stands in for a learner: one variable, and its average."""

    def __init__(self, value):
        self.model = tf.Module()
        self.model.v = tf.Variable(value)
        self.ema = [tf.Variable(-value)]
        self.network, self.method = types.SimpleNamespace(model=self.model, heads={}), None


def row(step, ema):
    return make_row(step=step, test=scores(ema))


def test_the_best_row_is_the_first_of_the_highest_mean_recall():
    rows = [row(1, 0.5), row(2, 0.75), row(3, 0.75), row(4, 0.25)]
    assert best_row(rows).step == 2


def test_only_better_weights_replace_the_best_ones(tmp_path):
    learner, rows = Weights(1.0), []
    best = BestWeights(RunDir(tmp_path), learner)
    for step, ema in enumerate([0.5, 0.75, 0.75, 0.25], start=1):
        learner.model.v.assign(float(step))
        learner.ema[0].assign(float(-step))
        rows.append(row(step, ema))
        best.offer(rows)
    kept = Weights(0.0)
    restore_weights(tf.train.latest_checkpoint(str(tmp_path / "best")), kept.network, kept.ema)
    assert kept.model.v.numpy() == 2.0
    assert kept.ema[0].numpy() == -2.0
    assert len(list((tmp_path / "best").glob("*.index"))) == 1


def test_weights_of_another_model_are_refused(tmp_path):
    best = BestWeights(RunDir(tmp_path), Weights(1.0))
    best.offer([row(1, 0.5)])
    other = Weights(1.0)
    other.model.more = tf.Variable(1.0)
    with pytest.raises(AssertionError):
        restore_weights(tf.train.latest_checkpoint(str(tmp_path / "best")), other.network, other.ema)


@pytest.mark.parametrize("base", ["supervised", "remixmatch"])
def test_the_weights_of_a_finished_run_come_back_without_its_data(undrawn, small_network, tmp_path, base):
    tiny = {"epochs": 2, "steps_per_epoch": 2, "batch_size": 4, "unlabeled_ratio": 2}
    config = resolve({**tiny, "base": base, "method": "none", "workdir": str(tmp_path)})
    result = experiment.train_and_evaluate(config)
    facts = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert facts["class_names"] == [str(c) for c in range(10)]
    assert facts["input_shape"] == [8, 8, 1]
    assert facts["p_data"] == result.p_data
    last = tf.train.latest_checkpoint(str(tmp_path / "checkpoints"))
    saved = tf.train.load_checkpoint(last)
    model = build_model(config.model, tuple(facts["input_shape"]), 10, "float32", config.own.arch)
    network = Network(model)
    ema = [tf.Variable(variable.value) for variable in model.trainable_variables]
    restore_weights(last, network, ema)
    for number, variable in enumerate(ema):
        assert np.array_equal(variable, saved.get_tensor(f"learner/ema/{number}/.ATTRIBUTES/VARIABLE_VALUE"))
    assert result.best.step in (2, 4)
    best = tf.train.latest_checkpoint(str(tmp_path / "best"))
    assert best.endswith(f"ckpt-{result.best.step}")
    restore_weights(best, network, ema)
