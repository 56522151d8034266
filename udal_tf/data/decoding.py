"""An image file's pixels: its center square at a given size, upright, in RGB or gray, with transparency on white.

One file with everything in it, because an export gets a copy: the program of its model card then computes the same
pixels as training. Of other packages it imports NumPy and Pillow alone.
"""

import contextlib
import ctypes
import functools
import io
import logging
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

# Pillow's names of the formats that are read; others, such as PostScript, would start programs or need a choice.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
BACKGROUND = (255, 255, 255)
# The largest gray value of 16 bits.
_SIXTEEN = 65535
# From this number of pixels on, an image is converted and reduced in strips.
_LARGE = 1 << 26
_STRIP_PIXELS = 1 << 22
# A reduced image has at least this many times the result's side.
_MARGIN = 4
# EXIF's and TIFF's tag of the orientation, and how an image of each is turned upright.
_ORIENTATION = 0x112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Bytes per pixel in Pillow's memory, where it is not 4.
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
# Decoders that hold the whole image a second time while they decode.
_TWICE = ("WEBP", "AVIF", "HEIF", "JPEG2000")
# A progressive JPEG's coefficients: two bytes for each of three components, before it is decoded.
_COEFFICIENTS = 6
# The modules whose warnings are silenced.
_PILLOW = r"PIL\.|pillow_heif"
# What a PNG's pixels depend on; and a TIFF's: from the image's width to its reference black and white.
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_TIFF_TAGS = {254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332}
_TIFF_TAGS |= {338, 339, 347, *range(512, 522), *range(529, 533)}


class ImageError(ValueError):
    """A file that cannot be read as an image.

    Attributes:
      path: the file's name, "" if it is not known.
      reason: what is wrong, in one line.
    """

    def __init__(self, path: str, reason: str):
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path, self.reason = path, reason


def fault_text(error: BaseException) -> str:
    """What is wrong with an image, in one line."""
    if isinstance(error, ImageError):
        return error.reason
    if isinstance(error, UnidentifiedImageError):
        return "not recognized as an image"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, the most that are read: make it smaller"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return " ".join(f"{type(error).__name__}: {error}".splitlines()[:1])


def irregular(path: str | os.PathLike) -> str:
    """Why a path is no file to open, or "": a pipe or a device could block for ever. Raises OSError if it is missing"""
    mode = os.stat(path).st_mode
    return "" if stat.S_ISREG(mode) else "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device, not a file"


def header(file: str | os.PathLike | BinaryIO) -> tuple[int, int, str]:
    """Width, height and Pillow's mode from the header alone. Raises ImageError if it cannot be read."""

    def read(image: Image.Image, orientation: int) -> tuple[int, int, str]:
        return *image.size, image.mode

    return _with_image(file, read)


def image_size(file: str | os.PathLike | BinaryIO) -> tuple[int, int]:
    """Width and height from the header alone. Raises ImageError if it cannot be read."""
    return header(file)[:2]


def decode(
    file: str | os.PathLike | BinaryIO,
    size: int,
    channels: int = 3,
    reserved: Callable[[int], contextlib.AbstractContextManager] = lambda count: contextlib.nullcontext(),
) -> np.ndarray:
    """The center square of an image, as large as its short side, resized, upright, with transparency on white.

    The orientation of EXIF is followed; nothing else in an image's metadata matters, however damaged. Of an animation
    or a file of several pages, the first is taken. Gray of 16 bits keeps its upper 8; floating-point values count from
    0 to 1.

    Args:
      file: a file in one of FORMATS.
      size: side of the result.
      channels: 3 for RGB, 1 for gray.
      reserved: called with the number of bytes that decoding will take; decoding runs inside of what it returns.

    Returns:
      [size, size, channels] uint8.

    Raises:
      ImageError: for a file that cannot be read, whatever the decoder raised.
    """

    with contextlib.ExitStack() as held:

        def pixels(image: Image.Image, orientation: int) -> Image.Image:
            compressed = _coefficient_bytes(image)
            if image.mode in ("RGB", "L", "CMYK"):
                # Lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size, but at least twice the result's.
                image.draft(image.mode, (2 * size, 2 * size))
            # At a second attempt the first one's memory is free again; that of this one when the image itself is.
            held.close()
            held.enter_context(reserved(compressed + _pixel_bytes(image)))
            key = _transparent_value(image)
            image.load()
            # Only now are all of a PNG's chunks read; TIFF was turned by Pillow, or has none.
            return _turned_square(image, key, orientation or orientation_of(_exif(image)), size)

        fitted = _with_image(file, pixels)
    return np.asarray(fitted.convert("L"), np.uint8)[..., np.newaxis] if channels == 1 else np.asarray(fitted, np.uint8)


def _exif(image: Image.Image) -> Any:
    """EXIF as bytes, also the hexadecimal text that older programs put into a PNG; None if there is none."""
    text = image.info.get("Raw profile type exif")
    if not isinstance(text, str) or "exif" in image.info:
        return image.info.get("exif")
    with contextlib.suppress(ValueError):
        return bytes.fromhex("".join(text.split("\n")[3:]))


