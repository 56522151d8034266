"""Labels that look wrong, by confident learning (Northcutt et al. 2021) with the library cleanlab.

A network that was trained on wrong labels has learned them: it predicts them with confidence, so its own predictions
name few (docs/results.md). So each image is judged by a logistic regression on the network's features that has not
seen its label, fitted to the other folds. The features still know of the label, as the network was trained on it; that
makes the judgment timid, but hardly changes the order.
"""

import dataclasses
import warnings

import cleanlab.filter
import cleanlab.rank
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 5
MOST_ITERATIONS = 1000
# cleanlab's score of a label: its probability less the largest of the others.
SCORE = "normalized_margin"


@dataclasses.dataclass(frozen=True)
class LabelIssues:
    """What is found among N labeled images.

    Attributes:
      order: positions of the images that can be judged, the worst label first, those of each group in proportion.
      suggested: [N] int, the most likely other class of each image.
      confidence: [N], its probability.
      marked: [N] bool, whether confident learning takes the label for wrong.
      alone: positions of the images that cannot be judged, the only ones of their class.
    """

    order: np.ndarray
    suggested: np.ndarray
    confidence: np.ndarray
    marked: np.ndarray
    alone: np.ndarray


def out_of_fold(features: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """[N, C] float64: the class probabilities of each image, from a model that was fitted to images of other folds.

    Args:
      features: [N, F].
      labels: [N] int in [0, C). The only image of a class is always fitted to, and has no probabilities (zeros).
      num_classes: C.
    """
    counts = np.bincount(labels, minlength=num_classes)
    alone = counts[labels] == 1
    judged = np.flatnonzero(~alone)
    probs = np.zeros([len(labels), num_classes])
    # A class with fewer images than folds has at most one in each.
    folds = StratifiedKFold(min(FOLDS, int(counts.max())), shuffle=True, random_state=0)
    for fitted, held in _splits(folds, judged, labels):
        known = np.concatenate([fitted, np.flatnonzero(alone)])
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MOST_ITERATIONS))
        model.fit(features[known], labels[known])
        probs[np.ix_(held, model[-1].classes_)] = model.predict_proba(features[held])
    return probs


def find(features: np.ndarray, labels: np.ndarray, num_classes: int, groups: np.ndarray | None = None) -> LabelIssues:
    """Judges the label of each image.

    Args:
      features: [N, F].
      labels: [N] int in [0, C).
      num_classes: C.
      groups: [N] int, images whose scores can be compared, such as those that the network was trained on; its features
        of others are less clear, so that these would all come first.

    Raises:
      ValueError: if fewer than two classes have two images or more.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if np.sum(counts > 1) < 2:
        raise ValueError("labels can be judged only where at least two classes have two labeled images or more")
    probs = out_of_fold(features, labels, num_classes)
    judged, alone = np.flatnonzero(counts[labels] > 1), np.flatnonzero(counts[labels] == 1)
    # cleanlab wants every class to have an image.
    classes = np.flatnonzero(counts > 1)
    theirs = np.maximum(probs[np.ix_(judged, classes)], np.finfo(np.float64).tiny)
    theirs /= theirs.sum(axis=1, keepdims=True)
    given = np.searchsorted(classes, labels[judged])
    quality = cleanlab.rank.get_label_quality_scores(given, theirs, method=SCORE)
    marked = np.zeros(len(labels), bool)
    marked[judged] = cleanlab.filter.find_label_issues(given, theirs, n_jobs=1)
    others = probs.copy()
    others[np.arange(len(labels)), labels] = -1
    return LabelIssues(
        order=judged[_worst_first(quality, np.zeros(len(labels), int)[judged] if groups is None else groups[judged])],
        suggested=others.argmax(axis=1),
        confidence=others.max(axis=1),
        marked=marked,
        alone=alone,
    )


def _worst_first(quality: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Positions by the fraction of the same group with a lower quality."""
    fraction = np.zeros(len(quality))
    for group in np.unique(groups):
        inside = np.flatnonzero(groups == group)
        fraction[inside[np.argsort(quality[inside], kind="stable")]] = np.arange(len(inside)) / len(inside)
    return np.lexsort([quality, fraction])


def _splits(folds: StratifiedKFold, judged: np.ndarray, labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions to fit to and positions held out, of each fold."""
    # scikit-learn warns of classes with fewer images than folds, which are fine here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return [(judged[fitted], judged[held]) for fitted, held in folds.split(judged, labels[judged])]
