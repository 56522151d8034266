"""DARP's state and rhythm: stored predictions for the unlabelled pool, refined every few steps (Kim et al. 2020)."""

import numpy as np
import tensorflow as tf

from udal_tf.config import DarpConfig
from udal_tf.core import refinement
from udal_tf.methods.base import gathered


class Refiner(tf.Module):
    """Replaces pseudo-labels by those that core.refinement moved to the unlabelled prior.

    Two tables hold a row for each picture of the unlabelled pool: its last prediction, written at every step, and its
    refined pseudo-label. After the warm-up, every `every` steps, the refined ones are solved for anew from all the
    predictions; in between a batch trains on refined pseudo-labels that are at most that old. Both start uniform.

    Args:
      config: the darp section of the settings.
      pool_size: M, pictures in the unlabelled pool. num_classes: C.
      total_steps: of the run; the warm-up is a part of it.
      class_shares: [C] float32, the pool's class distribution, sums to 1; None: what each call says.

    Source: DARP's train.py and training_functions.py.
    """

    def __init__(
        self,
        config: DarpConfig,
        pool_size: int,
        num_classes: int,
        total_steps: int,
        class_shares: np.ndarray | None = None,
    ):
        super().__init__(name="refiner")
        self._config = config
        self._warmup_steps = int(config.darp_warmup * total_steps)
        self._pool_size = pool_size
        self._class_shares = None if class_shares is None else tf.constant(class_shares, tf.float32)
        uniform = tf.fill([pool_size, num_classes], 1.0 / num_classes)
        everywhere = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self.predictions = tf.Variable(uniform, name="predictions", **everywhere)
        self.refined = tf.Variable(uniform, name="refined", **everywhere)
        self.residual = tf.Variable(0.0, name="residual", **everywhere)

    def __call__(self, probs: tf.Tensor, rows: tf.Tensor, step: tf.Tensor, class_shares: tf.Tensor) -> tf.Tensor:
        """Stores the predictions of a batch and returns its pseudo-labels.

        Args:
          probs: [U, C] float32, rows sum to 1. rows: [U] int64, the pictures' places in the pool. step: scalar.
          class_shares: [C] float32, the pool's class distribution, unless the refiner has one of its own.

        Returns:
          [U, C] float32: the refined pseudo-labels, or `probs` during the warm-up.
        """
        at = gathered(rows)[:, tf.newaxis]
        self.predictions.assign(tf.tensor_scatter_nd_update(self.predictions, at, gathered(probs)))
        step = tf.cast(step, tf.int64)
        warm = step >= self._warmup_steps
        due = warm & ((step - self._warmup_steps) % self._config.darp_every == 0)
        totals = self._pool_size * (class_shares if self._class_shares is None else self._class_shares)
        refined, residual = tf.cond(
            due, lambda: self._solved(totals), lambda: (tf.identity(self.refined), tf.identity(self.residual))
        )
        self.refined.assign(refined)
        self.residual.assign(residual)
        return tf.where(warm, tf.gather(refined, rows), probs)

    def _solved(self, class_totals: tf.Tensor):
        kept = refinement.remove_small_entries(
            tf.identity(self.predictions),
            class_totals,
            delta=self._config.darp_delta,
            floor=refinement.CODE_EPSILON,
            rescale=True,
        )
        solved = refinement.refine(kept, class_totals)
        return solved.targets, solved.residual