def orientation_of(exif: Any) -> int:
    """EXIF's orientation, 1 to 8; 1, upright, if EXIF (bytes, with or without its marker) gives none or is damaged."""
    return _orientation(exif)[0] if isinstance(exif, bytes) else 1


def _orientation(exif: bytes) -> tuple[int, str]:
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2], "")
    with contextlib.suppress(struct.error):
        for tag, kind, _, at in _tiff_entries(exif, order) if order else ():
            if tag == _ORIENTATION:
                (value,) = struct.unpack_from(order + {1: "B", 4: "I"}.get(kind, "H"), exif, at)
                return (value if value in _TURNS else 1), order
    return 1, order


def _tiff_entries(content: bytes, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, count and the value's place for each entry of the first directory. Raises struct.error if damaged."""
    (start,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(order + "HHI", content, entry)
        yield tag, kind, length, entry + 8


def _with_image(file: str | os.PathLike | BinaryIO, use: Callable[[Image.Image, int], Any]) -> Any:
    """`use` of the opened image and its orientation, 0 if Pillow knows it; again without metadata if that fails."""
    name = os.fsdecode(file) if isinstance(file, (str, os.PathLike)) else str(getattr(file, "name", ""))
    try:
        if isinstance(file, (str, os.PathLike)) and (fault := irregular(file)):
            raise ImageError(name, fault)
        formats = prepare_pillow()
        try:
            with Image.open(file, formats=formats) as image:
                return use(image, 0)
        except (ImageError, MemoryError, Image.DecompressionBombError):
            raise
        except Exception:
            bare = _without_metadata(file)
            if not bare:
                raise
        with Image.open(io.BytesIO(bare[0]), formats=formats) as image:
            return use(image, bare[1])
    except ImageError as error:
        raise ImageError(name, error.reason) from error
    except Exception as error:
        raise ImageError(name, fault_text(error)) from error


def whole(file: str | os.PathLike | BinaryIO, longest: int) -> np.ndarray:
    """A whole image to look at: upright, with transparency on white, its longer side reduced to at most `longest`.

    Returns:
      [H, W, 3] uint8.

    Raises:
      ImageError: as `decode`.
    """

    def pixels(image: Image.Image, orientation: int) -> Image.Image:
        if image.mode in ("RGB", "L", "CMYK"):
            image.draft(image.mode, (2 * longest, 2 * longest))
        key = _transparent_value(image)
        image.load()
        orientation = orientation or orientation_of(_exif(image))
        shown = _reduced(image, key, longest) if image.width * image.height > _LARGE else _rgb(image, key)
        shown.thumbnail((longest, longest))
        return shown.transpose(_TURNS[orientation]) if orientation in _TURNS else shown

    return np.asarray(_with_image(file, pixels), np.uint8)


def prepare_pillow() -> list[str]:
    """The formats that can be read here. Silences Pillow's warnings, which name no file."""
    # Not set at import, and again where a test or a user has restored the filters.
    if not any(getattr(entry[3], "pattern", entry[3]) == _PILLOW for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW)
        logging.getLogger("PIL").setLevel(logging.CRITICAL)
        _silence_libtiff()
    Image.init()
    _register_heif()
    return [name for name in FORMATS if name in Image.OPEN]


@functools.cache  # A search for a package that is not installed takes longer than a small image.
def _register_heif() -> None:
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _silence_libtiff() -> None:
    """Keeps libtiff from printing errors, which name no file; Pillow raises them as well. Only where it can be found"""
    with contextlib.suppress(OSError, AttributeError), open("/proc/self/maps", encoding="utf-8") as maps:
        for path in {line.split(maxsplit=5)[5].strip() for line in maps if "/libtiff" in line}:
            library = ctypes.CDLL(path)
            library.TIFFSetErrorHandler(None)
            library.TIFFSetWarningHandler(None)


def _without_metadata(file: str | os.PathLike | BinaryIO) -> tuple[bytes, int] | None:
    """A file's content without what its pixels do not depend on, and its orientation; None if there is no such part."""
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as opened:
            content = opened.read()
    else:
        file.seek(0)
        content = file.read()
    if content.startswith(b"\xff\xd8"):
        return _bare_jpeg(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _bare_png(content)
    if content[:4] in (b"II*\0", b"MM\0*"):
        return _bare_tiff(content)
    if content[4:8] == b"ftyp":
        if b"avif" not in content[8:32] and "HEIF" not in Image.OPEN:
            raise ImageError("", "HEIC is read where pillow-heif is installed: pip install pillow-heif")
        # AVIF and HEIC have their orientation outside of EXIF; an item of another type is passed over.
        return re.sub(rb"(infe.{8})Exif", rb"\1none", content, flags=re.DOTALL), 0
    return None


def _bare_jpeg(content: bytes) -> tuple[bytes, int]:
    kept, orientation, at = [content[:2]], 1, 2
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            at += 1
            continue
        marker = content[at + 1]
        if marker in (0x00, 0xFF):
            at += 1
            continue
        if marker == 0xDA:
            break
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == 0xE1 and content.startswith(b"Exif\0\0", at + 4):
            orientation = orientation_of(content[at + 4 : end])
        # JFIF and Adobe say which colors the components are.
        if marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(content[at:end])
        at = end
    return b"".join([*kept, content[at:]]), orientation


def _bare_png(content: bytes) -> tuple[bytes, int]:
    kept, orientation, at = [content[:8]], 1, 8
    while at + 12 <= len(content):
        kind, end = content[at + 4 : at + 8], at + 12 + int.from_bytes(content[at : at + 4], "big")
        if kind in _PNG_CHUNKS:
            kept.append(content[at:end])
        elif kind == b"eXIf" and zlib.crc32(content[at + 4 : end - 4]) == int.from_bytes(content[end - 4 : end], "big"):
            orientation = orientation_of(content[at + 8 : end - 4])
        at = end
    return b"".join(kept), orientation


def _bare_tiff(content: bytes) -> tuple[bytes, int] | None:
    orientation, order = _orientation(content)
    try:
        entries = [content[at - 8 : at + 4] for tag, _, _, at in _tiff_entries(content, order) if tag in _TIFF_TAGS]
    except struct.error:
        return None
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    padded = content + bytes(len(content) % 2)
    return padded[:4] + struct.pack(order + "I", len(padded)) + padded[8:] + directory, orientation


def _pixel_bytes(image: Image.Image) -> int:
    """What an opened image takes when it is decoded, roughly."""
    count = image.width * image.height * _BYTES.get(image.mode, 4)
    return 2 * count if image.format in _TWICE else count


def _coefficient_bytes(image: Image.Image) -> int:
    return image.width * image.height * _COEFFICIENTS if image.info.get("progressive") else 0


def _transparent_value(image: Image.Image) -> Any:
    """The gray value of 16 bits, or color, that a PNG declares transparent, in the scale of its pixels; or None."""
    value = image.info.get("transparency")
    if image.format != "PNG" or value is None or image.mode not in ("L", "I;16", "I", "RGB"):
        return None
    tile = getattr(image, "tile", ())
    raw = str(tile[0][3]) if tile else ""
    if raw == "RGB;16B":  # Pillow decodes it to 8 bits, at which it is compared.
        return tuple(one >> 8 for one in value)
    return value * {"L;2": 85, "L;4": 17}.get(raw, 1)


def _turned_square(image: Image.Image, key: Any, orientation: int, size: int) -> Image.Image:
    large = image.width * image.height > _LARGE
    image = _reduced(image, key, size) if large else _rgb(image, key)
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def _reduced(image: Image.Image, key: Any, size: int) -> Image.Image:
    """A very large image in RGB, reduced by a whole factor, without a copy of the whole."""
    factor = max(1, min(image.size) // (_MARGIN * size))
    small = Image.new("RGB", (image.width // factor, image.height // factor))
    # Whole blocks, as many pixels left out on one side as on the other.
    left, above = image.width % factor // 2, image.height % factor // 2
    rows = max(1, _STRIP_PIXELS // (image.width * factor))
    for top in range(0, small.height, rows):
        bottom = min(top + rows, small.height)
        strip = image.crop((left, above + top * factor, left + small.width * factor, above + bottom * factor))
        small.paste(_rgb(strip, key, image).reduce(factor), (0, top))
    return small


def _rgb(image: Image.Image, key: Any, whole: Image.Image | None = None) -> Image.Image:
    """In RGB with transparency on white. key: `_transparent_value`; whole: the file's image if this is a part of it."""
    if image.mode.startswith("I") or image.mode == "F":
        gray = _eight_bits(np.asarray(image), whole or image)
        if key is not None:
            gray[np.asarray(image) == key] = BACKGROUND[0]
        return Image.fromarray(gray).convert("RGB")
    if key is not None:
        image.info["transparency"] = key
    if image.has_transparency_data:
        image = image.convert("RGBA")
        opaque = Image.new("RGB", image.size, BACKGROUND)
        opaque.paste(image, mask=image.getchannel("A"))
        return opaque
    return image.convert("RGB")


def _eight_bits(values: np.ndarray, image: Image.Image) -> np.ndarray:
    """Gray of 16 bits or of floating point as uint8. Raises ImageError for values whose scale is not known."""
    low, high, most = float(values.min()), float(values.max()), _SIXTEEN
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    # Pillow returns a TIFF's values as they are stored: black may be the largest, and 12 bits are 12 bits.
    inverted = bool(tags) and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0) == 0
    if image.mode == "F":
        if not (low >= 0 and high <= 1):
            raise ImageError("", f"floating-point values from {low:g} to {high:g}, not 0 to 1: convert it to 8 bits")
        return np.round((1 - values if inverted else values) * 255).astype(np.uint8)
    if tags.get(TiffImagePlugin.BITSPERSAMPLE) == (12,):
        most = (1 << 12) - 1
    if low < 0 or high > most:
        raise ImageError("", f"gray values from {low:g} to {high:g}, not 0 to {most}: convert it to 8 bits")
    gray = values.astype(np.float32)
    return ((most - gray if inverted else gray) * (255 / most)).round().astype(np.uint8)
