"""Where a command writes: a file or folder that appears whole or not at all, and never replaces another unasked."""

import contextlib
import itertools
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import TextIO

from etils import epath

from udal_tf import storage
from udal_tf.shown_names import shown
from udal_tf.storage import written_whole


@contextlib.contextmanager
def new_file(path: pathlib.Path, overwrite: bool) -> Iterator[TextIO]:
    """A text file to write to, which is renamed to `path` when the block ends without an exception.

    Raises:
      ValueError: if the file exists and `overwrite` is false.
      OSError: if it cannot be written.
    """
    check_new(path, overwrite, storage.exists(path) and not storage.is_dir(path))
    # File names need not be valid text; such bytes are written as escapes, which JSON can read.
    with (
        written_whole(path) as partial,
        open(partial, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


@contextlib.contextmanager
def new_folder(path: pathlib.Path, overwrite: bool, mark: str) -> Iterator[epath.Path]:
    """An empty folder to write to, which is renamed to `path` when the block ends without an exception.

    Args:
      path: the final name of the folder.
      overwrite: whether an earlier folder of the same command is replaced; any other folder never is.
      mark: the file by which a folder of the same command is recognized.

    Raises:
      ValueError: if the folder exists and may not be replaced.
      OSError: if it cannot be written.
    """
    check_folder(path, overwrite, mark)
    with written_whole(path, last=mark) as partial:
        partial.mkdir(parents=True)
        yield partial


@contextlib.contextmanager
def numbered_folder(first: pathlib.Path, mark: str) -> Iterator[tuple[epath.Path, pathlib.Path]]:
    """As `new_folder`, at `first` or else at first_2, first_3 and so on; gives the final name, too.

    The name is taken when the block begins, so that two processes at the same time get one each; not so in a bucket.
    """
    for number in itertools.count(1):
        path = first if number == 1 else first.with_name(f"{first.name}_{number}")
        if storage.is_remote(path):
            if not storage.exists(path):
                break
            continue
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            break
    try:
        with new_folder(path, True, mark) as partial:
            yield partial, path
    except BaseException:
        if not storage.is_remote(path):
            with contextlib.suppress(OSError):  # What went wrong says more.
                path.rmdir()
        raise


def check_folder(path: pathlib.Path, overwrite: bool, mark: str) -> None:
    """Raises ValueError as `new_folder` does, before long work."""
    empty = not storage.is_remote(path) and path.is_dir() and not any(path.iterdir())
    check_new(path, overwrite, storage.exists(path / mark) or empty)


def check_writable(folder: pathlib.Path) -> None:
    """Checks before long work that files can be made in a folder, which may not exist yet.

    Raises:
      ValueError: naming the folder and what is in the way.
    """
    if storage.is_remote(folder):
        return  # It has answered; whether an object can be put is known only when one is.
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))
    try:
        # Permissions alone do not tell: file systems may be read-only or full.
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(f"cannot write in {shown(folder)} ({error.strerror}): choose another --out") from error


def check_new(path: pathlib.Path, overwrite: bool, replaceable: bool) -> None:
    """Raises ValueError if a path exists and may not be replaced. replaceable: whether `overwrite` allows it."""
    if storage.exists(path) and not replaceable:
        raise ValueError(f"{shown(path)} exists already and was not written by this command: choose another name")
    if storage.exists(path) and not overwrite:
        raise ValueError(f"{shown(path)} exists already: choose another name, or give --overwrite")
