"""The folder of a run: the names of its files, which run it belongs to, and who may write to it."""

import dataclasses
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from etils import epath

from udal_tf import __version__, storage
from udal_tf.config import Config, differences
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


def read_object(path: epath.Path) -> dict[str, Any]:
    """The JSON object in a file. Raises RunDirError if there is none."""
    try:
        value = storage.read_json(path)
    except ValueError as error:
        raise RunDirError(str(error)) from error
    if not isinstance(value, dict):
        raise RunDirError(f"{shown(path)} must hold an object, got {type(value).__name__}")
    return value


class RunDir:
    """The folder of a run, or of one of its generations, which has the same files except the settings.

    Args:
      path: as in --workdir; it need not exist.

    Raises:
      RunDirError: for a folder that is not local.
    """

    def __init__(self, path: str | os.PathLike):
        try:
            self.path = storage.local(path)
        except ValueError as error:
            raise RunDirError(str(error)) from error

    def __truediv__(self, name: str) -> epath.Path:
        return self.path / name

    def generation(self, number: int) -> "RunDir":
        """The folder of a generation, counted from 0."""
        return RunDir(self.path / f"generation_{number}")

    def generations(self) -> dict[int, "RunDir"]:
        """The folders of existing generations by number, in order."""
        names = (path.name for path in self.path.iterdir()) if self.path.is_dir() else ()
        return {n: self.generation(n) for n in sorted(int(m[1]) for m in map(_GENERATION.fullmatch, names) if m)}

    def half(self, number: int) -> "RunDir":
        """The folder of one of the two runs from which DARP's prior is estimated."""
        return RunDir(self.path / f"unlabeled_prior_{number}")

    @property
    def begun(self) -> bool:
        return (self / CONFIG).exists()

    @property
    def finished(self) -> bool:
        return (self / RESULT).exists()

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
        if not (self / MODEL).exists():
            storage.write_json(self / MODEL, facts.to_json())

    def write_skipped(self, skipped: Sequence[tuple[str, str]]) -> None:
        """Writes `skipped_images.csv`: path and reason of each image file that was left out."""
        rows = [storage.csv_row(row) + "\n" for row in [("path", "reason"), *skipped]]
        storage.write_text(self / SKIPPED, "".join(rows))

    def cell(self) -> Mapping[str, Any]:
        """What a sweep recorded about the run; empty without a sweep."""
        return read_object(self / CELL) if (self / CELL).exists() else {}

    def _lines(self) -> Iterator[str]:
        """The rows' lines, without an incomplete last one left by a killed process."""
        try:
            text = (self / ROWS).read_text(encoding="utf-8") if (self / ROWS).exists() else ""
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
        """Locks the folder, which must exist, until the returned file is closed.

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
            self._check()
        except OSError as error:
            raise RunDirError(f"--workdir {shown(self.path)} cannot be read: {error.strerror or error}") from error

    def _check(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunDirError(f"--workdir must be a folder, got the file {shown(self.path)}")
        names = {path.name for path in self.path.iterdir()} if self.path.exists() else set()
        # Left behind by a run that was killed before its config was written.
        others = {name for name in names - {LOCK} if not re.fullmatch(rf"{CONFIG}\.\d+{storage.PARTIAL}", name)}
        if self.begun:
            self._check_is_ours()
        elif others:
            raise RunDirError(
                f"--workdir must be a new or empty folder or one of an earlier run, got {shown(self.path)}, which "
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
                f"--workdir {shown(self.path)} belongs to a run on other labels; those of "
                f"{getattr(ours, 'labels', '') or 'the folder'} are not the ones that it started with:\n  {different}\n"
                "Choose another --workdir to train with them, or restore the file."
            )
        if self._config.data.images != theirs.data.images:
            raise RunDirError(
                f"--workdir {shown(self.path)} belongs to a run on other images; some were added, removed or replaced "
                f"since it started, which may also change the recipe:\n  {different}\n"
                "Choose another --workdir to train on the current images, or restore those that it started with."
            )
        if different:
            raise RunDirError(
                f"--workdir {shown(self.path)} belongs to a run with other settings:\n  {different}\n"
                "Use the same settings to resume it, or choose another --workdir."
            )

    def open(self) -> None:
        """Creates the folder, locks it and writes `config.json`, before anything else is written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = self.lock()
            self._check()  # Another run may have used the folder since the first check.
            for path in self.path.iterdir():
                if path.name.endswith(storage.PARTIAL):  # Left behind by a killed process.
                    path.unlink()
            if not self.begun:
                self.write_config(self._config)
        except BlockingIOError as error:
            raise RunDirError(
                f"--workdir {shown(self.path)} is in use by another process: wait for it or stop it"
            ) from error
        except OSError as error:
            raise RunDirError(f"--workdir {shown(self.path)} cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Releases the lock, so that the same process can resume the run."""
        if self._lock:
            self._lock.close()


def run_folders(root: str | os.PathLike) -> list[epath.Path]:
    """Every folder at or below `root` that holds a run, sorted by name, without the folders of generations."""
    found = {folder for folder, _, names in storage.local(root).walk() if RESULT in names or CONFIG in names}
    return sorted(folder for folder in found if not (_GENERATION.fullmatch(folder.name) and folder.parent in found))
