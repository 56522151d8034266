"""An evaluation as tables: what is printed, and what its CSV files hold.

An evaluation is what `evaluation.json` holds; its two kinds of predictions are "plain" and "adjusted", with LA (Inf).
"""

import pathlib
from typing import Any

import pandas as pd

from udal_tf.reporting.terminal import table_text

MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1"}
_OVERALL = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "ece": "calibration error"}


def titles(evaluation: dict[str, Any]) -> dict[str, str]:
    """What the kinds of predictions are called."""
    stated = evaluation["target_prior"]["stated"]
    return {"plain": "as they are", "adjusted": f"LA (Inf), {pathlib.Path(stated).name}"}


def per_class(evaluation: dict[str, Any]) -> pd.DataFrame:
    """Precision, recall and F1 of each class both ways, from 0 to 1, and the number of its images."""
    frame = {"class": evaluation["class_names"], "images": evaluation["plain"]["per_class"]["support"]}
    for kind in titles(evaluation):
        frame |= {f"{measure}_{kind}": evaluation[kind]["per_class"][measure] for measure in MEASURES}
    return pd.DataFrame(frame)


def confusion(evaluation: dict[str, Any]) -> pd.DataFrame:
    """Both confusion matrices one below the other, true classes in rows."""
    names = evaluation["class_names"]
    rows = [
        [kind, name, *row]
        for kind in titles(evaluation)
        for name, row in zip(names, evaluation[kind]["confusion"], strict=True)
    ]
    return pd.DataFrame(rows, columns=["predictions", "true class", *names])


def text(evaluation: dict[str, Any]) -> str:
    """What is printed, in percent: the scores over all classes, then those of each, with LA (Inf) beside without."""
    kinds = titles(evaluation)
    rows = []
    for key, name in _OVERALL.items():
        values = [{**evaluation[kind], "ece": evaluation[kind]["calibration"]["ece"]}[key] for kind in kinds]
        rows.append([name, *map(_percent, values)])
    by_class = []
    for c, name in enumerate(evaluation["class_names"]):
        values = [evaluation[kind]["per_class"][measure][c] for measure in MEASURES for kind in kinds]
        by_class.append([name, str(evaluation["plain"]["per_class"]["support"][c]), *map(_percent, values)])
    headings = [heading for measure in MEASURES.values() for heading in (measure, "+ LA")]
    return table_text(["%", *kinds.values()], rows) + "\n\n" + table_text(["class", "images", *headings], by_class)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
