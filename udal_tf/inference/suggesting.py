"""Which unlabeled images to label next: those a model is unsure of, spread over classes, more of them of rare ones.

Each class gets a share of the suggestions, by its share of the labels to the power of −½. Of the images that count
for the class, the most informative that do not look alike form a shortlist, and weighted k-means on the network's
features spreads the suggestions over it (Zhdanov 2019, "Diverse mini-batch Active Learning").
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from udal_tf.data import near_duplicates
from udal_tf.inference.embedding import Embedded

MARGIN, ENTROPY, RARE = WAYS = ("margin", "entropy", "rare")
# Shortlisted images per suggestion: β of the paper.
SHORTLIST = 10
# RARE looks for images of this fraction of the classes, those with the fewest labels.
RARE_FRACTION = 1 / 3
# Starts of k-means, of which the best is taken; and what keeps weights of images and classes from being 0.
_STARTS = 4
_LEAST_WEIGHT = 1e-6

Prior = Sequence[float] | np.ndarray


def rare_classes(prior: Prior) -> np.ndarray:
    """The third of the classes with the fewest labels, at least one; the rarest first, later classes before earlier.

    Example:
      >>> print(rare_classes([12, 7, 4, 2, 2, 9]))
      [4 3]
    """
    order = np.lexsort([-np.arange(len(prior)), np.asarray(prior)])
    return order[: max(1, round(RARE_FRACTION * len(prior)))]


def scores(probs: np.ndarray, by: str, prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """How informative each image's label would be, and the class that it counts for.

    Args:
      probs: [N, C], rows sum to 1.
      by: MARGIN, 1 − (p₁ − p₂) of the two most likely classes; ENTROPY, −Σ p·log p / log C; or RARE, the probability
        of the most likely one of the `rare_classes`.
      prior: [C], the class distribution of the labeled images, or their counts.

    Returns:
      [N] in [0, 1], larger for more informative ones; [N] int, the most likely class, for RARE among the rare ones.
    """
    if by == RARE:
        rare = rare_classes(prior)
        of_rare = probs[:, rare]
        return of_rare.max(axis=1, initial=0), rare[of_rare.argmax(axis=1)]
    predicted = probs.argmax(axis=1)
    if by == MARGIN:
        two = np.partition(probs, -2, axis=1)[:, -2:]
        return 1 - (two[:, 1] - two[:, 0]), predicted
    entropy = -np.sum(probs * np.log(np.maximum(probs, np.finfo(np.float32).tiny)), axis=1)
    return entropy / np.log(probs.shape[1]), predicted


def quotas(prior: Prior, available: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """[C]: how many suggestions each class gets, in proportion to 1/√prior as far as it has images.

    One at a time goes to the class with the largest weight / (its suggestions + 1).

    Example:
      >>> print(quotas([100, 25, 1], [50, 50, 3], 6))
      [1 2 3]
    """
    weights = np.maximum(np.asarray(prior, float), _LEAST_WEIGHT) ** -0.5
    given, most = np.zeros(len(weights), int), np.asarray(available)
    for _ in range(min(count, int(most.sum()))):
        given[np.where(given < most, weights / (given + 1), -1).argmax()] += 1
    return given


def choose(images: Embedded, labeled_looks: np.ndarray, prior: Prior, by: str, count: int) -> np.ndarray:
    """Positions of at most `count` images to label, the most informative first; fewer if no others are left.

    No two of them look alike, and none looks like a labeled one.

    Args:
      images: the candidates.
      labeled_looks: [L, 319], the `Embedded.looks` of images that are labeled already.
      prior: [C], the class distribution of the labeled images, or their counts.
      by: one of WAYS.
      count: how many are wanted.
    """
    informative, classes = scores(images.probs, by, prior)
    remaining = _new(images.looks, labeled_looks)
    remaining = remaining[np.argsort(-informative[remaining], kind="stable")]
    # Few classes are as rare as the first one: what looks like a suggestion for it is left out for the others.
    rarest_first = np.argsort(prior, kind="stable")
    chosen = np.zeros(0, int)
    while len(chosen) < count and len(remaining):
        available = np.bincount(classes[remaining], minlength=len(rarest_first))
        wanted = quotas(prior, available, count - len(chosen))
        for c in rarest_first[wanted[rarest_first] > 0]:
            ranked = remaining[classes[remaining] == c]
            seen = np.concatenate([labeled_looks, images.looks[chosen]])
            shortlist, alike = _shortlist(images.looks, ranked, seen, SHORTLIST * wanted[c])
            some = _spread(images.features[shortlist], informative[shortlist], wanted[c])
            chosen = np.concatenate([chosen, shortlist[some]])
            remaining = np.setdiff1d(remaining, np.concatenate([shortlist[some], alike]), assume_unique=True)
        remaining = remaining[np.argsort(-informative[remaining], kind="stable")]
    return chosen[np.lexsort([chosen, -informative[chosen]])]


def _new(looks: np.ndarray, labeled_looks: np.ndarray) -> np.ndarray:
    """Positions of the images that equal no labeled one, and no earlier one, in order."""
    known = {row.tobytes() for row in labeled_looks}
    first = np.sort(np.unique(looks, axis=0, return_index=True)[1])
    return np.array([i for i in first if looks[i].tobytes() not in known], int)


def _shortlist(looks: np.ndarray, ranked: np.ndarray, seen: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `length` of `ranked` that look like none in `seen` and none before them; and the others among those."""
    kept = np.zeros(0, int)
    none = near_duplicates.Described(list(seen), np.zeros([len(seen), 0]))
    for start in range(0, len(ranked), max(length, 1)):
        some = ranked[start : start + length]
        new = near_duplicates.nearest(near_duplicates.Described(list(looks[some]), np.zeros([len(some), 0])), none) < 0
        kept = np.concatenate([kept, some[new]])
        kept = kept[near_duplicates.distinct(looks[kept])]
        if len(kept) >= length:
            break
    looked_at = ranked[: start + length] if len(ranked) else ranked
    return kept[:length], np.setdiff1d(looked_at, kept, assume_unique=True)


def _spread(features: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Positions of `count` of the images, each the one nearest to another center of weighted k-means."""
    if len(features) <= count:
        return np.arange(len(features))
    distinct = np.unique(features, axis=0)
    clusters = min(count, len(distinct))  # A network may give many images the same features.
    means = KMeans(clusters, n_init=_STARTS, random_state=0).fit(features, sample_weight=weights + _LEAST_WEIGHT)
    distances = cdist(means.cluster_centers_, features)
    chosen: list[int] = []
    for row in distances:
        row[chosen] = np.inf
        chosen.append(int(row.argmin()))
    more = [i for i in range(len(features)) if i not in chosen][: count - len(chosen)]
    return np.array(chosen + more)
