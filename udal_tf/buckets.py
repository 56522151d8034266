"""Remote folders, such as gs://bucket/run: objects are put, read and removed as wholes, by way of `etils.epath`.

An object store cannot rename, append or lock, and its folders are only what the names of its objects have in common.
An object appears when all of it has been put.
"""

import atexit
import concurrent.futures
import contextlib
import errno
import functools
import hashlib
import importlib
import os
import pathlib
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping

from etils import epath

from udal_tf.shown_names import shown

# gs://bucket, or gs:/bucket as normalized by pathlib.
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/+", re.IGNORECASE)
# Without credentials, TensorFlow asks a metadata server for minutes.
SECONDS_TO_ANSWER = 15
# Schemes that epath leaves to TensorFlow.
_BY_TENSORFLOW = ("gs", "s3", "az", "hf")
# Objects that are copied at a time.
_AT_A_TIME = 8
# What helps where a scheme does not answer.
_HINTS = {
    "gs": "gs:// needs credentials that may use the bucket: those of the VM's service account, or of `gcloud auth "
    "application-default login`, or a key file in GOOGLE_APPLICATION_CREDENTIALS",
    "s3": "s3:// needs `pip install s3fs`, the environment variable EPATH_USE_TF=0 and the credentials of AWS",
}
_HINT = "check its name, your credentials and the network"


def scheme(path: str | os.PathLike) -> str:
    """The scheme of a remote path; "" for a local one.

    >>> scheme("gs://bucket/run"), scheme("runs/a:b"), scheme("c:/run")
    ('gs', '', '')
    """
    found = _SCHEME.match(os.fspath(path))
    return found[1].lower() if found else ""


def place(path: str | os.PathLike) -> epath.Path:
    """A remote folder or object that answers.

    Raises:
      ValueError: if no backend knows its scheme, or it does not answer within SECONDS_TO_ANSWER, with the reason.
    """
    text, name = os.fspath(path), scheme(path)
    text = _SCHEME.sub(f"{name}://", text, count=1)
    try:
        found = epath.Path(text)
    except KeyError as error:
        raise ValueError(
            f"{name}:// is not known, got {shown(text)}: give a local path or one of gs:// and s3://; a plugin can "
            "register others (etils.epath.register_path_cls)"
        ) from error
    if text == f"{name}://":
        raise ValueError(f"{text} names no bucket")
    _reach(name, text.removeprefix(f"{name}://").split("/")[0])
    return found


@functools.cache
def _reach(name: str, bucket: str) -> None:
    """Asks a bucket once for something. Raises ValueError; a later call asks again."""
    if name in _BY_TENSORFLOW:
        importlib.import_module("tensorflow")  # Takes seconds that are not the bucket's.
    answers: list[Exception | None] = []

    def ask() -> None:
        try:
            epath.Path(f"{name}://{bucket}/udal_tf").exists()
        except Exception as error:  # Backends have errors of their own, which are no OSError.
            answers.append(error)
        else:
            answers.append(None)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS_TO_ANSWER)
    problem = answers[0] if answers else f"no answer within {SECONDS_TO_ANSWER} s"
    if problem:
        raise ValueError(f"{name}://{bucket} cannot be used: {_line(problem)}. {_HINTS.get(name, _HINT)}")


def _line(error: Exception | str) -> str:
    text = str(getattr(error, "message", "") or error)
    return (text.strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def asking(path: epath.Path) -> Iterator[None]:
    """Turns a backend's errors into OSError with the path, or FileNotFoundError; ValueError stays."""
    try:
        yield
    except ValueError:
        raise
    except OSError as error:
        if error.errno:
            raise
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else OSError
        number = errno.ENOENT if isinstance(error, FileNotFoundError) else errno.EIO
        raise kind(number, _line(error), os.fspath(path)) from error
    except Exception as error:  # TensorFlow's and fsspec's have no common class.
        missing = type(error).__name__ == "NotFoundError"
        raise OSError(errno.ENOENT if missing else errno.EIO, _line(error), os.fspath(path)) from error


def read(path: epath.Path) -> bytes:
    """The content of an object. Raises OSError."""
    with asking(path):
        return path.read_bytes()


def write(path: epath.Path, content: bytes) -> None:
    """Puts an object: all of it, or none, or the earlier one stays. Raises OSError."""
    with asking(path):
        partial = False
        try:
            with path.open("wb") as target:
                partial = True
                target.write(content)
                partial = False
        finally:
            if partial:  # To close it, as leaving the block does, has completed the object with what had arrived.
                path.unlink(missing_ok=True)


def put(local: pathlib.Path, path: epath.Path) -> None:
    """Puts a local file as an object, as `write`. Raises OSError."""
    with open(local, "rb") as source:  # Before the object is begun: one that has been begun cannot be given up.
        content = source.read()
    write(path, content)


def get(path: epath.Path, local: pathlib.Path) -> None:
    """Copies an object to a local file, which appears when it is whole. Raises OSError."""
    partial = local.with_name(f"{local.name}.{uuid.uuid4().hex}.partial")
    local.parent.mkdir(parents=True, exist_ok=True)
    try:
        with asking(path), path.open("rb") as source, open(partial, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 24)
        os.replace(partial, local)
    finally:
        partial.unlink(missing_ok=True)


def remove(path: epath.Path) -> None:
    """Removes an object, if it is there. Raises OSError."""
    with asking(path):
        path.unlink(missing_ok=True)


def objects(folder: epath.Path) -> list[str]:
    """The names of all objects below a folder, relative to it, sorted; none without a folder. Raises OSError."""
    found: list[str] = []
    with asking(folder):
        if folder.is_dir():
            for parent, _, names in folder.walk():
                above = below(parent, folder)
                found += [f"{above}/{name}".lstrip("/") for name in names if name]
    return sorted(found)


def below(path: epath.Path, folder: epath.Path) -> str:
    """The path relative to a folder that it is in; "" for the folder itself."""
    return os.fspath(path).removeprefix(os.fspath(folder)).strip("/")


def download(folder: epath.Path, local: pathlib.Path, names: list[str]) -> None:
    """Copies these objects of a folder to the same names below a local folder. Raises OSError."""
    with concurrent.futures.ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(lambda name: get(folder / name, local / name), names))


