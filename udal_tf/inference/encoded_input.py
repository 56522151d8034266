"""Encoded images as a network's input, inside an exported TensorFlow graph: what `data.decoding` does to a file.

JPEG, PNG, GIF (its first frame) and BMP with 24 or 32 bits per pixel are read; another format is refused by name. As in
training, EXIF's orientation is followed, transparency lies on white, 16 bits become 8, and a large JPEG is decoded at
1/2, 1/4 or 1/8 of its size. What differs: the transparency of GIF is not followed.
"""

from collections.abc import Callable

import tensorflow as tf

from udal_tf.data.central_view import JPEG, PNG, center_view
from udal_tf.data.decoding import BACKGROUND
from udal_tf.inference import any_size
from udal_tf.inference.any_size import RGB

# Images of a batch that are decoded in parallel.
PARALLEL = 8
REFUSED = "image_bytes must be JPEG, PNG, GIF, or BMP with 24 or 32 bits per pixel"
_ORIENTATION = 0x112
# Segments of a file, bytes between them included, and entries of EXIF's directory that are looked at.
_SEGMENTS = 10_000
_ENTRIES = 128
# Where BMP and PNG say how many bits a pixel or a value has, and a length that holds both places.
_BMP_BITS, _PNG_BITS, _HEADER = 28, 24, 32
# JPEG's markers of the metadata that cameras write and of the pixels' start.
_APP1, _SCAN = 0xE1, 0xDA


def reader(size: int, channels: int, central: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """How encoded images become a network's input, as the training read files.

    Args:
      size: side of the result.
      channels: 3 for RGB, 1 for gray.
      central: whether the view is that of ImageNet-127, of a JPEG or PNG as TensorFlow decodes it.

    Returns:
      [N] string -> [N, size, size, channels] uint8, in a graph; raises tf.errors.InvalidArgumentError for another
      format and a damaged file.
    """
    resize = any_size.resizing(size, RGB, central=False)

    def one(content: tf.Tensor) -> tf.Tensor:
        if central:
            return center_view(jpeg_or_png(content), size)
        image = decoded(content, size)
        return tf.cast(resize(tf.cast(image, tf.float32)[tf.newaxis])[0], tf.uint8)

    def pixels(contents: tf.Tensor) -> tf.Tensor:
        spec = tf.TensorSpec([size, size, RGB], tf.uint8)
        images = tf.map_fn(one, contents, fn_output_signature=spec, parallel_iterations=PARALLEL)
        return images if channels == RGB else tf.cast(any_size.gray(tf.cast(images, tf.float32)), tf.uint8)

    return pixels


def decoded(content: tf.Tensor, size: int) -> tf.Tensor:
    """An encoded image upright, in RGB, with transparency on white.

    Args:
      content: scalar string.
      size: side of the square that it will be resized to; chooses how large a JPEG is decoded.

    Returns:
      [H, W, 3] uint8.

    Raises:
      tf.errors.InvalidArgumentError: for another format or a damaged file.
    """
    jpeg, png, gif = _has(content, JPEG), _has(content, PNG), _has(content, b"GIF8")
    bits = [_has(content, bytes([count, 0]), _BMP_BITS) for count in (24, 32)]
    bmp = _has(content, b"BM") & tf.reduce_any(bits)
    content = _only_if(jpeg | png | gif | bmp, REFUSED, content)
    image = tf.case(
        [
            (jpeg, lambda: _jpeg(content, size)),
            (png, lambda: _png(content)),
            (gif, lambda: tf.io.decode_image(content, RGB, expand_animations=False)),
        ],
        lambda: tf.io.decode_bmp(content)[..., :RGB],
        exclusive=True,
    )
    image = tf.ensure_shape(image, [None, None, RGB])
    return _upright(image, tf.cond(jpeg | png, lambda: orientation(content), lambda: 1))


def jpeg_or_png(content: tf.Tensor) -> tf.Tensor:
    """The content [] itself. Raises tf.errors.InvalidArgumentError for another format."""
    return _only_if(_has(content, JPEG) | _has(content, PNG), "image_bytes must be JPEG or PNG", content)


def _has(content: tf.Tensor, part: bytes, at: int = 0) -> tf.Tensor:
    return tf.equal(tf.strings.substr(content + bytes(_HEADER), at, len(part)), part)


def _only_if(right: tf.Tensor, message: str, content: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.Assert(right, [message], name="known_format")]):
        return tf.identity(content)


def _jpeg(content: tf.Tensor, size: int) -> tf.Tensor:
    """A JPEG at 1, 1/2, 1/4 or 1/8 of its size, at least twice the result's, as Pillow's `draft` chooses."""
    times = tf.reduce_min(tf.io.extract_jpeg_shape(content)[:2]) // (2 * size)

    def at(ratio: int) -> Callable[[], tf.Tensor]:
        # The slower transform is the one that Pillow uses.
        return lambda: tf.io.decode_jpeg(content, RGB, ratio, dct_method="INTEGER_ACCURATE")

    return tf.case([(times >= 8, at(8)), (times >= 4, at(4)), (times >= 2, at(2))], at(1))


