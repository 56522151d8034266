"""From arrays or `tf.data` sets of images to the batches of a base learner: `batches`."""

from __future__ import annotations

import dataclasses
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf.augment import randaugment
from udal_tf.augment.views import View, Views, make_views
from udal_tf.data.dataset import ArrayImages, without_tuning
from udal_tf.input.pipeline import LABELED, UNLABELED, BatchMaker, ImageSet, training_batches
from udal_tf.keras_api.checks import checked_labels
from udal_tf.keras_api.settings import method_settings
from udal_tf.methods.base import BaseLearner
from udal_tf.methods.learner import Learner
from udal_tf.registry import BASE_LEARNERS, resolved, section_of
from udal_tf.sections import AugmentConfig, TrainConfig

# Bytes that a tf.data set may take as an array.
_MOST_BYTES = 8 * 2**30
# The batches of a fit are endless, as Keras counts its steps.
_ENDLESS = 2**40
_SEED_BITS = 2**23
# Uniform random numbers that become the seed of a view of the user's own.
_SEED_UNIFORMS = 2

View_ = Callable[..., Any]


class _Arrays:
    """Images in memory of any type, [N, H, W, C]."""

    def __init__(self, images: np.ndarray):
        self.shape = images.shape[1:]
        with tf.device("CPU:0"):
            self._images = tf.convert_to_tensor(images)

    def fetch(self, positions: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._images, positions)


@dataclasses.dataclass(frozen=True)
class Batches:
    """Batches of labeled and unlabeled images and their views, a pure function of the step; see `batches`.

    Iterating gives one epoch's batches, of the base learner that was named.
    """

    sets: Mapping[str, ImageSet]
    views: Any
    steps_per_epoch: int
    seed: int
    base: str | None
    num_classes: int
    takes_uint8: bool

    def for_model(self, learner: Learner, base: str, num_classes: int) -> BatchMaker:
        """The maker of these batches with the views of a model's base learner.

        Raises:
          ValueError: if they were made for another base learner, have more classes or lack unlabeled images.
        """
        if self.base not in (None, base):
            raise ValueError(f"the batches were made for base={self.base!r}, and the model's is {base!r}")
        if self.num_classes > num_classes:
            raise ValueError(f"the labels have {self.num_classes} classes, and the model has {num_classes}")
        return self._maker(learner.base, learner.balances_labels)

    @property
    def knows_labels_u(self) -> bool:
        """Whether labels of unlabeled images are known."""
        return UNLABELED in self.sets and bool(tf.reduce_all(self.sets[UNLABELED].labels >= 0))

    def _maker(self, base: BaseLearner, balanced: bool = False) -> BatchMaker:
        needed = {of_set for _, of_set, _ in base.views}
        if needed - set(self.sets):
            raise ValueError("the base learner needs unlabeled images: give x_unlabeled, or use base='supervised'")
        sets = {name: images for name, images in self.sets.items() if name in needed}
        if balanced:
            sets[LABELED] = sets[LABELED].balanced()
        return BatchMaker(sets, base.views, self.views, self.seed, base.mixup_beta)

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[dict[str, tf.Tensor]]:
        name = self.base or "fixmatch"
        config, _ = method_settings(name, "none", {})
        base = resolved(BASE_LEARNERS[name].learner)(config, section_of(BASE_LEARNERS[name], None))
        return iter(training_batches(self._maker(base), 0, self.steps_per_epoch))


def endless(maker: BatchMaker, strategy: tf.distribute.Strategy, first_step: tf.Variable) -> Any:
    """The endless batches from the step on that this variable has when iteration begins."""
    replicas = strategy.num_replicas_in_sync
    for name, images in maker.sets.items():
        if images.batch_size % replicas:
            raise ValueError(f"{images.batch_size} {name} images per step cannot be split over {replicas} replicas")

    def from_step(context: tf.distribute.InputContext | None) -> tf.data.Dataset:
        pipelines, number = (1, 0) if context is None else (context.num_input_pipelines, context.input_pipeline_id)
        own = replicas // pipelines
        first = tf.data.Dataset.from_tensors(0).map(lambda _: tf.identity(first_step))

        def batches_from(start: tf.Tensor) -> tf.data.Dataset:
            shifted = lambda at, replica: maker(start + at, replica)  # noqa: E731
            return training_batches(shifted, 0, _ENDLESS, replicas, own * number, own)

        # Said to be so, as otherwise the last batch could be a smaller one.
        whole = first.flat_map(batches_from).apply(
            tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        )
        return without_tuning(whole.prefetch(tf.data.AUTOTUNE))

    if replicas == 1:
        return from_step(None)
    return strategy.distribute_datasets_from_function(from_step)


