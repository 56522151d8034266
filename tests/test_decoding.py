"""Image files: right pixels whatever the metadata, every kind and format, and one line for whatever is damaged."""

import contextlib
import importlib
import io
import os
import pathlib
import socket
import struct
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, TiffImagePlugin

from udal_tf.data import decoding, formats, reading, settings
from udal_tf.data.decoding import ImageError, decode
from udal_tf.data.encoded import file_fault
from udal_tf.inference import image_files

SIDE = 16
BENCHMARKS = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"
# What the eight orientations make of the rows of an upright image.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright[:, ::-1].transpose(1, 0, 2),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}
LOSSLESS = {"png": {}, "webp": {"lossless": True}}


def upright():
    """Four quarters of different colors."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    half = SIDE // 2
    pixels[:half, :half], pixels[:half, half:] = (250, 0, 0), (60, 60, 60)
    pixels[half:, :half], pixels[half:, half:] = (0, 200, 0), (0, 0, 250)
    return pixels


def exif(orientation, order=">", further=b""):
    """EXIF with an orientation and with a resolution that is text, where a fraction is expected."""
    text_at = 8 + 2 + 2 * 12 + 4
    entries = struct.pack(f"{order}HHIHH", 0x112, 3, 1, orientation, 0) + struct.pack(
        f"{order}HHII", 0x11A, 2, 8, text_at
    )
    start = {">": b"MM\0*", "<": b"II*\0"}[order] + struct.pack(f"{order}IH", 8, 2)
    return b"Exif\0\0" + start + entries + bytes(4) + b"72 dpi\0\0" + further


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(path, depth, color, rows, *chunks):
    """A PNG of 8 columns whose rows are given as bytes; Pillow writes only some of the kinds there are."""
    header = struct.pack(">IIBBBBB", 8, len(rows), depth, color, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", content), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def assert_upright(path, tolerance=0.0):
    difference = np.abs(decode(path, SIDE).astype(int) - upright())
    assert difference.mean() <= tolerance, path.name


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_eight_orientations_beside_a_resolution_that_is_text(tmp_path, orientation, order):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright())))
    for suffix, options in LOSSLESS.items():
        stored.save(tmp_path / f"a.{suffix}", exif=exif(orientation, order), **options)
        assert_upright(tmp_path / f"a.{suffix}")
    stored.save(tmp_path / "a.jpg", exif=exif(orientation, order), quality=95, subsampling=0)
    assert_upright(tmp_path / "a.jpg", 1)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_eight_orientations_of_tiff(tmp_path, orientation, compression):
    path = tmp_path / "a.tif"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274], tags[282], tags[283], tags[296] = orientation, 72.0, 72.0, 3
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright())))
    stored.save(path, tiffinfo=tags, compression=compression)
    assert_upright(path, 1)
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, at) == (282,):
            struct.pack_into("<HI", content, at + 2, 2, 8)  # Eight bytes of text.
    path.write_bytes(content)
    assert_upright(path, 1)


@pytest.mark.parametrize("orientation", [3, 6])
def test_avif_with_damaged_exif_is_turned_by_its_own_orientation(tmp_path, orientation):
    path, tags = tmp_path / "a.avif", Image.Exif()
    tags[0x112], tags[0x10F] = orientation, "the maker"
    Image.fromarray(np.ascontiguousarray(STORED[orientation](upright()))).save(path, exif=tags, quality=100)
    expected = decode(path, SIDE)
    assert np.abs(expected.astype(int) - upright()).mean() < 12
    content = path.read_bytes()
    start = max(content.rfind(mark, 0, content.index(b"the maker")) for mark in (b"II*\0", b"MM\0*"))
    path.write_bytes(content[:start] + b"XX" + content[start + 2 :])
    np.testing.assert_array_equal(decode(path, SIDE), expected)


def test_no_wrong_byte_in_exif_makes_an_image_unreadable(tmp_path):
    path, tag = tmp_path / "a.jpg", exif(1)
    Image.fromarray(upright()).save(path, exif=tag, quality=95, subsampling=0)
    content = path.read_bytes()
    start = content.index(tag)
    for at in range(start, start + len(tag)):
        for wrong in (0, 255, content[at] ^ 1):
            path.write_bytes(content[:at] + bytes([wrong]) + content[at + 1 :])
            assert decode(path, SIDE).shape == (SIDE, SIDE, 3)


def test_an_exif_chunk_with_a_wrong_checksum_counts_as_none(tmp_path):
    rows = [bytes([10 * column + row for column in range(8)]) for row in range(8)]
    found = {}
    for name, change in (("good", 0), ("damaged", 1)):
        part = bytearray(chunk(b"eXIf", exif(6)[6:]))
        part[-1] ^= change
        found[name] = decode(png(tmp_path / f"{name}.png", 8, 0, rows, bytes(part)), 8)[..., 0]
    stored = np.array([list(row) for row in rows])
    np.testing.assert_array_equal(found["damaged"], stored)
    np.testing.assert_array_equal(found["good"], stored[::-1].T)


def test_exif_in_the_text_of_older_programs(tmp_path):
    rows = [bytes([10 * column + row for column in range(8)]) for row in range(8)]
    text = "\nexif\n" + f"{len(exif(3)):>8}\n" + exif(3).hex() + "\n"
    part = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text.encode()))
    found = decode(png(tmp_path / "a.png", 8, 0, rows, part), 8)[..., 0]
    np.testing.assert_array_equal(found, np.array([list(row) for row in rows])[::-1, ::-1])


@pytest.mark.parametrize("given", [None, "text", b"", b"Exif\0\0", exif(9), exif(0), exif(6)[:20], b"XX" + exif(6)[8:]])
def test_what_gives_no_orientation_counts_as_upright(given):
    assert decoding.orientation_of(given) == 1


ONE_COLOR = [  # A file's name, its image and options, and the gray or color that each pixel is.
    ("gray.png", Image.new("L", (8, 8), 90), {}, (90, 90, 90)),
    ("alpha.png", Image.new("RGBA", (8, 8), (200, 100, 50, 0)), {}, (255, 255, 255)),
    ("half.png", Image.new("RGBA", (8, 8), (0, 100, 50, 51)), {}, (204, 224, 214)),
    ("gray_alpha.png", Image.new("LA", (8, 8), (0, 51)), {}, (204, 204, 204)),
    ("palette.png", Image.new("RGB", (8, 8), (9, 8, 7)).quantize(2), {}, (9, 8, 7)),
    ("palette_alpha.png", Image.new("RGB", (8, 8), (9, 8, 7)).quantize(2), {"transparency": b"\0\0"}, (255,) * 3),
    ("one_bit.png", Image.new("1", (8, 8), 1), {}, (255, 255, 255)),
    ("one_bit.tif", Image.new("1", (8, 8), 0), {"compression": "group4"}, (0, 0, 0)),
    ("cmyk.tif", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), {}, (255, 0, 0)),
    ("cmyk.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), {"quality": 100}, (254, 0, 0)),
    ("deep.png", Image.fromarray(np.full((8, 8), 90 * 257, np.uint16)), {}, (90, 90, 90)),
    ("deep.tif", Image.fromarray(np.full((8, 8), 90 * 257, np.uint16)), {}, (90, 90, 90)),
    ("deep.pgm", Image.fromarray(np.full((8, 8), 90 * 257, np.int32)), {}, (90, 90, 90)),
    ("deep_inverse.tif", Image.fromarray(np.full((8, 8), 90 * 257, np.uint16)), {"tiffinfo": {262: 0}}, (165,) * 3),
    ("float.tif", Image.fromarray(np.full((8, 8), 0.4, np.float32)), {}, (102, 102, 102)),
    ("float.pfm", Image.fromarray(np.full((8, 8), 0.4, np.float32)), {}, (102, 102, 102)),
]


@pytest.mark.parametrize("name, image, options, color", ONE_COLOR, ids=[one[0] for one in ONE_COLOR])
def test_every_kind_of_pixels(tmp_path, name, image, options, color):
    image.save(tmp_path / name, **options)
    found = decode(tmp_path / name, 8)
    assert np.abs(found.astype(int) - color).max() <= (1 if name.endswith("jpg") else 0)
    gray = decode(tmp_path / name, 8, channels=1)
    # ITU-R 601.
    assert gray.shape == (8, 8, 1)
    assert abs(int(gray[0, 0, 0]) - (0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2])) <= 1


def test_the_value_that_a_png_declares_transparent(tmp_path):
    transparent = chunk(b"tRNS", struct.pack(">H", 1000))
    deep = png(tmp_path / "16.png", 16, 0, [struct.pack(">8H", *[1000, 1001, 90 * 257, 65535] * 2)] * 8, transparent)
    assert decode(deep, 8)[0, :, 0].tolist() == [255, 4, 90, 255] * 2
    two = png(tmp_path / "2.png", 2, 0, [bytes([0b00011011] * 2)] * 8, chunk(b"tRNS", b"\0\1"))
    assert decode(two, 8)[0, :, 0].tolist() == [0, 255, 170, 255] * 2
    four = png(tmp_path / "4.png", 4, 0, [bytes.fromhex("123456ab")] * 8, chunk(b"tRNS", b"\0\3"))
    assert decode(four, 8)[0, :, 0].tolist() == [17, 34, 255, 68, 85, 102, 170, 187]
    one = png(tmp_path / "1.png", 1, 0, [bytes([0b01010101])] * 8, chunk(b"tRNS", b"\0\1"))
    assert decode(one, 8)[0, :, 0].tolist() == [0, 255] * 4
    colors = [1000, 2000, 3000, 90 * 257, 90 * 257, 90 * 257] * 4
    part = chunk(b"tRNS", struct.pack(">3H", 1000, 2000, 3000))
    color = png(tmp_path / "48.png", 16, 2, [struct.pack(">24H", *colors)] * 8, part)
    assert decode(color, 8)[0, :, 1].tolist() == [255, 90] * 4


def test_twelve_bits_of_a_tiff_are_twelve_bits(tmp_path):
    # Two pixels of 12 bits in three bytes: 0 and 4095, as in a row of 8.
    tags = [(256, 3, 8), (257, 3, 8), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, 8)]
    tags.append((279, 4, 96))
    data = bytes.fromhex("000fff" * 4 * 8)
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    content = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    (tmp_path / "a.tif").write_bytes(content)
    assert decode(tmp_path / "a.tif", 8)[0, :, 0].tolist() == [0, 255] * 4


@pytest.mark.parametrize(
    "pixels, said",
    [
        (np.full((8, 8), 70000, np.int32), "gray values from 70000 to 70000, not 0 to 65535: convert it to 8 bits"),
        (np.full((8, 8), 200, np.float32), "floating-point values from 200 to 200, not 0 to 1: convert it to 8 bits"),
        (np.full((8, 8), np.nan, np.float32), "floating-point values from nan to nan, not 0 to 1"),
    ],
)
def test_values_of_unknown_scale_are_refused(tmp_path, pixels, said):
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=said) as raised:
        decode(tmp_path / "a.tif", 8)
    assert raised.value.path == str(tmp_path / "a.tif")


def test_the_formats_of_the_suffixes_are_those_that_are_decoded():
    assert set(formats.SUFFIXES) == set(decoding.FORMATS)
    assert {".bmp", ".tif", ".tiff", ".gif", ".avif", ".jfif", ".jpe", ".webp"} <= set(formats.IMAGE_SUFFIXES)
    assert all(formats.is_image_name(f"A{suffix.upper()}") for suffix in formats.IMAGE_SUFFIXES)


@pytest.mark.parametrize("suffix", formats.IMAGE_SUFFIXES)
def test_each_suffix_is_read_in_any_case(tmp_path, suffix):
    name = next(name for name, group in formats.SUFFIXES.items() if suffix in group)
    path = tmp_path / f"A{suffix.upper()}"
    kinds = {
        ".pgm": (Image.new("L", (8, 8), 90), (90, 90, 90)),
        ".pfm": (Image.new("F", (8, 8), 0.4), (102, 102, 102)),
        ".pbm": (Image.new("1", (8, 8), 1), (255, 255, 255)),
    }
    image, color = kinds.get(suffix, (Image.new("RGB", (8, 8), (200, 100, 50)), (200, 100, 50)))
    image.save(path, name)
    assert list(image_files.below(str(tmp_path))) == [str(path)]
    assert np.abs(decode(path, 8).astype(int) - color).max() <= 3


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_the_first_frame_or_page_is_taken(tmp_path, name):
    options = {"lossless": True} if name == "a.webp" else {}
    frames = [Image.new("RGB", (8, 8), color) for color in ((250, 0, 0), (0, 250, 0))]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    assert np.abs(decode(tmp_path / name, 8).astype(int) - (250, 0, 0)).max() <= 1


def test_heic_without_its_package_is_one_sentence_of_advice(tmp_path, monkeypatch):
    Image.init()
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    with pytest.raises(
        ImageError, match="a.heic: HEIC is read where pillow-heif is installed: pip install pillow-heif"
    ):
        decode(tmp_path / "a.heic", 8)


def test_files_that_are_not_read_are_said_with_what_helps():
    counts = {("cat", ".heic"): 100, ("dog", ".txt"): 2, ("dog", ""): 3}
    lines = formats.not_read_lines(counts)
    assert lines[0].startswith("100 .heic in cat not read: ")
    assert lines[1:] == [
        "3 files without suffix in dog not read: no suffix",
        "2 .txt in dog not read: not an image by its suffix",
    ]
    assert "unpack it" in formats.unread_reason(".zip")


def save(path, size=(24, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 100, 50)).save(path)
    return path


ERRORS = [
    RuntimeError("damaged"),
    NotImplementedError("odd"),
    MemoryError(),
    struct.error("short"),
    SyntaxError("no"),
    EOFError(),
    AttributeError("none"),
    OverflowError("too\nmuch"),
    Image.DecompressionBombError("bomb"),
    KeyError("tag"),
    RecursionError("deep"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_a_decoder_raises_names_its_file(tmp_path, monkeypatch, error):
    path = save(tmp_path / "a.png")

    def failing(*_):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", failing)
    with pytest.raises(ImageError) as raised:
        decode(path, 8)
    assert raised.value.path == str(path)
    assert raised.value.reason and "\n" not in raised.value.reason
    assert reading.pixels_or_fault(path, 8) == image_files.reader("folder", (8, 8, 3))(path) == raised.value.reason
    monkeypatch.setattr(ImageFile.ImageFile, "__init__", failing)
    with pytest.raises(ImageError):
        decoding.image_size(path)
    assert settings._median_side([path]) == (0, False)


def test_what_tensorflow_cannot_decode_is_said_in_one_line(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png")

    def failing(*_):
        raise NotImplementedError("odd")

    read = image_files.reader("imagenet127", (8, 8, 3))
    monkeypatch.setattr("udal_tf.data.central_view.decoded", failing)
    assert read(path) == "truncated or damaged"


@pytest.fixture
def never_ending(tmp_path):
    """A pipe, a socket and a device, each under an image's name."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as end:
        here = os.getcwd()
        os.chdir(tmp_path)  # A socket's name may have about a hundred bytes.
        try:
            end.bind("socket.png")
        finally:
            os.chdir(here)
        yield [tmp_path / name for name in ("pipe.png", "device.png", "socket.png")]