def _png(content: tf.Tensor) -> tf.Tensor:
    """A PNG on white, a · color + (255 − a) · white, rounded. [H, W, 3] uint8."""
    image = tf.cast(tf.io.decode_png(content, RGB + 1), tf.int32)
    color, alpha = image[..., :RGB], image[..., RGB:]
    # Where nothing is transparent, TensorFlow fills in the largest value of as many bits as the file has, such as 1.
    (bits,) = tf.unstack(tf.cast(tf.io.decode_raw(tf.strings.substr(content, _PNG_BITS, 1), tf.uint8), tf.int32), 1)
    filled = tf.reduce_all(tf.equal(alpha, 2 ** tf.minimum(bits, 8) - 1))
    alpha = tf.where(filled, 255, alpha)
    mixed = color * alpha + (255 - alpha) * tf.constant(BACKGROUND)
    return tf.cast((2 * mixed + 255) // (2 * 255), tf.uint8)


def _upright(image: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """An image [H, W, C] turned as EXIF's orientation says, 1 to 8."""
    image = tf.cond(turn >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    mirrored = tf.reduce_any(tf.equal(turn, [2, 3, 6, 7]))
    flipped = tf.reduce_any(tf.equal(turn, [3, 4, 7, 8]))
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    return tf.cond(flipped, lambda: tf.reverse(image, [0]), lambda: image)


def orientation(content: tf.Tensor) -> tf.Tensor:
    """EXIF's orientation of a JPEG or PNG, 1 to 8; 1, upright, if it gives none or is damaged. Scalar int32."""
    values = tf.io.decode_raw(content, tf.uint8)
    length = tf.size(values)

    def number(at: tf.Tensor, count: int, little: tf.Tensor | bool = False) -> tf.Tensor:
        """The number in `count` bytes at each position; 0 outside of the file and where it needs more than 31 bits."""
        places = at[..., tf.newaxis] + tf.range(count)
        inside = tf.reduce_all((places >= 0) & (places < length), axis=-1)
        found = tf.cast(tf.gather(values, tf.clip_by_value(places, 0, length - 1)), tf.int64)
        found = tf.where(little, tf.reverse(found, [-1]), found)
        total = tf.reduce_sum(found * 256 ** tf.range(count - 1, -1, -1, tf.int64), axis=-1)
        return tf.cast(tf.where(inside & (total < tf.int32.max), total, 0), tf.int32)

    def text(at: tf.Tensor, wanted: bytes) -> tf.Tensor:
        return tf.reduce_all(tf.equal(tf.stack([number(at + i, 1) for i in range(len(wanted))]), list(wanted)))

    def in_jpeg(at: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        marker, following = number(at + 1, 1), at + 2 + number(at + 2, 2)
        filling = tf.not_equal(number(at, 1), 0xFF) | tf.equal(marker, 0) | tf.equal(marker, 0xFF)
        found = ~filling & tf.equal(marker, _APP1) & text(at + 4, b"Exif\0\0")
        following = tf.where(filling, at + 1, tf.where(tf.equal(marker, _SCAN), length, following))
        return following, tf.where(found, at + 10, start), tf.where(found, at + 2 + number(at + 2, 2), end)

    def in_png(at: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # At least 12, so that a damaged length cannot keep the loop from ending.
        following = tf.where(number(at, 4) > length - at, length, at + 12 + number(at, 4))
        found = text(at + 4, b"eXIf")
        return following, tf.where(found, at + 8, start), tf.where(found, following - 4, end)

    jpeg = _has(content, JPEG)
    _, start, end = tf.while_loop(
        lambda at, start, end: (at + 4 <= length) & (start < 0),
        lambda at, start, end: tf.cond(jpeg, lambda: in_jpeg(at, start, end), lambda: in_png(at, start, end)),
        (tf.where(jpeg, 2, len(PNG)), -1, length),
        maximum_iterations=_SEGMENTS,
    )
    little = text(start, b"II")
    directory = start + number(start + 4, 4, little)
    entries = directory + 2 + 12 * tf.range(tf.minimum(number(directory, 2, little), _ENTRIES))
    entries = tf.boolean_mask(entries, (entries + 12 <= end) & tf.equal(number(entries, 2, little), _ORIENTATION))
    # The first of them, and one past the file where there is none.
    entry = tf.concat([entries, [length]], axis=0)[0]
    kind = number(entry + 2, 2, little)
    value = tf.where(tf.equal(kind, 4), number(entry + 8, 4, little), number(entry + 8, 2, little))
    value = tf.where(tf.equal(kind, 1), number(entry + 8, 1), value)
    known = (start >= 0) & (little | text(start, b"MM")) & (value >= 1) & (value <= 8)
    return tf.where(known, value, 1)
