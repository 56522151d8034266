"""Where a command writes: a file or folder that appears whole or not at all, and never in the place of another."""

import contextlib
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def new_file(path: pathlib.Path, overwrite: bool) -> Iterator[TextIO]:
    """A text file to write to, which takes its name when the block ends without an exception.

    Raises:
      ValueError: where the name is taken and `overwrite` is false. OSError: where it cannot be written.
    """
    _check(path, overwrite, path.is_file())
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        # File names need not be text; what is not is written as an escape, which JSON reads, too.
        with open(partial, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: pathlib.Path, overwrite: bool, mark: str) -> Iterator[pathlib.Path]:
    """An empty folder to write to, which takes its name when the block ends without an exception.

    Args:
      overwrite: replaces an earlier folder of the same command, which is known by the file `mark` in it; a folder of
        anything else is never replaced, for all that is in it would go.

    Raises:
      ValueError: where the name is taken and may not be. OSError: where it cannot be written.
    """
    _check(path, overwrite, (path / mark).is_file() or (path.is_dir() and not any(path.iterdir())))
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def stop_printing() -> None:
    """What is still to be printed goes nowhere: whoever read standard output has enough, as `head` has."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check(path: pathlib.Path, overwrite: bool, replaceable: bool) -> None:
    if path.exists() and not replaceable:
        raise ValueError(f"{path} is there already and was not written by this command: choose another name")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} is there already: choose another name, or say --overwrite")
