"""A run's folder in a bucket: the run writes a local copy of it, which is put into the bucket at each checkpoint.

So a run uses appends, renames and TensorFlow's checkpoint manager as on any disk, and the bucket needs whole objects
alone. Objects are put in such an order that the bucket always holds a run that can be resumed: a checkpoint before the
list that names it, the result last; what is no longer used is removed after that. Who may write is decided by the
lock, an object that its holder renews.
"""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from typing import IO, Any

from absl import logging
from etils import epath

from udal_tf import buckets
from udal_tf.shown_names import shown

# How often a lock is renewed, and after how long without it its holder counts as dead.
BEAT_SECONDS = 20.0
DEAD_SECONDS = 180.0
# Two processes may find no lock at the same time: each looks once more after the other must have written.
SETTLE_SECONDS = 1.0
_BOOT = "/proc/sys/kernel/random/boot_id"


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lock: a process of a host, since when, and when it was last renewed, in seconds since 1970."""

    token: str
    host: str
    boot: str
    pid: int
    since: float
    renewed: float

    @property
    def words(self) -> str:
        """For messages: host, process and time."""
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.since))
        return f"process {self.pid} on {self.host} since {since}"

    @property
    def dead(self) -> str:
        """Why it holds the lock no longer; "" if it does."""
        if (self.host, self.boot) == _this_host() and not _alive(self.pid):
            return "has ended"
        silent = time.time() - self.renewed
        return f"has given no sign of life for {silent / 60:.0f} minutes" if silent > DEAD_SECONDS else ""


def _this_host() -> tuple[str, str]:
    boot = ""
    with contextlib.suppress(OSError), open(_BOOT, encoding="ascii") as file:
        boot = file.read().strip()
    return socket.gethostname(), boot


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def holder(path: epath.Path) -> Holder | None:
    """Who holds the lock that is this object, dead or alive; None for nobody. Raises OSError."""
    try:
        found = json.loads(buckets.read(path))
        return Holder(**found)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise OSError(errno.EINVAL, f"is not a lock of this program ({error})", os.fspath(path)) from error


class Lock:
    """The lock of a folder in a bucket; a thread renews it while it is held.

    Args:
      path: of the object.
    """

    def __init__(self, path: epath.Path):
        host, boot = _this_host()
        self._path, self._token = path, uuid.uuid4().hex
        self._own = Holder(self._token, host, boot, os.getpid(), time.time(), time.time())
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def take(self) -> None:
        """Takes the lock.

        Raises:
          BlockingIOError: if another process holds it, naming that.
          OSError: if it cannot be written.
        """
        before = holder(self._path)
        if before:
            # A worker that restarts stays the same process; a second run in it is refused before, by the local copy.
            restarted = (before.host, before.boot, before.pid) == (self._own.host, self._own.boot, self._own.pid)
            why = "has restarted" if restarted else before.dead
            if not why:
                raise self._in_use(before)
            print(f"The lock of {shown(self._path.parent)} is taken over: {before.words} {why}")
        self._write()
        time.sleep(SETTLE_SECONDS)
        self.check()
        self._thread.start()

    def check(self) -> None:
        """Raises BlockingIOError if another process has taken the lock over, as it does after DEAD_SECONDS."""
        now = holder(self._path)
        if now is None or now.token != self._token:
            raise self._in_use(now)

    def release(self) -> None:
        """Gives the lock back, unless another process has taken it over."""
        self._released.set()
        if self._thread.ident:
            self._thread.join()
        now = holder(self._path)
        if now and now.token == self._token:
            buckets.remove(self._path)

    def _in_use(self, by: Holder | None) -> BlockingIOError:
        words = by.words if by else "a process that removed its lock"
        return BlockingIOError(errno.EWOULDBLOCK, f"in use by {words}", os.fspath(self._path.parent))

    def _write(self) -> None:
        renewed = dataclasses.replace(self._own, renewed=time.time())
        buckets.write(self._path, json.dumps(dataclasses.asdict(renewed)).encode())

    def _renew(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            try:
                self.check()
                self._write()
            except BlockingIOError:
                return  # The next `check` says so to the run.
            except OSError as error:
                logging.warning("The lock of %s cannot be renewed, trying again: %s", shown(self._path.parent), error)


class Mirror:
    """The local copy of a run's folder in a bucket.

    Args:
      place: the folder in the bucket.
      lock: the name of its lock.
      order: names of objects are put in the order of this key.
    """

    def __init__(self, place: epath.Path, lock: str, order: Callable[[str], Any]):
        self.place = place
        self._lock = Lock(place / lock)
        self._name, self._order = lock, order
        self._folder: pathlib.Path | None = None
        self._local: IO | None = None
        # The state of each object's local file when it was last copied.
        self._copied: dict[str, tuple[int, ...]] = {}

    def open(self) -> epath.Path:
        """Takes the lock and copies the folder; returns the local copy, which this process alone may use.

        Raises:
          BlockingIOError: if another process has locked it, naming that.
          OSError: if it cannot be read or written. Call `close` after that, too.
        """
        own = _scratch() / hashlib.sha256(os.fspath(self.place).encode()).hexdigest()[:20]
        self._local = open(own.with_suffix(".lock"), "w", encoding="utf-8")  # noqa: SIM115 (held while the run lasts)
        try:
            fcntl.flock(self._local, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._local.close()
            self._local = None
            held = holder(self.place / self._name)
            words = f"in use by {held.words}" if held else "in use by another process on this host"
            raise BlockingIOError(error.errno, words, os.fspath(self.place)) from error
        self._lock.take()
        return self._copied_to(own)

    def follow(self) -> epath.Path:
        """Copies the folder for a process that only reads it, beside the one that writes; returns the local copy."""
        return self._copied_to(pathlib.Path(tempfile.mkdtemp(dir=_scratch())))

    def _copied_to(self, folder: pathlib.Path) -> epath.Path:
        shutil.rmtree(folder, ignore_errors=True)  # Left behind by a killed process.
        folder.mkdir()
        self._folder = folder
        self.pull()
        return epath.Path(folder)

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes."""
        return self._local is not None

    def pull(self, only: str = "") -> None:
        """Copies the objects into the local copy, or those of one name alone. Raises OSError."""
        folder = self._opened()
        names = [name for name in buckets.objects(self.place) if name != self._name]
        if only:
            names = [name for name in names if name.split("/")[-1] == only]
        else:
            for gone in set(buckets.files(folder)) - set(names):
                (folder / gone).unlink()
        buckets.download(self.place, folder, names)
        self._copied = self._states()

    def push(self) -> None:
        """Puts what has changed in the local copy into the bucket, then removes what is no longer in it.

        Raises:
          BlockingIOError: if another process has taken the lock over.
          OSError: if it cannot be written.
        """
        self._lock.check()
        folder, states = self._opened(), self._states()
        for name in sorted(states, key=self._order):
            if self._copied.get(name) != states[name]:
                buckets.put(folder / name, self.place / name)
                self._copied[name] = states[name]
        for name in [name for name in self._copied if name not in states]:
            buckets.remove(self.place / name)
            del self._copied[name]

    def close(self) -> None:
        """Removes the local copy and releases the lock."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._local:
            try:
                self._lock.release()
            finally:
                self._local.close()
                self._local = None

    def named(self, path: str) -> str:
        """A path in the local copy as that of the object, for messages; other paths as they are."""
        if self._folder and f"{path}/".startswith(f"{self._folder}/"):
            return f"{self.place}{path.removeprefix(str(self._folder))}"
        return path

    def _states(self) -> dict[str, tuple[int, ...]]:
        found = buckets.files(self._opened()).items()
        return {name: (info.st_ino, info.st_size, info.st_mtime_ns) for name, info in found}

    def _opened(self) -> pathlib.Path:
        if self._folder is None:
            raise ValueError("the mirror is not open")
        return self._folder


def _scratch() -> pathlib.Path:
    """The folder of this user's local copies. Raises OSError if it is another's."""
    folder = pathlib.Path(tempfile.gettempdir()) / f"udal_tf-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise OSError(errno.EPERM, "belongs to another user: set TMPDIR to a folder of your own", os.fspath(folder))
    return folder
