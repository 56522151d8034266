"""Operations that change the photometric of an image and move nothing: the photometric ops of RandAugment.

All take a batch of uint8 images [B, H, W, C] with 1 or 3 channels and give one of the same shape; level is
[B, 1, 1, 1] float32 in [0, 1]. They follow CReST third_party/augment_ops.py, value for value.
"""

import tensorflow as tf

from udal_tf.augment.exact import product, to_uint8

# Luma weights of ITU-R BT.601 as tf.image.rgb_to_grayscale has them, with its way to and from [0, 1].
_LUMA = (0.2989, 0.5870, 0.1140)
_TO_UNIT = 1.0 / 255.0
_FROM_UNIT = 255.5

# The smoothing kernel of the Python Imaging Library: 5 in the center, 1 around, over 13.
_SMOOTH_CENTRE = 5.0 / 13.0
_SMOOTH_AROUND = 1.0 / 13.0

_VALUES = 256
_SOLARIZE_ADD_BELOW = 128


def invert(images: tf.Tensor) -> tf.Tensor:
    """255 - x."""
    return 255 - images


def posterize(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Keeps the int(4 · level) top bits, at least one."""
    bits = tf.maximum(tf.cast(level * 4.0, tf.int32), 1)
    mask = 256 - tf.bitwise.left_shift(1, 8 - bits)
    return tf.bitwise.bitwise_and(images, tf.cast(mask, tf.uint8))


def solarize(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Inverts the values from int(256 · level) up; 256 counts as 255."""
    threshold = tf.minimum(tf.cast(level * 256.0, tf.int32), 255)
    above = images >= tf.cast(threshold, tf.uint8)
    return tf.bitwise.bitwise_xor(images, tf.cast(above, tf.uint8) * 255)


def solarize_add(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Adds int(110 · level) to the values below 128; none of them can pass 255."""
    addition = tf.cast(tf.cast(level * 110.0, tf.int32), tf.uint8)
    return images + tf.cast(images < _SOLARIZE_ADD_BELOW, tf.uint8) * addition


def brightness(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Away from black by the enhance factor."""
    return to_uint8(_enhance_factor(level) * tf.cast(images, tf.float32))


def contrast(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Away from the image's mean gray, rounded to a whole value, by the enhance factor."""
    _, height, width, _ = images.shape
    total = tf.reduce_sum(tf.cast(gray(images), tf.int32), axis=[1, 2, 3], keepdims=True)
    mean = tf.cast(total, tf.float32) / float(height * width)
    return _blend(tf.floor(mean + 0.5), images, level)


def color(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Away from the gray version of the image by the enhance factor."""
    return _blend(tf.broadcast_to(tf.cast(gray(images), tf.float32), tf.shape(images)), images, level)


def sharpness(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Away from the smoothed image by the enhance factor; the outermost pixels stay."""
    _, height, width, _ = images.shape
    values = tf.cast(images, tf.float32)
    center, around = product(values, _SMOOTH_CENTRE), product(values, _SMOOTH_AROUND)
    # Row by row from the top left: a sum in another order can fall on the other side of a whole value.
    smooth = None
    for row in range(3):
        for column in range(3):
            weighted = center if (row, column) == (1, 1) else around
            term = weighted[:, row : height - 2 + row, column : width - 2 + column]
            smooth = term if smooth is None else smooth + term
    inner = _blend(tf.floor(smooth), images[:, 1:-1, 1:-1], level)
    middle = tf.concat([images[:, 1:-1, :1], inner, images[:, 1:-1, -1:]], axis=2)
    return tf.concat([images[:, :1], middle, images[:, -1:]], axis=1)


def autocontrast(images: tf.Tensor) -> tf.Tensor:
    """Stretches each channel so that its darkest value becomes 0 and its brightest 255; a flat channel stays."""
    low = tf.cast(tf.reduce_min(images, axis=[1, 2], keepdims=True), tf.float32)
    high = tf.cast(tf.reduce_max(images, axis=[1, 2], keepdims=True), tf.float32)
    flat = high <= low
    scale = tf.where(flat, 1.0, 255.0 / (high - low))
    offset = tf.where(flat, 0.0, product(-low, scale))
    # A whole row of each: TensorFlow is slow where the innermost dimension that it repeats along is short.
    one_row = tf.ones([1, 1, images.shape[2], 1])
    return to_uint8(product(tf.cast(images, tf.float32), scale * one_row) + offset * one_row)


def equalize(images: tf.Tensor) -> tf.Tensor:
    """Replaces each value by its rank in its channel, spread over [0, 255].

    With step = (pixels - pixels of the brightest value) // 255 a value v becomes
    (pixels darker than v + step // 2) // step; a channel with step 0 stays.
    """
    _, _, width, channels = images.shape
    count = tf.shape(images)[0]
    # Value v of channel c of image i is entry (i * C + c) * 256 + v of all histograms laid end to end.
    channel_start = tf.tile(tf.range(channels) * _VALUES, [width])
    image_start = tf.reshape(tf.range(count) * (channels * _VALUES), [-1, 1, 1, 1])
    entry = tf.cast(images, tf.int32) + tf.reshape(channel_start, [width, channels]) + image_start
    histogram = tf.math.unsorted_segment_sum(tf.ones_like(entry), entry, count * (channels * _VALUES))
    histogram = tf.reshape(histogram, [-1, channels, _VALUES])
    darker = tf.cumsum(histogram, axis=-1, exclusive=True)
    # All pixels but its own are darker than the brightest value present.
    step = tf.reduce_max(tf.where(histogram > 0, darker, 0), axis=-1, keepdims=True) // 255
    ranks = tf.minimum((darker + step // 2) // tf.maximum(step, 1), 255)
    table = tf.where(step > 0, ranks, tf.range(_VALUES))
    return tf.gather(tf.reshape(tf.cast(table, tf.uint8), [-1]), entry)


def gray(images: tf.Tensor) -> tf.Tensor:
    """[B, H, W, 1] uint8 luma; a one-channel image is its own, and equal channels keep their value."""
    if images.shape[-1] == 1:
        return images
    channels = tf.unstack(tf.cast(images, tf.float32) * _TO_UNIT, axis=-1)
    red, green, blue = (product(channel, weight) for channel, weight in zip(channels, _LUMA, strict=True))
    return tf.cast((red + green + blue) * _FROM_UNIT, tf.uint8)[..., tf.newaxis]


def _enhance_factor(level: tf.Tensor) -> tf.Tensor:
    """0.1 at level 0, 1.9 at level 1: 1 changes nothing, less is nearer to the degenerate image."""
    return product(level, 1.8) + 0.1


def _blend(degenerate: tf.Tensor, images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """degenerate + factor · (image - degenerate), degenerate in whole values as float32."""
    difference = tf.cast(images, tf.float32) - degenerate
    return to_uint8(degenerate + product(difference, _enhance_factor(level)))
