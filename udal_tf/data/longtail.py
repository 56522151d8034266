"""Long-tailed subsets and the choice of labeled images: the protocols of UDAL §4.2, CReST and DARP.

All are index arithmetic on label arrays, using the legacy random generators of the published splits.
"""

import random
from collections.abc import Sequence

import numpy as np

from udal_tf.sections import UNLABELED_SHAPES

# The CIFAR-10 archive has five files of 10,000 images; Cui et al.'s script writes its subset file by file.
CIFAR10_FILES = 5


def class_counts(n1: int, imbalance: float, num_classes: int) -> list[int]:
    """N_c = int(N_1 · r^(c/(C−1))) with r = 1/γ, truncated; class 0 is the largest. Cui et al. 2019.

    Args:
      n1: images of the largest class.
      imbalance: γ ≥ 1. (UDAL §4.2 prints γ instead of r.)
      num_classes: C ≥ 1.

    Returns:
      C counts, descending.

    Raises:
      ValueError: if the last class would be empty.

    Example: (5000, 100, 10) gives 5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50.
    """
    ratio = 1.0 / imbalance
    counts = [int(n1 * ratio ** (c / max(num_classes - 1.0, 1.0))) for c in range(num_classes)]
    if counts[-1] < 1:
        raise ValueError(
            f"--imbalance={imbalance:g} leaves no image in the last class: it must be at most the "
            f"{n1} images of the largest one"
        )
    return counts


def geometric_prior(imbalance: float, num_classes: int) -> np.ndarray:
    """The exact prior ∝ r^(c/(C−1)), which CReST uses as p_data instead of the truncated counts.

    Returns:
      [C] float32, descending, sums to 1.
    """
    prior = (1.0 / imbalance) ** (np.arange(num_classes) / max(num_classes - 1.0, 1.0))
    return (prior / prior.sum()).astype(np.float32)


def counted_prior(counts: Sequence[int]) -> np.ndarray:
    """The class prior from label counts, for data whose class sizes follow no formula.

    Args:
      counts: [C] labeled images per class.

    Returns:
      [C] float32, sums to 1.

    Raises:
      ValueError: for an empty class, whose prior of 0 would reach a logarithm (Eq. 6).

    Example: counted_prior([3, 1]) gives 0.75, 0.25.
    """
    if min(counts) < 1:
        raise ValueError(f"every class needs a labeled image, class {list(counts).index(min(counts))} has none")
    exact = np.asarray(counts, np.float64)
    return (exact / exact.sum()).astype(np.float32)


def unlabeled_counts(m1: int, imbalance: float, shape: str, num_classes: int) -> list[int]:
    """M_c of an unlabeled set whose class distribution need not match the labeled one.

    The settings of DASO (Oh et al. 2022) and later work: `same` decays from M_1 as `class_counts` does, `reversed` has
    these sizes in reverse order, `uniform` has M_1 images of every class. SimPro (Du et al. 2024) adds two orders of
    the same sizes m_0 ≥ m_1 ≥ … ≥ m_(C−1): `middle` puts the even ranks in descending order first and then the odd ones
    in ascending order (…, m_4, m_2, m_0, m_1, m_3, …), so that classes in the middle are the largest; `head-tail` puts
    the odd ranks in ascending order first and then the even ones in descending order (m_1, m_3, …, m_2, m_0), so that
    the first and the last class are the largest.

    Args:
      m1: images of the largest unlabeled class.
      imbalance: γ_u ≥ 1.
      shape: one of UNLABELED_SHAPES.
      num_classes: C.

    Returns:
      C counts.

    Raises:
      ValueError: for another shape, or if a class would be empty.

    Example: (400, 100, "reversed", 3) gives 4, 40, 400; "middle" 4, 400, 40; "head-tail" 40, 4, 400.
    """
    if shape not in UNLABELED_SHAPES:
        raise ValueError(f"--unlabeled_shape must be one of {', '.join(UNLABELED_SHAPES)}, got {shape!r}")
    if shape == "uniform":
        return [m1] * num_classes
    counts = class_counts(m1, imbalance, num_classes)
    even, odd = counts[::2], counts[1::2]
    ordered = {"same": counts, "reversed": counts[::-1], "middle": even[::-1] + odd, "head-tail": odd + even[::-1]}
    return ordered[shape]