def test_pipes_devices_and_sockets_are_not_opened(never_ending):
    for path in never_ending:
        said = "a pipe, socket or device, not a file"
        assert reading.pixels_or_fault(path, 8) == file_fault(path) == said
        assert "not a regular file" in image_files.reader("imagenet127", (8, 8, 3))(path)
        with pytest.raises(ImageError, match=said):
            decoding.image_size(path)


def test_warnings_of_the_decoder_are_silent(tmp_path, monkeypatch, caplog, capfd):
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).quantize(2).save(path, transparency=b"\0\1")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    fax = tmp_path / "fax.tif"
    Image.fromarray(np.random.RandomState(0).rand(64, 64) < 0.5).save(fax, compression="group4")
    content = bytearray(fax.read_bytes())
    content[20:60] = bytes(range(40, 80))
    fax.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode(path, 8).shape == (8, 8, 3)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        with contextlib.suppress(ImageError):
            decode(fax, 8)
    assert [str(one.message) for one in caught] == []
    assert (caplog.text, capfd.readouterr().err) == ("", "")


def test_too_many_pixels_are_said_with_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="more than 200 pixels, the most that are read: make it smaller"):
        decode(save(tmp_path / "a.png"), 8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "I;16"])
def test_very_large_images_are_reduced_in_strips(tmp_path, monkeypatch, mode):
    ramp = np.add.outer(np.arange(300), np.arange(260))[..., None] * np.array([0.2, 0.3, 0.4])
    image = Image.fromarray(ramp.astype(np.uint8))
    if mode == "I;16":
        image = Image.fromarray((ramp[..., 0] * 257).astype(np.uint16))
    elif mode == "P":
        image = image.quantize(200)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "a.png")
    expected = decode(tmp_path / "a.png", 8).astype(int)
    monkeypatch.setattr(decoding, "_LARGE", 1000)
    monkeypatch.setattr(decoding, "_STRIP_PIXELS", 5000)
    assert np.abs(decode(tmp_path / "a.png", 8) - expected).max() <= 2


