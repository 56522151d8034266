"""The running estimate of the unlabelled pictures' class distribution: --unlabeled_prior=estimate."""

import tensorflow as tf

from udal_tf.core import label_shift, moving_average

# Batches over which the estimate averages, by an exponential window: as many as q̂ does.
WINDOW_STEPS = moving_average.HISTORY_BATCHES
# Part of a run for which the estimate stays where it begins: a network that knows nothing yet predicts all classes
# alike, and these are no posteriors under any prior of the labels.
WARMUP = 0.1


class PriorEstimator(tf.Module):
    """Moves an estimate by a part of one step of EM with each unlabelled batch: `core.label_shift`, online.

    Args:
      start: [C] float32, where the estimate begins, sums to 1.
      floor: [C] float32, what each class's share is at least: that of its labelled pictures, which are in the pool.
      first_step: the first step that moves it.
    """

    def __init__(self, start: tf.Tensor, floor: tf.Tensor, first_step: int = 0):
        super().__init__(name="prior_estimator")
        self._first_step = first_step
        self._floor = tf.constant(floor, tf.float32)
        # Each replica's step is the mean over its own pictures, so their mean is that over the global batch.
        self.shares = tf.Variable(
            start, dtype=tf.float32, trainable=False, name="shares", aggregation=tf.VariableAggregation.MEAN
        )

    def update(self, step: tf.Tensor, probs: tf.Tensor, p_own: tf.Tensor) -> None:
        """Takes the batch of a step into account.

        Args:
          step: scalar int64, from 0.
          probs: [U, C] float32, predictions before any alignment, rows sum to 1.
          p_own: [C] float32, the class distribution under which they are the posterior.
        """
        before = tf.identity(self.shares)
        rate = tf.where(step < self._first_step, 0.0, 1.0 / WINDOW_STEPS)
        moved = before + rate * (label_shift.em_step(before, probs, p_own) - before)
        self.shares.assign(label_shift.at_least(moved, self._floor))
