"""Reads every image of a folder once: size, mode, faults, duplicates, near duplicates. Needs no TensorFlow."""

import collections
import concurrent.futures
import dataclasses
import hashlib
import io
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from udal_tf.data import decoding, formats, near_duplicates, reading
from udal_tf.data.folder_layout import LABELED, TEST, UNLABELED, VALIDATION
from udal_tf.data.folder_listing import Folder, name_below

PARTS = (LABELED, UNLABELED, VALIDATION, TEST)
_THREADS = os.cpu_count() or 1
_AT_A_TIME = 256
_PIXEL_HASH_BYTES = 16
# Standard deviation in each channel, of 255 levels, up to which an image is nearly of one color.
ONE_COLOR = 2.5
# 4095, the largest value of the 12-bit data that 16-bit files of microscopes and scanners often hold, in 8 bits.
TWELVE_BITS = 16


@dataclasses.dataclass(frozen=True)
class ImageRecord:
    """One image file.

    Attributes:
      path: below the folder's root.
      part: one of PARTS.
      class_name: "" if the folder gives none.
      fault: why it cannot be read, or ""; with a fault, the attributes below are empty.
      width, height: pixels as stored.
      mode: Pillow's image mode.
      gray: whether its three channels are equal.
      content: hash of the file.
      pixels: hash of the network's input.
      blank: whether it is nearly of one color.
      dark: whether it is a 16-bit image with values of 12 bits alone.
      description: of its looks, `near_duplicates.describe`.
    """

    path: str
    part: str
    class_name: str
    fault: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    gray: bool = False
    content: bytes = b""
    pixels: bytes = b""
    blank: bool = False
    dark: bool = False
    description: np.ndarray | None = None


def read_images(folder: Folder, size: int, progress: Callable[[int], None] = lambda count: None) -> list[ImageRecord]:
    """Reads all images of the folder with a thread pool.

    Args:
      folder: the listed files.
      size: side at which pixels are compared: that of training.
      progress: called with the number of images just read.
    """
    tasks = [(path, LABELED, name) for name, paths in folder.labeled.items() for path in paths]
    tasks += [(path, UNLABELED, _class_in_path(path, folder)) for path in folder.unlabeled]
    tasks += [(path, VALIDATION, name) for name, paths in (folder.validation or {}).items() for path in paths]
    tasks += [(path, TEST, name) for name, paths in (folder.test or {}).items() for path in paths]
    images: list[ImageRecord] = []
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(tasks), _AT_A_TIME):
            some = tasks[start : start + _AT_A_TIME]
            images += pool.map(lambda task: _read(task[0], task[1], task[2], folder.root, size), some)
            progress(len(some))
    return images


def summary(folder: Folder, images: Sequence[ImageRecord]) -> dict[str, Any]:
    """Statistics of the images, JSON-ready.

    Returns:
      "classes": for each class its name and counts of readable images, `unlabeled` None if no folder name tells;
      "counts" per part, VALIDATION only if there is one; "imbalance" γ of the classes with labels, None if there
      are none; "beta", the labeled fraction of all training images, or None; "held_out": whether a fifth is to be
      held out for testing; "short_side" and "long_by_short", each with min, median and max; "modes": Pillow's,
      with counts; "gray": count per part; "blank": images nearly of one color; "sixteen_bit": how many there are
      and the "dark" ones, no value of which needs more than 12 bits; "layout": notes; "loose", "ignored_files";
      "not_read": folder, suffix and count, and "not_read_lines", the same for people; "unreadable": file and
      fault; "duplicates": groups of files with equal pixels, and whether with equal bytes; "near_duplicates":
      pairs that look alike.
    """
    good = [image for image in images if not image.fault]
    parts = [part for part in PARTS if part != VALIDATION or folder.validation is not None]
    of_part = {part: [image for image in good if image.part == part] for part in PARTS}
    by_class = {part: collections.Counter(image.class_name for image in of_part[part]) for part in PARTS}
    names = list(folder.labeled) + [name for name in folder.test or () if name not in folder.labeled]
    # Subfolders of unlabeled/ with class names tell what is in them; training ignores that.
    sorted_already = bool(set(by_class[UNLABELED]) & set(names))
    classes = [
        {
            "name": name,
            "labeled": by_class[LABELED][name],
            "unlabeled": by_class[UNLABELED][name] if sorted_already else None,
            "test": by_class[TEST][name],
        }
        for name in names
    ]
    labeled = [count for name in folder.labeled if (count := by_class[LABELED][name])]
    in_training = len(of_part[LABELED]) + len(of_part[UNLABELED])
    return {
        "classes": classes,
        "counts": {part: len(of_part[part]) for part in parts},
        "imbalance": max(labeled) / min(labeled) if labeled else None,
        "beta": len(of_part[LABELED]) / in_training if in_training else None,
        "held_out": folder.test is None,
        "short_side": _spread([min(image.width, image.height) for image in good]),
        "long_by_short": _spread([_elongation(image) for image in good]),
        "modes": dict(collections.Counter(image.mode for image in good).most_common()),
        "gray": {part: sum(image.gray for image in of_part[part]) for part in parts},
        "blank": [image.path for image in good if image.blank],
        "sixteen_bit": {
            "count": sum(_is_sixteen_bit(image.mode) for image in good),
            "dark": [image.path for image in good if image.dark],
        },
        "layout": list(folder.notes),
        "loose": [name_below(path, folder.root) for path in folder.loose],
        "ignored_files": folder.ignored - len(folder.loose),
        "not_read": [
            {"folder": place, "suffix": suffix, "count": count}
            for (place, suffix), count in folder.unread.most_common()
        ],
        "not_read_lines": formats.not_read_lines(folder.unread),
        "unreadable": [{"file": image.path, "fault": image.fault} for image in images if image.fault],
        "duplicates": duplicates(good),
        "near_duplicates": look_alikes(good),
    }


