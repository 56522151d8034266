"""Reads a run's work folder for inference: the checkpoint, the progress of the run, and its scores."""

import dataclasses
import os

from udal_tf import storage
from udal_tf.config import Config
from udal_tf.run_dir import BEST, CHECKPOINTS, CONFIG, RunDir
from udal_tf.run_records import TEST, EpochRow, ModelFacts, Result, RunDirError, Scores
from udal_tf.shown_names import shown
from udal_tf.training.weights import latest_weights, part_with_model

# EMA weights of the last checkpoint.
LAST = "last"
# EMA weights of the epoch with the highest balanced accuracy on the validation images; without any, the test images.
BEST_EPOCH = "best"
# The last checkpoint's weights without EMA.
RAW = "raw"
WEIGHTS = (LAST, BEST_EPOCH, RAW)


class ModelError(ValueError):
    """A work folder has no usable model; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class WorkFolder:
    """The contents of a run's work folder.

    Attributes:
      run_dir: the folder.
      config: the run's settings.
      facts: facts about its model.
      result: None for an unfinished run.
      checkpoint: path of the requested weights.
      step: when they were saved.
      row: the record of the epoch that ended at `step`; None for weights saved in mid-epoch.
    """

    run_dir: RunDir
    config: Config
    facts: ModelFacts
    result: Result | None
    checkpoint: str
    step: int
    row: EpochRow | None

    @property
    def scores(self) -> tuple[Scores, str] | None:
        """The scores of the weights, and whether they are of the test or the validation images; None in mid-epoch.

        With validation images only the last and the best epoch of a finished run have test scores.
        """
        row, result = self.row, self.result
        if row is None:
            return None
        test = row.test
        if test is None and result:
            of_best = result.best.test if row.step == result.best.step else None
            test = of_best or Scores(result.accuracy, result.balanced_accuracy, result.per_class_recall)
        return (test, TEST) if test else (row.scores, row.scored_on)


def read(workdir: str | os.PathLike, weights: str = LAST, unfinished: bool = False) -> WorkFolder:
    """Finds the model of a run; with several generations, the last one's.

    Args:
      workdir: the run's --workdir.
      weights: one of WEIGHTS.
      unfinished: whether to accept an unfinished run, with its last checkpoint.

    Raises:
      ModelError: if the folder is not a work folder, has another format version, no checkpoint, or an unfinished run.
    """
    if weights not in WEIGHTS:
        raise ModelError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
    try:
        return _read(RunDir(workdir), weights, unfinished)
    except RunDirError as error:
        raise ModelError(str(error)) from error


def _read(run_dir: RunDir, weights: str, unfinished: bool) -> WorkFolder:
    _check_is_run_dir(run_dir)
    config, (generation, part) = run_dir.config(), part_with_model(run_dir)
    if not part:
        raise ModelError(
            f"{shown(run_dir.path)} has no model yet: the run was interrupted before its first checkpoint; run the "
            "same training command again"
        )
    result = run_dir.result() if run_dir.finished else None
    last = latest_weights(part, CHECKPOINTS) or ""
    if not result and not unfinished:
        raise ModelError(f"{shown(run_dir.path)} is not finished: {_progress(config, generation, _step(last))}")
    path = latest_weights(part, BEST) if weights == BEST_EPOCH else last
    if not path:
        raise ModelError(f"{shown(part.path)} has no {BEST}/ with weights: use weights={LAST}")
    rows = {row.step: row for row in part.rows()}
    return WorkFolder(run_dir, config, part.model(), result, path, _step(path), rows.get(_step(path)))


def _check_is_run_dir(run_dir: RunDir) -> None:
    path = run_dir.path
    if not storage.is_dir(path):
        what = "is a file" if storage.exists(path) else "does not exist"
        raise ModelError(f"{shown(path)} must be the work folder of a run, but {what}")
    if run_dir.begun:
        return
    above = RunDir(path.parent)
    if above.begun and path in [part.path for part in above.generations().values()]:
        raise ModelError(f"{shown(path)} is one generation of a run: give its parent folder, {shown(above.path)}")
    raise ModelError(
        f"{shown(path)} is not the work folder of a run: it has no {CONFIG}. Give the run's --workdir, or the folder "
        "that the run printed at its end"
    )


def _step(checkpoint: str) -> int:
    """The step in a checkpoint's name."""
    return int(checkpoint.rpartition("-")[2])


def _progress(config: Config, generation: int, step: int) -> str:
    train, generations = config.train, config.generations
    of = f"generation {generation + 1} of {generations}, " if generations > 1 else ""
    return (
        f"{of}step {step:,} of {train.total_steps:,} (epoch {step // train.steps_per_epoch} of {train.epochs}). The "
        "same training command resumes it; to use its last checkpoint now, pass --unfinished (in Python: "
        "unfinished=True)"
    )
