"""core.losses."""

import numpy as np
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
