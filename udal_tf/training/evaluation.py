"""Test scores from one forward pass per set of weights: raw and EMA, each with and without LA (Inf)."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf.core import alignment
from udal_tf.methods.learner import Learner
from udal_tf.training.distribute import over_replicas


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Accuracy, balanced accuracy and the recall of each class.

    Args:
      logits: [N, C].
      labels: [N] integer.

    Returns:
      "accuracy" and "balanced_accuracy" in [0, 1]; "per_class_recall", a list of C with None for a class without
      images, which balanced accuracy, the mean recall, leaves out.
    """
    num_classes = logits.shape[1]
    correct = logits.argmax(axis=1) == labels
    totals = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels[correct], minlength=num_classes)
    recall = [float(hit) / float(total) if total else None for hit, total in zip(hits, totals, strict=True)]
    seen = [value for value in recall if value is not None]
    return {
        "accuracy": float(correct.mean()),
        "balanced_accuracy": float(np.mean(seen)),
        "per_class_recall": recall,
    }


def confusion(logits: np.ndarray, labels: np.ndarray) -> list[list[int]]:
    """Confusion matrix [C][C]: counts of each true class (row) predicted as each class (column).

    Args:
      logits: [N, C].
      labels: [N] integer.
    """
    num_classes = logits.shape[1]
    pairs = labels * num_classes + logits.argmax(axis=1)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes).tolist()


def _adjustment(prior: np.ndarray) -> np.ndarray:
    """[C], what LA (Inf) subtracts from logits to remove a prior."""
    return alignment.log_ratio(tf.constant(prior), tf.ones_like(prior) / prior.shape[0]).numpy()


class _Compiled:
    """A function of images, applied to batches, of which each replica takes a part (`distribute.over_replicas`).

    Batches are padded to the size of the first, made a multiple of the replicas, and results trimmed, so that shapes
    are static and one trace is enough.
    """

    def __init__(self, function: Callable[[tf.Tensor], Any]):
        strategy = tf.distribute.get_strategy()
        self._replicas = strategy.num_replicas_in_sync
        self._run = tf.function(lambda images: over_replicas(strategy, function, images), autograph=False)

    @property
    def traces(self) -> int:
        """How often the function was traced."""
        return self._run.experimental_get_tracing_count()

    def __call__(self, batches: tf.data.Dataset) -> list[np.ndarray]:
        """The results over all batches, each [N, …]; a list even for a single result."""
        parts, size = [], None
        for images in batches:
            count = images.shape[0]
            size = size or -(-count // self._replicas) * self._replicas
            filled = tf.pad(images, [[0, size - count], [0, 0], [0, 0], [0, 0]])
            parts.append([values.numpy()[:count] for values in tf.nest.flatten(self._run(filled))])
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


class Predictor:
    """The predictions of a learner's EMA weights, read at each call."""

    def __init__(self, learner: Learner):
        self._probs = _Compiled(lambda images: tf.nn.softmax(learner.logits(images, use_ema=True)))

    def __call__(self, batches: tf.data.Dataset) -> np.ndarray:
        """float32 [≤ B, H, W, C], as `input.pipeline.evaluation_batches` makes them -> [N, C], rows sum to 1."""
        return self._probs(batches)[0]


class Evaluator:
    """Scores a learner on one set of images.

    Args:
      learner: its weights are read at each call.
      batches: float32 [≤ B, H, W, C] in the order of `labels`, as `input.pipeline.evaluation_batches` makes them.
      labels: [N] integer.
    """

    def __init__(self, learner: Learner, batches: tf.data.Dataset, labels: np.ndarray):
        self._batches, self._labels = batches, labels
        self._logits = _Compiled(
            lambda images: (learner.logits(images, use_ema=False), learner.logits(images, use_ema=True))
        )

    def __call__(self, prior: np.ndarray) -> dict[str, dict[str, Any]]:
        """{"accuracy", "balanced_accuracy", "per_class_recall"} -> {"raw", "ema", "raw_la", "ema_la"} -> value.

        Args:
          prior: [C] float32, the class prior that LA (Inf) removes: f(x) − log prior.
        """
        by_weights = {weights: scores(logits, self._labels) for weights, logits in self._all_logits(prior).items()}
        return {
            measure: {weights: value[measure] for weights, value in by_weights.items()}
            for measure in ("accuracy", "balanced_accuracy", "per_class_recall")
        }

    def confusion(self, prior: np.ndarray) -> dict[str, list[list[int]]]:
        """The EMA weights' confusion matrices, "ema" and "ema_la"; see `confusion`."""
        logits = self._all_logits(prior)
        return {weights: confusion(logits[weights], self._labels) for weights in ("ema", "ema_la")}

    def by_priors(self, priors: Mapping[str, np.ndarray | None]) -> dict[str, dict[str, Any]]:
        """The `scores` of the EMA weights with LA (Inf) from each prior [C], without it for None; from one pass."""
        _, ema = self._logits(self._batches)
        return {
            name: scores(ema if prior is None else ema - _adjustment(prior), self._labels)
            for name, prior in priors.items()
        }

    def _all_logits(self, prior: np.ndarray) -> dict[str, np.ndarray]:
        adjustment = _adjustment(prior)
        raw, ema = self._logits(self._batches)
        return {"raw": raw, "ema": ema, "raw_la": raw - adjustment, "ema_la": ema - adjustment}
