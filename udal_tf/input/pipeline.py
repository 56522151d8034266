"""From images, positions and views to training batches: a `tf.data` pipeline whose only state is the step.

A base learner names the views it wants (`ViewRequest`); each becomes one entry of the batch, a dict of tensors:

- its key, e.g. "x_l", "x_w", "x_s": float32 [B or U, H, W, C] in [−1, 1];
- "pair_<key>" int64 and "mix_<key>" float32, for a base learner that mixes: each image's partner in MixUp, as an index
  into the concatenated views of the global batch, and its sample of Beta(a, a);
- "rows_l", "rows_u": int64, each image's index into its set's positions;
- "rotations_u": [U] int64, 0…3, multiples of 90° for a base learner that rotates: each for a quarter of the batch;
- "labels_l": [B] int64; "labels_u": [U] int64, true labels for monitoring alone, −1 where unknown.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf.augment.rotations import NUM_ROTATIONS
from udal_tf.augment.views import CROP_UNIFORMS
from udal_tf.data.dataset import without_tuning
from udal_tf.input import stream

Batch = dict[str, tf.Tensor]
Requests = Sequence[tuple[str, str, str]]

LABELED = "labeled"
UNLABELED = "unlabeled"
# Stream numbers: one for the order of each set, then one per requested view for its random numbers.
_ORDER_STREAM = {LABELED: 0, UNLABELED: 1}
_FIRST_VIEW_STREAM = 2
_SUFFIX = {LABELED: "l", UNLABELED: "u"}
# Prefixes of the keys that `BatchMaker.images` passes to `with_views`.
_RAW = ("images_", "crops_", "uniforms_")


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A set of images that batches are sampled from.

    images: with `fetch` and `fetch_crops`.
    positions: [n] int64, which of the images.
    labels: [n] int64, one per position.
    batch_size: over all replicas.
    first: where step 0 would begin in the order of the images (`stream.indices`).
    by_class: for batches that show every class equally often; None for the images as they are.
    """

    images: Any
    positions: np.ndarray | tf.Tensor
    labels: np.ndarray | tf.Tensor
    batch_size: int
    first: int = 0
    by_class: stream.ByClass | None = None

    def __post_init__(self) -> None:
        # As tensors: arrays would be embedded in each graph as constants, several times for a million images.
        for name in ("positions", "labels"):
            object.__setattr__(self, name, tf.constant(getattr(self, name), tf.int64))

    def balanced(self) -> "ImageSet":
        """The same set, sampled so that every class is shown equally often."""
        return dataclasses.replace(self, by_class=stream.ByClass.of(np.asarray(self.labels)))

    def rows(self, step: tf.Tensor, seed: int, order: int) -> tf.Tensor:
        """[batch_size] int64: which of the positions the batch of a step has; order: the number of its stream."""
        if self.by_class is not None:
            return self.by_class.indices(step, self.batch_size, seed, order)
        return stream.indices(step, self.batch_size, len(self.positions), seed, order, self.first)


