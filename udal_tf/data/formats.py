"""Which files are images by their names, and what helps with those that are not read; no TensorFlow."""

import importlib.util
import os
from collections.abc import Iterable, Mapping

from PIL import features

from udal_tf.shown_names import shown

# Suffixes in lower case, by Pillow's name of the format; `decoding.FORMATS` has the same names.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
    "DIB": (".dib",),
}
# Camera makers' raw files.
RAW = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw")
# Stands in for the suffix of what is neither a file nor a folder.
NO_FILE = "pipes or devices"
_OTHER_FORMATS = (
    ".ai", ".bpg", ".cur", ".dds", ".eps", ".exr", ".hdr", ".icns", ".ico", ".jxl", ".pcx", ".pdf", ".psd", ".sgi",
    ".svg", ".tga", ".xcf",
)  # fmt: skip
_CONVERT = "convert them to PNG or JPEG"


def _missing() -> dict[str, str]:
    """Formats that cannot be read here, each with what helps."""
    supported, missing = features.get_supported(), {}
    for name, feature in (("WEBP", "webp"), ("AVIF", "avif"), ("JPEG2000", "jpg_2000")):
        if feature not in supported:
            missing[name] = f"the installed Pillow has no {feature}: install a newer one, or {_CONVERT}"
    if importlib.util.find_spec("pillow_heif") is None:
        missing["HEIF"] = f"pip install pillow-heif (or udal-tf[heic]), or {_CONVERT}"
    return missing


_MISSING = _missing()
# Files with other suffixes are counted, but not read.
IMAGE_SUFFIXES = tuple(suffix for name, group in SUFFIXES.items() if name not in _MISSING for suffix in group)
# Advice for what people have beside images that are read.
_ADVICE = {
    **{suffix: _MISSING[name] for name in _MISSING for suffix in SUFFIXES[name]},
    **{suffix: f"a camera's raw format: {_CONVERT}" for suffix in RAW},
    **{suffix: f"not a format that is read: {_CONVERT}" for suffix in _OTHER_FORMATS},
    **{suffix: "medical images, whose gray levels need a window: " + _CONVERT for suffix in (".dcm", ".nii")},
    **{suffix: "arrays, not image files: save each image as PNG" for suffix in (".npy", ".npz", ".mat", ".h5")},
    **{suffix: "a video: extract the frames that are to be used" for suffix in (".mp4", ".mov", ".avi", ".webm")},
    NO_FILE: "opening one would wait forever",
    **{suffix: "an archive: unpack it" for suffix in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")},
}


def suffix_of(path: str | os.PathLike) -> str:
    """The suffix of a file's name in lower case, with its dot, or ""."""
    return os.path.splitext(os.fspath(path))[1].lower()


def is_image_name(path: str | os.PathLike) -> bool:
    """Whether a file is an image by its suffix, in upper or lower case.

    >>> is_image_name("a.JPG"), is_image_name("notes.txt")
    (True, False)
    """
    return suffix_of(path) in IMAGE_SUFFIXES


def unread_reason(suffix: str) -> str:
    """Why files with this suffix (lower case, with its dot) are not read and what helps, or "" if none is known."""
    return _ADVICE.get(suffix, "")


def not_read_lines(counts: Mapping[tuple[str, str], int]) -> list[str]:
    """What is said about the files that are not read, the most frequent first.

    Args:
      counts: (class or other folder name, suffix in lower case) -> number of files.

    Returns:
      one line for each, such as ``100 .heic in cat not read: pip install pillow-heif …``.
    """
    ordered: Iterable[tuple[tuple[str, str], int]] = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = []
    for (where, suffix), count in ordered:
        reason = unread_reason(suffix) or ("not an image by its suffix" if suffix else "no suffix")
        lines.append(f"{count:,} {shown(suffix) or 'files without suffix'} in {shown(where)} not read: {reason}")
    return lines
