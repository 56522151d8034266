"""What lies in the work folder of a training for those who use its model: where, how far it is, and what it scored."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import tensorflow as tf

from udal_tf import __version__
from udal_tf.config import Config
from udal_tf.reporting.run_log import read_rows
from udal_tf.training.weights import BEST, CHECKPOINTS, FORMAT, MODEL
from udal_tf.training.workdir import CONFIG

RESULT, METRICS = "result.json", "metrics.jsonl"
# last: averaged weights of the last checkpoint. best: averaged weights of the epoch with the highest mean per-class
# recall on the test pictures. raw: the last checkpoint's weights without averaging.
LAST, BEST_EPOCH, RAW = "last", "best", "raw"
WEIGHTS = (LAST, BEST_EPOCH, RAW)
_GENERATION = "generation_"


class ModelError(ValueError):
    """A work folder has no model that can be used; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class WorkFolder:
    """A training's folder, read.

    root: the folder. config: its settings. facts: `model.json`. result: `result.json`; None for an unfinished run.
    checkpoint: of the weights that were asked for, and step: when they were saved.
    row: of `metrics.jsonl`, the epoch that ended at `step`; None for weights saved within an epoch.
    """

    root: pathlib.Path
    config: Config
    facts: dict[str, Any]
    result: dict[str, Any] | None
    checkpoint: str
    step: int
    row: dict[str, Any] | None


def read(workdir: str | os.PathLike[str], weights: str = LAST, unfinished: bool = False) -> WorkFolder:
    """Finds the model of a training; of generations, the last one's.

    Args:
      workdir: as --workdir named it in training. weights: one of WEIGHTS.
      unfinished: whether a run that is not finished may be used, with its last checkpoint.

    Raises:
      ModelError: for a folder of something else, of a newer version, without a checkpoint, or of an unfinished run.
    """
    if weights not in WEIGHTS:
        raise ModelError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
    root = pathlib.Path(workdir).expanduser()
    _check_is_work_folder(root)
    generation, folder = _model_folder(root)
    facts = _facts(folder) if folder else {}
    try:
        config = Config.from_dict(_json(root / CONFIG))
    except (TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"{root / CONFIG} is no config of this program's ({error})") from error
    if not folder:
        raise ModelError(
            f"{root} holds no model yet: the run ended before its first checkpoint, and the same training command "
            "goes on with it"
        )
    result = _json(root / RESULT) if (root / RESULT).exists() else None
    last = tf.train.latest_checkpoint(str(folder / CHECKPOINTS))
    if not result and not unfinished:
        raise ModelError(f"{root} is not finished: {_progress(config, generation, _step(last))}")
    path = tf.train.latest_checkpoint(str(folder / BEST)) if weights == BEST_EPOCH else last
    if not path:
        raise ModelError(f"{folder} has no {BEST}/ with weights: use weights={LAST}")
    rows = {row["step"]: row for row in read_rows(folder / METRICS)}
    return WorkFolder(root, config, facts, result, path, _step(path), rows.get(_step(path)))


def _check_is_work_folder(root: pathlib.Path) -> None:
    if not root.is_dir():
        raise ModelError(f"{root} must be the work folder of a training, and is {_what(root)}")
    if (root / CONFIG).is_file():
        return
    if root.name.startswith(_GENERATION) and (root.parent / CONFIG).is_file():
        raise ModelError(f"{root} is one generation of a training: give the folder above, {root.parent}")
    raise ModelError(
        f"{root} is not the work folder of a training: it has no {CONFIG}. Give the folder that --workdir named, "
        "or that the training printed at its end"
    )


def _what(path: pathlib.Path) -> str:
    return "a file" if path.exists() else "not there"


def _model_folder(root: pathlib.Path) -> tuple[int, pathlib.Path | None]:
    """The generation, from 0, and the folder of the last one that has a checkpoint; None where none has."""
    numbered = {int(path.name.removeprefix(_GENERATION)): path for path in root.glob(f"{_GENERATION}[0-9]*")}
    candidates = sorted(numbered.items(), reverse=True) or [(0, root)]
    found = [(n, path) for n, path in candidates if tf.train.latest_checkpoint(str(path / CHECKPOINTS))]
    return found[0] if found else (0, None)


def _facts(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / MODEL
    if not path.exists():
        raise ModelError(f"{folder} has no {MODEL}: it was trained by a version that did not write one; train it again")
    facts = _json(path)
    if not isinstance(facts, dict) or not isinstance(facts.get("format"), int):
        raise ModelError(f"{path} is not what a training writes: its format is missing")
    if facts["format"] > FORMAT:
        raise ModelError(
            f"{path} is of format {facts['format']}, by udal-tf {facts.get('udal_tf', '(unknown)')}; this is udal-tf "
            f"{__version__}, which reads formats up to {FORMAT}: install a later version"
        )
    return facts


def _json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _step(checkpoint: str) -> int:
    """The step that a checkpoint is named for."""
    return int(checkpoint.rpartition("-")[2])


def _progress(config: Config, generation: int, step: int) -> str:
    train, generations = config.train, config.method.generations
    of = f"generation {generation + 1} of {generations}, " if generations > 1 else ""
    return (
        f"{of}step {step:,} of {train.total_steps:,} (epoch {step // train.steps_per_epoch} of {train.epochs}). The "
        "same training command goes on with it; to use its last checkpoint as it is, say --unfinished (in Python: "
        "unfinished=True)"
    )
