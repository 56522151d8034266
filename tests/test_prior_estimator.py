"""methods.prior_estimator: the running estimate of the unlabeled images' class distribution."""

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.methods.prior_estimator import WINDOW_STEPS, PriorEstimator

# As in test_label_shift: posteriors under (0.75, 0.25) of images that are of the two classes by (0.2, 0.8).
P_OWN = tf.constant([0.75, 0.25])
PROBS = tf.constant(2 * [[0.88888889, 0.11111111]] + 3 * [[0.46153846, 0.53846154]])


def make_estimator(start=(0.5, 0.5), floor=(0.0, 0.0)):
    return PriorEstimator(np.float32(start), np.float32(floor))


def test_a_batch_moves_the_estimate_by_one_part_of_the_window_towards_the_step():
    estimator = make_estimator()
    estimator.update(tf.constant([[0.9, 0.1], [0.1, 0.9]]), P_OWN)
    # The EM step is (0.3929, 0.6071): test_label_shift works it out.
    expected = 0.5 + (0.3928571 - 0.5) / WINDOW_STEPS
    np.testing.assert_allclose(estimator.distribution, [expected, 1 - expected], atol=1e-6)


@pytest.mark.parametrize("start", [(0.75, 0.25), (0.5, 0.5)])
def test_many_batches_bring_it_to_the_true_shares(start):
    estimator = make_estimator(start)
    update = tf.function(estimator.update)
    for _ in range(30 * WINDOW_STEPS):
        update(PROBS, P_OWN)
    np.testing.assert_allclose(estimator.distribution, [0.2, 0.8], atol=1e-2)


def test_a_class_that_is_never_predicted_keeps_the_share_of_its_labels_and_comes_back():
    estimator = make_estimator(floor=(0.02, 0.01))
    update = tf.function(estimator.update)
    never, often = tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 1.0]])
    for _ in range(10 * WINDOW_STEPS):
        update(never, P_OWN)
    np.testing.assert_allclose(estimator.distribution, [0.99, 0.01], atol=1e-4)
    for _ in range(10 * WINDOW_STEPS):
        update(often, P_OWN)
    np.testing.assert_allclose(estimator.distribution, [0.02, 0.98], atol=1e-4)
