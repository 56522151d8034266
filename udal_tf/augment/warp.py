"""Operations that move pixels: a nearest-neighbor affine warp and the random crop and flip, each a single gather.

Gathers, because ImageProjectiveTransformV3, which CReST calls through tensorflow-addons, has no XLA kernel.
"""

import math

import tensorflow as tf

from udal_tf.augment.exact import nearest, product

FILL = 128

# Taylor coefficients of sin(angle)/angle and cos(angle) in the squared angle, highest order first; up to 30° the next
# terms are below float32's resolution. XLA's own sine and cosine differ from TensorFlow's in the last bit.
_SINE_COSINE = ((1 / 362880, 1 / 40320), (-1 / 5040, -1 / 720), (1 / 120, 1 / 24), (-1 / 6, -1 / 2), (1.0, 1.0))


def affine(images: tf.Tensor, motion: tf.Tensor) -> tf.Tensor:
    """Rotates about the center, shears or translates images: nearest neighbor, gray 128 outside the image.

    Output pixel (x, y) is the input pixel nearest to (a·x + b·y + c, d·x + e·y + f), halves away from zero.
    a, b, d, e = cos, shear_x - sin, shear_y + sin, cos; c and f keep the center fixed, then shift.

    Args:
        images: [B, H, W, C] uint8.
        motion: [B, 5] float32: angle in degrees, shear_x, shear_y, shift_x and shift_y in pixels. Only
          one of the three kinds may be nonzero: they are not composed.

    Returns:
        [B, H, W, C] uint8.
    """
    _, height, width, channels = images.shape
    angle, shear_x, shear_y, shift_x, shift_y = tf.split(tf.reshape(motion, [-1, 1, 5]), 5, axis=2)
    sine, cosine = _sine_cosine(product(angle, math.pi / 180.0))
    right, bottom = width - 1.0, height - 1.0
    center_x = (right - (product(cosine, right) - product(sine, bottom))) / 2.0
    center_y = (bottom - (product(sine, right) + product(cosine, bottom))) / 2.0
    x = tf.range(width, dtype=tf.float32)[tf.newaxis, tf.newaxis, :]
    y = tf.range(height, dtype=tf.float32)[tf.newaxis, :, tf.newaxis]
    source_x = product(cosine, x) + product(shear_x - sine, y) + (center_x + shift_x)
    source_y = product(shear_y + sine, x) + product(cosine, y) + (center_y + shift_y)
    inside = (source_x > -0.5) & (source_x < width - 0.5) & (source_y > -0.5) & (source_y < height - 0.5)
    # An extra pixel appended to each image holds the fill value.
    position = tf.where(inside, nearest(source_y) * width + nearest(source_x), height * width)
    position += _first_pixel(images, height * width + 1)[:, :, tf.newaxis]
    pixels = tf.pad(tf.reshape(images, [-1, height * width, channels]), [[0, 0], [0, 1], [0, 0]], constant_values=FILL)
    return tf.gather(tf.reshape(pixels, [-1, channels]), position)


def crop_flip(images: tf.Tensor, top: tf.Tensor, left: tf.Tensor, flip: tf.Tensor, padding: int) -> tf.Tensor:
    """Reflect-pads by `padding`, crops to the original size at (top, left), then mirrors left-right where flip is set.

    Args:
        images: [B, H, W, C] uint8.
        top: [B] int32 in [0, 2 · padding].
        left: [B] int32 in [0, 2 · padding].
        flip: [B] bool.
        padding: less than H and W.

    Returns:
        [B, H, W, C] uint8.
    """
    _, height, width, channels = images.shape
    columns = tf.where(flip[:, tf.newaxis], tf.range(width - 1, -1, -1), tf.range(width))
    columns = _reflect(columns + left[:, tf.newaxis] - padding, width)
    rows = _reflect(tf.range(height) + top[:, tf.newaxis] - padding, height)
    row_starts = rows * width + _first_pixel(images, height * width)
    position = row_starts[:, :, tf.newaxis] + columns[:, tf.newaxis, :]
    return tf.gather(tf.reshape(images, [-1, channels]), position)


def _first_pixel(images: tf.Tensor, pixels: int) -> tf.Tensor:
    """[B, 1]: offset of each image in the flattened pixels of the batch."""
    return tf.range(tf.shape(images)[0])[:, tf.newaxis] * pixels


def _reflect(position: tf.Tensor, size: int) -> tf.Tensor:
    """Mirrors positions at the edge pixels; they may lie up to size - 1 outside."""
    return (size - 1) - tf.abs((size - 1) - tf.abs(position))


def _sine_cosine(angle: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Sine and cosine of angles [B, 1, 1] in radians, by Horner's rule for both at once."""
    squared = product(angle, angle)
    series = tf.constant(_SINE_COSINE[0]) * tf.ones_like(squared)
    for coefficients in _SINE_COSINE[1:]:
        series = product(series, squared) + tf.constant(coefficients)
    return product(angle, series[..., :1]), series[..., 1:]
