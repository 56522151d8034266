"""Decodes images of any size and format once, resizes them to one size, and caches the result as one array file."""

import concurrent.futures
import io
import json
import os
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from udal_tf import storage
from udal_tf.config import DataConfig
from udal_tf.data import files
from udal_tf.data.dataset import ArrayImages, DataError, Images, crops_of
from udal_tf.data.decoding import FAULTS, decode_or_fault, image_size
from udal_tf.folder_recipe import LARGEST, small_side

# Datasets up to this size are held in memory; larger ones stay on disk.
IN_MEMORY_BYTES = 512 << 20
CHANNELS = 3
IMAGES_FILE, FACTS_FILE = "images.npy", "facts.json"
# Increased whenever the same files would give different pixels.
_VERSION = 1
_THREADS = os.cpu_count() or 1
_AT_A_TIME = 256


class MappedImages:
    """Images in an array file on disk, [N, H, W, C] uint8; batches are read on demand."""

    def __init__(self, images: np.memmap):
        self.shape = images.shape[1:]
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def fetch(self, positions: tf.Tensor) -> tf.Tensor:
        images = tf.numpy_function(lambda at: np.asarray(self._images[at]), [positions], tf.uint8, stateful=False)
        images.set_shape([positions.shape[0], *self.shape])
        return images

    def fetch_crops(self, positions: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        return crops_of(self.fetch(positions), uniforms)


class Decoded:
    """The images of an array file; `split` gives its two parts."""

    def __init__(self, path: pathlib.Path):
        self._images = np.load(path, mmap_mode="r", allow_pickle=False)

    def split(self, count: int) -> tuple[Images, Images]:
        """The first `count` images and the others."""
        return self._part(self._images[:count]), self._part(self._images[count:])

    def _part(self, images: np.memmap) -> Images:
        if self._images.nbytes <= IN_MEMORY_BYTES:
            return ArrayImages(np.ascontiguousarray(images))
        return MappedImages(images)


def load(root: pathlib.Path, paths: Sequence[pathlib.Path], config: DataConfig) -> tuple[Decoded, int, list[int]]:
    """The images at one size, from the cache folder if the files are unchanged.

    Args:
      root: the folder that names in the cache key are relative to.
      paths: the images in order.
      config: image_size (0: `default_size`), cache_dir and skip_bad_images are used.

    Returns:
      the readable images, in order; their size; positions in `paths` of the unreadable ones.

    Raises:
      DataError: naming unreadable images, unless they are to be skipped; or if the disk is full.
    """
    key = files.fingerprint(paths, root, _VERSION, config.image_size, [str(path) for path in paths])
    folder = files.cache_dir(config) / f"folder-{key}"
    if (folder / FACTS_FILE).exists():
        facts = json.loads((folder / FACTS_FILE).read_text())
        if not facts["bad"] or config.skip_bad_images:
            return Decoded(folder / IMAGES_FILE), facts["size"], facts["bad"]
    size = config.image_size or default_size(paths)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        bad = _make(folder, paths, size, config)
    except OSError as error:
        raise DataError(
            f"cannot write below {folder.parent} ({error.strerror}); choose another folder with --cache_dir"
        ) from error
    return Decoded(folder / IMAGES_FILE), size, bad


def _make(folder: pathlib.Path, paths: Sequence[pathlib.Path], size: int, config: DataConfig) -> list[int]:
    """Fills the cache folder, whole or not at all; returns the positions of unreadable images."""
    needed, free = len(paths) * size * size * CHANNELS, shutil.disk_usage(folder.parent).free
    if needed > free:
        raise DataError(
            f"{folder.parent}: {len(paths)} images of {size}×{size} need {needed >> 20} MB, only {free >> 20} MB "
            "are free; choose a smaller --image_size or another --cache_dir"
        )
    with storage.written_whole(folder) as partial:
        partial.mkdir()
        bad = _decode_all(paths, size, partial / IMAGES_FILE, config)
        (partial / FACTS_FILE).write_text(json.dumps({"size": size, "bad": bad}))
    return bad


def _decode_all(paths: Sequence[pathlib.Path], size: int, target: pathlib.Path, config: DataConfig) -> list[int]:
    """Writes the readable images to `target`; returns the positions of the others."""
    faults: dict[int, str] = {}
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool, open(target, "wb") as file:
        # The number of good images is known only at the end: the header, of fixed length, is then rewritten.
        file.write(_header(len(paths), size))
        for start in range(0, len(paths), _AT_A_TIME):
            some = paths[start : start + _AT_A_TIME]
            for i, image in enumerate(pool.map(lambda path: decode_or_fault(path, size), some), start):
                if isinstance(image, str):
                    faults[i] = image
                else:
                    file.write(image.tobytes())
        if faults and not config.skip_bad_images:
            raise DataError(files.bad_images(config, {str(paths[i]): fault for i, fault in faults.items()}))
        file.seek(0)
        file.write(_header(len(paths) - len(faults), size))
    return list(faults)


def _header(count: int, size: int) -> bytes:
    """The .npy header, padded so that its length does not depend on the count."""
    buffer = io.BytesIO()
    shape = (count, size, size, CHANNELS)
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def default_size(paths: Sequence[pathlib.Path]) -> int:
    """The image size for a small network, from the median short side of the readable images."""
    sides = []
    for path in paths:
        try:
            sides.append(min(image_size(path)))
        except FAULTS:
            # Reported by name when it is decoded.
            continue
    return small_side(float(np.median(sides)) if sides else LARGEST)
