"""An evaluation as tables: what is printed, and what its CSV files hold.

An evaluation is what `evaluation.json` holds; its two kinds of predictions are "plain" and "adjusted", with LA (Inf).
"""

import pathlib
from typing import Any

import pandas as pd

MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1"}
_OVERALL = {"accuracy": "accuracy", "balanced_accuracy": "mean per-class recall", "ece": "calibration error"}
_CELL = 10


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
    """What is printed, in percent."""
    kinds, names = titles(evaluation), evaluation["class_names"]
    width = max(map(len, [*_OVERALL.values(), *names]))
    block = _CELL * len(MEASURES)

    def cell(value: float | None) -> str:
        return f"{'–' if value is None else f'{100 * value:.1f}':>{_CELL}}"

    def line(first: str, images: object, blocks: list[str]) -> str:
        return f"  {first:<{width}}{images:>{_CELL}}" + "".join(f"  {one:>{block}}" for one in blocks)

    lines = [line("%", "", list(kinds.values()))]
    for key, name in _OVERALL.items():
        values = [{**evaluation[kind], "ece": evaluation[kind]["calibration"]["ece"]}[key] for kind in kinds]
        lines.append(line(name, "", [cell(value) for value in values]))
    headings = "".join(f"{heading:>{_CELL}}" for heading in MEASURES.values())
    lines += ["", line("class", "images", [headings] * len(kinds))]
    for c, name in enumerate(names):
        blocks = ["".join(cell(evaluation[kind]["per_class"][m][c]) for m in MEASURES) for kind in kinds]
        lines.append(line(name, evaluation["plain"]["per_class"]["support"][c], blocks))
    return "\n".join(lines)
