"""What a data source hands over, and the semi-supervised problem that a protocol makes of it (UDAL §2.1, §4.2)."""

import dataclasses
import hashlib
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from udal_tf.config import DataConfig
from udal_tf.data import longtail


class DataError(ValueError):
    """The data is missing or is not what it should be; the message says what to do."""


class Pictures(Protocol):
    """A set of pictures of one size that can be read by position, in graphs and eagerly."""

    shape: tuple[int, int, int]

    def __len__(self) -> int: ...

    def fetch(self, positions: tf.Tensor) -> tf.Tensor:
        """[n] int64 positions -> [n, H, W, C] uint8."""


class ArrayPictures:
    """Pictures in memory: [N, H, W, C] uint8."""

    def __init__(self, images: np.ndarray):
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 [N, H, W, C], got {images.dtype} {list(images.shape)}")
        self.shape = images.shape[1:]
        self._images = tf.constant(images)

    def __len__(self) -> int:
        return self._images.shape[0]

    def fetch(self, positions: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._images, positions)


@dataclasses.dataclass(frozen=True)
class Source:
    """What a loader read: train and test pictures with their labels, and where they came from.

    train, test: the pictures. train_labels, test_labels: int64, in canonical order; −1 where a label is unknown.
    class_names: C names. provenance: JSON-ready facts, `source` (one line) at least.
    long_tailed: True where `train` is the long-tailed set already (CReST's own files).
    files: source files of equal length in canonical order (see `longtail.subset`).
    """

    train: Pictures
    train_labels: np.ndarray
    test: Pictures
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    provenance: dict[str, Any]
    long_tailed: bool = False
    files: int = 1


@dataclasses.dataclass(frozen=True)
class SslData:
    """One semi-supervised problem; positions index `train`.

    labeled: int64 positions with labels. unlabeled: the pool that training draws unlabelled pictures from, labelled
    ones included, as in CReST. rest: the pool without the labelled ones, for CReST's selection.
    p_data: [C] float32, the class prior of the labelled data, sums to 1.
    """

    train: Pictures
    train_labels: np.ndarray
    test: Pictures
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    labeled: np.ndarray
    unlabeled: np.ndarray
    rest: np.ndarray
    p_data: np.ndarray
    provenance: dict[str, Any]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def positions_sha256(positions: np.ndarray) -> str:
    """SHA-256 over the positions as little-endian int64, by which a split is recognised."""
    return hashlib.sha256(np.ascontiguousarray(positions, dtype="<i8").tobytes()).hexdigest()


def make_problem(source: Source, config: DataConfig) -> SslData:
    """Applies the protocol of `config`: the long-tailed subset, then the choice of labelled pictures.

    Raises:
      DataError: where a class has too few pictures for the protocol.
    """
    num_classes = len(source.class_names)
    labels = source.train_labels
    try:
        if config.protocol == "darp":
            labeled, others = longtail.darp_split(
                labels,
                longtail.class_counts(config.n1, config.imbalance, num_classes),
                longtail.class_counts(config.m1, config.imbalance, num_classes),
            )
            draw = "first pictures of each class"
        else:
            pool = np.arange(len(labels))
            draw = "as published"
            if not source.long_tailed:
                counts = longtail.class_counts(config.n1, config.imbalance, num_classes)
                draw = "seed0"
                pool = longtail.subset(labels, counts, draw, source.files)
            in_labeled, in_others = longtail.fold_split(labels[pool], config.beta, config.fold, num_classes)
            labeled, others = pool[in_labeled], pool[in_others]
    except ValueError as error:
        raise DataError(f"{config.dataset}: {error}") from error
    unlabeled = np.concatenate([labeled, others])
    count = lambda positions: np.bincount(labels[positions], minlength=num_classes).tolist()  # noqa: E731
    provenance = {
        **source.provenance,
        "protocol": config.protocol,
        "draw": draw,
        "labeled_counts": count(labeled),
        "unlabeled_counts": count(unlabeled),
        "labeled_sha256": positions_sha256(labeled),
        "unlabeled_sha256": positions_sha256(unlabeled),
    }
    return SslData(
        train=source.train,
        train_labels=labels,
        test=source.test,
        test_labels=source.test_labels,
        class_names=source.class_names,
        labeled=labeled,
        unlabeled=unlabeled,
        rest=others,
        p_data=longtail.geometric_prior(config.imbalance, num_classes),
        provenance=provenance,
    )
