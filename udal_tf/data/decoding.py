"""Image files: which files are images, what is wrong with one, and its pixels at a given size; no TensorFlow."""

import pathlib
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Files of other suffixes in a custom dataset are ignored.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# First bytes of the formats that TensorFlow decodes.
JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
BACKGROUND = (255, 255, 255)
# 16-bit gray to 8-bit.
_SIXTEEN_TO_EIGHT = 1 / 257
# What Pillow raises for damaged files.
FAULTS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def is_image_name(path: str | pathlib.Path) -> bool:
    """Whether a file is an image by its suffix."""
    return str(path).lower().endswith(SUFFIXES)


def foreign(head: bytes) -> str:
    """What is wrong with a JPEG or PNG file by its first bytes, or ""."""
    return "" if head.startswith((JPEG, PNG)) else "neither JPEG nor PNG" if head else "empty"


def fault_text(error: BaseException) -> str:
    """What is wrong with an image, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not recognized as an image"
    return f"{type(error).__name__}: {error}".splitlines()[0]


def image_size(file: pathlib.Path | BinaryIO) -> tuple[int, int]:
    """Width and height from the header alone. Raises one of FAULTS if it cannot be read."""
    with Image.open(file) as image:
        return image.size


def decode(file: pathlib.Path | BinaryIO, size: int) -> np.ndarray:
    """The center square of an image, as large as its short side, resized, upright, in RGB, with transparency on white.

    Args:
      file: an image that Pillow reads.
      size: side of the result.

    Returns:
      [size, size, 3] uint8.

    Raises:
      one of FAULTS, for a file that cannot be read.
    """
    with Image.open(file) as image:
        if image.mode == "RGB":
            # Lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size, but at least twice the result's.
            image.draft("RGB", (2 * size, 2 * size))
        upright = ImageOps.exif_transpose(image)
        fitted = ImageOps.fit(_rgb(upright), (size, size), Image.Resampling.BILINEAR)
    return np.asarray(fitted, np.uint8)


def decode_or_fault(file: pathlib.Path, size: int) -> np.ndarray | str:
    """`decode`, or what is wrong with the file in one line."""
    try:
        return decode(file, size)
    except FAULTS as error:
        return fault_text(error)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        gray = np.clip(np.asarray(image, np.float32) * _SIXTEEN_TO_EIGHT, 0, 255).round().astype(np.uint8)
        return Image.fromarray(gray).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        opaque = Image.new("RGB", image.size, BACKGROUND)
        opaque.paste(image, mask=image.getchannel("A"))
        return opaque
    return image.convert("RGB")
