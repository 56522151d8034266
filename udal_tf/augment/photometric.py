"""The photometric operations of RandAugment, which change pixel values and move no pixel.

All map uint8 images [B, H, W, C] to uint8 images of the same shape; level is [B, 1, 1, 1] float32 in [0, 1]. They
reproduce CReST third_party/augment_ops.py exactly on three channels; on other numbers of channels each channel is
treated as an image of its own, and `color`, which mixes channels, has no meaning beyond one.
"""

import tensorflow as tf

from udal_tf.augment.exact import product, to_uint8

# Luma weights of ITU-R BT.601 and the scaling to and from [0, 1], as in tf.image.rgb_to_grayscale.
_LUMA = (0.2989, 0.5870, 0.1140)
_TO_UNIT = 1.0 / 255.0
_FROM_UNIT = 255.5

# The smoothing kernel of the Python Imaging Library: 5 at the center, 1 around it, divided by 13.
_SMOOTH_CENTER = 5.0 / 13.0
_SMOOTH_AROUND = 1.0 / 13.0

_VALUES = 256
# Channels whose mix by luma weights is gray.
RGB = 3
_SOLARIZE_ADD_BELOW = 128


def invert(images: tf.Tensor) -> tf.Tensor:
    """255 - x."""
    return 255 - images


def posterize(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Keeps the top int(4 · level) bits, at least one."""
    bits = tf.maximum(tf.cast(level * 4.0, tf.int32), 1)
    mask = 256 - tf.bitwise.left_shift(1, 8 - bits)
    return tf.bitwise.bitwise_and(images, tf.cast(mask, tf.uint8))


def solarize(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Inverts values of at least min(int(256 · level), 255)."""
    threshold = tf.minimum(tf.cast(level * 256.0, tf.int32), 255)
    above = images >= tf.cast(threshold, tf.uint8)
    return tf.bitwise.bitwise_xor(images, tf.cast(above, tf.uint8) * 255)


def solarize_add(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Adds int(110 · level) to values below 128; no sum exceeds 255."""
    addition = tf.cast(tf.cast(level * 110.0, tf.int32), tf.uint8)
    return images + tf.cast(images < _SOLARIZE_ADD_BELOW, tf.uint8) * addition


def brightness(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Blend of black and the image by the enhancement factor."""
    return to_uint8(_enhance_factor(level) * tf.cast(images, tf.float32))


def contrast(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Blend of the image's mean gray, rounded to an integer, and the image by the enhancement factor.

    Where the channels are not red, green and blue, each is blended with its own mean.
    """
    _, height, width, channels = images.shape
    values = gray(images) if channels == RGB else images
    total = tf.reduce_sum(tf.cast(values, tf.int32), axis=[1, 2], keepdims=True)
    mean = tf.cast(total, tf.float32) / float(height * width)
    return _blend(tf.floor(mean + 0.5), images, level)


def color(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Blend of the grayscale image and the image by the enhancement factor."""
    return _blend(tf.broadcast_to(tf.cast(gray(images), tf.float32), tf.shape(images)), images, level)


def sharpness(images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Blend of the smoothed image and the image by the enhancement factor; border pixels are unchanged."""
    _, height, width, _ = images.shape
    values = tf.cast(images, tf.float32)
    center, around = product(values, _SMOOTH_CENTER), product(values, _SMOOTH_AROUND)
    # Row by row from the top left: rounding in another order can put the sum on the other side of an integer.
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
    """Stretches the values of each channel to 0…255; a constant channel is unchanged."""
    low = tf.cast(tf.reduce_min(images, axis=[1, 2], keepdims=True), tf.float32)
    high = tf.cast(tf.reduce_max(images, axis=[1, 2], keepdims=True), tf.float32)
    flat = high <= low
    scale = tf.where(flat, 1.0, 255.0 / (high - low))
    offset = tf.where(flat, 0.0, product(-low, scale))
    # A whole row of each: broadcasting along a short innermost dimension is slow in TensorFlow.
    one_row = tf.ones([1, 1, images.shape[2], 1])
    return to_uint8(product(tf.cast(images, tf.float32), scale * one_row) + offset * one_row)


def equalize(images: tf.Tensor) -> tf.Tensor:
    """Histogram equalization of each channel.

    With step = (pixels - pixels of the brightest value) // 255 a value v becomes
    (pixels darker than v + step // 2) // step; a channel with step 0 is unchanged.
    """
    _, _, width, channels = images.shape
    count = tf.shape(images)[0]
    # Value v of channel c of image i is entry (i * C + c) * 256 + v of the concatenated histograms.
    channel_start = tf.tile(tf.range(channels) * _VALUES, [width])
    image_start = tf.reshape(tf.range(count) * (channels * _VALUES), [-1, 1, 1, 1])
    entry = tf.cast(images, tf.int32) + tf.reshape(channel_start, [width, channels]) + image_start
    histogram = tf.math.unsorted_segment_sum(tf.ones_like(entry), entry, count * (channels * _VALUES))
    histogram = tf.reshape(histogram, [-1, channels, _VALUES])
    darker = tf.cumsum(histogram, axis=-1, exclusive=True)
    # Every pixel without the brightest value is darker than it, so the maximum is pixels - pixels of that value.
    step = tf.reduce_max(tf.where(histogram > 0, darker, 0), axis=-1, keepdims=True) // 255
    ranks = tf.minimum((darker + step // 2) // tf.maximum(step, 1), 255)
    table = tf.where(step > 0, ranks, tf.range(_VALUES))
    return tf.gather(tf.reshape(tf.cast(table, tf.uint8), [-1]), entry)


def gray(images: tf.Tensor) -> tf.Tensor:
    """[B, H, W, 1] uint8 luma; a one-channel image is returned as it is, and equal channels keep their value."""
    if images.shape[-1] == 1:
        return images
    channels = tf.unstack(tf.cast(images, tf.float32) * _TO_UNIT, axis=-1)
    red, green, blue = (product(channel, weight) for channel, weight in zip(channels, _LUMA, strict=True))
    return tf.cast((red + green + blue) * _FROM_UNIT, tf.uint8)[..., tf.newaxis]


def _enhance_factor(level: tf.Tensor) -> tf.Tensor:
    """0.1 at level 0, 1.9 at level 1; 1 changes nothing, less is closer to the degenerate image."""
    return product(level, 1.8) + 0.1


def _blend(degenerate: tf.Tensor, images: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """degenerate + factor · (image - degenerate), degenerate holding integers as float32."""
    difference = tf.cast(images, tf.float32) - degenerate
    return to_uint8(degenerate + product(difference, _enhance_factor(level)))
