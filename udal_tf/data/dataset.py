"""What a dataset loader returns, and the semi-supervised problem that a protocol makes of it (UDAL §2.1, §4.2)."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from udal_tf.data.crops import crop_and_resize, crop_boxes, gathered_crops
from udal_tf.data.errors import DataError as DataError  # Re-exported for users of this module.

# Bytes; TensorFlow's allocators align to 64.
_ALIGNMENT = 128


class Images(Protocol):
    """A set of images of one size that can be read by position, eagerly, in a tf.function and inside tf.data."""

    shape: tuple[int, int, int]

    def __len__(self) -> int: ...

    def fetch(self, positions: tf.Tensor) -> tf.Tensor:
        """[n] int64 positions -> [n, H, W, C] uint8: whole images, as used in evaluation."""

    def fetch_crops(self, positions: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """[n] int64 positions, [n, 4] uniforms -> [n, H, W, C] uint8: random-resized crops (`crops.crop_boxes`)."""


class ArrayImages:
    """Images in memory: [N, H, W, C] uint8."""

    def __init__(self, images: np.ndarray):
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 [N, H, W, C], got {images.dtype} {list(images.shape)}")
        self.shape = images.shape[1:]
        self._images = _host_tensor(images)

    def __len__(self) -> int:
        return self._images.shape[0]

    def on_device(self) -> "DeviceImages":
        """A copy in the memory of the current strategy's devices."""
        return DeviceImages(self._images)

    def fetch(self, positions: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._images, positions)

    def fetch_crops(self, positions: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        return crops_of(self.fetch(positions), uniforms)


class DeviceImages:
    """Images in the memory of the devices of the strategy in whose scope it is made."""

    def __init__(self, images: tf.Tensor):
        self.shape = tuple(images.shape[1:])
        self._images = tf.Variable(images, trainable=False, name="images")

    def __len__(self) -> int:
        return self._images.shape[0]

    def fetch(self, positions: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._images, positions)

    def fetch_crops(self, positions: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        return crops_of(self.fetch(positions), uniforms, gathered_crops)


def _host_tensor(images: np.ndarray) -> tf.Tensor:
    """The array as a tensor in host memory, copied once.

    tf.constant holds up to three copies for a while and places the tensor on the GPU if there is one; every batch
    would then have to be copied back for the input pipeline. So the tensor shares an array's memory, aligned as
    kernels require.
    """
    buffer = np.empty(images.nbytes + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    aligned = buffer[start : start + images.nbytes].reshape(images.shape)
    aligned[:] = images
    return tf.experimental.dlpack.from_dlpack(aligned.__dlpack__())


def crops_of(
    images: tf.Tensor, uniforms: tf.Tensor, cropped: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = crop_and_resize
) -> tf.Tensor:
    """[n, H, W, C] uint8 images of one size -> their random-resized crops at the same size, made by `cropped`."""
    count = tf.shape(images)[0]
    boxes = crop_boxes(tf.fill([count], images.shape[1]), tf.fill([count], images.shape[2]), uniforms)
    return cropped(images, boxes)


def without_tuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without tf.data's tuner: AUTOTUNE is then a map on each core, up to 16, and a growing prefetch.

    The tuner sleeps for 10, 20, 40, … ms, and the end of an iterator can wait until it wakes up (TensorFlow 2.21), up
    to as long again as the iterator was in use.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@dataclasses.dataclass(frozen=True)
class Held:
    """Images that are held from training. images; positions: int64 [N], those that count; labels: int64 [N]."""

    images: Images
    positions: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, images: Images, labels: np.ndarray) -> "Held":
        """All of these images."""
        return cls(images, np.arange(len(labels)), labels)


@dataclasses.dataclass(frozen=True)
class Source:
    """What a loader read: train and test images with their labels, and where they came from.

    Attributes:
      train, test: the images.
      train_labels, test_labels: int64, in canonical order; −1 for an unknown label.
      class_names: C names.
      provenance: JSON-ready facts, at least `source` (one line).
      long_tailed: whether `train` is long-tailed already (CReST's own files, naturally imbalanced data).
      geometric: whether class sizes follow γ exactly, so that the class prior is the geometric one, as in CReST;
        otherwise it is computed from the labeled counts.
      draw: how the long-tailed subset was chosen, for the provenance; `{draw}` stands for --draw.
      files: number of source files of equal length in canonical order (see `longtail.subset`).
      skipped: path and fault of each image file that --skip_bad_images left out.
      hidden: int64 positions in `train` that are unlabeled although their label is known, which only serves to tell
        how many pseudo-labels are right.
      validation: images to choose the best epoch by, None if the dataset has none of its own.
      validation_from: where they are from, in words.
    """

    train: Images
    train_labels: np.ndarray
    test: Images
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    provenance: dict[str, Any]
    long_tailed: bool = False
    geometric: bool = True
    draw: str = "{draw}"
    files: int = 1
    skipped: tuple[tuple[str, str], ...] = ()
    hidden: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    validation: Held | None = None
    validation_from: str = ""

    @classmethod
    def of_arrays(cls, parts: Iterable[tuple[np.ndarray, np.ndarray]], *given: Any, **options: Any) -> "Source":
        """A source in memory; parts: (images, labels) to train on and to test on; the rest: the further fields."""
        (train, train_labels), (test, test_labels) = parts
        return cls(ArrayImages(train), train_labels, ArrayImages(test), test_labels, *given, **options)


@dataclasses.dataclass(frozen=True)
class SslData:
    """One semi-supervised problem; positions index `train`.

    labeled: int64 positions with labels.
    labels_l: the labels that training uses for them, pseudo-labels included.
    unlabeled: the pool that training draws unlabeled images from, labeled ones included, as in CReST.
    unlabeled_only: the pool without the labeled ones, for CReST's selection.
    p_data: [C] float32, the class prior of the labeled data, sums to 1, every entry above 0.
    p_unlabeled: [C] float32, the assumed class distribution of the unlabeled pool; sums to 1.
    prepared: what a method computed before training, by name.
    skipped: as in `Source`.
    validation: images to choose the best epoch by, in no other set; None: the test images choose it.
    """

    train: Images
    train_labels: np.ndarray
    test: Images
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    labeled: np.ndarray
    labels_l: np.ndarray
    unlabeled: np.ndarray
    unlabeled_only: np.ndarray
    p_data: np.ndarray
    p_unlabeled: np.ndarray
    provenance: dict[str, Any]
    prepared: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    validation: Held | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def known_distribution(self) -> np.ndarray:
        """[C] float32, the part of the unlabeled pool that each class's labeled images are: no class has less."""
        also_labeled = np.zeros(len(self.train_labels), bool)
        also_labeled[self.unlabeled] = True
        also_labeled[self.unlabeled_only] = False
        return self._distribution(np.flatnonzero(also_labeled))

    @property
    def labeled_rows(self) -> np.ndarray:
        """[len(unlabeled)] bool, which images of the unlabeled pool are labeled, too."""
        without_label = np.zeros(len(self.train_labels), bool)
        without_label[self.unlabeled_only] = True
        return ~without_label[self.unlabeled]

    @property
    def true_distribution(self) -> np.ndarray | None:
        """[C] float32, the class distribution of the unlabeled pool; None where a label is unknown."""
        return None if np.any(self.train_labels[self.unlabeled] < 0) else self._distribution(self.unlabeled)

    def _distribution(self, positions: np.ndarray) -> np.ndarray:
        counts = np.bincount(self.train_labels[positions], minlength=self.num_classes)
        return (counts / len(self.unlabeled)).astype(np.float32)
