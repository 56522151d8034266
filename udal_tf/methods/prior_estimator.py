"""The running estimate of the unlabeled images' class distribution: --unlabeled_prior=estimate."""

import tensorflow as tf

from udal_tf.core import label_shift, moving_average

# Batches over which the estimate averages, by an exponential window: as many as q̂ does. With 32 it follows a network's
# first mistakes, where a class has one label only. Measured in docs/results.md.
WINDOW_STEPS = moving_average.HISTORY_BATCHES


class PriorEstimator(tf.Module):
    """Moves an estimate by a part of one step of EM with each unlabeled batch: `core.label_shift`, online.

    Args:
      start: [C] float32, where the estimate begins, sums to 1.
      floor: [C] float32, what each class's share is at least: that of its labeled images, which are in the pool.
    """

    def __init__(self, start: tf.Tensor, floor: tf.Tensor):
        super().__init__(name="prior_estimator")
        self._floor = tf.constant(floor, tf.float32)
        # Each replica's step is the mean over its own images, so their mean is that over the global batch.
        self.distribution = tf.Variable(
            start, dtype=tf.float32, trainable=False, name="distribution", aggregation=tf.VariableAggregation.MEAN
        )

    def update(self, probs: tf.Tensor, p_own: tf.Tensor) -> None:
        """Takes a batch into account.

        Args:
          probs: [U, C] float32, predictions before any alignment, rows sum to 1.
          p_own: [C] float32, the class distribution under which they are the posterior.
        """
        before = tf.identity(self.distribution)
        moved = before + (label_shift.em_step(before, probs, p_own) - before) / WINDOW_STEPS
        self.distribution.assign(label_shift.at_least(moved, self._floor))
