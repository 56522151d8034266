"""Reads every image of a folder once: size, mode, faults, and duplicates. Needs no TensorFlow."""

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

from udal_tf.data import decoding, reading
from udal_tf.data.folder_listing import LABELED, TEST, UNLABELED, Folder

PARTS = (LABELED, UNLABELED, TEST)
_THREADS = os.cpu_count() or 1
_AT_A_TIME = 256
_PIXEL_HASH_BYTES = 16


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


def read_images(folder: Folder, size: int, progress: Callable[[int], None] = lambda count: None) -> list[ImageRecord]:
    """Reads all images of the folder with a thread pool.

    Args:
      folder: the listed files.
      size: side at which pixels are compared: that of training.
      progress: called with the number of images just read.
    """
    tasks = [(path, LABELED, name) for name, paths in folder.labeled.items() for path in paths]
    tasks += [(path, UNLABELED, _class_in_path(path, folder)) for path in folder.unlabeled]
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
      "counts" per part; "imbalance" γ, None if a class has no image; "beta", the labeled fraction of all training
      images, or None; "held_out": whether a fifth is to be held out for testing; "short_side" and "long_by_short",
      each with min, median and max; "modes": Pillow's, with counts; "gray": count per part; "loose", "ignored_files";
      "unreadable": file and fault; "duplicates": groups of files with equal pixels, and whether with equal bytes.
    """
    good = [image for image in images if not image.fault]
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
    labeled = [by_class[LABELED][name] for name in folder.labeled]
    in_training = len(of_part[LABELED]) + len(of_part[UNLABELED])
    return {
        "classes": classes,
        "counts": {part: len(of_part[part]) for part in PARTS},
        "imbalance": max(labeled) / min(labeled) if min(labeled) else None,
        "beta": len(of_part[LABELED]) / in_training if in_training else None,
        "held_out": folder.test is None,
        "short_side": _spread([min(image.width, image.height) for image in good]),
        "long_by_short": _spread([_elongation(image) for image in good]),
        "modes": dict(collections.Counter(image.mode for image in good).most_common()),
        "gray": {part: sum(image.gray for image in of_part[part]) for part in PARTS},
        "loose": [str(path.relative_to(folder.root)) for path in folder.loose],
        "ignored_files": folder.ignored - len(folder.loose),
        "unreadable": [{"file": image.path, "fault": image.fault} for image in images if image.fault],
        "duplicates": duplicates(good),
    }


def duplicates(images: Sequence[ImageRecord]) -> list[dict[str, Any]]:
    """Groups of images that are identical to the network.

    Returns:
      for each group its "files", their "parts" and "classes" in the same order, and "same_bytes": whether the files
      are identical; otherwise they only decode to the same pixels.
    """
    groups = collections.defaultdict(list)
    for image in images:
        groups[image.pixels].append(image)
    return [
        {
            "files": [image.path for image in group],
            "parts": [image.part for image in group],
            "classes": [image.class_name for image in group],
            "same_bytes": len({image.content for image in group}) == 1,
        }
        for group in groups.values()
        if len(group) > 1
    ]


def _read(path: pathlib.Path, part: str, class_name: str, root: pathlib.Path, size: int) -> ImageRecord:
    name = str(path.relative_to(root))
    try:
        width, height, mode = decoding.header(path)
        content = path.read_bytes()
        pixels = decoding.decode(io.BytesIO(content), size, reserved=reading.BUDGET.reserved)
    except (decoding.ImageError, OSError) as error:
        return ImageRecord(name, part, class_name, decoding.fault_text(error))
    gray = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2])
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
    )


def _class_in_path(path: pathlib.Path, folder: Folder) -> str:
    """The class that a subfolder of unlabeled/ is named after, or ""."""
    first = path.relative_to(folder.root / UNLABELED).parts[0]
    return first if first in folder.labeled else ""


def _elongation(image: ImageRecord) -> float:
    return max(image.width, image.height) / min(image.width, image.height)


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"min": 0, "median": 0, "max": 0}
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)}
