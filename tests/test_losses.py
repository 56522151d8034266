"""core.losses."""

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.core import losses

LOGITS = tf.constant([[0.0, 0.0], [np.log(3.0), 0.0]], tf.float32)


def test_cross_entropy_of_labels_is_worked_by_hand():
    np.testing.assert_allclose(losses.cross_entropy(tf.constant([0, 1]), LOGITS), [np.log(2), np.log(4)], rtol=1e-6)


def test_cross_entropy_of_one_hot_targets_is_that_of_labels():
    targets = tf.constant([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(losses.cross_entropy(targets, LOGITS), [np.log(2), np.log(4)], rtol=1e-6)


def test_squared_error_is_the_mean_over_classes():
    targets = tf.constant([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(losses.squared_error(targets, LOGITS), [0.25, 0.5625], rtol=1e-6)


def test_l2_is_half_the_sum_of_squares():
    np.testing.assert_allclose(losses.l2([tf.constant([1.0, 2.0]), tf.constant([[3.0]])]), 7.0)


def test_kl_divergence_is_worked_by_hand_and_not_symmetric():
    p, q = tf.constant([0.5, 0.5]), tf.constant([0.75, 0.25])
    np.testing.assert_allclose(losses.kl_divergence(p, q), 0.5 * np.log(4 / 3), rtol=1e-5)
    np.testing.assert_allclose(losses.kl_divergence(q, p), 0.75 * np.log(1.5) + 0.25 * np.log(0.5), rtol=1e-5)


def test_kl_divergence_is_finite_for_a_class_of_zero():
    assert np.isfinite(losses.kl_divergence(tf.constant([0.5, 0.5]), tf.constant([1.0, 0.0])))


WRAPPED = [lambda f: f, tf.function, tf.function(jit_compile=True)]
WRAPPED_NAMES = ["eager", "graph", "xla"]
# Rows that do not count; the last row of the tests, logits (log 3, 0) with the second class as target, counts.
BROKEN = [[np.inf, 0.0], [-np.inf, -np.inf], [np.nan, 1.0]]


def test_weighted_takes_no_notice_of_what_does_not_count():
    weights, values = tf.constant([0.0, 0.0, 0.0, 3.0]), tf.constant([np.nan, np.inf, -np.inf, 2.0])
    np.testing.assert_array_equal(losses.weighted(weights, values), [0, 0, 0, 6])


def test_weighted_hides_nothing_of_what_counts():
    assert np.isnan(losses.weighted(tf.constant([1.0]), tf.constant([np.nan]))).all()
    assert np.isnan(losses.weighted(tf.constant([np.nan]), tf.constant([1.0]))).all()


def test_weighted_has_the_gradient_of_the_product():
    weights, values = tf.constant([0.0, 0.5]), tf.constant([np.inf, 4.0])
    with tf.GradientTape() as tape:
        tape.watch([weights, values])
        product = losses.weighted(weights, values)
    of_weights, of_values = tape.gradient(product, [weights, values])
    np.testing.assert_array_equal(of_weights, [0, 4])
    np.testing.assert_array_equal(of_values, [0, 0.5])


@pytest.mark.parametrize("wrapped", WRAPPED, ids=WRAPPED_NAMES)
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize(
    ("loss", "expected", "gradient"),
    [
        # Softmax (0.75, 0.25): −log 0.25, with gradient softmax − target.
        (losses.cross_entropy, np.log(4), [0.75, -0.75]),
        # (0.75² + 0.75²) / 2; its gradient by the softmax is (0.75, −0.75), less their mean 0.375, times the softmax.
        (losses.squared_error, 0.5625, [0.75 * 0.375, 0.25 * -1.125]),
    ],
)
def test_rows_that_do_not_count_reach_neither_the_loss_nor_the_gradient(loss, expected, gradient, dtype, wrapped):
    logits = tf.constant([*BROKEN, [np.log(3), 0.0]], dtype)
    targets = tf.constant([[1, 0], [np.nan, 0], [0, 1], [0, 1]], dtype)
    mask = tf.constant([0, 0, 0, 1], dtype)

    def value_and_gradient(logits, targets, mask):
        with tf.GradientTape() as tape:
            tape.watch([logits, targets])
            total = tf.reduce_sum(losses.weighted(mask, loss(targets, logits)))
        return total, *tape.gradient(total, [logits, targets])

    total, of_logits, of_targets = wrapped(value_and_gradient)(logits, targets, mask)
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    np.testing.assert_array_equal(of_logits[:3], np.zeros((3, 2)))
    np.testing.assert_allclose(of_logits[3], gradient, rtol=1e-6)
    np.testing.assert_array_equal(of_targets[:3], np.zeros((3, 2)))
    assert np.isfinite(of_targets[3]).all() and (of_targets[3].numpy() != 0).any()


def test_the_gradient_of_labels_and_of_other_weights_is_the_softmax_less_the_label():
    logits = tf.constant([[np.nan, 0.0], [np.log(3), 0.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        per_example = losses.cross_entropy(tf.constant([0, 1, 0]), logits)
        total = tf.reduce_sum(losses.weighted(tf.constant([0.0, 2.0, -1.0]), per_example))
    np.testing.assert_allclose(tape.gradient(total, logits), [[0, 0], [1.5, -1.5], [0.5, -0.5]], rtol=1e-6)


def test_losses_can_be_differentiated_twice():
    """The curvature of the cross-entropy in the first logit: p·(1 − p)."""
    logits = tf.constant([[np.log(3), 0.0]], tf.float32)
    with tf.GradientTape() as outer:
        outer.watch(logits)
        with tf.GradientTape() as inner:
            inner.watch(logits)
            value = losses.cross_entropy(tf.constant([[0.0, 1.0]]), logits)
        slope = inner.gradient(value, logits)[0, 0]
    np.testing.assert_allclose(outer.gradient(slope, logits), [[0.1875, -0.1875]], rtol=1e-5)
