"""An evaluation as tables, for the console and for CSV files.

An evaluation is the content of `evaluation.json`; its predictions are "plain" or "adjusted", with LA (Inf).
"""

import pathlib
from typing import Any

import pandas as pd

from udal_tf.reporting.terminal import table_text

MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1"}
_OVERALL = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "ece": "calibration error"}


def titles(evaluation: dict[str, Any]) -> dict[str, str]:
    """A title for each kind of predictions."""
    stated = evaluation["target_prior"]["stated"]
    return {"plain": "without LA (Inf)", "adjusted": f"LA (Inf), {pathlib.Path(stated).name}"}


def per_class(evaluation: dict[str, Any]) -> pd.DataFrame:
    """Precision, recall and F1 of each class, 0 to 1, without and with LA (Inf), and the number of its images."""
    frame = {"class": evaluation["class_names"], "images": evaluation["plain"]["per_class"]["support"]}
    for kind in titles(evaluation):
        frame |= {f"{measure}_{kind}": evaluation[kind]["per_class"][measure] for measure in MEASURES}
    return pd.DataFrame(frame)


def confusion(evaluation: dict[str, Any]) -> pd.DataFrame:
    """Both confusion matrices, stacked; true classes in rows."""
    names = evaluation["class_names"]
    rows = [
        [kind, name, *row]
        for kind in titles(evaluation)
        for name, row in zip(names, evaluation[kind]["confusion"], strict=True)
    ]
    return pd.DataFrame(rows, columns=["predictions", "true class", *names])


def text(evaluation: dict[str, Any]) -> str:
    """For the console, in percent: overall scores, then those of each class, without and with LA (Inf)."""
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


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}"
