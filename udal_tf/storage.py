"""Where files may lie, and how they are written: whole or not at all."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

from etils import epath

# Ends the name under which something is written until it is whole; the process's number stands before it.
PARTIAL = ".partial"
# As given, gs://bucket, or as pathlib has it, gs:/bucket.
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/", re.IGNORECASE)


def local(path: str | os.PathLike) -> epath.Path:
    """The path of a local file or folder, with `~` resolved. Raises ValueError for one elsewhere, as gs://bucket."""
    text = os.fspath(path)
    if found := _SCHEME.match(text):
        raise ValueError(f"{found[1]}:// is not supported, only local folders and files are, got {text}")
    return epath.Path(text).expanduser()


@contextlib.contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[epath.Path]:
    """A free name beside `path` for a file or folder, which replaces `path` when the block ends without an exception.

    So `path` is what it was before or all of the new, whenever the process is killed; what an exception leaves is
    removed. The folder around it must be there.

    Raises:
      ValueError: see `local`. OSError: where it cannot be written.
    """
    target = local(path)
    partial = target.with_name(f"{target.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        if not partial.is_dir():
            descriptor = os.open(partial, os.O_RDONLY)
            try:
                os.fsync(descriptor)  # The new name must not reach the disk before the content.
            finally:
                os.close(descriptor)
        elif target.exists():
            target.rmtree()  # A folder replaces an empty one only.
        os.replace(partial, target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file whole; names of files in it need not be text: what is not is written as an escape."""
    with written_whole(path) as partial:
        partial.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as JSON, whole; lists of numbers take a line each."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Inside strings, line breaks are written otherwise.
    write_text(path, re.sub(r"\[\n[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text) + "\n")


def append_json(path: str | os.PathLike, value: Any) -> None:
    """Adds `value` as one line of JSON, in one write."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(value, ensure_ascii=False) + "\n")
