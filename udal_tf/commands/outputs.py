"""Where a command writes: a file or folder that appears whole or not at all, and never instead of another."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import TextIO

from etils import epath

from udal_tf.storage import written_whole


@contextlib.contextmanager
def new_file(path: pathlib.Path, overwrite: bool) -> Iterator[TextIO]:
    """A text file to write to, which takes its name when the block ends without an exception.

    Raises:
      ValueError: where the name is taken and `overwrite` is false. OSError: where it cannot be written.
    """
    _check(path, overwrite, path.is_file())
    # File names need not be text; what is not is written as an escape, which JSON reads, too.
    with (
        written_whole(path) as partial,
        open(partial, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


@contextlib.contextmanager
def new_folder(path: pathlib.Path, overwrite: bool, mark: str) -> Iterator[epath.Path]:
    """An empty folder to write to, which takes its name when the block ends without an exception.

    Args:
      overwrite: replaces an earlier folder of the same command, which is known by the file `mark` in it; a folder of
        anything else is never replaced, for all that is in it would go.

    Raises:
      ValueError: where the name is taken and may not be. OSError: where it cannot be written.
    """
    _check(path, overwrite, (path / mark).is_file() or (path.is_dir() and not any(path.iterdir())))
    with written_whole(path) as partial:
        partial.mkdir(parents=True)
        yield partial


def stop_printing() -> None:
    """What is still to be printed goes nowhere: anyone who read standard output has enough, as `head` has."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check(path: pathlib.Path, overwrite: bool, replaceable: bool) -> None:
    if path.exists() and not replaceable:
        raise ValueError(f"{path} is there already and was not written by this command: choose another name")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} is there already: choose another name, or say --overwrite")
