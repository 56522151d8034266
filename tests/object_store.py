"""An object store for tests, `store://bucket/name`, in the folder that $UDAL_TEST_STORE names.

An object appears when it is closed, with what has been written by then, also where writing failed, as with
TensorFlow's and fsspec's files; and a folder is there while an object has it in its name. What an object store cannot
do is refused: to append, to rename, to make folders. As a plugin, it registers itself with epath.
"""

import contextlib
import os
import pathlib
import tempfile
import types
import uuid

from etils import epath

from udal_tf import mirror

SCHEME = "store"
# A test's processes do not compete for a lock in the same second.
mirror.SETTLE_SECONDS = 0.0
# Of forked processes, whose `tempfile` has been used before.
if "UDAL_TEST_TMP" in os.environ:
    tempfile.tempdir = os.environ["UDAL_TEST_TMP"]


def root() -> pathlib.Path:
    """The folder with the objects."""
    return pathlib.Path(os.environ["UDAL_TEST_STORE"])


@epath.register_path_cls(f"{SCHEME}://")
class StorePath(epath.Path):
    """A path in the store; its parts are "store:", the bucket, and those of the name."""

    def __fspath__(self) -> str:
        return f"{SCHEME}://" + "/".join(self.parts[1:])

    __str__ = __fspath__

    @property
    def _file(self) -> pathlib.Path:
        return root().joinpath(*self.parts[1:])

    def exists(self) -> bool:
        return self._file.is_file() or self.is_dir()

    def is_dir(self) -> bool:
        return any(path.is_file() for path in self._file.rglob("*"))

    def iterdir(self):
        return iter([self / path.name for path in self._file.iterdir()])

    def walk(self, *, top_down=True, on_error=None):
        for folder, folders, names in os.walk(self._file):
            yield self / pathlib.Path(folder).relative_to(self._file).as_posix(), folders, names

    @contextlib.contextmanager
    def open(self, mode="r", encoding=None, errors=None, **kwargs):
        if mode in ("r", "rb"):
            with open(self._file, mode) as file:
                yield file
        elif mode in ("w", "wb"):
            partial = root() / f"unseen-{uuid.uuid4().hex}"
            try:
                with open(partial, mode) as file:
                    yield file
            finally:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                os.replace(partial, self._file)
        else:
            raise OSError(f"an object store cannot open with {mode!r}")

    def unlink(self, missing_ok=False) -> None:
        self._file.unlink(missing_ok=missing_ok)

    def stat(self):
        found = self._file.stat()
        return types.SimpleNamespace(length=found.st_size, mtime=int(found.st_mtime))

    def _refused(self, *args, **kwargs):
        raise OSError(f"an object store cannot append, rename or make folders: {self}")

    rename = replace = copy = mkdir = rmdir = rmtree = touch = resolve = glob = _refused
