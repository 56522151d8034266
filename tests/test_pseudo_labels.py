"""core.pseudo_labels."""

import numpy as np
import tensorflow as tf

from udal_tf.core import pseudo_labels

PROBS = tf.constant([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]])


def test_hard_targets_are_one_hot_and_the_mask_counts_the_threshold_itself():
    targets, mask = pseudo_labels.pseudo_labels(PROBS, threshold=0.8)
    np.testing.assert_array_equal(targets, [[1, 0], [1, 0], [0, 1]])
    np.testing.assert_array_equal(mask, [1, 0, 1])


def test_sharpening_agrees_with_the_worked_example():
    np.testing.assert_allclose(pseudo_labels.sharpen(PROBS, 0.5)[0], [16 / 17, 1 / 17], rtol=1e-6)
    np.testing.assert_allclose(pseudo_labels.sharpen(PROBS, 1.0), PROBS, rtol=1e-6)


def test_the_mask_of_soft_targets_is_taken_before_sharpening():
    targets, mask = pseudo_labels.pseudo_labels(PROBS, threshold=0.85, temperature=0.5)
    np.testing.assert_allclose(tf.reduce_sum(targets, axis=1), np.ones(3), rtol=1e-6)
    np.testing.assert_array_equal(mask, [0, 0, 1])


def test_views_are_averaged_row_by_row():
    averaged = pseudo_labels.average_views([PROBS, tf.reverse(PROBS, axis=[1])])
    np.testing.assert_allclose(averaged, np.full((3, 2), 0.5), rtol=1e-6)


def test_no_gradient_flows_through_targets():
    logits = tf.Variable([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        targets, _ = pseudo_labels.pseudo_labels(tf.nn.softmax(logits), 0.0, temperature=0.5)
        total = tf.reduce_sum(targets**2)
    assert tape.gradient(total, logits) is None