def batches(
    x_labeled: Any,
    y_labeled: Any = None,
    x_unlabeled: Any = None,
    y_unlabeled: Any = None,
    *,
    batch_size: int = TrainConfig.batch_size,
    unlabeled_ratio: int = TrainConfig.unlabeled_ratio,
    steps_per_epoch: int | None = None,
    views: Mapping[str, View_] | None = None,
    augment: Mapping[str, Any] | None = None,
    base: str | None = None,
    seed: int = 0,
) -> Batches:
    """Batches for `SemiSupervisedModel.fit` or for a loop of your own: images in random order, each with its views.

    The batch of a step depends on the step and the seed alone, so an interrupted `fit` resumes with the same batches.

    Args:
      x_labeled: images [N, H, W, C]: uint8 for our views, any type for views of your own; or a tf.data set of single
        (image, label), which is read into memory.
      y_labeled: labels [N], integers from 0.
      x_unlabeled: images [M, H, W, C], or a tf.data set of single images or (image, label); as in the paper the labeled
        ones may be among them. None for base="supervised".
      y_unlabeled: their labels [M], −1 where unknown, for monitoring alone.
      batch_size: B, labeled images per step, over all replicas.
      unlabeled_ratio: unlabeled images per labeled one in a step.
      steps_per_epoch: None: one pass over the unlabeled images, or over the labeled ones without them.
      views: "weak" and "strong", functions of a batch of images [n, H, W, C] and, if they take a second argument, a
        seed [2] int32, that return float32 [n, …]: Keras layers, for instance. None: the views of FixMatch's release.
      augment: settings of our views by the names of their flags: crop_padding, flip, strong_ops, cutout, …. Unless
        there are 1 or 3 channels, the operations that mix colors are left out, and a warning names them.
      base: the base learner, for iterating; `fit` uses the model's.
      seed: of the order and of the views.

    Returns:
      Batches, which iterate over one epoch: dicts of "x_l", "x_w", "x_s" (float32 in [−1, 1]), "labels_l", ….

    Raises:
      ValueError: for images and labels that do not fit together, for unknown settings, for float images without views
        of your own.
    """
    if views is not None and augment is not None:
        raise ValueError("augment has the settings of our views: give either views or augment")
    images, labels = _images("x_labeled", x_labeled, y_labeled)
    labels = checked_labels("y_labeled", labels, len(images))
    both = {LABELED: (images, labels, batch_size)}
    for name, value in (("batch_size", batch_size), ("unlabeled_ratio", unlabeled_ratio)):
        if int(value) != value or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if x_unlabeled is not None:
        unlabeled, labels_u = _images("x_unlabeled", x_unlabeled, y_unlabeled, without_labels=True)
        if unlabeled.shape[1:] != images.shape[1:] or unlabeled.dtype != images.dtype:
            raise ValueError(
                f"x_labeled and x_unlabeled must have images of one size and type, got {images.dtype} "
                f"{list(images.shape[1:])} and {unlabeled.dtype} {list(unlabeled.shape[1:])}"
            )
        unknown = np.full(len(unlabeled), -1)
        labels_u = unknown if labels_u is None else 1 * np.asarray(labels_u)
        known = checked_labels("y_unlabeled", np.maximum(labels_u, 0), len(unlabeled))
        both[UNLABELED] = (unlabeled, np.where(labels_u < 0, -1, known), batch_size * unlabeled_ratio)
    elif y_unlabeled is not None:
        raise ValueError("y_unlabeled was given without x_unlabeled")
    if views is None:
        if images.dtype != np.uint8:
            raise ValueError(
                f"our views take uint8 images from 0 to 255, and these are {images.dtype}: convert them, or give views "
                "of your own"
            )
        settings = _augment(augment or {})
        made: Any = make_views(settings, *images.shape[1:])
        if left_out := randaugment.left_out_text(settings.strong_ops, images.shape[-1]):
            warnings.warn(left_out, stacklevel=2)
    else:
        made = _own_views(views)
    sets = {
        name: ImageSet((ArrayImages if views is None else _Arrays)(x), np.arange(len(x)), y, size)
        for name, (x, y, size) in both.items()
    }
    if base is not None:
        method_settings(base, "none", {})
    longest, _, size = both.get(UNLABELED, both[LABELED])
    steps = steps_per_epoch or math.ceil(len(longest) / size)
    return Batches(sets, made, steps, seed, base, int(labels.max()) + 1, views is None)


