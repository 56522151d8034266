"""Figures of an evaluation: confusion matrices, reliability diagrams, and a sheet of the worst mistakes."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm

from udal_tf.reporting.fonts import families
from udal_tf.reporting.names import COLORS
from udal_tf.reporting.plotting import GRAY, MOST_NAMED_CLASSES, drawing, legend_below, literal, shortened

BLUE, ORANGE = COLORS[:2]
# Up to this many classes the cells of a confusion matrix hold their counts.
MOST_NUMBERED_CLASSES = 12
# Rare confusions must be told apart from none: colors follow the square root of the share.
CONFUSION_GAMMA = 0.5
SHEET_COLUMNS, SHEET_CELL_INCHES = 6, 1.7
# Bars of a reliability diagram that rest on fewer images are pale.
FEW_IMAGES, PALE = 10, 0.35


def confusion_matrices(
    matrices: Mapping[str, Sequence[Sequence[int]]], class_names: Sequence[str], path: pathlib.Path
) -> None:
    """One matrix per entry beside each other: [C][C] counts, true classes in rows; colors are shares of a row."""
    side = min(max(4.0, 0.55 * len(class_names)), 9.0)
    named = len(class_names) <= MOST_NAMED_CLASSES
    with drawing(path, len(matrices) * (side + 0.8) + 0.9, side + 1.2) as figure:
        all_axes = figure.subplots(1, len(matrices), squeeze=False)[0]
        for axes, (title, matrix) in zip(all_axes, matrices.items(), strict=True):
            counts = np.array(matrix)
            totals = counts.sum(axis=1, keepdims=True)
            shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
            image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(CONFUSION_GAMMA, 0, 1))
            if len(class_names) <= MOST_NUMBERED_CLASSES:
                for (row, column), count in np.ndenumerate(counts):
                    if count:
                        color = "w" if shares[row, column] > 0.4 else "k"
                        axes.text(column, row, count, ha="center", va="center", fontsize=8, color=color)
            if named:
                shown = [_short(name) for name in class_names]
                fonts = families("".join(shown))
                upright = max(map(len, shown)) > 2
                axes.set_xticks(range(len(shown)), shown, rotation=90 if upright else 0, fontfamily=fonts)
                axes.set_yticks(range(len(shown)), shown, fontfamily=fonts)
            axes.set_xlabel("predicted class" if named else "predicted class, by its number")
            axes.set_title(title, loc="left")
        all_axes[0].set_ylabel("true class" if named else "true class, by its number")
        figure.colorbar(image, ax=list(all_axes), label="share of the true class", shrink=0.7)


def reliability(calibrations: Mapping[str, Mapping[str, Any]], path: pathlib.Path) -> None:
    """Accuracy over confidence, above how many images have that confidence; one column per entry.

    Args:
      calibrations: title -> {"ece", "bins"} as `inference.assessment.calibration` returns them.
    """
    with drawing(path, 4.2 * len(calibrations), 5.4) as figure:
        grid = figure.subplots(2, len(calibrations), height_ratios=(3, 1), sharex=True, sharey="row", squeeze=False)
        for (upper, lower), (title, found) in zip(grid.T, calibrations.items(), strict=True):
            for one in found["bins"]:
                middle, width = (one["low"] + one["high"]) / 2, 0.94 * (one["high"] - one["low"])
                pale = PALE if one["count"] < FEW_IMAGES else 1.0
                upper.bar(middle, one["accuracy"], width, color=BLUE, alpha=pale)
                lower.bar(middle, one["count"], width, color=GRAY, alpha=pale)
            upper.plot([0, 1], [0, 1], "--", color=ORANGE, linewidth=1.5, label="confidence is accuracy")
            upper.set_title(f"{title}: ECE {100 * found['ece']:.1f} %", loc="left")
            upper.set(xlim=(0, 1), ylim=(0, 1.02))
            lower.set(yscale="log", xlabel=f"confidence (pale: fewer than {FEW_IMAGES} images)")
        grid[0, 0].set_ylabel("accuracy")
        grid[1, 0].set_ylabel("images")
        legend_below(figure)


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A wrongly predicted image, [H, W, C] uint8 as the network sees it; its class, and what it was taken for."""

    image: np.ndarray
    file: str
    true: str
    predicted: str
    confidence: float


def mistakes(wrong: Sequence[Mistake], path: pathlib.Path) -> None:
    """A sheet of wrongly predicted images."""
    rows = max(1, -(-len(wrong) // SHEET_COLUMNS))
    with drawing(path, SHEET_COLUMNS * SHEET_CELL_INCHES, rows * (SHEET_CELL_INCHES + 0.7) + 0.4) as figure:
        title = "Wrong with the most confidence: the true class → what it was taken for"
        figure.suptitle(title if wrong else "No image was wrong", fontsize=10)
        grid = figure.subplots(rows, SHEET_COLUMNS, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, one in zip(grid, wrong, strict=False):
            axes.imshow(one.image.squeeze(-1) if one.image.shape[-1] == 1 else one.image, cmap="gray", vmin=0, vmax=255)
            title = f"{_short(one.true)}\n→ {_short(one.predicted)} {one.confidence:.2f}"
            axes.set_title(title, fontsize=8, fontfamily=families(title))
            file = _short(pathlib.Path(one.file).name)
            axes.text(
                0.5, -0.03, file, transform=axes.transAxes, ha="center", va="top", fontsize=6, color=GRAY,
                fontfamily=families(file),
            )  # fmt: skip


def _short(name: str) -> str:
    """A name that fits, and that Matplotlib does not take for a formula."""
    return literal(shortened(name))
