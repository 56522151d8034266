"""What lies in the run folder of a training for those who use its model: where, how far it is, and what it scored."""

import dataclasses
import os

import tensorflow as tf

from udal_tf.config import Config
from udal_tf.run_dir import BEST, CHECKPOINTS, CONFIG, RunDir
from udal_tf.run_records import EpochRow, ModelFacts, Result, RunDirError

# last: EMA weights of the last checkpoint. best: EMA weights of the epoch with the highest balanced accuracy on the
# test images. raw: the last checkpoint's weights without averaging.
LAST, BEST_EPOCH, RAW = "last", "best", "raw"
WEIGHTS = (LAST, BEST_EPOCH, RAW)


class ModelError(ValueError):
    """A run folder has no model that can be used; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class WorkFolder:
    """A training's folder, read.

    run_dir: the folder. config: its settings. facts: of its model. result: None for an unfinished run.
    checkpoint: of the weights that were asked for, and step: when they were saved.
    row: of the epoch that ended at `step`; None for weights saved within an epoch.
    """

    run_dir: RunDir
    config: Config
    facts: ModelFacts
    result: Result | None
    checkpoint: str
    step: int
    row: EpochRow | None


def read(workdir: str | os.PathLike, weights: str = LAST, unfinished: bool = False) -> WorkFolder:
    """Finds the model of a training; of generations, the last one's.

    Args:
      workdir: as --workdir named it in training. weights: one of WEIGHTS.
      unfinished: whether a run that is not finished may be used, with its last checkpoint.

    Raises:
      ModelError: for a folder of something else, of another version, without a checkpoint, or of an unfinished run.
    """
    if weights not in WEIGHTS:
        raise ModelError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
    try:
        return _read(RunDir(workdir), weights, unfinished)
    except RunDirError as error:
        raise ModelError(str(error)) from error


def _read(run_dir: RunDir, weights: str, unfinished: bool) -> WorkFolder:
    _check_is_run_dir(run_dir)
    config, (generation, part) = run_dir.config(), _with_model(run_dir)
    if not part:
        raise ModelError(
            f"{run_dir.path} holds no model yet: the run ended before its first checkpoint, and the same training "
            "command goes on with it"
        )
    result = run_dir.result() if run_dir.finished else None
    last = tf.train.latest_checkpoint(str(part / CHECKPOINTS))
    if not result and not unfinished:
        raise ModelError(f"{run_dir.path} is not finished: {_progress(config, generation, _step(last))}")
    path = tf.train.latest_checkpoint(str(part / BEST)) if weights == BEST_EPOCH else last
    if not path:
        raise ModelError(f"{part.path} has no {BEST}/ with weights: use weights={LAST}")
    rows = {row.step: row for row in part.rows()}
    return WorkFolder(run_dir, config, part.model(), result, path, _step(path), rows.get(_step(path)))


def _check_is_run_dir(run_dir: RunDir) -> None:
    path = run_dir.path
    if not path.is_dir():
        what = "a file" if path.exists() else "not there"
        raise ModelError(f"{path} must be the work folder of a training, and is {what}")
    if run_dir.begun:
        return
    above = RunDir(path.parent)
    if above.begun and path in [part.path for part in above.generations().values()]:
        raise ModelError(f"{path} is one generation of a training: give the folder above, {above.path}")
    raise ModelError(
        f"{path} is not the work folder of a training: it has no {CONFIG}. Give the folder that --workdir named, "
        "or that the training printed at its end"
    )


def _with_model(run_dir: RunDir) -> tuple[int, RunDir | None]:
    """The generation, from 0, and the folder of the last one that has a checkpoint; None where none has."""
    candidates = (run_dir.generations() or {0: run_dir}).items()
    found = [(n, part) for n, part in candidates if tf.train.latest_checkpoint(str(part / CHECKPOINTS))]
    return found[-1] if found else (0, None)


def _step(checkpoint: str) -> int:
    """The step that a checkpoint is named for."""
    return int(checkpoint.rpartition("-")[2])


def _progress(config: Config, generation: int, step: int) -> str:
    train, generations = config.train, config.generations
    of = f"generation {generation + 1} of {generations}, " if generations > 1 else ""
    return (
        f"{of}step {step:,} of {train.total_steps:,} (epoch {step // train.steps_per_epoch} of {train.epochs}). The "
        "same training command goes on with it; to use its last checkpoint as it is, say --unfinished (in Python: "
        "unfinished=True)"
    )
