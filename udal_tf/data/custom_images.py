"""Decodes images of any size and format once, resizes them to one size, and caches the result as one array file.

A cache folder holds the images of one list of originals. A later list takes from earlier ones what has not changed.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import io
import math
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from udal_tf import storage
from udal_tf.data import files
from udal_tf.data.dataset import ArrayImages, DataError, Images, crops_of
from udal_tf.data.decoding import ImageError, image_size
from udal_tf.data.originals import STATE_BYTES, Originals
from udal_tf.data.reading import Pixels, pixels_or_fault
from udal_tf.folder_recipe import LARGEST, small_side
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown

# Datasets up to this size are held in memory; larger ones stay on disk.
IN_MEMORY_BYTES = 512 << 20
# The images that can be read, in order; for each the state of its file; size, version, and what is wrong with others.
IMAGES_FILE, STATES_FILE, FACTS_FILE = "images.npy", "states.npy", "facts.json"
# Increased whenever the same files would give different pixels.
_VERSION = 2
_PREFIX = "folder-"
_THREADS = os.cpu_count() or 1
_AT_A_TIME = 256


class MappedImages:
    """Images in an array file on disk, [N, H, W, C] uint8; batches are read on demand.

    chosen: positions in the file, which those given index; by default all.
    """

    def __init__(self, images: np.memmap, chosen: np.ndarray | None = None):
        self.shape = images.shape[1:]
        self._images = images
        self._chosen = np.arange(len(images)) if chosen is None else chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def fetch(self, positions: tf.Tensor) -> tf.Tensor:
        def read(at: np.ndarray) -> np.ndarray:
            return np.asarray(self._images[self._chosen[at]])

        images = tf.numpy_function(read, [positions], tf.uint8, stateful=False)
        images.set_shape([positions.shape[0], *self.shape])
        return images

    def fetch_crops(self, positions: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        return crops_of(self.fetch(positions), uniforms)


class Decoded:
    """The images of an array file; `split` gives its two parts, `at` any of them."""

    def __init__(self, path: pathlib.Path):
        self._images = np.load(path, mmap_mode="r", allow_pickle=False)

    def split(self, count: int, after: int = 0) -> tuple[Images, Images]:
        """Without the images up to `after`: the first `count` images and the others."""
        end = after + count
        return self._part(self._images[after:end]), self._part(self._images[end:])

    def at(self, positions: np.ndarray) -> Images:
        """The images at these positions."""
        if self._images.nbytes <= IN_MEMORY_BYTES:
            return ArrayImages(self._images[positions])
        return MappedImages(self._images, positions)

    def _part(self, images: np.memmap) -> Images:
        if self._images.nbytes <= IN_MEMORY_BYTES:
            return ArrayImages(np.ascontiguousarray(images))
        return MappedImages(images)


@dataclasses.dataclass(frozen=True)
class _Kept:
    """What a cache folder holds.

    images: [n, size, size, C] uint8.
    states: [n, 16] uint8, the state of each image's file.
    size: side of the images.
    bad: position in the list of files -> what is wrong with the file; those of `images` are the others, in order.
    """

    images: np.ndarray
    states: np.ndarray
    size: int
    bad: dict[int, str]

    @classmethod
    def read(cls, folder: pathlib.Path, channels: int) -> "_Kept | None":
        """The content of a folder; None if there is none, it is damaged, or of another version or other colors."""
        try:
            facts = storage.read_json(folder / FACTS_FILE)
            if facts["version"] != _VERSION:
                return None
            images = np.load(folder / IMAGES_FILE, mmap_mode="r", allow_pickle=False)
            states = np.load(folder / STATES_FILE, allow_pickle=False)
            bad = {int(position): str(fault) for position, fault in facts["bad"].items()}
            size = int(facts["size"])
            whole = images.shape == (len(states), size, size, channels) and images.dtype == np.uint8
            whole = whole and states.shape[1:] == (STATE_BYTES,) and states.dtype == np.uint8
        except Exception:  # Damaged files raise errors of many kinds; what they held is made again.
            return None
        return cls(images, states, size, bad) if whole else None

    def holds(self, states: Sequence[bytes]) -> bool:
        """Whether the images, and the faults of the others, are those of files with these states, in order."""
        good = [state for position, state in enumerate(states) if position not in self.bad]
        return len(good) + len(self.bad) == len(states) and self.states.tobytes() == b"".join(good)


def load(originals: Originals, config: DataConfig, channels: int = 3) -> tuple[Decoded, int, dict[int, str]]:
    """The images at one size, from the cache folder if the files are unchanged.

    What has been decoded is kept even if some images cannot be read or the process is interrupted.

    Args:
      originals: the images in order.
      config: image_size (0: `default_size`), cache_dir and skip_bad_images are used.
      channels: 3 for RGB, 1 for gray.

    Returns:
      the readable images, in order; their size; for the position of each other one what is wrong with it.

    Raises:
      DataError: naming unreadable images, unless they are to be skipped; or if the disk is full.
    """
    states = [originals.state(i) for i in range(len(originals))]
    # Of RGB images, the key is the one it had when there were no others.
    kind = (_VERSION, config.image_size) if channels == 3 else (_VERSION, config.image_size, channels)
    key = hashlib.sha256(repr(kind).encode() + b"".join(states)).hexdigest()[:24]
    folder, kept, size = _current(files.cache_dir(config) / f"{_PREFIX}{key}", originals, states, channels)
    if kept is None:
        size = size or config.image_size or default_size(originals)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            bad = _make(folder, originals, states, (size, size, channels))
        except OSError as error:
            raise DataError(
                f"cannot write below {shown(folder.parent)} ({error.strerror}); choose another folder with --cache_dir"
            ) from error
    else:
        size, bad = kept.size, kept.bad
    if bad and not config.skip_bad_images:
        raise DataError(files.bad_images(config, {originals.name(i): fault for i, fault in bad.items()}))
    return Decoded(folder / IMAGES_FILE), size, bad


def _current(
    first: pathlib.Path, originals: Originals, states: Sequence[bytes], channels: int
) -> tuple[pathlib.Path, _Kept | None, int]:
    """The cache folder of these images, its content, None if they have to be decoded, and their size, 0 if unknown.

    A file that could not be read may have become readable without a change of its state: its rights, for example. Then
    the images get another folder, as other processes, also of other hosts, may be reading the one that there is.
    """
    folder, number, size = first, 1, 0
    while (kept := _Kept.read(folder, channels)) and kept.holds(states):
        size = kept.size
        if all(isinstance(pixels_or_fault(originals.opened(i), size), str) for i in kept.bad):
            return folder, kept, size
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder, None, size


class _MadeElsewhere(Exception):
    """Another process has made the same cache folder meanwhile."""


def _make(
    folder: pathlib.Path, originals: Originals, states: Sequence[bytes], shape: tuple[int, int, int]
) -> dict[int, str]:
    """Fills the cache folder; returns what is wrong with the images that cannot be read."""
    size = shape[0]
    needed, free = len(originals) * math.prod(shape), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise DataError(
            f"{shown(folder.parent)}: {len(originals)} images of {size}×{size} need {needed >> 20} MB, only "
            f"{free >> 20} MB are free; choose a smaller --image_size or another --cache_dir"
        )
    part = folder.with_name(f"{folder.name}-part")
    earlier = _earlier(folder.parent, set(states), shape)
    bad: dict[int, str] = {}
    done: list[bytes] = []
    with contextlib.suppress(_MadeElsewhere), storage.written_whole(folder) as partial:
        partial.mkdir()
        with open(partial / IMAGES_FILE, "wb") as file:
            # The number of good images is known only at the end: the header, of fixed length, is then rewritten.
            file.write(_header(len(originals), shape))
            try:
                for i, image in enumerate(_pixels(originals, states, shape, earlier)):
                    if isinstance(image, str):
                        bad[i] = image
                    else:
                        file.write(image.tobytes())
                        done.append(states[i])
            except KeyboardInterrupt:
                file.seek(0)
                _finish(file, partial, done, {}, shape)
                file.close()
                shutil.rmtree(part, ignore_errors=True)
                os.replace(partial, part)
                raise
            file.seek(0)
            _finish(file, partial, done, bad, shape)
        del earlier
        there = _Kept.read(folder, shape[-1])
        if there and there.holds(states) and there.bad == bad:
            raise _MadeElsewhere  # It may be in use.
    shutil.rmtree(part, ignore_errors=True)
    return bad


def _finish(
    file: BinaryIO,
    folder: pathlib.Path,
    states: Sequence[bytes],
    bad: Mapping[int, str],
    shape: tuple[int, int, int],
) -> None:
    """Writes the header of the array file for as many images as there are states, and the folder's other files."""
    file.write(_header(len(states), shape))
    np.save(folder / STATES_FILE, np.frombuffer(b"".join(states), np.uint8).reshape(-1, STATE_BYTES))
    storage.write_json(folder / FACTS_FILE, {"version": _VERSION, "size": shape[0], "bad": bad})


