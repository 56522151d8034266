"""The folder of a run, on a disk or in a bucket: the names of its files, which run it belongs to, who may write to it.

What holds this file together: everything that reads or writes a run's files knows them by the names and the order here.
"""

import dataclasses
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from etils import epath

from udal_tf import __version__, buckets, storage
from udal_tf.config import Config, differences
from udal_tf.mirror import Mirror, holder
from udal_tf.registry import PluginError
from udal_tf.run_records import FORMAT, EpochRow, ModelFacts, Result, RunDirError, check_format
from udal_tf.shown_names import shown

CONFIG = "config.json"
RESULT = "result.json"
ROWS = "metrics.jsonl"
LOCK = ".lock"
# What prediction needs to know about the model.
MODEL = "model.json"
# Written by the sweep that trained the run.
CELL = "cell.json"
CHECKPOINTS = "checkpoints"
BEST = "best"
TENSORBOARD = "tensorboard"
# The images added to the labeled set of one of CReST's generations.
LABELED = "labeled.json"
# DARP's estimate of the unlabeled images' class distribution.
PRIOR = "unlabeled_prior.json"
# The image files that --skip_bad_images left out.
SKIPPED = "skipped_images.csv"
_GENERATION = re.compile(r"generation_(\d+)")
# Into a bucket, the files of a folder go in the order of the first pattern that fits, so that whatever has arrived can
# be resumed: the run's identity, rows and figures, weights before the list that names them, and the result last.
_INTO_BUCKET = [
    re.compile(pattern)
    for pattern in (
        CONFIG,
        rf"(?!.*(\b{BEST}/|\b{CHECKPOINTS}/|\b{RESULT}))",
        *(rf"(.*/)?{BEST}/{file}" for file in (r".*\.data-", r".*\.index", ".")),
        *(rf"(.*/)?{CHECKPOINTS}/{file}" for file in (r".*\.data-", r".*\.index", ".")),
        rf".+/{RESULT}",
        "",
    )
]


def read_object(path: epath.Path) -> dict[str, Any]:
    """The JSON object in a file. Raises RunDirError if there is none."""
    try:
        value = storage.read_json(path)
    except ValueError as error:
        raise RunDirError(str(error)) from error
    if not isinstance(value, dict):
        raise RunDirError(f"{shown(path)} must hold an object, got {type(value).__name__}")
    return value


def _into_bucket(name: str) -> tuple[int, str]:
    """The key by which files are put into a bucket."""
    return next(rank for rank, pattern in enumerate(_INTO_BUCKET) if pattern.match(name)), name