@dataclasses.dataclass(frozen=True)
class ReplicaSlice:
    """The part of each global batch that one replica sees: the `number`-th (from 0) of `count` equal slices."""

    number: int | tf.Tensor = 0
    count: int = 1

    def of(self, values: tf.Tensor) -> tf.Tensor:
        """This replica's slice of values [n, …]: [n / count, …]."""
        if self.count == 1:
            return values
        return tf.reshape(values, [self.count, values.shape[0] // self.count, *values.shape[1:]])[self.number]


WHOLE = ReplicaSlice()


@dataclasses.dataclass(frozen=True)
class BatchMaker:
    """Everything that determines the batches of a run, except the step.

    sets: "labeled" and, if the base learner uses it, "unlabeled".
    requests: (key, set, view) for each image tensor: ("x_s", "unlabeled", "strong"). Views of the same set are of
      the same images.
    views: an object with the views by name, each with `uniforms`, `crops` and `apply`.
    seed: the run's seed.
    mixup_beta: a of MixUp's Beta(a, a); None for a base learner that does not mix.

    A batch comes in three stages, so that each can run where it is best: `orders` on the host, the only place where
    its shuffle has a kernel; `images` where the images are stored; `with_views` there or on the device that trains.
    """

    sets: dict[str, ImageSet]
    requests: Requests
    views: Any
    seed: int
    mixup_beta: float | None = None

    @property
    def images_per_step(self) -> int:
        """Images per step over all replicas, each view counted."""
        return sum(self.sets[of_set].batch_size for _, of_set, _ in self.requests)

    def __call__(self, step: tf.Tensor, replica: ReplicaSlice = WHOLE) -> Batch:
        """A replica's slice of the batch of a step (scalar int64): a pure function of both arguments."""
        return self.with_views(self.images(step, self.orders(step), replica))

    def orders(self, step: tf.Tensor) -> Batch:
        """Which images the global batch holds, as indices into their sets, and their partners in MixUp."""
        batch = {}
        for name, chosen in self.sets.items():
            batch[f"rows_{_SUFFIX[name]}"] = chosen.rows(step, self.seed, _ORDER_STREAM[name])
        if self.mixup_beta is not None:
            batch["pairs"] = stream.partners(step, self.images_per_step, self.seed, self._mixing_stream)
        return batch

    def images(self, step: tf.Tensor, orders: Batch, replica: ReplicaSlice = WHOLE) -> Batch:
        """The slice's labels, uint8 images and random numbers: "images_l", "uniforms_x_s", … for `with_views`."""
        batch = {}
        for name, chosen in self.sets.items():
            suffix, rows = _SUFFIX[name], replica.of(orders[f"rows_{_SUFFIX[name]}"])
            positions = tf.gather(chosen.positions, rows)
            batch[f"rows_{suffix}"] = rows
            batch[f"labels_{suffix}"] = tf.gather(chosen.labels, rows)
            whole = []
            for number, (key, of_set, kind) in enumerate(self.requests):
                if of_set != name:
                    continue
                view = getattr(self.views, kind)
                random = stream.uniforms(step, chosen.batch_size, view.uniforms, self.seed, _FIRST_VIEW_STREAM + number)
                random = replica.of(random)
                if view.crops:
                    for_crop, random = tf.split(random, [CROP_UNIFORMS, view.uniforms - CROP_UNIFORMS], axis=1)
                    batch[f"crops_{key}"] = chosen.images.fetch_crops(positions, for_crop)
                else:
                    whole.append(key)
                batch[f"uniforms_{key}"] = random
            if whole:
                batch[f"images_{suffix}"] = chosen.images.fetch(positions)
        if UNLABELED in self.sets:
            # The order is random, so the rotation may depend on the index in the batch, as in ReMixMatch's release.
            batch["rotations_u"] = replica.of(tf.range(self.sets[UNLABELED].batch_size, dtype=tf.int64) % NUM_ROTATIONS)
        if self.mixup_beta is not None:
            keys = [key for key, _, _ in self.requests]
            sizes = [self.sets[of_set].batch_size for _, of_set, _ in self.requests]
            weights = stream.beta_weights(step, sum(sizes), self.mixup_beta, self.seed, self._mixing_stream + 1)
            for kind, values in (("pair", orders["pairs"]), ("mix", weights)):
                parts = zip(keys, tf.split(values, sizes), strict=True)
                batch.update({f"{kind}_{key}": replica.of(part) for key, part in parts})
        return batch

    def with_views(self, batch: Batch) -> Batch:
        """The finished batch: the images replaced by the requested views of them."""
        finished = {key: values for key, values in batch.items() if not key.startswith(_RAW)}
        for key, of_set, kind in self.requests:
            view = getattr(self.views, kind)
            images = batch[f"crops_{key}"] if view.crops else batch[f"images_{_SUFFIX[of_set]}"]
            finished[key] = view.apply(images, batch[f"uniforms_{key}"])
        return finished

    @property
    def _mixing_stream(self) -> int:
        return _FIRST_VIEW_STREAM + len(self.requests)


def training_batches(
    batch_of_step: Callable[[tf.Tensor, ReplicaSlice], Batch],
    start_step: int,
    total_steps: int,
    replicas: int = 1,
    first_replica: int = 0,
    own_replicas: int = 1,
    device: str = "",
) -> tf.data.Dataset:
    """The batches of steps start_step…total_steps−1, made in parallel, delivered in order.

    Args:
      batch_of_step: a `BatchMaker`, or a function that runs some of its stages.
      start_step: the first step.
      total_steps: the step to stop before.
      replicas: of the run.
      first_replica: the first one whose slices this process delivers.
      own_replicas: how many replicas it delivers slices for, one after the other.
      device: in whose memory one batch waits, copied there while the one before is used; "": the host's.
    """

    @tf.autograph.experimental.do_not_convert  # No Python branch depends on a tensor, and converting takes seconds.
    def slice_of_element(element: tf.Tensor) -> Batch:
        if replicas == 1:
            return batch_of_step(element, WHOLE)
        number = tf.cast(first_replica + element % own_replicas, tf.int32)
        return batch_of_step(element // own_replicas, ReplicaSlice(number, replicas))

    elements = tf.data.Dataset.range(start_step * own_replicas, total_steps * own_replicas)
    if replicas > 1:
        elements = elements.repeat()  # Multi-worker strategies lose the static shapes of a finite dataset.
    batches = elements.map(slice_of_element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = without_tuning(batches.prefetch(tf.data.AUTOTUNE))
    return batches.apply(tf.data.experimental.prefetch_to_device(device, buffer_size=1)) if device else batches


def evaluation_batches(images: Any, positions: np.ndarray, plain_view: Any, batch_size: int) -> tf.data.Dataset:
    """The images at `positions`, in order, in the plain view: float32 [≤ batch_size, H, W, C], no remainder dropped."""

    @tf.autograph.experimental.do_not_convert  # As for the batches of training.
    def load(at: tf.Tensor) -> tf.Tensor:
        return plain_view.apply(images.fetch(at), tf.zeros([tf.shape(at)[0], 0]))

    dataset = tf.data.Dataset.from_tensor_slices(positions.astype(np.int64)).batch(batch_size)
    return without_tuning(dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))
