"""Runs as a report sees them: read from their folders alone, checked, and those that cannot be used named.

A run is a folder with `config.json` or `result.json`; `generation_<n>` inside it belongs to it. `cell.json`, which
`udal_tf.commands.sweep` leaves beside a result, says by which command, commit and hardware it came about.

The file is long because every check of a result, of which a report must take nothing on trust, is here.
"""

import dataclasses
import functools
import json
import math
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from udal_tf.config import resolve, section_fields
from udal_tf.folder_recipe import FolderFacts
from udal_tf.reporting.paper import MEASURES

RESULT, CONFIG, METRICS, RECORD = "result.json", "config.json", "metrics.jsonl", "cell.json"
SCORES = ("raw", "ema", "raw_la", "ema_la")
# Settings that change no protocol: figures that differ in them alone stand beside the paper's, each in its own column.
NUMERICS = ("seed", "deterministic", "jit", "precision")
_GENERATION = re.compile(r"generation_(\d+)")


class BadRun(ValueError):
    """A folder that holds no usable result; the message says what was expected and what is there."""


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A folder that the report does not use, and why."""

    label: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    folder: where it lies. label: the folder as the report names it. result: what `result.json` holds.
    settings: every setting by name. record: what the sweep noted about it; empty where nothing did.
    """

    folder: pathlib.Path
    label: str
    result: Mapping[str, Any]
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
        return self.settings["epochs"] * self.settings["generations"]

    def figure(self, measure: str, score: str, generation: int | None = None) -> float:
        """A test figure in percent.

        Args:
          measure: one of `paper.MEASURES`.
          score: one of SCORES.
          generation: of CReST, from 1; None: the end of the run.
        """
        result = self.result if generation is None else self.result["generations"][generation - 1]
        return 100 * result[measure][score]

    @functools.cached_property
    def identity(self) -> Mapping[str, Any]:
        """The settings that make the run what it is, but for its fold."""
        return {name: value for name, value in self.settings.items() if name in _identity_names() and name != "fold"}

    @functools.cached_property
    def deviations(self) -> Mapping[str, Any]:
        """The settings in which the run differs from the recipe of its data set, base learner and method."""
        facts = self.result["data"].get("recipe_facts")
        different = differing(
            self.identity,
            {name: self.settings[name] for name in ("dataset", "base", "method")},
            FolderFacts(**facts) if facts else None,
        )
        different.pop("pictures", None)  # Nobody sets it; it is part of the draw.
        return different

    @property
    def draw(self) -> str:
        """Which pictures: runs whose draws differ are not averaged."""
        data = self.result["data"]
        if self.settings["dataset"] != "folder":
            return data.get("draw", "")
        return f"{data.get('draw', '')} {data['source']} {self.settings['pictures']}".rstrip()

    @property
    def numerics(self) -> Mapping[str, Any]:
        """The deviations that change no protocol."""
        return {name: value for name, value in self.deviations.items() if name in NUMERICS}

    def command(self) -> str:
        """The command that made the run, or, where nobody noted it, one that gives the same settings."""
        if self.record.get("command"):
            return self.record["command"]
        given = {name: self.settings[name] for name in ("dataset", "base", "method")}
        given |= {**self.deviations, "fold": self.fold}
        return " ".join(["python run.py", *(f"--{name}={shown(value)}" for name, value in given.items())])

    def rows(self) -> list[dict[str, Any]]:
        """The epochs' rows of `metrics.jsonl`, those of all generations one after the other with "epoch" counting on.

        Raises:
          BadRun: naming the line that cannot be read.
        """
        parts = [self.folder / METRICS]
        if not parts[0].exists():
            numbered = {int(m[1]): p for p in self.folder.glob("generation_*") if (m := _GENERATION.fullmatch(p.name))}
            parts = [numbered[number] / METRICS for number in sorted(numbered)]
        rows: list[dict[str, Any]] = []
        for part in parts:
            before = rows[-1]["epoch"] if rows else 0
            rows += [{**row, "epoch": before + row["epoch"]} for row in _read_rows(part)]
        return rows


def shown(value: Any) -> str:
    """A setting's value as the command line takes it."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


@functools.cache
def _identity_names() -> frozenset[str]:
    return frozenset(name for name, field in section_fields().items() if field.metadata["identity"])


def flat(nested: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Every setting by name, tuples for lists; what the file lacks, from an older version, has its default."""
    values = {name: field.default for name, field in section_fields().items()}
    for section in nested.values():
        values |= {name: tuple(value) if isinstance(value, list) else value for name, value in section.items()}
    return values


@functools.cache
def _identity_of_items(given: tuple[tuple[str, Any], ...], facts: FolderFacts | None) -> Mapping[str, Any]:
    values = flat(resolve(dict(given), facts).to_dict())
    return {name: value for name, value in values.items() if name in _identity_names() and name != "fold"}


def identity_of(given: Mapping[str, Any], facts: FolderFacts | None = None) -> Mapping[str, Any]:
    """What a run of the settings `given` has as its `identity`; facts: about its pictures, for a folder of one's own.

    Raises ValueError as `config.resolve` does.
    """
    return _identity_of_items(tuple(sorted(given.items())), facts)


