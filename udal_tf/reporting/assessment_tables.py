"""An evaluation as tables: what is printed, and the rows of its CSV files.

An evaluation is what `evaluation.json` holds; its two kinds of predictions are "plain" and "adjusted", with LA (Inf).
"""

import pathlib
from typing import Any

from udal_tf.reporting.terminal import table_text

MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1"}
_OVERALL = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "ece": "calibration error"}


def titles(evaluation: dict[str, Any]) -> dict[str, str]:
    """What the kinds of predictions are called."""
    stated = evaluation["target_prior"]["stated"]
    return {"plain": "as they are", "adjusted": f"LA (Inf), {pathlib.Path(stated).name}"}


def per_class_rows(evaluation: dict[str, Any]) -> list[list]:
    """Precision, recall and F1 of each class both ways, and the number of its pictures; a heading first."""
    kinds = titles(evaluation)
    rows = [["class", "pictures"] + [f"{measure}_{kind}" for kind in kinds for measure in MEASURES]]
    for c, name in enumerate(evaluation["class_names"]):
        values = [evaluation[kind]["per_class"][measure][c] for kind in kinds for measure in MEASURES]
        support = evaluation["plain"]["per_class"]["support"][c]
        rows.append([name, support, *("" if value is None else f"{value:.4f}" for value in values)])
    return rows


def confusion_rows(evaluation: dict[str, Any]) -> list[list]:
    """Both confusion matrices one below the other, true classes in rows; a heading first."""
    names = evaluation["class_names"]
    return [["predictions", "true class", *names]] + [
        [kind, name, *row]
        for kind in titles(evaluation)
        for name, row in zip(names, evaluation[kind]["confusion"], strict=True)
    ]


def text(evaluation: dict[str, Any]) -> str:
    """What is printed, in per cent: the scores over all classes, then those of each, with LA (Inf) beside without."""
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