def files(local: pathlib.Path) -> Mapping[str, os.stat_result]:
    """Every file at or below a local folder by its name relative to it, sorted."""
    root = pathlib.Path(local)  # epath's has no `rglob`.
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: found[name].stat() for name in sorted(found)}


def upload(local: pathlib.Path, folder: epath.Path, last: str, replaced: Callable[[str], bool] = bool) -> None:
    """Puts the files of a local folder as the objects of a remote one.

    Args:
      local: the folder.
      folder: the remote folder.
      last: the file by which a complete folder is known: that of an earlier one is removed first, and the new one put
        last, so that a folder that has it is whole.
      replaced: which objects of an earlier folder, by name, are removed if there is no new one; by default all.

    Raises:
      OSError: if it cannot be written.
    """
    names, earlier = list(files(local)), objects(folder)
    if last in earlier:
        remove(folder / last)
    for name in sorted(names, key=lambda name: name == last):
        if name == last:
            for stale in earlier:
                if stale not in names and replaced(stale):
                    remove(folder / stale)
        put(local / name, folder / name)


# The local copies that `fetched` made, and what they are copies of.
_copies: dict[str, str] = {}


@functools.cache
def fetched(path: str) -> pathlib.Path:
    """A local copy of a remote file or folder for this process, made once and removed when it ends.

    Raises:
      ValueError: as `place`.
      OSError: if it is not there or cannot be read.
    """
    source = place(path)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="udal_tf-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    local = folder / source.name
    if names := objects(source):
        download(source, local, names)
    else:
        get(source, local)
    _copies[os.fspath(local)] = os.fspath(source)
    return local


def origin(path: str | os.PathLike) -> str:
    """The remote path of a file in a copy that `fetched` made; other paths as they are."""
    text = os.fspath(path)
    for local, remote in _copies.items():
        if text == local or text.startswith(f"{local}/"):
            return remote + text.removeprefix(local)
    return text


def kept(path: str, cache: pathlib.Path) -> pathlib.Path:
    """A local copy of a remote folder below a cache folder, in which only what has changed is copied the next time.

    Raises:
      ValueError: as `place`, or if the disk has no room.
      OSError: if it cannot be read or written.
    """
    source = place(path)
    local = cache / f"bucket_{hashlib.sha256(os.fspath(source).encode()).hexdigest()[:16]}" / source.name
    names = objects(source)
    if not names:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(source))
    local.mkdir(parents=True, exist_ok=True)
    there, here = _stats(source, names), files(local)
    new = [n for n in names if n not in here or there[n] != (here[n].st_size, min(int(here[n].st_mtime), there[n][1]))]
    size, free = sum(there[name][0] for name in new), shutil.disk_usage(local).free
    if size > free:
        raise ValueError(
            f"{shown(source)}: {size >> 20:,} MB are to be copied, only {free >> 20:,} MB are free in {shown(cache)}: "
            "choose another folder with --cache_dir"
        )
    if new:
        print(f"Copying {len(new):,} files, {size / 1e6:,.1f} MB, from {shown(source)} to {shown(local)}", flush=True)
    download(source, local, new)
    for gone in set(here) - set(names):
        (local / gone).unlink(missing_ok=True)
    _copies[os.fspath(local)] = os.fspath(source)
    return local


def _stats(folder: epath.Path, names: list[str]) -> dict[str, tuple[int, int]]:
    """The length in bytes of each object, and when it was put, in seconds since 1970."""

    def one(name: str) -> tuple[int, int]:
        with asking(folder / name):
            found = (folder / name).stat()
            return found.length, found.mtime

    with concurrent.futures.ThreadPoolExecutor(_AT_A_TIME) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))
