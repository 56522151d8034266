"""Arithmetic whose bits do not depend on the compiler, so that images are the same eagerly, in a graph and under XLA.

XLA fuses `a * b + c` into one instruction that skips the rounding of the product, and merges products by constants.
Once values are truncated to integer pixels, a difference of one bit can become a whole gray level.
"""

import tensorflow as tf

# Far above any pixel, coordinate or angle: the minimum changes no value and only prevents the fusion.
_BEYOND = 1e30
# The largest float32 below 1/2: adding it and truncating rounds halves up, but not the float32 just below 1/2.
_JUST_BELOW_HALF = 0.49999997


def product(a: tf.Tensor, b: tf.Tensor | float) -> tf.Tensor:
    """a · b in float32, rounded to float32 before anything is added to it."""
    return tf.minimum(a * b, _BEYOND)


def to_uint8(values: tf.Tensor) -> tf.Tensor:
    """Pixel values clipped to [0, 255] and truncated toward zero, as in every blend of CReST."""
    return tf.saturate_cast(values, tf.uint8)


def nearest(coordinates: tf.Tensor) -> tf.Tensor:
    """Nearest int32 of coordinates above -1/2, halves away from zero, as in TensorFlow's nearest-neighbor warp."""
    return tf.cast(coordinates + _JUST_BELOW_HALF, tf.int32)
