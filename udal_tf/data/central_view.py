"""ImageNet-127's evaluation view of a JPEG or PNG: its center, 7/8 of the short side, resized.

One file with everything in it, because an export gets a copy: the program of its model card then computes the same
pixels as training. It imports NumPy and TensorFlow alone.
"""

import os
import stat

import numpy as np
import tensorflow as tf

# ImageNet's evaluation view: the central 224×224 of an image whose short side is 256 pixels.
CENTER = 224 / 256
CHANNELS = 3
# First bytes of the formats that are read.
JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
DAMAGED = "truncated or damaged"


def foreign(head: bytes) -> str:
    """What is wrong with a JPEG or PNG file by its first bytes, or ""."""
    return "" if head.startswith((JPEG, PNG)) else "neither JPEG nor PNG" if head else "empty"


def decode(path: str | os.PathLike, size: int) -> np.ndarray:
    """`center_view` of a file.

    Returns:
      [size, size, 3] uint8.

    Raises:
      ValueError: with what is wrong with the file, in one line.
    """
    try:
        content = read(path)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    if fault := foreign(content):
        raise ValueError(fault)
    try:
        return center_view(tf.constant(content), size).numpy()
    except Exception as error:  # TensorFlow's own, and whatever else a damaged file makes of it.
        raise ValueError(DAMAGED) from error


def read(path: str | os.PathLike) -> bytes:
    """A regular file's content. Raises OSError, also for pipes and devices, which could block for ever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(None, "not a regular file", os.fspath(path))
    with open(path, "rb") as file:
        return file.read()


def center_view(content: tf.Tensor, size: int) -> tf.Tensor:
    """The center square of an encoded image, 7/8 of the short side, resized.

    Args:
      content: scalar string, a JPEG or PNG file.
      size: side of the result.

    Returns:
      [size, size, 3] uint8; an image that already has this size is unchanged.
    """
    image = decoded(content)
    rows, columns = tf.shape(image)[0], tf.shape(image)[1]
    side = tf.cast(tf.round(CENTER * tf.cast(tf.minimum(rows, columns), tf.float32)), tf.int32)
    unchanged = tf.logical_and(tf.equal(rows, size), tf.equal(columns, size))
    side = tf.where(unchanged, rows, tf.maximum(side, 1))
    top, left = (rows - side) // 2, (columns - side) // 2
    return resized(tf.image.crop_to_bounding_box(image, top, left, side, side), size)


def resized(image: tf.Tensor, size: int) -> tf.Tensor:
    """Bicubic, as in FixMatch, but with antialiasing when it shrinks, unlike FixMatch. [H, W, 3] -> uint8."""
    image = tf.image.resize(image, [size, size], tf.image.ResizeMethod.BICUBIC, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(image), 0.0, 255.0), tf.uint8)


def decoded(content: tf.Tensor) -> tf.Tensor:
    """[H, W, 3] uint8 from a scalar string."""
    image = tf.io.decode_image(content, CHANNELS, expand_animations=False)
    image.set_shape([None, None, CHANNELS])
    return image
