"""Where to look for the files of a dataset, and how to identify them."""

import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
from absl import logging

from udal_tf import buckets, storage
from udal_tf.data.errors import DataError
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown

DEFAULT_DATA_DIR = "~/tensorflow_datasets"
DEFAULT_CACHE_DIR = "~/.cache/udal_tf"
# What operating systems and tools leave in folders; hidden entries are passed over as well.
_PASSED_OVER = {
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "#recycle", "$recycle.bin",
    "system volume information", "lost+found", "__pycache__",
}  # fmt: skip
# Files that a message lists by name before it only counts the others.
NAMED = 5
_CHUNK = 1 << 20


def data_dirs(config: DataConfig) -> list[pathlib.Path]:
    """The folders to search: --data_dir if given, then the default folder of TFDS. A bucket is copied to --cache_dir.

    Raises:
      DataError: if --data_dir is not a readable folder.
    """
    default = pathlib.Path(DEFAULT_DATA_DIR).expanduser()
    if not config.data_dir:
        return [default]
    folder = pathlib.Path(config.data_dir).expanduser()
    if storage.is_remote(config.data_dir):
        folder = _kept(config.data_dir, cache_dir(config))
    listed(folder, f"{config.dataset}: --data_dir")
    return [folder] if folder == default else [folder, default]


@functools.cache
def _kept(data_dir: str, cache: pathlib.Path) -> pathlib.Path:
    """The local copy of a folder in a bucket. Raises DataError."""
    try:
        return buckets.kept(data_dir, cache)
    except OSError as error:
        raise DataError(f"--data_dir={shown(data_dir)} cannot be copied ({error.strerror or error})") from error
    except ValueError as error:
        raise DataError(f"--data_dir: {error}") from error


def listed(folder: pathlib.Path, what: str) -> list[pathlib.Path]:
    """The entries of a folder that are not `passed_over`, sorted by name.

    Raises:
      DataError: naming `what`, if the folder cannot be read.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if not passed_over(entry.name))
    except OSError as error:
        raise DataError(f"{shown(what)}: cannot read the folder {shown(folder)} ({error.strerror})") from error


def passed_over(name: str) -> bool:
    """Whether an entry of a folder is nobody's data: hidden, or left there by an operating system.

    >>> passed_over(".ipynb_checkpoints"), passed_over("__MACOSX"), passed_over("Thumbs.db"), passed_over("cat")
    (True, True, True, False)
    """
    return name.startswith(".") or name.lower() in _PASSED_OVER


def cache_dir(config: DataConfig) -> pathlib.Path:
    """The folder for indices and resized images; it need not exist."""
    return pathlib.Path(config.cache_dir or DEFAULT_CACHE_DIR).expanduser()


def sha256(path: pathlib.Path) -> str:
    """SHA-256 of a file. Raises DataError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"cannot read {shown(path)} ({error.strerror})") from error
    return digest.hexdigest()


def fingerprint(paths: Iterable[pathlib.Path], root: pathlib.Path, *facts: object) -> str:
    """A cache key for results computed from files: their names below `root`, sizes, modification times, and `facts`."""
    digest = hashlib.sha256(repr(facts).encode())
    for path in paths:
        try:
            stat = os.stat(path)
            state = f"{stat.st_size}\0{stat.st_mtime_ns}"
        except OSError as error:
            state = str(error.strerror)
        digest.update(f"{path.relative_to(root)}\0{state}\n".encode("utf-8", "replace"))
    return digest.hexdigest()[:24]


def keep(path: pathlib.Path, write: Callable[[BinaryIO], None]) -> None:
    """Writes a file of the cache folder atomically. Raises DataError if the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with storage.written_whole(path) as partial, open(partial, "wb") as file:
            write(file)
    except OSError as error:
        raise DataError(
            f"cannot write {shown(path)} ({error.strerror}); choose another folder with --cache_dir"
        ) from error


def bad_images(config: DataConfig, faults: Mapping[str, str]) -> str:
    """The message about unreadable images, listing the first ones by name."""
    first = [f"  {shown(name)}: {shown(fault)}" for name, fault in list(faults.items())[:NAMED]]
    more = [f"  and {len(faults) - NAMED} more"] if len(faults) > NAMED else []
    return "\n".join(
        [f"{config.dataset}: {len(faults)} images cannot be read:", *first, *more]
        + ["Replace or remove them, or leave them out with --skip_bad_images."]
    )


def cached_arrays(config: DataConfig, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, np.ndarray]:
    """Arrays from the file of this key in the cache folder, where they are made first if it is missing."""
    path = cache_dir(config) / f"{key}.npz"
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as kept:
                return {name: kept[name] for name in kept.files}
        except Exception as error:  # A damaged file raises errors of many kinds; its checksums find any damage.
            logging.info("%s is made again: %s", shown(path), error)
    arrays: dict[str, Any] = make()
    keep(path, lambda partial: np.savez(partial, **arrays))
    return arrays
