"""Images of any size as a network's input, inside an exported graph: what training does to a file's pixels.

A custom dataset's image is cut to its center square and resized as Pillow does it: a triangle filter, first along the
rows and then along the columns, each result rounded. ImageNet-127's is cut to 7/8 of it and resized by TensorFlow's
bicubic filter. Here both are products with a matrix of filter weights for each axis, in operations of Keras itself, so
that a saved model needs no code of this package. They agree with training to one level of 255.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from udal_tf.data import central_view

# What Keras's operations take and return: symbolic while the model is made.
Tensor = Any

LEVELS = 255
# The channels of a decoded file.
RGB = 3
# ITU-R 601-2 as Pillow computes it: red, green and blue in units of 2⁻¹⁶, rounded.
_LUMA = (19595, 38470, 7471)


def resizing(size: int, channels: int, central: bool) -> keras.Model:
    """The network input that training makes of an image, for images of any size.

    Args:
      size: side of the result.
      channels: of the images.
      central: whether the view is that of ImageNet-127, `central_view.center_view`, instead of `decoding.decode`.

    Returns:
      Keras model, float32 [N, H, W, C] with the integers 0 to 255 -> float32 [N, size, size, C], such integers again;
      NaN for an image with any other value, for instance one of 16 bits or one scaled to [0, 1]. Another number of
      channels is refused.
    """
    images = keras.Input((None, None, channels), name="any_size")
    # Ones along an axis count its pixels, whose number is known only when the model runs, also for no images at all.
    rows = ops.max(ops.ones_like(images[:1, :, :1, 0]), axis=(0, 2), initial=1.0)
    columns = ops.max(ops.ones_like(images[:1, :1, :, 0]), axis=(0, 1), initial=1.0)
    height, width = ops.sum(rows), ops.sum(columns)
    short = ops.minimum(height, width)
    if central:
        unchanged = ops.logical_and(ops.equal(height, size), ops.equal(width, size))
        part = ops.maximum(ops.round(ops.multiply(short, central_view.CENTER)), 1.0)
        side = ops.where(unchanged, short, part)
        x = ops.einsum("nhwc,pw->nhpc", images, _bicubic(columns, width, side, size))
        x = ops.einsum("nhpc,qh->nqpc", x, _bicubic(rows, height, side, size))
        x = ops.clip(ops.round(x), 0.0, float(LEVELS))
    else:
        x = _rounded(ops.einsum("nhwc,pw->nhpc", images, _triangle(columns, width, short, size)))
        x = _rounded(ops.einsum("nhpc,qh->nqpc", x, _triangle(rows, height, short, size)))
    # The product with the identity refuses another number of channels, which a convolution may take for groups.
    x = ops.einsum("nhwc,cd->nhwd", ops.multiply(x, _one_or_nan(images)), np.eye(channels, dtype=np.float32))
    return keras.Model(images, x, name="resize")


def gray(images: Tensor) -> Tensor:
    """[…, 3] float32 with integers 0 to 255 -> […, 1], as Pillow converts RGB to L."""
    red, green, blue = (ops.multiply(images[..., c : c + 1], float(_LUMA[c])) for c in range(RGB))
    return ops.floor(ops.divide(red + green + blue + float(1 << 15), float(1 << 16)))


def _rounded(values: Tensor) -> Tensor:
    """Half a level up, as Pillow does it."""
    return ops.floor(ops.add(values, 0.5))


def _one_or_nan(images: Tensor) -> Tensor:
    """[N, 1, 1, 1]: 1, or 0/0 for an image with a value that is no integer from 0 to 255."""
    inside = ops.logical_and(ops.greater_equal(images, 0.0), ops.less_equal(images, float(LEVELS)))
    valid = ops.cast(ops.logical_and(inside, ops.equal(images, ops.floor(images))), "float32")
    valid = ops.min(valid, axis=(1, 2, 3), keepdims=True, initial=1.0)
    return ops.divide(valid, valid)


def _distances(ones: Tensor, start: Tensor, side: Tensor, size: int) -> Tensor:
    """[size, L]: how far each pixel of an axis is from the center of each pixel of the result, in widths of the filter.

    Args:
      ones: [L] ones.
      start, side: scalars, the part of the axis that the result covers.
      size: pixels of the result.
    """
    scale = ops.divide(side, size)
    centers = ops.add(ops.multiply(scale, (np.arange(size, dtype=np.float32) + 0.5)[:, np.newaxis]), start)
    pixels = ops.subtract(ops.cumsum(ones), 0.5)
    # An enlarging filter is as wide as a pixel.
    return ops.divide(ops.abs(ops.subtract(pixels, centers)), ops.maximum(scale, 1.0))


def _triangle(ones: Tensor, length: Tensor, side: Tensor, size: int) -> Tensor:
    """[size, L]: the weights of Pillow's bilinear filter, which also reads beyond the square where there are pixels."""
    start = ops.multiply(ops.subtract(length, side), 0.5)
    return _normalized(ops.relu(ops.subtract(1.0, _distances(ones, start, side, size))))


def _bicubic(ones: Tensor, length: Tensor, side: Tensor, size: int) -> Tensor:
    """[size, L]: the weights of TensorFlow's bicubic filter (Keys, a = −1/2) on the pixels of the square alone."""
    start = ops.floor(ops.multiply(ops.subtract(length, side), 0.5))
    x = _distances(ones, start, side, size)
    near = ops.add(ops.multiply(ops.multiply(ops.subtract(ops.multiply(x, 1.5), 2.5), x), x), 1.0)
    far = ops.add(ops.multiply(ops.subtract(ops.multiply(ops.add(ops.multiply(x, -0.5), 2.5), x), 4.0), x), 2.0)
    weights = ops.where(ops.less(x, 1.0), near, ops.where(ops.less(x, 2.0), far, 0.0))
    pixels = ops.subtract(ops.cumsum(ones), 0.5)
    inside = ops.logical_and(ops.greater(pixels, start), ops.less(pixels, ops.add(start, side)))
    return _normalized(ops.multiply(weights, ops.cast(inside, "float32")))


def _normalized(weights: Tensor) -> Tensor:
    return ops.divide(weights, ops.sum(weights, axis=1, keepdims=True))
