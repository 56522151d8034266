"""methods.method: the hooks, one at a time, on a made-up method over FixMatch."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
import test_learner
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
    metrics = tf.function(learner.train_step, autograph=False)(batch)
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


def test_the_models_own_prior_is_finite_whatever_the_exponent_and_leaves_a_zero_class_at_zero():
    """p_data · (target / p_data)^5 by class; exp(5 · log(0.25 / 1e-9)) alone is ∞, and times p_data = 0 it was NaN."""
    p_data = np.float32([0.6, 0.3, 0.1, 0.0])
    values = {"p_data": p_data, "p_unlabeled": p_data, "p_model": p_data, "alpha": np.float32(1.0)}
    targets = Targets(labeled=Shift("p_data", "uniform", tau=5.0))
    aligner = Aligner(targets, {name: tf.constant(value) for name, value in values.items()})
    powers = np.array([0.6**-4, 0.3**-4, 0.1**-4, 0.0])
    np.testing.assert_allclose(aligner.p_own(), powers / powers.sum(), rtol=1e-4)


LARGE = 3e38  # Times 4 it is ∞ in float32, and in bfloat16, which has the same range.


def linear_learner(precision: str, monkeypatch, **hooks):
    """FixMatch on two features: logits (4·x_0, 4·x_1, 0, 0). A threshold of 0.9 is met by (1, 0), not by (0, 0)."""
    features = keras.Input((2, 1, 1))
    flat = keras.layers.Flatten(dtype=precision)(features)
    model = keras.Model(features, keras.layers.Dense(NUM_CLASSES, dtype="float32", name="predictions")(flat))
    model.layers[-1].set_weights([np.float32([[4, 0, 0, 0], [0, 4, 0, 0]]), np.zeros(NUM_CLASSES, np.float32)])
    monkeypatch.setattr(test_learner, "network", lambda: model)
    monkeypatch.setitem(
        METHODS._all(), "none", dataclasses.replace(METHODS["none"], behavior=type("Made", (Method,), hooks))
    )
    return make_learner(method="none", threshold=0.9)


def step_of(learner, x_l, x_w, x_s, jit):
    """The metrics of a step, and the weights after it."""
    batch = {name: tf.reshape(tf.constant(x, tf.float32), [-1, 2, 1, 1]) for name, x in
             (("x_l", x_l), ("x_w", x_w), ("x_s", x_s))}  # fmt: skip
    batch |= {"labels_l": tf.constant([0, 1], tf.int64), "labels_u": tf.constant([0, 0], tf.int64)}
    metrics = tf.function(learner.train_step, jit_compile=jit, autograph=False)(batch)
    return metrics, [v.numpy() for v in learner.model.trainable_variables]


@pytest.mark.parametrize(("precision", "jit"), [("float32", False), ("float32", True), ("mixed_bfloat16", False)])
def test_an_image_that_does_not_count_reaches_neither_the_loss_nor_the_weights(monkeypatch, precision, jit):
    """The strong view of the second unlabeled image and the first labeled image have logits of ∞; the weak view of the
    one is not confident, and the weight of the other is 0. All is as if both were images of zeros."""

    def steps(large):
        learner = linear_learner(precision, monkeypatch, labeled_weights=lambda self, step: tf.constant([0.0, 2.0]))
        return step_of(learner, [[large, 0], [0, 1]], [[1, 0], [0, 0]], [[1, 0], [large, 0]], jit)

    (broken, weights), (plain, expected) = steps(LARGE), steps(0.0)
    # Of logits (4, 0, 0, 0) the arg-max has log(1 + 3/e⁴): one confident image of two, and one label of two twice.
    np.testing.assert_allclose(broken["loss_unlabeled"], np.log1p(3 * np.exp(-4)) / 2, rtol=1e-4)
    np.testing.assert_allclose(broken["loss_labeled"], np.log1p(3 * np.exp(-4)), rtol=1e-4)
    assert float(broken["loss"]) == float(plain["loss"])
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert np.isfinite(ours).all()