def duplicates(images: Sequence[ImageRecord]) -> list[dict[str, Any]]:
    """Groups of images that are identical to the network.

    Returns:
      for each group its "files", their "parts" and "classes" in the same order; "same_bytes": whether the files are
      identical, otherwise they only decode to the same pixels; "blank": whether they are nearly of one color.
    """
    groups = collections.defaultdict(list)
    for image in images:
        groups[image.pixels].append(image)
    return [
        {
            **_of(group),
            "same_bytes": len({image.content for image in group}) == 1,
            "blank": group[0].blank,
        }
        for group in groups.values()
        if len(group) > 1
    ]


def look_alikes(images: Sequence[ImageRecord]) -> list[dict[str, Any]]:
    """Pairs that look alike: a test image and a training image, or two images of different classes.

    Without test images any two labeled ones, of which some are to be held out. Each image is in a pair only with the
    one that is most like it. Images with equal pixels are in `duplicates`.

    Returns:
      for each pair its "files", "parts" and "classes".
    """
    number: dict[Any, int] = {}
    pairs: dict[tuple[str, ...], list[ImageRecord]] = {}

    def of_parts(*parts: str) -> list[ImageRecord]:
        return [image for image in images if image.part in parts]

    def described(some: Sequence[ImageRecord], *excluded: Callable[[ImageRecord], Any]) -> near_duplicates.Described:
        keys = [[number.setdefault(key(image), len(number)) for key in excluded] for image in some]
        table = np.array(keys, np.int64).reshape(len(some), len(excluded))
        return near_duplicates.Described([image.description for image in some if image.description is not None], table)

    def pixels(image: ImageRecord) -> bytes:
        return image.pixels

    def class_name(image: ImageRecord) -> str:
        return image.class_name

    tested = of_parts(TEST) or of_parts(LABELED)
    for queries, references, excluded in (
        (tested, of_parts(LABELED), (pixels,)),
        (of_parts(TEST), of_parts(UNLABELED), (pixels,)),
        (of_parts(LABELED, TEST), of_parts(LABELED, TEST), (pixels, class_name)),
    ):
        found = near_duplicates.nearest(described(queries, *excluded), described(references, *excluded))
        for image, other in zip(queries, found, strict=True):
            if other >= 0:
                pair = sorted([image, references[other]], key=lambda one: (PARTS.index(one.part), one.path))
                pairs[tuple(one.path for one in pair)] = pair
    return [_of(pair) for _, pair in sorted(pairs.items())]


def _of(images: Sequence[ImageRecord]) -> dict[str, Any]:
    """The files, parts and classes of some images."""
    return {
        "files": [image.path for image in images],
        "parts": [image.part for image in images],
        "classes": [image.class_name for image in images],
    }


def _read(path: pathlib.Path, part: str, class_name: str, root: pathlib.Path, size: int) -> ImageRecord:
    name = name_below(path, root)
    try:
        width, height, mode = decoding.header(path)
        content = path.read_bytes()
        pixels = decoding.decode(io.BytesIO(content), size, reserved=reading.BUDGET.reserved)
    except (decoding.ImageError, OSError) as error:
        return ImageRecord(name, part, class_name, decoding.fault_text(error))
    gray = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2])
    dark = _is_sixteen_bit(mode) and bool(pixels.min() < pixels.max() <= TWELVE_BITS)
    return ImageRecord(
        path=name,
        part=part,
        class_name=class_name,
        width=width,
        height=height,
        mode=mode,
        gray=gray,
        content=hashlib.sha256(content).digest(),
        pixels=hashlib.blake2b(pixels.tobytes(), digest_size=_PIXEL_HASH_BYTES).digest(),
        blank=bool(pixels.std(axis=(0, 1)).max() <= ONE_COLOR) and not dark,
        dark=dark,
        description=near_duplicates.describe(pixels),
    )


def _is_sixteen_bit(mode: str) -> bool:
    """Whether Pillow's mode is that of gray images of more than 8 bits."""
    return mode.startswith("I")


def _class_in_path(path: pathlib.Path, folder: Folder) -> str:
    """The class that a subfolder of unlabeled/ is named after, or ""."""
    if not path.is_relative_to(folder.part(UNLABELED)):
        return ""  # Named in a CSV file.
    first = path.relative_to(folder.part(UNLABELED)).parts[0]
    return first if first in folder.labeled else ""


def _elongation(image: ImageRecord) -> float:
    return max(image.width, image.height) / min(image.width, image.height)


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"min": 0, "median": 0, "max": 0}
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)}