def differing(
    identity: Mapping[str, Any], given: Mapping[str, Any], facts: FolderFacts | None = None
) -> dict[str, Any]:
    """The settings of `identity` whose value is another than `given` resolves to, with these facts."""
    expected = identity_of(given, facts)
    return {name: value for name, value in identity.items() if value != expected[name]}


def _read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Rows of one `metrics.jsonl`, the test accuracy beside what is as it is there."""
    rows = []
    for number, line in enumerate(_text(path).splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            break  # What a killed process left of its last line.
        try:
            row = json.loads(line)
            accuracy = row["test"]["accuracy"]
            kept = {key: row[key] for key in ("epoch", "step", "seconds", "train")}
            rows.append({**kept, "accuracy": accuracy, "pseudo_labels": row.get("pseudo_labels", {})})
        except (ValueError, KeyError, TypeError) as error:
            raise BadRun(f"{path.name}, line {number} is no row of a run ({error})") from error
    return rows


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRun(f"{path.name} cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _object(path: pathlib.Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except ValueError as error:
        raise BadRun(str(error) if isinstance(error, BadRun) else f"{path.name} is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadRun(f"{path.name} must hold an object, got {type(value).__name__}")
    return value


def _share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _check_figures(holder: Any, name: str) -> None:
    for measure in MEASURES:
        figures = holder.get(measure) if isinstance(holder, dict) else None
        if not isinstance(figures, dict):
            raise BadRun(f"{name} must hold {measure!r}, got {figures!r:.60}")
        for score in SCORES:
            if not _share(figures.get(score)):
                raise BadRun(f"{name}: {measure}.{score} must be a number from 0 to 1, got {figures.get(score)}")


def _check(result: Mapping[str, Any]) -> None:
    """Raises BadRun where a key that a report reads is missing or has a value of another kind."""
    for key in ("per_class_recall", "config", "data"):
        if not isinstance(result.get(key), dict):
            raise BadRun(f"{RESULT} must hold {key!r}, got {result.get(key)!r:.60}")
    _check_figures(result, RESULT)
    if not isinstance(result.get("generations", []), list):
        raise BadRun(f"{RESULT}: generations must be a list, got {result['generations']!r:.60}")
    for number, generation in enumerate(result.get("generations", []), start=1):
        _check_figures(generation, f"{RESULT}, generation {number},")
    for score in SCORES:
        recall = result["per_class_recall"].get(score)
        if not isinstance(recall, list) or not all(value is None or _share(value) for value in recall):
            raise BadRun(f"{RESULT}: per_class_recall.{score} must be a list of numbers from 0 to 1")
    names = result.get("class_names")
    if not isinstance(names, list) or len(names) != len(result["per_class_recall"]["ema"]):
        raise BadRun(f"{RESULT}: class_names must name each class of per_class_recall")
    p_data = result.get("p_data")
    if not isinstance(p_data, list) or len(p_data) != len(names) or not all(_share(value) for value in p_data):
        raise BadRun(f"{RESULT}: p_data must be a share for each class")
    seconds = result.get("seconds")
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds) or not isinstance(result.get("steps"), int):
        raise BadRun(f"{RESULT} must hold numbers 'steps' and 'seconds'")


def read_run(folder: pathlib.Path, label: str) -> Run:
    """The finished run in `folder`. Raises BadRun."""
    if not (folder / RESULT).exists():
        begun = (folder / METRICS).exists() or any(folder.glob("generation_*/" + METRICS))
        raise BadRun(f"not finished: no {RESULT}" + (", only the first epochs" if begun else ""))
    result = _object(folder / RESULT)
    _check(result)
    try:
        settings = flat(result["config"])
        record = _object(folder / RECORD) if (folder / RECORD).exists() else {}
        run = Run(folder, label, result, settings, record)
        run.deviations  # noqa: B018 (resolves the run's recipe: an unknown method shows here)
        if settings["generations"] > 1 and len(result.get("generations", [])) != settings["generations"]:
            raise BadRun(
                f"{RESULT} must hold {settings['generations']} generations, got {len(result.get('generations', []))}"
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadRun(str(error) if isinstance(error, BadRun) else f"its config cannot be read ({error})") from error
    return run


def run_folders(root: pathlib.Path) -> list[pathlib.Path]:
    """Every folder at or below `root` that holds a run, in order of their names."""
    found = {path.parent for name in (RESULT, CONFIG) for path in root.rglob(name)}
    return sorted(f for f in found if not (_GENERATION.fullmatch(f.name) and f.parent in found))


def read_runs(roots: Iterable[pathlib.Path]) -> tuple[list[Run], list[LeftOut]]:
    """The finished runs below `roots`, and what is left out: unfinished, unreadable, or there twice."""
    runs, left_out, seen = [], [], {}
    for root in roots:
        for folder in run_folders(root):
            label = (pathlib.PurePath(root.name) / folder.relative_to(root)).as_posix()
            if folder.resolve() in seen:
                continue
            seen[folder.resolve()] = label
            try:
                runs.append(read_run(folder, label))
            except BadRun as error:
                left_out.append(LeftOut(label, str(error)))
    unique: dict[Any, Run] = {}
    for run in runs:
        key = (tuple(sorted(run.identity.items(), key=lambda item: item[0])), run.fold, run.draw)
        if key in unique:
            left_out.append(LeftOut(run.label, f"the same settings, fold and pictures as {unique[key].label}"))
        else:
            unique[key] = run
    return list(unique.values()), left_out
