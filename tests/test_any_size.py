"""Images of any size and encoded images inside of a graph: the pixels of training, to one level of 255."""

import io
import struct
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from udal_tf.data import central_view, decoding
from udal_tf.inference import any_size, encoded_input

SIZE = 16
GENERATOR = np.random.RandomState(0)
# Of 16 and 32 pixels, of photos, and of what is one pixel high.
SHAPES = [(16, 16), (100, 100), (80, 37), (37, 80), (9, 12), (1, 40), (301, 200), (480, 640)]


def image(height: int, width: int) -> Image.Image:
    """Smooth colors, as in photos: JPEG keeps them."""
    small = Image.fromarray(GENERATOR.randint(0, 256, (6, 7, 3)).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def encoded(made: Image.Image, format_name: str, **options) -> bytes:
    made.save(file := io.BytesIO(), format_name, **options)
    return file.getvalue()


def png(bits: int, kind: int, channels: int, transparent: bytes = b"") -> bytes:
    """A PNG of 24 × 24 random values of a number of bits, which Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + GENERATOR.bytes(24 * channels * bits // 8) for _ in range(24))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 24, 24, bits, kind, 0, 0, 0))
    color = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + header + color + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def reread(tmp_path_factory):
    """By whether the view is ImageNet's, the resizing model after it was saved and loaded."""
    folder, found = tmp_path_factory.mktemp("resizing"), {}
    for central in (False, True):
        any_size.resizing(SIZE, 3, central).save(folder / "model.keras")
        found[central] = keras.models.load_model(folder / "model.keras")
    return found


@pytest.fixture(scope="module")
def decoded():
    signature = [tf.TensorSpec([], tf.string)]
    return tf.function(lambda content: encoded_input.decoded(content, SIZE), input_signature=signature)


@pytest.mark.parametrize("shape", SHAPES)
def test_arrays_of_any_size_become_the_pixels_of_training(reread, shape):
    made = image(*shape)
    content = encoded(made, "PNG")
    for central, expected in (
        (False, decoding.decode(io.BytesIO(content), SIZE)),
        (True, central_view.center_view(tf.constant(content), SIZE).numpy()),
    ):
        found = reread[central](np.asarray(made)[np.newaxis]).numpy()[0]
        assert np.array_equal(found, found.astype(np.uint8))
        assert np.abs(found - expected).max() <= (0 if shape == (16, 16) else 1)


def test_values_that_are_no_levels_of_255_give_nan_and_other_channels_are_refused(reread):
    good = np.full((1, 20, 20, 3), 200, np.uint8)
    for bad in (good.astype(np.uint16) * 200, good / 255, good.astype(np.float32) - 201):
        both = np.concatenate([good, bad])
        found = np.isnan(reread[False](both).numpy()).all(axis=(1, 2, 3))
        assert found.tolist() == [False, True]
    for channels in (1, 4):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            reread[False](np.zeros((1, 20, 20, channels), np.uint8))
    assert reread[False](good[:0]).shape == (0, SIZE, SIZE, 3)


def test_gray_is_pillows():
    colors = GENERATOR.randint(0, 256, (50, 50, 3)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(colors).convert("L"))
    np.testing.assert_array_equal(any_size.gray(tf.constant(colors, tf.float32))[..., 0], expected)


def files() -> dict[str, bytes]:
    """Encoded images by what is special about them."""
    made, wide = image(50, 70), image(60, 90)
    alpha = made.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(made.size))
    deep = Image.fromarray(np.asarray(made.convert("L")).astype(np.uint16) * 257)
    found = {
        "jpeg": encoded(made, "JPEG"),
        "progressive": encoded(made, "JPEG", progressive=True),
        "cmyk": encoded(made.convert("CMYK"), "JPEG"),
        "gray jpeg": encoded(made.convert("L"), "JPEG"),
        "bmp": encoded(made, "BMP"),
        "bmp of 32 bits": encoded(alpha, "BMP"),
        "gif": encoded(made, "GIF"),
        "rgba": encoded(alpha, "PNG"),
        "gray with alpha": encoded(alpha.convert("LA"), "PNG"),
        "palette": encoded(made.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))),
        "gray of 16 bits": encoded(deep, "PNG"),
        "color of 16 bits": png(16, 2, 3),
    }
    for times in (2, 4, 8):  # Decoded at 1/times of its size.
        found[f"large {times}"] = encoded(image(2 * SIZE * times + 3, 3 * SIZE * times), "JPEG")
    for bits in (1, 2, 4):
        found[f"gray of {bits} bits"] = png(bits, 0, 1)
        found[f"gray of {bits} bits, one transparent"] = png(bits, 0, 1, b"\0\1")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x10F], exif[0x112] = "a camera", orientation
        found[f"jpeg turned {orientation}"] = encoded(wide, "JPEG", exif=exif)
        found[f"png turned {orientation}"] = encoded(wide, "PNG", exif=exif)
    little = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    found["little-endian"] = encoded(wide, "JPEG", exif=little)
    found["orientation of 32 bits"] = encoded(wide, "JPEG", exif=little.replace(b"\x12\x01\x03", b"\x12\x01\x04"))
    found["unknown orientation"] = encoded(wide, "JPEG", exif=little.replace(b"\x06", b"\x0b"))
    found["cut exif"] = encoded(wide, "JPEG", exif=little[:20])
    return found


def test_encoded_images_become_the_pixels_of_training(reread, decoded):
    for name, content in files().items():
        expected = decoding.decode(io.BytesIO(content), SIZE)
        found = reread[False](decoded(content)[tf.newaxis]).numpy()[0]
        assert np.abs(found - expected).max() <= 1, name


def test_other_formats_and_damaged_files_are_refused(decoded):
    made = image(20, 20)
    jpeg = encoded(made, "JPEG")
    for content, said in (
        (b"", "image_bytes must be"),
        (encoded(made, "WEBP"), "image_bytes must be"),
        (encoded(made, "TIFF"), "image_bytes must be"),
        (encoded(made.convert("P"), "BMP"), "image_bytes must be"),
        (jpeg[:100], "Invalid JPEG"),
        (encoded(made, "PNG")[:100], "Invalid PNG"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=said):
            decoded(content)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be JPEG or PNG"):
        encoded_input.jpeg_or_png(tf.constant(encoded(made, "GIF")))
    assert encoded_input.jpeg_or_png(tf.constant(jpeg)).numpy() == jpeg


def test_no_wrong_byte_in_exif_keeps_the_loop_from_ending(decoded):
    content = encoded(image(20, 30), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0")
    orientation = tf.function(encoded_input.orientation, input_signature=[tf.TensorSpec([], tf.string)])
    assert orientation(content) == 6
    for at in range(2, content.index(b"Exif") + 40):
        changed = content[:at] + bytes([255 * (at % 2)]) + content[at + 1 :]
        assert 1 <= int(orientation(changed)) <= 8, at


def test_imagenets_encoded_images_have_the_pixels_of_its_reader(tmp_path):
    pixels = tf.function(
        encoded_input.reader(SIZE, 3, central=True), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    exif = Image.Exif()
    exif[0x112] = 6
    contents = [encoded(image(50, 70), "JPEG", exif=exif), encoded(image(16, 16), "PNG"), png(16, 0, 1)]
    for i, content in enumerate(contents):
        (tmp_path / str(i)).write_bytes(content)
    expected = [central_view.decode(tmp_path / str(i), SIZE) for i in range(3)]
    np.testing.assert_array_equal(pixels(contents), expected)
    assert pixels(contents[:0]).shape == (0, SIZE, SIZE, 3)
