"""The work folder of a run: whose it is, who may write to it, and what must not be overwritten."""

import fcntl
import json
import pathlib
from typing import Any, TextIO

from udal_tf.config import Config, differences
from udal_tf.reporting.run_log import write_json

LOCK, CONFIG = ".lock", "config.json"
# What a run killed before its config was written leaves behind.
_FIRST_TRACES = {LOCK, CONFIG + ".partial"}


class WorkdirError(ValueError):
    """The work folder cannot be used; the message says why and what to do. Nothing in it was changed."""


class Workdir:
    """A folder that belongs to one run: `config.json` names the run, a lock keeps a second process out.

    Args:
      config: of the run; the folder is its `train.workdir`.

    Raises:
      WorkdirError: for a folder of another run, of something else, one that cannot be written, or one in use.
    """

    def __init__(self, config: Config):
        self.path = pathlib.Path(config.train.workdir).expanduser()
        self._config = config
        self._lock: TextIO | None = None
        try:
            self._check()
        except OSError as error:
            raise WorkdirError(f"--workdir {self.path} cannot be read: {error.strerror or error}") from error

    def _check(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise WorkdirError(f"--workdir must be a folder, got the file {self.path}")
        names = {p.name for p in self.path.iterdir()} if self.path.exists() else set()
        if not names - _FIRST_TRACES:
            return
        saved = self.path / CONFIG
        if not saved.exists():
            raise WorkdirError(
                f"--workdir must be a new or empty folder or one of an earlier run, got {self.path}, which holds "
                f"something else ({min(names - _FIRST_TRACES)}, …): choose another --workdir"
            )
        try:
            theirs = Config.from_dict(json.loads(saved.read_text(encoding="utf-8")))
        except (ValueError, TypeError, AttributeError) as error:
            raise WorkdirError(f"{saved} is no config of this program's ({error}): choose another --workdir") from error
        different = differences(self._config, theirs)
        if self._config.data.pictures != theirs.data.pictures:
            raise WorkdirError(
                f"--workdir {self.path} belongs to a run on other pictures; some were added, removed or replaced since "
                f"it began, and with them the recipe may be another:\n  " + "\n  ".join(different) + "\n"
                "Choose another --workdir to train on the pictures as they are now, or bring back those it began with."
            )
        if different:
            raise WorkdirError(
                f"--workdir {self.path} belongs to a run with other settings:\n  "
                + "\n  ".join(different)
                + "\nUse the same settings to go on with it, or another --workdir."
            )

    @property
    def is_new(self) -> bool:
        """Whether no run has begun in it."""
        return not (self.path / CONFIG).exists()

    def result(self) -> dict[str, Any] | None:
        """The result of the run if it is finished."""
        path = self.path / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def open(self) -> None:
        """Creates the folder, takes its lock and writes `config.json`; the first thing that a run writes."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = self._lock = open(self.path / LOCK, "w", encoding="utf-8")  # noqa: SIM115 (held while the run lasts)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check()  # Another run may have come and gone since the first look.
            if not (self.path / CONFIG).exists():
                write_json(self.path / CONFIG, self._config.to_dict())
        except BlockingIOError as error:
            raise WorkdirError(f"--workdir {self.path} is in use by another process: wait for it or stop it") from error
        except OSError as error:
            raise WorkdirError(f"--workdir {self.path} cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Releases the lock, so that the same process can go on with the run."""
        if self._lock:
            self._lock.close()