def _positions(labels: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """Positions of each class's images, in file order."""
    return [np.flatnonzero(labels == c) for c in range(num_classes)]


def subset(labels: np.ndarray, counts: Sequence[int], draw: str = "seed0", files: int = 1) -> np.ndarray:
    """The positions of a long-tailed subset, in the order in which Cui et al.'s script writes its records.

    Args:
      labels: [N] integer, in canonical order.
      counts: images to keep of each class.
      draw: `first_n` keeps each class's first images; `seed<k>` shuffles each class with Python's generator seeded
        by k. (The published files have no recorded seed and cannot be reproduced.)
      files: number of source files of equal length, written one after the other: 5 for CIFAR-10.

    Returns:
      [Σ counts] int64: file by file, within a file class by class, within a class in shuffled order.

    Raises:
      ValueError: for a class with fewer images than requested, or an unknown draw.
    """
    if draw != "first_n" and not (draw.startswith("seed") and draw[4:].isdigit()):
        raise ValueError(f"draw must be first_n or seed<k>, got {draw!r}")
    generator = random.Random(int(draw[4:])) if draw != "first_n" else None
    chosen = []
    for c, (positions, count) in enumerate(zip(_positions(labels, len(counts)), counts, strict=True)):
        if len(positions) < count:
            raise ValueError(f"class {c} has {len(positions)} images, {count} are requested")
        order = positions.tolist()
        if generator:
            generator.shuffle(order)
        chosen.append(np.asarray(order[:count], np.int64))
    per_file = -(-len(labels) // files)
    ordered = [kept[kept // per_file == f] for f in range(files) for kept in chosen]
    return np.concatenate(ordered)


def fold_split(labels: np.ndarray, beta: float, fold: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """CReST's labeled positions of a fold and their complement.

    One legacy stream `RandomState(fold)` over the classes in ascending order shuffles each class's positions and
    takes the first ceil(n·β) as labeled. CReST data/cifar.py.

    Args:
      labels: [N] integer, in file order.
      beta: labeled fraction in (0, 1].
      fold: the seed, 1 to 5 in the paper.
      num_classes: C.

    Returns:
      labeled positions, the others; both int64, class by class in the shuffled order. Training's unlabeled pool is
      *every* position; the complement is used by CReST's selection only.
    """
    generator = np.random.RandomState(fold)
    labeled, rest = [], []
    for positions in _positions(labels, num_classes):
        order = positions.copy()
        generator.shuffle(order)
        count = int(np.ceil(len(order) * beta))
        labeled.append(order[:count])
        rest.append(order[count:])
    return np.concatenate(labeled), np.concatenate(rest)


def validation_counts(counts: np.ndarray, fraction: float) -> np.ndarray:
    """How many labeled images of each class --validation takes: at least one, and never the last one.

    Args:
      counts: [C] labeled images of each class.
      fraction: of each class, in (0, 1).

    Returns:
      [C] int64.

    >>> validation_counts(np.array([40, 3, 2, 1]), 0.2).tolist()
    [8, 1, 1, 0]
    """
    counts = np.asarray(counts, np.int64)
    return np.minimum(np.maximum(np.round(fraction * counts).astype(np.int64), 1), np.maximum(counts - 1, 0))


def validation_mask(labels: np.ndarray, fraction: float, fold: int, num_classes: int) -> np.ndarray:
    """Which labeled images --validation takes, at random from each class.

    Args:
      labels: [n] integer, of the labeled images.
      fraction, num_classes: as in `validation_counts`.
      fold: the seed; its random numbers are others than those that choose the labeled images.

    Returns:
      [n] bool.
    """
    generator = np.random.default_rng(fold)
    mask = np.zeros(len(labels), bool)
    wanted = validation_counts(np.bincount(labels, minlength=num_classes), fraction)
    for positions, count in zip(_positions(labels, num_classes), wanted, strict=True):
        mask[generator.choice(positions, count, replace=False)] = True
    return mask


def darp_split(
    labels: np.ndarray, labeled_counts: Sequence[int], unlabeled_counts: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """DARP's split: the first images of each class in file order are labeled, the next ones unlabeled; deterministic.

    Args:
      labels: [N] integer, in canonical order.
      labeled_counts, unlabeled_counts: images per class.

    Returns:
      labeled positions, unlabeled positions; int64, class by class.

    Raises:
      ValueError: for a class with too few images.
    """
    labeled, unlabeled = [], []
    counts = zip(_positions(labels, len(labeled_counts)), labeled_counts, unlabeled_counts, strict=True)
    for c, (positions, n, m) in enumerate(counts):
        if len(positions) < n + m:
            raise ValueError(f"class {c} has {len(positions)} images, {n} labeled and {m} unlabeled are requested")
        labeled.append(positions[:n])
        unlabeled.append(positions[n : n + m])
    return np.concatenate(labeled).astype(np.int64), np.concatenate(unlabeled).astype(np.int64)
