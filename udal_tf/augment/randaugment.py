"""RandAugment as CReST runs it, with each operation applied to a whole batch at once.

Source: CReST data/augment_ops.py and third_party/rand_augment.py. Departures: images may have any number of channels,
unless it is 1 or 3 without Color (`for_channels`); the largest translation is 10/32 of the side at every size unless
set otherwise. That equals CReST's at 32, 96 and 128 pixels (it takes 100 pixels at 256, and 0.3 of the side, truncated
to an integer, at other sizes).
"""

from collections.abc import Sequence

import tensorflow as tf

from udal_tf.augment import photometric, warp
from udal_tf.augment.checks import checked

# Per layer and image: which op, whether to apply it, level, sign.
UNIFORMS_PER_LAYER = 4

_PLAIN = {
    "AutoContrast": photometric.autocontrast,
    "Equalize": photometric.equalize,
    "Invert": photometric.invert,
    "Identity": tf.identity,
}
_LEVELED = {
    "Posterize": photometric.posterize,
    "Solarize": photometric.solarize,
    "SolarizeAdd": photometric.solarize_add,
    "Color": photometric.color,
    "Contrast": photometric.contrast,
    "Brightness": photometric.brightness,
    "Sharpness": photometric.sharpness,
}
_GEOMETRIC = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
OPS = (*_PLAIN, *_LEVELED, *_GEOMETRIC)
# Blends with a gray image: the identity on one channel, and without meaning where three are not red, green and blue.
_OF_COLORS = ("Color",)
_CHANNELS_WITH_GRAY = (1, photometric.RGB)

_MAX_DEGREES = 30.0
_MAX_SHEAR = 0.3
# Largest translation as a fraction of the side.
MAX_TRANSLATION = 10.0 / 32.0


def apply_op(
    images: tf.Tensor,
    op: str,
    level: tf.Tensor | float,
    sign: tf.Tensor | float,
    max_translation: float = MAX_TRANSLATION,
) -> tf.Tensor:
    """One operation on every image of a batch.

    Args:
        images: [B, H, W, C] uint8; H, W and C static.
        op: one of OPS; Color only for 1 or 3 channels.
        level: [B] or scalar in [0, 1], the strength; AutoContrast, Equalize, Invert and Identity ignore it.
        sign: [B] or scalar, 1 or -1: the direction of Rotate, ShearX, ShearY, TranslateX and TranslateY.
        max_translation: of TranslateX and TranslateY at level 1, as a fraction of the side.

    Returns:
        [B, H, W, C] uint8.

    Raises:
        ValueError: for an unknown op, Color on other numbers of channels, or images of another dtype or shape.
    """
    images = _checked_images(images)
    check_ops((op,))
    if not for_channels((op,), images.shape[-1]):
        raise ValueError(f"{op} needs images with 1 or 3 channels, got {images.shape[-1]}")
    level = tf.broadcast_to(tf.cast(level, tf.float32), tf.shape(images)[:1])
    if op in _GEOMETRIC:
        amount = level * tf.cast(sign, tf.float32)
        return warp.affine(images, amount[:, tf.newaxis] * tf.constant(_largest_motion(op, images, max_translation)))
    return _apply_photometric(images, op, tf.reshape(level, [-1, 1, 1, 1]))


