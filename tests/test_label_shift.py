"""core.label_shift: the shares of unlabeled images from predictions made under another distribution."""

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.core import label_shift

# Two kinds of image: class 0 looks like the first in 8 of 10 cases, class 1 in 3 of 10. Under (0.75, 0.25) class 0 is
# behind the first with 0.6 / 0.675, behind the second with 0.15 / 0.325.
P_OWN = np.float32([0.75, 0.25])
FIRST, SECOND = [0.88888889, 0.11111111], [0.46153846, 0.53846154]
# With shares (0.2, 0.8) two of five images are of the first kind: 0.2 · 0.8 + 0.8 · 0.3 = 0.4.
PROBS = np.float32([FIRST, FIRST, SECOND, SECOND, SECOND])
TRUTH = np.float32([0.2, 0.8])


@pytest.mark.parametrize("wrapped", [lambda f: f, tf.function])
def test_one_step_is_the_mean_of_the_predictions_under_the_shares(wrapped):
    probs, half = tf.constant([[0.9, 0.1], [0.1, 0.9]]), tf.constant([0.5, 0.5])
    step = wrapped(label_shift.em_step)(half, probs, tf.constant(P_OWN))
    np.testing.assert_allclose(step, [0.75 / 2 + 1 / 56, 0.25 / 2 + 27 / 56], atol=1e-5)


def test_from_the_models_own_prior_a_step_gives_the_mean_prediction_which_is_not_the_truth():
    step = label_shift.em_step(tf.constant(P_OWN), tf.constant(PROBS), tf.constant(P_OWN))
    np.testing.assert_allclose(step, PROBS.mean(axis=0), atol=1e-5)
    assert step[0] > 0.6


@pytest.mark.parametrize("start", [[0.75, 0.25], [0.5, 0.5], [0.01, 0.99]])
def test_steps_end_at_the_true_shares_wherever_they_start(start):
    shares = tf.constant(start)
    for _ in range(300):
        shares = label_shift.em_step(shares, tf.constant(PROBS), tf.constant(P_OWN))
    np.testing.assert_allclose(shares, TRUTH, atol=1e-3)


def test_the_true_shares_are_a_fixed_point():
    step = label_shift.em_step(tf.constant(TRUTH), tf.constant(PROBS), tf.constant(P_OWN))
    np.testing.assert_allclose(step, TRUTH, atol=1e-5)


def test_predictions_that_tell_nothing_leave_the_shares_where_they_are():
    probs = tf.tile(tf.constant(P_OWN)[None], [4, 1])
    np.testing.assert_allclose(label_shift.em_step(tf.constant(TRUTH), probs, tf.constant(P_OWN)), TRUTH, atol=1e-5)


def test_sure_predictions_are_counted_whatever_the_priors():
    probs = tf.one_hot([0, 1, 1, 1], 2)
    shares, p_own = tf.constant([0.6, 0.4]), tf.constant([0.9, 0.1])
    np.testing.assert_allclose(label_shift.em_step(shares, probs, p_own), [0.25, 0.75], atol=1e-6)


def test_no_share_is_left_below_its_floor():
    floored = label_shift.at_least(tf.constant([0.0, 0.3, 0.7]), tf.constant([0.1, 0.1, 0.1]))
    np.testing.assert_allclose(floored, [0.1, 0.275, 0.625], atol=1e-6)


def test_shares_above_the_floor_stay():
    shares = tf.constant([0.2, 0.3, 0.5])
    np.testing.assert_allclose(label_shift.at_least(shares, tf.constant([0.1, 0.3, 0.0])), shares, atol=1e-6)


def test_a_floor_that_is_everything_is_the_distribution():
    floor = tf.constant([0.25, 0.75])
    np.testing.assert_array_equal(label_shift.at_least(tf.constant([0.5, 0.5]), floor), floor)


def test_total_variation_is_the_share_of_images_that_change_their_class():
    assert float(label_shift.total_variation(tf.constant([0.5, 0.3, 0.2]), tf.constant([0.4, 0.2, 0.4]))) == (
        pytest.approx(0.2)
    )
