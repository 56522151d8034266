"""All runs as one table for further analysis: a row per run, scores in percent."""

from collections.abc import Sequence

import pandas as pd

from udal_tf.reporting.paper import EMA, EMA_LA, MEASURES
from udal_tf.reporting.runs import Run, shown

# Columns that are always present, even if all runs agree.
ALWAYS = ("dataset", "base", "method", "seed", "fold")
SCORES = ("raw", "ema", "raw_la", "ema_la")


def run_table(runs: Sequence[Run]) -> pd.DataFrame:
    """The settings in which runs differ, all scores, the recall of each class, steps and training time.

    Scores are in columns `<measure>_<score>`, recalls in `recall_<score>_<class>`, for the EMA weights without and with
    LA (Inf); the recall of a class without test images is empty. Only if some run has validation images: `best_epoch`,
    which they chose, its test scores `best_<measure>_<score>`, and the last epoch's `validation_<measure>_<score>`.
    """
    settings = pd.DataFrame([{**run.identity, "fold": run.fold} for run in runs])
    settings = settings.map(lambda value: shown(value) if isinstance(value, (tuple, list)) else value)
    differing = [name for name in settings if name not in ALWAYS and settings[name].nunique(dropna=False) > 1]
    scores = [
        {
            **{f"{measure}_{score}": run.figure(measure, score) for measure in MEASURES for score in SCORES},
            "median_ema_accuracy": 100 * median.accuracy if (median := run.result.median_ema_accuracy) else None,
            **_by_validation(run),
            "steps": run.result.steps,
            "seconds": run.result.seconds,
            **{
                f"recall_{score}_{name}": None if recall is None else 100 * recall
                for score in (EMA, EMA_LA)
                for name, recall in zip(run.result.class_names, run.result.per_class_recall[score], strict=True)
            },
            "folder": run.label,
        }
        for run in runs
    ]
    figures = pd.DataFrame(scores)
    order = [name for name in figures if name != "folder"]
    return pd.concat([figures[["folder"]], settings[[*ALWAYS, *differing]], figures[order]], axis=1)


def _by_validation(run: Run) -> dict[str, float]:
    """What a run with validation images has besides the test scores of its last epoch."""
    result = run.result
    if result.validation is None or result.best.test is None:
        return {}
    parts = {"best": result.best.test, "validation": result.validation}
    return {"best_epoch": result.best.epoch} | {
        f"{part}_{measure}_{score}": 100 * getattr(scores, measure)[score]
        for part, scores in parts.items()
        for measure in MEASURES
        for score in (EMA, EMA_LA)
    }
