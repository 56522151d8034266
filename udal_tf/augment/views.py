"""The three views of an image that learners ask for: plain, weak and strong (u^weak, u^strong in UDAL Eq. 5).

A view is a pure function of uint8 images and uniform random numbers, so it is as reproducible as those numbers. Source:
CReST data/augment.py ("dh", "dhrac") and data/augment_ops.py. Departure: CReST converts images to float and truncates
them back to uint8 before RandAugment, which makes 47 of the 256 values one too dark in the strong view; here they
remain uint8 and keep their values.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from udal_tf.augment import randaugment, warp
from udal_tf.augment.checks import checked
from udal_tf.sections import AugmentConfig

CROP_FLIP_UNIFORMS = 3
# What `fetch_crops` takes per image where a view is given random-resized crops.
CROP_UNIFORMS = 4
CUTOUT_UNIFORMS = 2

# x · 2/255 - 1 with one rounding instead of two: (x - 127.5) is exact, which leaves the compiler nothing to fuse.
MIDDLE = 127.5
SCALE = 2.0 / 255.0


@dataclasses.dataclass(frozen=True)
class View:
    """How to make one view of an image.

    uniforms: how many uniform random numbers in [0, 1) it needs per image.
    crops: whether `apply` is given random-resized crops instead of whole images; the first CROP_UNIFORMS of the
      uniforms then choose the crop and `apply` takes the others.
    apply: maps images [B, H, W, C] uint8 and uniforms [B, uniforms] float32 to [B, H, W, C] float32 in [-1, 1]. Row i
      of the result depends on row i of the arguments alone, bit for bit.
    """

    uniforms: int
    apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    crops: bool = False


@dataclasses.dataclass(frozen=True)
class Views:
    """The views of a run.

    plain: normalized only.
    weak: cropped and flipped.
    strong: weak, then RandAugment, then cutout.
    """

    plain: View
    weak: View
    strong: View


def normalize(images: tf.Tensor) -> tf.Tensor:
    """uint8 to float32 in [-1, 1].

    Example:
      >>> print(normalize(tf.constant([0, 51, 255], tf.uint8)).numpy().round(4))
      [-1.  -0.6  1. ]
    """
    return (tf.cast(images, tf.float32) - MIDDLE) * SCALE


def crop_flip_choices(uniforms: tf.Tensor, padding: int, flip: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """From [B, 3] uniforms: the crop's top and left, int32 in 0…2 · padding, and whether to flip, which half do."""
    positions = 2 * padding + 1
    top, left = (tf.minimum(tf.cast(uniforms[:, axis] * positions, tf.int32), positions - 1) for axis in (0, 1))
    return top, left, (uniforms[:, 2] < 0.5) & flip


def cutout_bounds(uniform: tf.Tensor, size: int, fraction: float) -> tuple[tf.Tensor, tf.Tensor]:
    """From [B] uniforms: the first masked row (or column) and the first one past them, [B] float32 in [0, size].

    The center is round(size · u), so both ends of the side are half as likely as any position between them. The square
    extends floor(size · fraction / 2) to either side and is clipped to the image.
    """
    center = tf.round(uniform * size)
    half = _cutout_half(size, fraction)
    return tf.maximum(center - half, 0.0), tf.minimum(center + half, float(size))


def keep_mask(uniforms: tf.Tensor, shape: tuple[int, int, int], fraction: float) -> tf.Tensor:
    """From [B, 2] uniforms: [B, H, W, C] float32, 0 in the cutout square and 1 elsewhere."""
    height, width, channels = shape
    rows = tf.reshape(tf.range(height, dtype=tf.float32), [1, height, 1, 1])
    columns = tf.reshape(tf.repeat(tf.range(width, dtype=tf.float32), channels), [1, 1, width, channels])
    inside = []
    for axis, position, size in ((0, rows, height), (1, columns, width)):
        first, end = cutout_bounds(tf.reshape(uniforms[:, axis], [-1, 1, 1, 1]), size, fraction)
        inside.append(tf.cast((position >= first) & (position < end), tf.float32))
    return 1.0 - inside[0] * inside[1]


def make_views(config: AugmentConfig, height: int, width: int, channels: int, static_shapes: bool = False) -> Views:
    """The views of images of one size.

    Args:
        config: the augmentation section: crop and flip (weak and strong view), RandAugment and cutout.
        height: of every image.
        width: of every image.
        channels: of every image; unless it is 1 or 3, RandAugment does without the operations that mix colors (see
          `randaugment.for_channels`).
        static_shapes: see `randaugment.rand_augment`.

    Returns:
        Views whose `apply` takes uint8 [B, height, width, channels].

    Raises:
        ValueError: for a setting that is out of range or does not fit the image size.
    """
    _check(config, height, width, channels)
    resized = config.crop == "resized"
    padding, layers = 0 if resized else config.crop_padding, config.strong_layers
    strong_uniforms = (CROP_FLIP_UNIFORMS, layers * randaugment.UNIFORMS_PER_LAYER, CUTOUT_UNIFORMS)

    def checked_images(images):
        return checked("images", images, tf.uint8, [None, height, width, channels])

    def crop_flip(images, uniforms):
        return warp.crop_flip(checked_images(images), *crop_flip_choices(uniforms, padding, config.flip), padding)

    def plain(images, uniforms):
        checked("uniforms", uniforms, tf.float32, [None, 0])
        return normalize(checked_images(images))

    def weak(images, uniforms):
        return normalize(crop_flip(images, checked("uniforms", uniforms, tf.float32, [None, CROP_FLIP_UNIFORMS])))

    def strong(images, uniforms):
        uniforms = checked("uniforms", uniforms, tf.float32, [None, sum(strong_uniforms)])
        for_crop, for_layers, for_cutout = tf.split(uniforms, strong_uniforms, axis=1)
        images = randaugment.rand_augment(
            crop_flip(images, for_crop),
            for_layers,
            config.strong_ops,
            layers,
            config.strong_probability,
            static_shapes,
            config.max_translation,
        )
        if config.cutout == 0:
            return normalize(images)
        return normalize(images) * keep_mask(for_cutout, (height, width, channels), config.cutout)

    extra = CROP_UNIFORMS if resized else 0
    return Views(
        plain=View(0, plain),
        weak=View(CROP_FLIP_UNIFORMS + extra, weak, resized),
        strong=View(sum(strong_uniforms) + extra, strong, resized),
    )


def _check(config: AugmentConfig, height: int, width: int, channels: int) -> None:
    if channels < 1:
        raise ValueError(f"views need images with at least one channel, got {channels}")
    if config.crop == "pad" and not 0 <= config.crop_padding < min(height, width):
        raise ValueError(
            f"crop_padding reflects the image, so it must be at least 0 and less than the shorter side of "
            f"{height} x {width}, got {config.crop_padding}"
        )
    randaugment.check_settings(config.strong_ops, config.strong_layers, config.strong_probability, channels)
    if not 0.0 <= config.cutout <= 1.0:
        raise ValueError(f"cutout is a fraction of the side and must be in [0, 1], got {config.cutout}")
    if config.cutout > 0 and _cutout_half(min(height, width), config.cutout) < 1:
        raise ValueError(
            f"cutout={config.cutout} of {height} x {width} pixels is less than two pixels and would mask nothing: "
            f"use 0 or at least {2 / min(height, width):g}"
        )


def _cutout_half(size: int, fraction: float) -> float:
    return size * fraction // 2
