"""How good a model is on labeled images: per-class scores, confusion matrix, calibration, worst mistakes."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, precision_recall_fscore_support

from udal_tf.inference.trained import TrainedModel
from udal_tf.training.evaluation import confusion, scores

# Bins of the expected calibration error, as in Guo et al. 2017.
BINS = 15
# The two kinds of predictions: as they are, and with LA (Inf).
PLAIN, ADJUSTED = "plain", "adjusted"


@dataclasses.dataclass(frozen=True)
class Predicted:
    """Predictions for N labeled images.

    Attributes:
      paths: N paths.
      labels: [N] integer.
      probs: PLAIN and ADJUSTED -> [N, C].
      unreadable: paths of the files left out.
    """

    paths: list[str]
    labels: np.ndarray
    probs: dict[str, np.ndarray]
    unreadable: list[str]


def predict(
    model: TrainedModel,
    paths: Sequence[str],
    labels: Sequence[int],
    shift: np.ndarray,
    told: Callable[[str, str], None] = lambda path, fault: None,
) -> Predicted:
    """Predicts labeled images, without and with LA (Inf).

    Args:
      model: the model.
      paths, labels: those of each image.
      shift: [C], what LA (Inf) adds to the logits.
      told: called after each image with its path and what is wrong with it, or "".

    Raises:
      ValueError: if none of them can be read.
    """
    found = []
    for label, (path, value) in zip(labels, model.logits_of_files(paths), strict=True):
        found.append((path, label, value))
        told(path, value if isinstance(value, str) else "")
    good = [one for one in found if not isinstance(one[2], str)]
    if not good:
        raise ValueError(f"none of the {len(found)} files, starting with {found[0][0]}, is a readable image")
    logits = np.stack([value for _, _, value in good])
    return Predicted(
        paths=[path for path, _, _ in good],
        labels=np.array([label for _, label, _ in good]),
        probs={kind: model.prediction(logits, added).probs for kind, added in ((PLAIN, 0 * shift), (ADJUSTED, shift))},
        unreadable=[path for path, _, value in found if isinstance(value, str)],
    )


def assess(probs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """All scores of predictions [N, C] against true classes [N], JSON-ready.

    Returns:
      "accuracy" and "balanced_accuracy" (over the classes that have images) in [0, 1];
      "per_class", lists of C: "precision" (None for a class never predicted), "recall" (None for a class without
      images), "f1" (None if both), "support", the number of its images; "confusion" [C][C], true classes in rows;
      "calibration", see `calibration`; "log_loss", the mean of −log of the true class's probability.
    """
    classes = np.arange(probs.shape[1])
    predicted = probs.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=np.nan
    )
    never = (support == 0) & (np.bincount(predicted, minlength=len(classes)) == 0)
    per_class = {"precision": precision, "recall": recall, "f1": np.where(never, np.nan, f1)}
    both = scores(probs, labels)
    return {
        "accuracy": both["accuracy"],
        "balanced_accuracy": both["balanced_accuracy"],
        "per_class": {name: [None if np.isnan(v) else float(v) for v in values] for name, values in per_class.items()}
        | {"support": support.tolist()},
        "confusion": confusion(probs, labels),
        "calibration": calibration(probs, labels),
        "log_loss": float(log_loss(labels, probs, labels=classes)),
    }


def calibration(probs: np.ndarray, labels: np.ndarray, bins: int = BINS) -> dict[str, Any]:
    """The expected calibration error and its bins.

    Images are put into bins of equal width by their confidence, the largest of their probabilities.

    Args:
      probs: [N, C], rows sum to 1.
      labels: [N] integer.
      bins: number of bins.

    Returns:
      "ece", the expected calibration error Σ n_b/N · |accuracy_b − confidence_b|; "bins", for each nonempty bin its
      bounds "low" and "high" (inclusive), "count", mean "confidence" and "accuracy".

    Example: four images of confidence 0.8, two of them correct: |0.5 − 0.8| = 0.3.
    """
    confidence, correct = probs.max(axis=1).astype(np.float64), probs.argmax(axis=1) == labels
    at = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for b in np.unique(at):
        inside = at == b
        found.append(
            {
                "low": float(b / bins),
                "high": float((b + 1) / bins),
                "count": int(inside.sum()),
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(correct[inside].mean()),
            }
        )
    ece = sum(one["count"] * abs(one["accuracy"] - one["confidence"]) for one in found) / len(labels)
    return {"ece": float(ece), "bins": found}


def worst_mistakes(probs: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    """Positions of at most `most` wrong predictions of probs [N, C], the most confident first."""
    predicted = probs.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-probs[wrong, predicted[wrong]], kind="stable")[:most]]
