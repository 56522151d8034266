"""From pictures, positions and views to training batches: a `tf.data` pipeline that holds no state but the step.

A base learner names the views it wants (`ViewRequest`); each becomes one entry of the batch, a dict of tensors:
  its key, e.g. "x_l", "x_w", "x_s": float32 [B or U, H, W, C] in [−1, 1];
  "pair_<key>" int64 and "mix_<key>" float32, for a base learner that mixes: each picture's partner in MixUp, a position
  in all views of the global batch one after the other, and its raw draw of Beta(a, a);
  "rows_l", "rows_u": int64, each picture's place among its set's positions;
  "turns_u": [U] int64, 0…3, quarter turns for a base learner that asks for them: each for a quarter of the batch;
  "labels_l": [B] int64; "labels_u": [U] int64, true labels for monitoring alone, −1 where nobody knows.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf.augment.turns import NUM_TURNS
from udal_tf.augment.views import CROP_DRAWS
from udal_tf.input import stream

Batch = dict[str, tf.Tensor]

LABELED, UNLABELED = "labeled", "unlabeled"
# Numbers of the streams: one for the order of each set, one per requested view for its random numbers.
_ORDER_STREAM = {LABELED: 0, UNLABELED: 1}
_FIRST_VIEW_STREAM = 2


@dataclasses.dataclass(frozen=True)
class PictureSet:
    """One set that batches are drawn from.

    pictures: with `fetch` and `fetch_crops`. positions: [n] int64 in them. labels: [n] int64, one per position.
    batch_size: over all replicas.
    """

    pictures: Any
    positions: np.ndarray
    labels: np.ndarray
    batch_size: int


def make_batch(
    step: tf.Tensor,
    sets: dict[str, PictureSet],
    requests: Sequence[tuple[str, str, str]],
    views: Any,
    seed: int,
    mixup_beta: float | None = None,
) -> Batch:
    """The global batch of one step, a pure function of `step` and `seed`.

    Args:
      step: scalar int64.
      sets: "labeled" and, unless the base learner has no use for it, "unlabeled".
      requests: (key, set, view) for each picture tensor: ("x_s", "unlabeled", "strong"). Views of the same set show
        the same pictures.
      views: an object with the views as attributes, each with `draws`, `crops` and `apply`.
      seed: of the run.
      mixup_beta: a of MixUp's Beta(a, a); None for a base learner that does not mix.
    """
    batch = {}
    for name, suffix in ((LABELED, "l"), (UNLABELED, "u")):
        if name not in sets:
            continue
        chosen = sets[name]
        order = stream.indices(step, chosen.batch_size, len(chosen.positions), seed, _ORDER_STREAM[name])
        positions = tf.gather(tf.constant(chosen.positions, tf.int64), order)
        batch[f"rows_{suffix}"] = order
        batch[f"labels_{suffix}"] = tf.gather(tf.constant(chosen.labels, tf.int64), order)
        own = [
            (number, key, getattr(views, kind)) for number, (key, of_set, kind) in enumerate(requests) if of_set == name
        ]
        whole = None if all(view.crops for _, _, view in own) else chosen.pictures.fetch(positions)
        for number, key, view in own:
            random = stream.draws(step, chosen.batch_size, view.draws, seed, _FIRST_VIEW_STREAM + number)
            if view.crops:
                cut, random = tf.split(random, [CROP_DRAWS, view.draws - CROP_DRAWS], axis=1)
                batch[key] = view.apply(chosen.pictures.fetch_crops(positions, cut), random)
            else:
                batch[key] = view.apply(whole, random)
    if UNLABELED in sets:
        # The order is random already, so a turn may follow from the place in the global batch. ReMixMatch's release.
        batch["turns_u"] = tf.range(sets[UNLABELED].batch_size, dtype=tf.int64) % NUM_TURNS
    if mixup_beta is not None:
        keys = [key for key, _, _ in requests]
        sizes = [sets[of_set].batch_size for _, of_set, _ in requests]
        pairs, draws = stream.mixing(step, sum(sizes), mixup_beta, seed, _FIRST_VIEW_STREAM + len(requests))
        batch.update(zip([f"pair_{key}" for key in keys], tf.split(pairs, sizes), strict=True))
        batch.update(zip([f"mix_{key}" for key in keys], tf.split(draws, sizes), strict=True))
    return batch


def training_batches(batch_of_step: Callable[[tf.Tensor], Batch], start_step: int, total_steps: int) -> tf.data.Dataset:
    """The batches of steps start_step…total_steps−1, made in parallel, delivered in order."""
    steps = tf.data.Dataset.range(start_step, total_steps)
    batches = steps.map(batch_of_step, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.prefetch(tf.data.AUTOTUNE)


def evaluation_batches(pictures: Any, positions: np.ndarray, plain_view: Any, batch_size: int) -> tf.data.Dataset:
    """The pictures at `positions` in order and as they are, float32 [≤ batch_size, H, W, C]; the last batch is kept."""

    def load(at: tf.Tensor) -> tf.Tensor:
        return plain_view.apply(pictures.fetch(at), tf.zeros([tf.shape(at)[0], 0]))

    dataset = tf.data.Dataset.from_tensor_slices(positions.astype(np.int64)).batch(batch_size)
    return dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
