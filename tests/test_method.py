"""methods.method: the hooks, one at a time, on a made-up method over FixMatch."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from test_learner import NUM_CLASSES, P_DATA, make_batch, make_learner

from udal_tf.core import losses
from udal_tf.methods.aligner import Aligner
from udal_tf.methods.base import Auxiliary
from udal_tf.methods.method import Method
from udal_tf.registry import METHODS, Shift, Targets

WEIGHTS = np.float32([0.0, 1.0, 2.0, 4.0])


@pytest.fixture
def made(monkeypatch):
    """Makes the learner of a method with the hooks given, by the name of `none`."""

    def make(targets=Targets(), second_head=False, **hooks):  # noqa: B008 (frozen)
        behavior = type("Made", (Method,), hooks)
        record = dataclasses.replace(METHODS["none"], targets=targets, behavior=behavior, second_head=second_head)
        monkeypatch.setitem(METHODS._all(), "none", record)
        return make_learner(method="none")

    return make


def test_labeled_weights_are_factors_of_the_examples_and_not_of_the_divisor(made):
    batch = make_batch()
    logits = make_learner(method="none").model(tf.concat([batch["x_l"], batch["x_w"], batch["x_s"]], 0), training=True)
    per_example = losses.cross_entropy(batch["labels_l"], logits[:6]).numpy()
    learner = made(labeled_weights=lambda self, step: tf.gather(WEIGHTS, step.batch["labels_l"]))
    expected = np.sum(WEIGHTS[batch["labels_l"]] * per_example) / 6
    np.testing.assert_allclose(learner.train_step(batch)["loss_labeled"], expected, rtol=1e-4)


def test_unlabeled_weights_follow_the_pseudo_labels(made):
    batch = make_batch()
    learner = made(unlabeled_weights=lambda self, step: tf.linalg.matvec(step.targets, WEIGHTS))
    learner.base.threshold = 0.0
    logits = make_learner(method="none").model(tf.concat([batch["x_l"], batch["x_w"], batch["x_s"]], 0), training=True)
    labels = np.argmax(logits[6:18], axis=1)
    per_example = losses.cross_entropy(tf.constant(labels), logits[18:]).numpy()
    expected = np.mean(WEIGHTS[labels] * per_example)
    np.testing.assert_allclose(learner.train_step(batch)["loss_unlabeled"], expected, rtol=1e-4)


def test_a_second_head_trains_beside_the_first_predicts_and_has_an_average(made, tmp_path):
    def auxiliary(self, step):
        values = losses.cross_entropy(step.batch["labels_l"], step.second_head["x_l"])
        return {"second": Auxiliary(values, 0.5, ramped=False)}

    learner, batch = made(second_head=True, auxiliary=auxiliary), make_batch()
    assert len(learner.ema) == len(learner.model.trainable_variables) + 2
    before = [v.numpy() for v in learner.second_head.variables]
    metrics = tf.function(learner.train_step)(batch)
    rest = metrics["loss_labeled"] + metrics["loss_unlabeled"] + 5e-4 * metrics["loss_l2"]
    np.testing.assert_allclose(metrics["loss"], rest + 0.5 * metrics["loss_second"], rtol=1e-5)
    for start, variable, average in zip(before, learner.second_head.variables, learner.ema[-2:], strict=True):
        assert (start != variable.numpy()).any()
        np.testing.assert_allclose(average, 0.999 * start + 0.001 * variable.numpy(), rtol=1e-5, atol=1e-8)
    raw, ema = (learner.logits(batch["x_l"], use_ema=use_ema) for use_ema in (False, True))
    first = learner.model(batch["x_l"], training=False)
    assert (np.abs(raw - first) > 1e-3).any() and (np.abs(raw - ema) > 1e-6).any()
    path = tf.train.Checkpoint(learner=learner).write(str(tmp_path / "ckpt"))
    other = made(second_head=True, auxiliary=auxiliary)
    tf.train.Checkpoint(learner=other).read(path).assert_consumed()
    np.testing.assert_array_equal(other.logits(batch["x_l"], use_ema=True), ema)


def test_a_distribution_of_its_own_replaces_p_unlabeled_and_is_a_source_with_an_exponent():
    own, model = tf.constant([0.4, 0.3, 0.2, 0.1]), tf.constant([0.7, 0.1, 0.1, 0.1])
    values = {"p_data": tf.constant(P_DATA), "p_model": model, "alpha": tf.constant(0.5), "tau": tf.constant(2.0)}
    targets = Targets(
        labeled=Shift("p_data", "p_target"),
        unlabeled=Shift("own", "uniform", tau="tau"),
        pseudo_label=Shift("own", tau=0.5),
    )
    aligner = Aligner(targets, {**values, "p_unlabeled": own, "own": own})
    target = np.sqrt(own) / np.sqrt(own).sum()
    zeros = tf.zeros([1, NUM_CLASSES])
    np.testing.assert_allclose(aligner.labeled_logits(zeros)[0], np.log(P_DATA / target), rtol=1e-4)
    np.testing.assert_allclose(aligner.unlabeled_logits(zeros)[0], 2 * np.log(own.numpy() / 0.25), rtol=1e-4, atol=1e-6)
    moved = np.array([0.25] * 4) * (target / own.numpy()) ** 0.5
    np.testing.assert_allclose(aligner.pseudo_probs(zeros + 0.25)[0], moved / moved.sum(), rtol=1e-5)
    np.testing.assert_allclose(aligner.p_own(), target, rtol=1e-5)
    with pytest.raises(KeyError, match="unknown distribution 'other'"):
        aligner.distribution("other")


def test_random_numbers_of_a_step_follow_from_the_step_alone(made):
    drawn = []

    def update(self, step):
        drawn.append((step.uniform(1000).numpy(), step.uniform(1000, stream=1).numpy()))

    for _ in range(2):
        learner = made(update=update)
        for number in range(2):
            learner.train_step(make_batch(seed=number))
    np.testing.assert_array_equal(drawn[:2], drawn[2:])
    numbers = np.concatenate([drawn[0], drawn[1]])
    assert len(np.unique(numbers.round(6))) > 3900
    assert numbers.min() >= 0 and numbers.max() < 1 and abs(numbers.mean() - 0.5) < 0.02


def test_a_shift_at_inference_is_added_to_both_sets_of_weights(made):
    learner = made(inference_shift=lambda self, logits: tf.reduce_mean(logits(tf.zeros([1, 8, 8, 1])), axis=0))
    x = make_batch()["x_l"]
    plain = learner.model(x, training=False) + learner.model(tf.zeros([1, 8, 8, 1]), training=False)
    np.testing.assert_allclose(learner.logits(x, use_ema=False), plain, atol=1e-6)
    np.testing.assert_allclose(learner.logits(x, use_ema=True), plain, atol=1e-6)
