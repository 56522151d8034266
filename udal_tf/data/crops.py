"""Random-resized crops as a pure function of four uniform random numbers per image (the ImageNet training view)."""

import math

import tensorflow as tf

# Szegedy et al. 2015: a crop covers 8 to 100 % of the image, with an aspect ratio between 3/4 and 4/3.
MIN_AREA = 0.08
MAX_ASPECT = 4.0 / 3.0
# Below every product that is rounded; see `_product`.
_LOWEST = -1e30


def crop_boxes(heights: tf.Tensor, widths: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """The crops that `uniforms` choose in images of the given sizes.

    log(aspect) is uniform in ±log(4/3); the area is uniform between 8 % and the largest fraction of the image that
    a crop of this aspect can cover, min(1, aspect·H/W, W/(aspect·H)); the corner is uniform among those that fit.
    A departure from the usual rejection sampling, which draws area and aspect together and retries up to ten times
    until the crop fits: here the first attempt always fits, so elongated crops are slightly more frequent.

    Args:
      heights, widths: [n] integer, at least 1.
      uniforms: [n, 4] float32 in [0, 1): aspect, area, row, column.

    Returns:
      [n, 4] int32: top, left, height, width; inside the image, at least one pixel.
    """
    rows, columns = tf.cast(heights, tf.float32), tf.cast(widths, tf.float32)
    aspect = tf.exp((2.0 * uniforms[:, 0] - 1.0) * math.log(MAX_ASPECT))
    shape = aspect * rows / columns
    largest = tf.minimum(shape, 1.0 / shape)
    # In a strip of more than 9 to 1 no such crop covers 8 %: take the largest.
    smallest = tf.minimum(MIN_AREA, largest)
    area = (smallest + uniforms[:, 1] * (largest - smallest)) * rows * columns
    height = tf.clip_by_value(tf.round(tf.sqrt(area / aspect)), 1.0, rows)
    width = tf.clip_by_value(tf.round(tf.sqrt(area * aspect)), 1.0, columns)
    # A uniform just under 1 times a long side may round up to the next corner.
    top = tf.minimum(tf.floor(uniforms[:, 2] * (rows - height + 1.0)), rows - height)
    left = tf.minimum(tf.floor(uniforms[:, 3] * (columns - width + 1.0)), columns - width)
    return tf.cast(tf.stack([top, left, height, width], axis=1), tf.int32)


def crop_and_resize(images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Each image's crop, enlarged to the image's own size, bilinear with half-pixel centers.

    Args:
      images: [n, H, W, C] uint8.
      boxes: [n, 4] int32 as `crop_boxes` returns them.

    Returns:
      [n, H, W, C] uint8; a crop that is the whole image comes back unchanged.
    """
    height, width = images.shape[1], images.shape[2]
    # Half-pixel centers reach half a pixel over the border: one mirrored pixel equals clamping.
    padded = tf.pad(tf.cast(images, tf.float32), [[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")
    top, left, rows, columns = tf.unstack(tf.cast(boxes, tf.float32), axis=1)

    def ends(start: tf.Tensor, length: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        """First and last sampling position in the padded image, as fractions of its last index."""
        step = length / size
        first = start + 0.5 * step + 0.5
        return first / (size + 1), (first + (size - 1) * step) / (size + 1)

    y1, y2 = ends(top, rows, height)
    x1, x2 = ends(left, columns, width)
    count = tf.shape(images)[0]
    resized = tf.image.crop_and_resize(padded, tf.stack([y1, x1, y2, x2], axis=1), tf.range(count), [height, width])
    return tf.cast(tf.round(resized), tf.uint8)


def gathered_crops(images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """As `crop_and_resize`, bit for bit, of operations that XLA can compile, for images that lie on a device.

    TensorFlow's CropAndResize, which is faster on a CPU, has no kernel for XLA. Here the same float32 arithmetic is
    written out: positions, then bilinear interpolation along rows and then along columns. Compilers may join a product
    and a sum, which rounds once instead of twice, or divide by multiplying with a reciprocal, which one pixel in a
    thousand would show; `_product` and `_quotient` leave them no such choice.

    Args:
      images: [n, H, W, C] uint8.
      boxes: [n, 4] int32 as `crop_boxes` returns them.

    Returns:
      [n, H, W, C] uint8.
    """
    padded = tf.pad(tf.cast(images, tf.float32), [[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")
    top, left, rows, columns = tf.unstack(tf.cast(boxes, tf.float32), axis=1)

    def interpolated(values: tf.Tensor, start: tf.Tensor, length: tf.Tensor, axis: int) -> tf.Tensor:
        positions = _positions(start, length, images.shape[axis])
        below = tf.floor(positions)
        near = tf.gather(values, tf.cast(below, tf.int32), axis=axis, batch_dims=1)
        far = tf.gather(values, tf.cast(tf.math.ceil(positions), tf.int32), axis=axis, batch_dims=1)
        part = tf.expand_dims(tf.expand_dims(positions - below, -1), 3 - axis)
        return near + _product(far - near, part)

    return tf.cast(tf.round(interpolated(interpolated(padded, left, columns, 2), top, rows, 1)), tf.uint8)


def _positions(start: tf.Tensor, length: tf.Tensor, size: int) -> tf.Tensor:
    """[n, size] float32: where CropAndResize samples the padded side; `crop_and_resize` has the same formulas."""
    last = size + 1.0
    step = _quotient(length, size)
    first = start + 0.5 * step + 0.5
    low, high = _quotient(first, last), _quotient(first + _product(size - 1.0, step), last)
    if size == 1:
        return (0.5 * (low + high) * last)[:, tf.newaxis]
    between = _quotient((high - low) * last, size - 1)
    numbers = tf.range(size, dtype=tf.float32)
    return _product(low, last)[:, tf.newaxis] + _product(numbers, between[:, tf.newaxis])


def _product(one: tf.Tensor | float, other: tf.Tensor | float) -> tf.Tensor:
    """The product, rounded before anything is added to it."""
    return tf.maximum(one * other, _LOWEST)


def _quotient(values: tf.Tensor, divisor: float) -> tf.Tensor:
    """The quotient by a number that the compiler does not know to be constant; values: not below 0."""
    return values / (tf.minimum(values, 0.0) + divisor)
