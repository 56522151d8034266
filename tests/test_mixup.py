"""core.mixup."""

import numpy as np
import tensorflow as tf

from udal_tf.core import mixup


def test_weights_favor_an_examples_own_side():
    np.testing.assert_allclose(mixup.mixing_weights(tf.constant([0.0, 0.3, 0.5, 0.9])), [1.0, 0.7, 0.5, 0.9])


def test_a_mixture_is_worked_by_hand():
    own, partner = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([[5.0, 6.0], [7.0, 8.0]])
    np.testing.assert_allclose(mixup.mixup(own, partner, tf.constant([0.75, 1.0])), [[2.0, 3.0], [3.0, 4.0]])


def test_images_and_targets_mix_with_the_same_weights():
    weights = tf.constant([0.6])
    images = mixup.mixup(tf.ones([1, 2, 2, 1]), tf.zeros([1, 2, 2, 1]), weights)
    targets = mixup.mixup(tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 1.0]]), weights)
    np.testing.assert_allclose(images, np.full((1, 2, 2, 1), 0.6), rtol=1e-6)
    np.testing.assert_allclose(targets, [[0.6, 0.4]], rtol=1e-6)


def test_at_a_weight_of_one_a_partner_that_is_not_finite_does_not_count():
    own, partner = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([[np.nan, np.inf], [5.0, 8.0]])
    with tf.GradientTape() as tape:
        tape.watch([own, partner])
        mixed = mixup.mixup(own, partner, tf.constant([1.0, 0.75]))
    np.testing.assert_array_equal(mixed, [[1, 2], [3.5, 5]])
    of_own, of_partner = tape.gradient(mixed, [own, partner])
    np.testing.assert_array_equal(of_own, [[1, 1], [0.75, 0.75]])
    np.testing.assert_array_equal(of_partner, [[0, 0], [0.25, 0.25]])
