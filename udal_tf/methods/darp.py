"""DARP in training: stored predictions for the unlabeled set, refined every few steps (Kim et al. 2020)."""

import numpy as np
import tensorflow as tf

from udal_tf.class_distribution import ESTIMATE
from udal_tf.core import darp
from udal_tf.methods.base import gathered
from udal_tf.methods.method import Method, Setup
from udal_tf.methods.step import Step
from udal_tf.records.methods import DarpConfig
from udal_tf.registry import P_UNLABELED
from udal_tf.settings import of_kind

# Key in `Problem.prepared`: the class distribution of --darp_prior, if it is given.
PRIOR = "darp_prior"


class DarpTables(tf.Module):
    """Replaces pseudo-labels by DARP-refined ones, which `core.darp` fits to given class totals.

    Two tables have a row for each image of the unlabeled set: its last prediction, updated at every step, and its
    refined pseudo-label. After the warm-up, every `every` steps, all pseudo-labels are refined from the stored
    predictions; in between, batches train on the last refined ones. Both tables start uniform.

    Args:
      pool_size: M, number of images in the unlabeled set.
      num_classes: C.
      every: steps between refinements.
      delta: of `core.darp.remove_small_entries`.

    Source: DARP's train.py and training_functions.py.
    """

    def __init__(self, pool_size: int, num_classes: int, every: int, delta: float):
        super().__init__(name="darp_tables")
        self._pool_size, self._every, self._delta = pool_size, every, delta
        uniform = tf.fill([pool_size, num_classes], 1.0 / num_classes)
        # TPUs only emulate float64, and solve no equations in it.
        on_tpu = isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
        self._dtype = tf.float32 if on_tpu else tf.float64
        # Each replica updates its own copies, all from the same gathered predictions, so that nothing is to be reduced.
        self.predictions = tf.Variable(uniform, trainable=False, name="predictions")
        self.refined = tf.Variable(uniform, trainable=False, name="refined")
        self.residual = tf.Variable(0.0, trainable=False, name="residual")

    def __call__(
        self, probs: tf.Tensor, rows: tf.Tensor, step: tf.Tensor, distribution: tf.Tensor, warmup_steps: int
    ) -> tf.Tensor:
        """Stores the predictions of a batch and returns its pseudo-labels.

        Args:
          probs: [U, C] float32, rows sum to 1.
          rows: [U] int64, the images' indices in the unlabeled set.
          step: scalar.
          distribution: [C] float32, the set's class distribution.
          warmup_steps: steps before the first refinement.

        Returns:
          [U, C] float32: the DARP-refined pseudo-labels, or `probs` during the warm-up.
        """
        # In place, on the replica's own copies, by their handles: to copy tables for a million images and a thousand
        # classes would take seconds and gigabytes.
        at = gathered(rows)[:, tf.newaxis]
        tf.raw_ops.ResourceScatterNdUpdate(ref=self.predictions.handle, indices=at, updates=gathered(probs))
        step = tf.cast(step, tf.int64)
        warm = step >= warmup_steps
        due = warm & ((step - warmup_steps) % self._every == 0)
        totals = self._pool_size * distribution
        tf.cond(due, lambda: self._assigned(self._solved(totals)), lambda: tf.identity(self.residual))
        refined = tf.raw_ops.ResourceGather(resource=self.refined.handle, indices=rows, dtype=tf.float32)
        return tf.where(warm, refined, probs)

    def _assigned(self, solution: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        refined, residual = solution
        self.refined.assign(refined)
        self.residual.assign(residual)
        return residual

    def _solved(self, class_totals: tf.Tensor):
        kept = darp.remove_small_entries(
            tf.identity(self.predictions),
            class_totals,
            delta=self._delta,
            floor=darp.CODE_EPSILON,
            rescale=True,
            dtype=self._dtype,
        )
        tolerance = darp.TOLERANCE if self._dtype == tf.float64 else darp.SINGLE_TOLERANCE
        solved = darp.refine(kept, class_totals, tolerance, dtype=self._dtype)
        return solved.targets, solved.residual


class Darp(Method):
    """DARP-refined pseudo-labels, refined after any alignment."""

    def __init__(self, setup: Setup):
        super().__init__(setup)
        own, problem = of_kind(DarpConfig, setup.settings), setup.problem
        self.tables = DarpTables(problem.pool_size, setup.num_classes, own.darp_every, own.darp_delta)
        self._warmup = own.darp_warmup
        prior = problem.prepared.get(PRIOR)
        self._prior = None if prior is None else tf.constant(prior, tf.float32)

    @classmethod
    def check(cls, settings, data) -> None:
        stated_distribution(settings, data.p_data)

    def refined(self, step: Step, probs: tf.Tensor) -> tf.Tensor:
        distribution = step.values[P_UNLABELED] if self._prior is None else self._prior
        warmup_steps = int(self._warmup * step.total_steps)
        return self.tables(probs, step.batch["rows_u"], step.number, distribution, warmup_steps)

    def monitors(self) -> dict[str, tf.Tensor]:
        return {"darp_residual": tf.identity(self.tables.residual)}


def stated_distribution(config: DarpConfig, p_data: np.ndarray) -> np.ndarray:
    """The distribution of --darp_prior, or p_data without one: [C] float32, sums to 1.

    Raises:
      ValueError: if --darp_prior has a different number of classes.
    """
    if not config.darp_prior or config.darp_prior == (ESTIMATE,):
        return p_data
    if len(config.darp_prior) != len(p_data):
        raise ValueError(f"--darp_prior must be {len(p_data)} proportions, one per class, got {len(config.darp_prior)}")
    proportions = np.array([float(entry) for entry in config.darp_prior], np.float32)
    return proportions / proportions.sum()