def layer_choices(
    uniforms: tf.Tensor, num_ops: int, probability: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The random choices of one layer for each image.

    Args:
        uniforms: [B, 4] float32, uniform in [0, 1).
        num_ops: number of operations to choose from.
        probability: that the chosen operation is applied.

    Returns:
        The op, int32 uniform over 0…num_ops-1; whether it is applied, bool; its level, uniform in [0, 1); its sign,
        1.0 or -1.0 with equal probability. All [B] and independent of one another.
    """
    which, applies, level, sign = tf.unstack(uniforms, num=UNIFORMS_PER_LAYER, axis=1)
    # For some num_ops float32 rounds the product with the largest uniform up to num_ops itself.
    op = tf.minimum(tf.cast(which * float(num_ops), tf.int32), num_ops - 1)
    return op, applies < probability, level, tf.where(sign < 0.5, -1.0, 1.0)


def rand_augment(
    images: tf.Tensor,
    uniforms: tf.Tensor,
    ops: Sequence[str] = OPS,
    layers: int = 2,
    probability: float = 0.5,
    static_shapes: bool = False,
    max_translation: float = MAX_TRANSLATION,
) -> tf.Tensor:
    """Applies `layers` randomly chosen operations to each image.

    Args:
        images: [B, H, W, C] uint8; H, W and C static.
        uniforms: [B, layers · UNIFORMS_PER_LAYER] float32, uniform in [0, 1), see layer_choices.
        ops: the operations to choose from, a subset of OPS; those of them that `for_channels` keeps are used.
        layers: number of operations per image.
        probability: that a chosen operation is applied.
        static_shapes: False groups the images by operation, for the least work; True applies every operation to
          every image and selects, so that no shape depends on values, as TPUs need. The pixels are the same.
        max_translation: of TranslateX and TranslateY at level 1, as a fraction of the side.

    Returns:
        [B, H, W, C] uint8. Row i depends on row i of images and uniforms alone, bit for bit.

    Raises:
        ValueError: for unknown ops, settings out of range, or images or uniforms of another dtype or shape.
    """
    images = _checked_images(images)
    check_settings(ops, layers, probability, images.shape[-1])
    ops = for_channels(ops, images.shape[-1])
    uniforms = checked("uniforms", uniforms, tf.float32, [images.shape[0], layers * UNIFORMS_PER_LAYER])
    for layer in range(layers):
        columns = uniforms[:, layer * UNIFORMS_PER_LAYER : (layer + 1) * UNIFORMS_PER_LAYER]
        apply_layer = _apply_layer_everywhere if static_shapes else _apply_layer
        choices = layer_choices(columns, len(ops), probability)
        largest = [_largest_motion(name, images, max_translation) for name in ops]
        images = apply_layer(images, ops, largest, *choices)
    return images


def check_ops(ops: Sequence[str]) -> None:
    """Raises ValueError for a name that is not in OPS."""
    for op in ops:
        if op not in OPS:
            raise ValueError(f"RandAugment operations must be among {', '.join(OPS)}, got {op!r}")


def for_channels(ops: Sequence[str], channels: int) -> tuple[str, ...]:
    """The operations that have a meaning for images with this number of channels: without Color unless it is 1 or 3.

    Example:
      >>> for_channels(("Color", "Contrast", "Rotate"), channels=13)
      ('Contrast', 'Rotate')
    """
    return tuple(op for op in ops if channels in _CHANNELS_WITH_GRAY or op not in _OF_COLORS)


def left_out_text(ops: Sequence[str], channels: int) -> str:
    """A sentence that names what `for_channels` leaves out; empty if that is nothing."""
    left_out = ", ".join(dict.fromkeys(op for op in ops if op not in for_channels(ops, channels)))
    return left_out and f"RandAugment leaves out {left_out}, which mixes colors: the images have {channels} channels"


def check_settings(ops: Sequence[str], layers: int, probability: float, channels: int = photometric.RGB) -> None:
    """Raises ValueError for settings that `rand_augment` would refuse for images with this number of channels."""
    check_ops(ops)
    if layers < 0:
        raise ValueError(f"the number of RandAugment layers must be at least 0, got {layers}")
    if layers > 0 and not ops:
        raise ValueError(f"RandAugment needs at least one operation for its {layers} layers, got none")
    if layers > 0 and not for_channels(ops, channels):
        raise ValueError(
            f"{', '.join(dict.fromkeys(ops))} needs images with 1 or 3 channels, and these have {channels}: name "
            "another operation"
        )
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"the probability of a RandAugment operation must be in [0, 1], got {probability}")


def _apply_layer(images, ops, largest, op, applied, level, sign):
    """Partitions the images into groups, changes each group at once and scatters the results back.

    There is one group per photometric operation, one for all geometric ones (a single warp with different
    parameters), and a last one for unchanged images.
    """
    photometric_ops = [name for name in dict.fromkeys(ops) if name != "Identity" and name not in _GEOMETRIC]
    geometric, unchanged = len(photometric_ops), len(photometric_ops) + 1
    group_of_op = [
        photometric_ops.index(name) if name in photometric_ops else geometric if name in _GEOMETRIC else unchanged
        for name in ops
    ]
    group = tf.where(applied, tf.gather(group_of_op, op), unchanged)
    motion = (level * sign)[:, tf.newaxis] * tf.gather(largest, op)

    def grouped(values):
        return tf.dynamic_partition(values, group, unchanged + 1)

    parts, levels = grouped(images), grouped(tf.reshape(level, [-1, 1, 1, 1]))
    changed = [_apply_photometric(parts[number], name, levels[number]) for number, name in enumerate(photometric_ops)]
    changed.append(warp.affine(parts[geometric], grouped(motion)[geometric]))
    rows = tf.concat(grouped(tf.range(tf.shape(images)[0]))[:unchanged], axis=0)
    return tf.tensor_scatter_nd_update(images, rows[:, tf.newaxis], tf.concat(changed, axis=0))


def _apply_layer_everywhere(images, ops, largest, op, applied, level, sign):
    """As `_apply_layer`, computing every operation on every image and selecting."""
    motion = (level * sign)[:, tf.newaxis] * tf.gather(largest, op)
    result = images
    for name in dict.fromkeys(ops):
        if name == "Identity" or name in _GEOMETRIC:
            continue
        chosen = applied & tf.reduce_any([op == i for i, other in enumerate(ops) if other == name], axis=0)
        changed = _apply_photometric(images, name, tf.reshape(level, [-1, 1, 1, 1]))
        result = tf.where(tf.reshape(chosen, [-1, 1, 1, 1]), changed, result)
    moving = applied & tf.gather([name in _GEOMETRIC for name in ops], op)
    return tf.where(tf.reshape(moving, [-1, 1, 1, 1]), warp.affine(images, motion), result)


def _apply_photometric(images, op, level):
    return _PLAIN[op](images) if op in _PLAIN else _LEVELED[op](images, level)


def _largest_motion(op, images, max_translation):
    """The motion (see warp.affine) of a geometric op at level 1 and sign 1; zeros for other ops."""
    _, height, width, _ = images.shape
    return {
        "Rotate": (_MAX_DEGREES, 0.0, 0.0, 0.0, 0.0),
        "ShearX": (0.0, _MAX_SHEAR, 0.0, 0.0, 0.0),
        "ShearY": (0.0, 0.0, _MAX_SHEAR, 0.0, 0.0),
        "TranslateX": (0.0, 0.0, 0.0, max_translation * width, 0.0),
        "TranslateY": (0.0, 0.0, 0.0, 0.0, max_translation * height),
    }.get(op, (0.0, 0.0, 0.0, 0.0, 0.0))


def _checked_images(images):
    images = checked("images", images, tf.uint8, [None, None, None, None])
    _, height, width, channels = images.shape
    if not (height and width and channels):
        raise ValueError(f"images must have a static height, width and number of channels, got {images.shape}")
    return images
