"""An evaluation as tables: what is printed, and the rows of its CSV files.

An evaluation is what `evaluation.json` holds; its two kinds of predictions are "plain" and "adjusted", with LA (Inf).
"""

import pathlib
from typing import Any

MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1"}
_OVERALL = {"accuracy": "accuracy", "balanced_accuracy": "mean per-class recall", "ece": "calibration error"}
_CELL = 10


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
    """What is printed, in per cent."""
    kinds, names = titles(evaluation), evaluation["class_names"]
    width = max(map(len, [*_OVERALL.values(), *names]))
    block = _CELL * len(MEASURES)

    def cell(value: float | None) -> str:
        return f"{'–' if value is None else f'{100 * value:.1f}':>{_CELL}}"

    def line(first: str, pictures: object, blocks: list[str]) -> str:
        return f"  {first:<{width}}{pictures:>{_CELL}}" + "".join(f"  {one:>{block}}" for one in blocks)

    lines = [line("%", "", list(kinds.values()))]
    for key, name in _OVERALL.items():
        values = [{**evaluation[kind], "ece": evaluation[kind]["calibration"]["ece"]}[key] for kind in kinds]
        lines.append(line(name, "", [cell(value) for value in values]))
    headings = "".join(f"{heading:>{_CELL}}" for heading in MEASURES.values())
    lines += ["", line("class", "pictures", [headings] * len(kinds))]
    for c, name in enumerate(names):
        blocks = ["".join(cell(evaluation[kind]["per_class"][m][c]) for m in MEASURES) for kind in kinds]
        lines.append(line(name, evaluation["plain"]["per_class"]["support"][c], blocks))
    return "\n".join(lines)
