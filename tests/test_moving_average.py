"""core.moving_average."""

import numpy as np
import tensorflow as tf

from udal_tf.core import moving_average


def test_the_history_starts_uniform():
    np.testing.assert_allclose(moving_average.distribution(moving_average.uniform_history(4)), [0.25] * 4)


def test_a_push_drops_the_oldest_row_and_appends_the_batch_mean():
    history = tf.constant([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    pushed = moving_average.push(history, tf.constant([[1.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(pushed, [[0.2, 0.8], [0.3, 0.7], [0.5, 0.5]])


def test_after_as_many_pushes_as_rows_nothing_of_the_start_is_left():
    history = moving_average.uniform_history(2, batches=3)
    for _ in range(3):
        history = moving_average.push(history, tf.constant([[0.9, 0.1]]))
    np.testing.assert_allclose(moving_average.distribution(history), [0.9, 0.1], rtol=1e-6)


def test_the_decayed_average_of_labels_is_worked_by_hand():
    average = moving_average.decayed(tf.constant([0.5, 0.5]), tf.constant([0, 0, 0, 1]), decay=0.9)
    np.testing.assert_allclose(average, [0.525, 0.475], rtol=1e-6)


def test_a_warmed_decay_rises_to_the_decay_and_stays_there():
    for step, decay in ((0, 0.1), (1, 2 / 11), (8, 0.5), (8989, 8990 / 8999), (8990, 0.999), (10**6, 0.999)):
        for given in (step, tf.constant(step, tf.int64)):
            np.testing.assert_allclose(moving_average.warmed_decay(0.999, given), decay, rtol=1e-6)
    assert float(moving_average.warmed_decay(0.0, 5)) == 0.0
