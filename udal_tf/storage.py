"""Local and remote paths, reading files, and atomic writes: a file is written completely or not at all."""

import contextlib
import csv
import errno
import io
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from etils import epath

from udal_tf import buckets
from udal_tf.shown_names import shown

# Suffix of incomplete files and folders, after a random number: processes of several hosts may have the same id.
PARTIAL = ".partial"


def local(path: str | os.PathLike) -> epath.Path:
    """The path of a local file or folder, with `~` expanded. Raises ValueError for a remote one, such as gs://bucket."""
    text = os.fspath(path)
    if found := buckets.scheme(text):
        raise ValueError(f"{found}:// is not supported here, only local files and folders, got {text}")
    return epath.Path(text).expanduser()


def at(path: str | os.PathLike) -> epath.Path:
    """The path of a file or folder, local or in a bucket. Raises ValueError for a bucket that cannot be used."""
    return buckets.place(path) if buckets.scheme(path) else local(path)


def fetched(path: str | os.PathLike) -> epath.Path:
    """The path of a local file or folder; of one in a bucket, that of a local copy. Raises ValueError and OSError."""
    found = at(path)
    return epath.Path(buckets.fetched(os.fspath(found))) if is_remote(found) else found


def exists(path: epath.Path) -> bool:
    """Whether there is a file, object or folder. Raises OSError."""
    if not is_remote(path):
        return path.exists()
    with buckets.asking(path):
        return path.exists()


def is_dir(path: epath.Path) -> bool:
    """Whether there is a folder. Raises OSError."""
    if not is_remote(path):
        return path.is_dir()
    with buckets.asking(path):
        return path.is_dir()


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is that of a bucket."""
    return bool(buckets.scheme(path))


@contextlib.contextmanager
def written_whole(
    path: str | os.PathLike, last: str = "", replaced: Callable[[str], bool] = bool
) -> Iterator[epath.Path]:
    """A temporary path for a file or folder that replaces `path` if the block raises no exception.

    So `path` has either the old or the complete new content, even if the process is killed; after an exception the
    temporary path is removed. The parent folder of a local path must exist, and the temporary path is next to it. To a
    bucket, the finished file is put as one object, a folder object by object, `last` as the last one.

    Args:
      path: local or in a bucket.
      last: the file by which a complete folder is known.
      replaced: see `buckets.upload`; a local folder is replaced as a whole.

    Raises:
      ValueError: see `at`.
      OSError: if it cannot be written.
    """
    target = at(path)
    if not is_remote(target):
        with _renamed(target) as partial:
            yield partial
        return
    with tempfile.TemporaryDirectory(prefix="udal_tf-") as folder:
        partial = epath.Path(folder) / target.name
        yield partial
        if partial.is_dir():
            buckets.upload(partial, target, last, replaced)
        else:
            buckets.put(partial, target)


@contextlib.contextmanager
def _renamed(target: epath.Path) -> Iterator[epath.Path]:
    """`written_whole` for a local path."""
    partial = target.with_name(f"{target.name}.{int.from_bytes(os.urandom(6), 'big')}{PARTIAL}")
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
    """The content of a regular file, local or in a bucket. Raises OSError."""
    if is_remote(path):
        return buckets.read(buckets.place(path))
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
    """Appends `value` as one line of JSON to a local file, in one write."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(value, ensure_ascii=False) + "\n")