class RunDir:
    """The folder of a run, or of one of its generations, which has the same files except the settings.

    Args:
      path: as in --workdir, on a disk or in a bucket; it need not exist.
      mirror: if `path` is within the local copy of a folder in a bucket.

    Raises:
      RunDirError: for a bucket that cannot be used.
    """

    def __init__(self, path: str | os.PathLike, mirror: Mirror | None = None):
        try:
            self.path = storage.at(path)
        except ValueError as error:
            raise RunDirError(str(error)) from error
        self._mirror = mirror

    def __truediv__(self, name: str) -> epath.Path:
        return self.path / name

    def generation(self, number: int) -> "RunDir":
        """The folder of a generation, counted from 0."""
        return RunDir(self.path / f"generation_{number}", self._mirror)

    def generations(self) -> dict[int, "RunDir"]:
        """The folders of existing generations by number, in order."""
        names = (path.name for path in self.path.iterdir()) if self.path.is_dir() else ()
        return {n: self.generation(n) for n in sorted(int(m[1]) for m in map(_GENERATION.fullmatch, names) if m)}

    def half(self, number: int) -> "RunDir":
        """The folder of one of the two runs from which DARP's prior is estimated."""
        return RunDir(self.path / f"unlabeled_prior_{number}", self._mirror)

    def publish(self) -> None:
        """Puts what was written into the bucket, if the folder is in one. Raises OSError."""
        if self._mirror:
            self._mirror.push()

    def refresh(self, only: str = "") -> None:
        """Reads what the process that writes has published since, in a process that does not; `only` one file name."""
        if self._mirror and not self._mirror.writes:
            self._mirror.pull(only)

    def named(self, path: str | os.PathLike) -> str:
        """A path in the folder as people see it, which for a bucket is not that of the local copy."""
        return shown(self._mirror.named(os.fspath(path)) if self._mirror else path)

    @property
    def begun(self) -> bool:
        return storage.exists(self / CONFIG)

    @property
    def finished(self) -> bool:
        return storage.exists(self / RESULT)

    def config(self) -> Config:
        """The settings. Raises RunDirError for a file of another version or program."""
        value = read_object(self / CONFIG)
        if "format" not in value:
            raise RunDirError(f"{self / CONFIG} is not a config of this program: its format is missing")
        check_format(value, str(self / CONFIG))
        try:
            return Config.from_dict({k: v for k, v in value.items() if k not in ("format", "udal_tf")})
        except PluginError as error:
            raise RunDirError(f"{shown(self.path)}: {error}") from error
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise RunDirError(f"{self / CONFIG} is not a config of this program ({error})") from error

    def write_config(self, config: Config) -> None:
        """Writes `config.json`, which makes the folder a run's."""
        storage.write_json(self / CONFIG, {"format": FORMAT, "udal_tf": __version__, **config.to_dict()})

    def result(self) -> Result:
        """The result of a finished run. Raises RunDirError if it cannot be used."""
        return Result.from_json(read_object(self / RESULT), f"{self / RESULT}: ")

    def write_result(self, result: Result) -> None:
        """Writes `result.json`, which marks the run as finished."""
        storage.write_json(self / RESULT, result.to_json())

    def model(self) -> ModelFacts:
        """What prediction needs besides settings and weights. Raises RunDirError if it cannot be used."""
        return ModelFacts.from_json(read_object(self / MODEL), f"{self / MODEL}: ")

    def write_model(self, facts: ModelFacts) -> None:
        """Writes `model.json`, unless it exists."""
        if not storage.exists(self / MODEL):
            storage.write_json(self / MODEL, facts.to_json())

    def write_skipped(self, skipped: Sequence[tuple[str, str]]) -> None:
        """Writes `skipped_images.csv`: path and reason of each image file that was left out."""
        rows = [storage.csv_row(row) + "\n" for row in [("path", "reason"), *skipped]]
        storage.write_text(self / SKIPPED, "".join(rows))

    def cell(self) -> Mapping[str, Any]:
        """What a sweep recorded about the run; empty without a sweep."""
        return read_object(self / CELL) if storage.exists(self / CELL) else {}

    def _lines(self) -> Iterator[str]:
        """The rows' lines, without an incomplete last one left by a killed process."""
        try:
            text = storage.read_bytes(self / ROWS).decode("utf-8") if storage.exists(self / ROWS) else ""
        except (OSError, UnicodeDecodeError) as error:
            raise RunDirError(f"{self / ROWS} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        return (line for line in text.splitlines(keepends=True) if line.endswith("\n"))

    @property
    def epochs(self) -> int:
        """Number of finished epochs, over all generations."""
        return sum(sum(1 for _ in part._lines()) for part in (self, *self.generations().values()))

    def rows(self) -> list[EpochRow]:
        """The rows of the finished epochs. Raises RunDirError, naming a line that is not a row."""
        rows = []
        for number, line in enumerate(self._lines(), start=1):
            try:
                rows.append(EpochRow.from_json(json.loads(line), "row "))
            except (ValueError, RecursionError) as error:
                raise RunDirError(f"{self / ROWS}, line {number} is not a row of a run ({error})") from error
        return rows

    def rows_of_all_generations(self) -> list[EpochRow]:
        """The rows of all generations in sequence, with consecutive values of `epoch`; for other runs, `rows`."""
        rows: list[EpochRow] = []
        for part in (self, *self.generations().values()):
            before = rows[-1].epoch if rows else 0
            rows += [dataclasses.replace(r, epoch=before + r.epoch) if before else r for r in part.rows()]
        return rows

    def rows_until(self, step: int) -> list[EpochRow]:
        """The rows up to `step`, where training resumes; those of later steps, whose state was lost, are deleted."""
        rows = [row for row in self.rows() if row.step <= step]
        storage.write_text(self / ROWS, "".join(json.dumps(row.to_json()) + "\n" for row in rows))
        return rows

    def append_row(self, row: EpochRow) -> None:
        storage.append_json(self / ROWS, row.to_json())

    def lock(self) -> IO:
        """Locks the folder, which must exist on a disk, until the returned file is closed.

        Raises:
          BlockingIOError: if another process, or this one, has locked it.
          OSError: if it cannot be written.
        """
        file = open(self / LOCK, "w", encoding="utf-8")  # noqa: SIM115 (held while the run lasts)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise
        return file

    @property
    def in_use(self) -> bool:
        """Whether it is locked."""
        if storage.is_remote(self.path):
            held = holder(self / LOCK)
            return held is not None and not held.dead
        try:
            with open(self / LOCK, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


class OwnRunDir(RunDir):
    """The folder of the run to be trained: identified by `config.json`, with a lock against a second process.

    Args:
      config: of the run; the folder is its `train.workdir`.

    Raises:
      RunDirError: if the folder belongs to another run or holds something else, cannot be written, or is in use.
        Nothing in it is changed.
    """

    def __init__(self, config: Config):
        super().__init__(config.train.workdir)
        self._config = config
        self._lock: IO | None = None
        try:
            with buckets.asking(self.path):
                self._check()
        except OSError as error:
            raise RunDirError(f"--workdir {self.named(self.path)} cannot be read: {error.strerror or error}") from error

    def _check(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunDirError(f"--workdir must be a folder, got the file {self.named(self.path)}")
        names = {path.name for path in self.path.iterdir()} if self.path.exists() else set()
        # Left behind by a run that was killed before its config was written.
        others = {name for name in names - {LOCK} if not re.fullmatch(rf"{CONFIG}\.\d+{storage.PARTIAL}", name)}
        if self.begun:
            self._check_is_ours()
        elif others:
            raise RunDirError(
                f"--workdir must be a new or empty folder or one of an earlier run, got {self.named(self.path)}, which "
                f"holds something else ({min(others)}, …): choose another --workdir"
            )

    def _check_is_ours(self) -> None:
        try:
            theirs = self.config()
        except RunDirError as error:
            raise RunDirError(f"{error}: choose another --workdir") from error
        different = "\n  ".join(differences(self._config, theirs))
        ours, labels = self._config.own.dataset, getattr(theirs.own.dataset, "labels_sha256", "")
        if labels and labels != getattr(ours, "labels_sha256", ""):
            raise RunDirError(
                f"--workdir {self.named(self.path)} belongs to a run on other labels; those of "
                f"{getattr(ours, 'labels', '') or 'the folder'} are not the ones that it started with:\n  {different}\n"
                "Choose another --workdir to train with them, or restore the file."
            )
        if self._config.data.images != theirs.data.images:
            raise RunDirError(
                f"--workdir {self.named(self.path)} belongs to a run on other images; some were added, removed or "
                f"replaced since it started, which may also change the recipe:\n  {different}\n"
                "Choose another --workdir to train on the current images, or restore those that it started with."
            )
        if different:
            raise RunDirError(
                f"--workdir {self.named(self.path)} belongs to a run with other settings:\n  {different}\n"
                "Use the same settings to resume it, or choose another --workdir."
            )

    def open(self) -> None:
        """Creates the folder, locks it and writes `config.json`, before anything else is written."""
        name = shown(self.path)
        try:
            self._open()
        except BaseException as error:
            in_bucket = self._mirror is not None
            self.close()
            if isinstance(error, BlockingIOError):
                words = error.strerror if in_bucket else "in use by another process"
                raise RunDirError(f"--workdir {name} is {words}: wait for it or stop it") from error
            if isinstance(error, OSError):
                raise RunDirError(f"--workdir {name} cannot be written: {error.strerror or error}") from error
            raise

    def _open(self) -> None:
        if storage.is_remote(self.path):
            self._mirror = Mirror(self.path, LOCK, _into_bucket)
            self.path = self._mirror.open()
        else:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = self.lock()
        self._check()  # Another run may have used the folder since the first check.
        for path in self.path.iterdir():
            if path.name.endswith(storage.PARTIAL):  # Left behind by a killed process.
                path.unlink()
        if not self.begun:
            self.write_config(self._config)
            self.publish()

    def follow(self) -> None:
        """Makes the folder readable to a worker that does not write: a bucket is copied, after the chief's `open`."""
        if storage.is_remote(self.path):
            self._mirror = Mirror(self.path, LOCK, _into_bucket)
            self.path = self._mirror.follow()

    def close(self) -> None:
        """Releases the lock, so that the same process can resume the run."""
        if self._lock:
            self._lock.close()
        if self._mirror:
            self.path = self._mirror.place
            self._mirror.close()
            self._mirror = None


def run_folders(root: str | os.PathLike) -> list[epath.Path]:
    """Every folder at or below `root` that holds a run, sorted by name, without the folders of generations."""
    place = storage.at(root)
    with buckets.asking(place):
        found = {folder for folder, _, names in place.walk() if RESULT in names or CONFIG in names}
    return sorted(folder for folder in found if not (_GENERATION.fullmatch(folder.name) and folder.parent in found))
