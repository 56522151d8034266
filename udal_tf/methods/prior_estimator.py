"""The running estimate of the unlabeled images' class distribution: --unlabeled_prior=estimate."""

import tensorflow as tf

from udal_tf.core import label_shift, moving_average

# Batches in the estimate's exponential window: as many as q̂ averages. With 32 it follows a network's early mistakes if
# a class has a single label. Measured in docs/results.md.
WINDOW_STEPS = moving_average.HISTORY_BATCHES


class PriorEstimator(tf.Module):
    """Online EM: each unlabeled batch moves the estimate by a fraction of one step of `core.label_shift`.

    Args:
      start: [C] float32, the initial estimate, sums to 1.
      floor: [C] float32, a lower bound of each class's fraction: its labeled images, which are in the pool.
    """

    def __init__(self, start: tf.Tensor, floor: tf.Tensor):
        super().__init__(name="prior_estimator")
        self._floor = tf.constant(floor, tf.float32)
        # Each replica's step is a mean over its own images, so the mean over replicas is that over the global batch.
        self.distribution = tf.Variable(
            start, dtype=tf.float32, trainable=False, name="distribution", aggregation=tf.VariableAggregation.MEAN
        )

    def update(self, probs: tf.Tensor, p_own: tf.Tensor) -> None:
        """Updates the estimate with a batch.

        Args:
          probs: [U, C] float32, predictions before any alignment, rows sum to 1.
          p_own: [C] float32, the class prior under which they are the posterior.
        """
        before = tf.identity(self.distribution)
        moved = before + (label_shift.em_step(before, probs, p_own) - before) / WINDOW_STEPS
        self.distribution.assign(label_shift.at_least(moved, self._floor))
