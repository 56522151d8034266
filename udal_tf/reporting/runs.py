"""The runs of a report: finished ones below given folders, and which folders cannot be used.

A sweep's record beside a result has the command, commit and hardware that produced it.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from udal_tf import buckets, shown_names, storage
from udal_tf.config import Config, flat, is_identity, resolve
from udal_tf.folder_recipe import FolderFacts
from udal_tf.registry import DATASETS
from udal_tf.run_dir import RESULT, RunDir, run_folders
from udal_tf.run_records import EpochRow, Result, RunDirError

# Settings outside the protocol: runs that differ from the paper's only in them get further columns in its tables.
NUMERICS = ("seed", "deterministic", "jit", "precision")


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A folder that the report skips, and why."""

    label: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
      folder: of the run.
      label: the folder's name in the report.
      result: of the run.
      settings: all settings by name.
      record: of the sweep; empty without one.
    """

    folder: epath.Path
    label: str
    result: Result
    settings: Mapping[str, Any]
    record: Mapping[str, Any]

    @property
    def fold(self) -> int:
        return self.settings["fold"]

    @property
    def pair(self) -> tuple[str, str]:
        """Base learner and method."""
        return self.settings["base"], self.settings["method"]

    @property
    def epochs(self) -> int:
        """Epochs over all generations."""
        return self.settings["epochs"] * self.settings.get("generations", 1)

    def figure(self, measure: str, score: str, generation: int | None = None) -> float:
        """A test score in percent.

        Args:
          measure: one of `paper.MEASURES`.
          score: a field of `run_records.ByWeights`.
          generation: of CReST, from 1; None: after the last.
        """
        result = self.result if generation is None else (self.result.generations or [])[generation - 1]
        return 100 * getattr(result, measure)[score]

    @functools.cached_property
    def identity(self) -> Mapping[str, Any]:
        """The settings that identify the run, except its fold."""
        return _identity(self.settings)

    @functools.cached_property
    def deviations(self) -> Mapping[str, Any]:
        """The settings in which the run differs from the recipe of its dataset, base learner and method."""
        facts = self.result.data.get("recipe_facts")
        different = differing(
            self.identity,
            {name: self.settings[name] for name in ("dataset", "base", "method", "plugin", "plugin_sha256")},
            FolderFacts(**facts) if facts else None,
        )
        # Derived from the images and the plugin's code, not set.
        derived = ("images", "labels_sha256", "plugin_sha256")
        return {name: value for name, value in different.items() if name not in derived}

    @property
    def draw(self) -> str:
        """How the images were sampled: runs that differ in it are not averaged."""
        data = self.result.data
        if not DATASETS[self.settings["dataset"]].by_folder:
            return data.get("draw", "")
        return f"{data.get('draw', '')} {data['source']} {self.settings['images']}".rstrip()

    @property
    def numerics(self) -> Mapping[str, Any]:
        """The deviations in NUMERICS."""
        return {name: value for name, value in self.deviations.items() if name in NUMERICS}

    def command(self) -> str:
        """The recorded command of the run, or one that gives the same settings."""
        if self.record.get("command"):
            return self.record["command"]
        given = {name: self.settings[name] for name in ("dataset", "base", "method")}
        given |= {"plugin": self.settings["plugin"]} if self.settings["plugin"] else {}
        given |= {**self.deviations, "fold": self.fold}
        if DATASETS[given["dataset"]].in_memory:
            return call_text(given)
        return " ".join(["python run.py", *(f"--{name}={shown(value)}" for name, value in given.items())])

    def rows(self) -> list[EpochRow]:
        """The epochs' rows, over all generations. Raises RunDirError, naming a line that cannot be read."""
        return RunDir(self.folder).rows_of_all_generations()


def shown(value: Any) -> str:
    """A setting's value, formatted for the command line."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def call_text(given: Mapping[str, Any]) -> str:
    """The call that trains on data in memory with these settings: ``udal_tf.train(data, base='fixmatch')``."""
    words = [f"{name}={value!r}" for name, value in given.items() if name != "dataset"]
    return f"udal_tf.train({', '.join(['data', *words])})"


def tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, JSON's lists converted to tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def _identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if is_identity(name) and name != "fold"}


@functools.cache
def _identity_of_items(given: tuple[tuple[str, Any], ...], facts: FolderFacts | None) -> Mapping[str, Any]:
    return _identity(tuples(flat(resolve(dict(given), facts).to_dict())))


def identity_of(given: Mapping[str, Any], facts: FolderFacts | None = None) -> Mapping[str, Any]:
    """The `Run.identity` that the settings `given` resolve to.

    Args:
      given: settings by name.
      facts: about the images of a custom dataset.

    Raises ValueError as `config.resolve` does.
    """
    return _identity_of_items(tuple(sorted(given.items())), facts)


def differing(
    identity: Mapping[str, Any], given: Mapping[str, Any], facts: FolderFacts | None = None
) -> dict[str, Any]:
    """The settings of `identity` whose values differ from those that `given` resolves to with these facts."""
    expected = identity_of(given, facts)
    if identity["arch"] != expected["arch"]:  # Settings of another backbone are compared with its own recipe.
        expected = {**identity_of({**given, "arch": identity["arch"]}, facts), **expected}
    return {name: value for name, value in identity.items() if name not in expected or value != expected[name]}


def read_run(folder: str | os.PathLike, label: str) -> Run:
    """The finished run in `folder`. Raises RunDirError."""
    run_dir = RunDir(folder)
    if not run_dir.finished:
        raise RunDirError(f"not finished: no {RESULT}" + (", only the first epochs" if run_dir.epochs else ""))
    result, record = run_dir.result(), run_dir.cell()
    try:
        settings = tuples(flat(Config.from_dict(result.config).to_dict()))
        run = Run(run_dir.path, label, result, settings, record)
        run.deviations  # noqa: B018 (resolves the run's recipe, which fails for an unknown method)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunDirError(f"its config cannot be read ({error})") from error
    wanted, found = run.settings.get("generations", 1), len(result.generations or [])
    if wanted > 1 and found != wanted:
        raise RunDirError(f"{RESULT} must hold {wanted} generations, got {found}")
    return run


def read_runs(roots: Iterable[str | os.PathLike]) -> tuple[list[Run], list[LeftOut]]:
    """The finished runs below `roots`, and the folders left out: unfinished, unreadable or duplicates."""
    runs, left_out, seen = [], [], set()
    for root in map(storage.at, roots):
        for folder in run_folders(root):
            if storage.is_remote(folder):
                label, real = f"{root.name}/{buckets.below(folder, root)}".rstrip("/"), os.fspath(folder)
            else:
                label = (pathlib.PurePath(root.name) / folder.relative_to(root)).as_posix()
                real = os.path.realpath(folder)
            if real in seen:
                continue
            seen.add(real)
            try:
                runs.append(read_run(folder, label))
            except RunDirError as error:
                left_out.append(LeftOut(label, str(error).replace(f"{shown_names.shown(folder)}/", "")))
    unique: dict[Any, Run] = {}
    for run in runs:
        key = (tuple(sorted(run.identity.items(), key=lambda item: item[0])), run.fold, run.draw)
        if key in unique:
            left_out.append(LeftOut(run.label, f"duplicate of {unique[key].label}: same settings, fold and images"))
        else:
            unique[key] = run
    return list(unique.values()), left_out