def _pixels(
    originals: Originals,
    states: Sequence[bytes],
    shape: tuple[int, int, int],
    earlier: Mapping[bytes, np.ndarray],
) -> Iterator[Pixels]:
    """The pixels of each image, or what is wrong with it, in order; decoded by threads unless `earlier` has them."""
    size, _, channels = shape

    def one(position: int) -> Pixels:
        found = earlier.get(states[position])
        return pixels_or_fault(originals.opened(position), size, channels) if found is None else found

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(originals), _AT_A_TIME):
            yield from pool.map(one, range(start, min(start + _AT_A_TIME, len(originals))))


def _earlier(parent: pathlib.Path, wanted: set[bytes], shape: tuple[int, int, int]) -> dict[bytes, np.ndarray]:
    """Images in the cache folders whose files have one of the wanted states."""
    found: dict[bytes, np.ndarray] = {}
    for folder in sorted(parent.glob(f"{_PREFIX}*")):
        kept = None if folder.suffix == storage.PARTIAL else _Kept.read(folder, shape[-1])
        if kept and kept.size == shape[0]:
            images, rows = np.asarray(kept.images), ((state.tobytes(), i) for i, state in enumerate(kept.states))
            found |= {state: images[i] for state, i in rows if state in wanted}
    return found


def _header(count: int, shape: tuple[int, int, int]) -> bytes:
    """The .npy header, padded so that its length does not depend on the count."""
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def default_size(originals: Originals) -> int:
    """The image size for a small network, from the median short side of the readable images."""
    sides = []
    for position in range(len(originals)):
        try:
            sides.append(min(image_size(originals.opened(position))))
        except ImageError:
            # Reported by name when it is decoded.
            continue
    return small_side(float(np.median(sides)) if sides else LARGEST)