@pytest.mark.parametrize("mode, most", [("RGB", 40 * 40 * 4), ("L", 40 * 40), ("CMYK", 40 * 40 * 4)])
def test_a_jpeg_is_decoded_at_an_eighth_of_its_size(tmp_path, mode, most):
    Image.new(mode, (320, 320)).save(tmp_path / "a.jpg")
    asked = []

    def reserved(count):
        asked.append(count)
        return contextlib.nullcontext()

    decode(tmp_path / "a.jpg", 16, reserved=reserved)
    assert asked == [most]


def test_threads_share_a_bounded_amount_of_memory():
    budget, used, most, lock = reading.Budget(10), [0], [0], threading.Lock()

    def work(count):
        with budget.reserved(count):
            with lock:
                used[0] += count
                most[0] = max(most[0], used[0])
            threading.Event().wait(0.002)
            with lock:
                used[0] -= count

    threads = [threading.Thread(target=work, args=(count,)) for count in [4, 3, 5, 2, 10, 4, 25, 6] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 25 is more than there is, so it is alone.
    assert most[0] == 25
    assert used[0] == 0


def test_a_second_attempt_does_not_wait_for_the_memory_of_the_first(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    Image.fromarray(upright()).save(path, exif=exif(1), quality=95)
    load, failed = ImageFile.ImageFile.load, []

    def failing_with_metadata(image):
        if "exif" in image.info:
            failed.append(image)
            raise RuntimeError("metadata")
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", failing_with_metadata)
    monkeypatch.setattr(reading.BUDGET, "_limit", 1)
    assert reading.pixels_or_fault(path, SIDE).shape == (SIDE, SIDE, 3)
    assert len(failed) == 1


def test_an_exhausted_budget_is_free_again_after_a_failure():
    budget = reading.Budget(10)
    with pytest.raises(ValueError, match="damaged"), budget.reserved(10):
        raise ValueError("damaged")
    with budget.reserved(10):
        pass


@pytest.fixture(scope="module")
def fuzz():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("fuzz_images")


@pytest.mark.parametrize(
    "name", [name for name, group in formats.SUFFIXES.items() if group[0] in formats.IMAGE_SUFFIXES]
)
def test_three_hundred_damaged_files_are_read_or_refused_in_one_line(fuzz, name, capfd):
    assert [fuzz.outcome(content) for content in fuzz.samples()[name]] == ["read"] * len(fuzz.samples()[name])
    found = {fuzz.outcome(fuzz.trial(name, number, seed=1)) for number in range(300)}
    assert found == {"read", "refused"}
    assert capfd.readouterr().err == ""


def test_damaged_files_of_imagenet_are_read_or_refused_in_one_line(fuzz, tmp_path):
    read = image_files.reader("imagenet127", (8, 8, 3))
    found = set()
    for name in ("JPEG", "PNG"):
        for number in range(100):
            (tmp_path / "a").write_bytes(fuzz.trial(name, number, seed=2))
            result = read(tmp_path / "a")
            found.add(result if isinstance(result, str) else result.shape)
    assert found <= {(8, 8, 3), "truncated or damaged", "neither JPEG nor PNG", "empty"}
    assert {(8, 8, 3), "truncated or damaged"} <= found


def test_the_fuzz_damages_its_files(fuzz):
    good = fuzz.samples()["PNG"]
    changed = [fuzz.trial("PNG", number, seed=1) != good[number % len(good)] for number in range(50)]
    assert sum(changed) > 40
    assert fuzz.outcome(io.BytesIO(b"").getvalue()) == "refused"


def test_a_whole_image_is_upright_and_as_large_as_its_file_up_to_a_limit(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 45:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned clockwise: what is on the right of the file is below.
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    whole = decoding.whole(tmp_path / "turned.png", 400)
    assert whole.shape == (60, 40, 3)
    assert (whole[45:] == 255).all() and (whole[:45] == 0).all()
    assert decoding.whole(tmp_path / "turned.png", 30).shape == (30, 20, 3)
    (tmp_path / "no image.png").write_text("no image")
    with pytest.raises(decoding.ImageError):
        decoding.whole(tmp_path / "no image.png", 400)
