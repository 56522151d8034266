"""Local paths, reading regular files, and atomic writes: a file is written completely or not at all."""

import contextlib
import csv
import errno
import io
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from udal_tf.shown_names import shown

# Suffix of incomplete files and folders, after the process id.
PARTIAL = ".partial"
# gs://bucket, or gs:/bucket as normalized by pathlib.
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/", re.IGNORECASE)


def local(path: str | os.PathLike) -> epath.Path:
    """The path of a local file or folder, with `~` expanded. Raises ValueError for a remote one, such as gs://bucket."""
    text = os.fspath(path)
    if found := _SCHEME.match(text):
        raise ValueError(f"{found[1]}:// is not supported, only local files and folders, got {text}")
    return epath.Path(text).expanduser()


@contextlib.contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[epath.Path]:
    """A temporary path next to `path`, for a file or folder that replaces `path` if the block raises no exception.

    So `path` has either the old or the complete new content, even if the process is killed; after an exception the
    temporary path is removed. The parent folder must exist.

    Raises:
      ValueError: see `local`.
      OSError: if it cannot be written.
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
            target.rmtree()  # Renaming a folder can replace only an empty one.
        os.replace(partial, target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def check_regular(path: str | os.PathLike) -> None:
    """Raises OSError for a pipe, a socket or a device, reading which may never end, and for what is not there."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


def read_bytes(path: str | os.PathLike) -> bytes:
    """The content of a regular file. Raises OSError."""
    check_regular(path)
    with open(path, "rb") as file:
        return file.read()


def read_json(path: str | os.PathLike) -> Any:
    """The value in a JSON file, which is UTF-8 whatever the locale. Raises ValueError with the file and the reason."""
    try:
        return json.loads(read_bytes(path).decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{shown(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except RecursionError as error:
        raise ValueError(f"{shown(path)} cannot be read: its JSON is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{shown(path)} cannot be read: it is not valid JSON ({error})") from error


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file atomically; undecodable characters, as in file names, are written as escapes."""
    with written_whole(path) as partial:
        partial.write_bytes(text.encode("utf-8", "backslashreplace"))


def csv_row(cells: Iterable[object]) -> str:
    """A row of a CSV file, without the line break after it; cells with line breaks, as in file names, are quoted."""
    text = io.StringIO()
    # Of line breaks, `csv` quotes those that it would write itself.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as JSON, atomically; each list of numbers is on one line."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Line breaks within strings are escaped, so they do not match.
    write_text(path, re.sub(r"\[\n[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text) + "\n")


def append_json(path: str | os.PathLike, value: Any) -> None:
    """Appends `value` as one line of JSON, in one write."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(value, ensure_ascii=False) + "\n")