def _images(name: str, images: Any, labels: Any, without_labels: bool = False) -> tuple[np.ndarray, Any]:
    """The images as an array [N, H, W, C] with at least one, and their labels."""
    if isinstance(images, tf.data.Dataset):
        if labels is not None:
            raise ValueError(f"{name} is a tf.data set, whose elements have their labels: leave out y")
        images, labels = _read(name, images, without_labels)
    images = np.asarray(images)
    if images.ndim != 4 or not len(images) or not (np.issubdtype(images.dtype, np.number)):
        hint = " (a channel axis is missing: images[..., None])" if images.ndim == 3 else ""
        raise ValueError(f"{name} must be images [N, H, W, C], got {images.dtype} {list(images.shape)}{hint}")
    if labels is None and not without_labels:
        raise ValueError(f"{name} needs labels: y_labeled")
    return images, labels


def _read(name: str, dataset: tf.data.Dataset, without_labels: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """All of a tf.data set of single images, or pairs of them with labels."""
    images, labels, total = [], [], 0
    for element in dataset.as_numpy_iterator():
        pair = isinstance(element, tuple)
        if not (pair and len(element) == 2) and not (without_labels and not pair):
            raise ValueError(f"the elements of {name} must be {'images or ' if without_labels else ''}(image, label)")
        image = element[0] if pair else element
        if np.ndim(image) != 3:
            raise ValueError(
                f"the elements of {name} must be single images [H, W, C], got {list(np.shape(image))}: unbatch() gives "
                "them of batches"
            )
        total += image.nbytes
        if total > _MOST_BYTES:
            raise ValueError(
                f"{name} takes more than {_MOST_BYTES // 2**30} GiB as an array: give fit a tf.data set of batches"
            )
        images.append(image)
        labels.append(element[1] if pair else -1)
    if len({image.shape for image in images}) > 1:
        raise ValueError(f"the images of {name} must be of one size: resize them first")
    return np.stack(images) if images else np.zeros((0, 0, 0, 0)), np.array(labels)


def _augment(given: Mapping[str, Any]) -> AugmentConfig:
    known = [field.name for field in dataclasses.fields(AugmentConfig)]
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"unknown setting {', '.join(unknown)} in augment; it has {', '.join(known)}")
    values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in given.items()}
    try:
        return AugmentConfig(**values)
    except ValueError as error:
        raise ValueError(f"augment: {error}") from error


def _own_views(views: Mapping[str, View_]) -> Views:
    if not isinstance(views, Mapping) or not set(views) >= {"weak", "strong"} or set(views) - {"weak", "strong"}:
        raise ValueError('views must be {"weak": function, "strong": function}')
    weak, strong = (_own_view(name, views[name]) for name in ("weak", "strong"))
    return Views(plain=weak, weak=weak, strong=strong)


def _own_view(name: str, function: View_) -> View:
    """A view by a function of images, and of a seed if it takes a second positional argument without a default."""
    if not callable(function):
        raise ValueError(f"the {name} view must be a function of images, got {type(function).__name__}")
    try:
        parameters = [
            p
            for p in inspect.signature(function).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
        ]
    except ValueError:  # Of a function in C, which tells nothing.
        parameters = []
    seeded = len(parameters) == 2

    def apply(images: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
        seed = tf.cast(random[0] * _SEED_BITS, tf.int32)
        seen = tf.convert_to_tensor(function(images, seed) if seeded else function(images))
        if not seen.dtype.is_floating or seen.shape.rank != 4:
            raise ValueError(
                f"the {name} view must return float images [n, H, W, C], got {seen.dtype.name} {seen.shape.as_list()}"
            )
        return tf.ensure_shape(tf.cast(seen, tf.float32), [images.shape[0], *seen.shape[1:]])

    return View(_SEED_UNIFORMS, apply)
