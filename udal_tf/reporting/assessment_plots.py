"""Figures of an evaluation: confusion matrices, reliability diagrams and the most confident mistakes."""

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
# With at most this many classes, counts are printed in the cells of a confusion matrix.
MOST_NUMBERED_CLASSES = 12
# Rare confusions must differ visibly from none: colors follow the square root of the fraction.
CONFUSION_GAMMA = 0.5
SHEET_COLUMNS = 6
SHEET_CELL_INCHES = 1.7
# The longer side of an image of a sheet: about twice the pixels that its cell has.
MISTAKE_PIXELS = 400
# Bars of a reliability diagram with fewer images are drawn with the opacity PALE.
FEW_IMAGES = 10
PALE = 0.35


def confusion_matrices(
    matrices: Mapping[str, Sequence[Sequence[int]]], class_names: Sequence[str], path: pathlib.Path
) -> None:
    """One matrix per entry, side by side: [C][C] counts, true classes in rows; colors are fractions of a row."""
    side = min(max(4.0, 0.55 * len(class_names)), 9.0)
    named = len(class_names) <= MOST_NAMED_CLASSES
    with drawing(path, len(matrices) * (side + 0.8) + 0.9, side + 1.5) as figure:
        figure.suptitle("Confusion matrix: images of each class by what they are predicted as", x=0.01, ha="left")
        all_axes = figure.subplots(1, len(matrices), squeeze=False)[0]
        for axes, (title, matrix) in zip(all_axes, matrices.items(), strict=True):
            counts = np.array(matrix)
            totals = counts.sum(axis=1, keepdims=True)
            fractions = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
            image = axes.imshow(fractions, cmap="Blues", norm=PowerNorm(CONFUSION_GAMMA, 0, 1))
            if len(class_names) <= MOST_NUMBERED_CLASSES:
                for (row, column), count in np.ndenumerate(counts):
                    if count:
                        color = "w" if fractions[row, column] > 0.4 else "k"
                        axes.text(column, row, count, ha="center", va="center", fontsize=8, color=color)
            if named:
                shown = [_short(name) for name in class_names]
                fonts = families("".join(shown))
                upright = max(map(len, shown)) > 2
                axes.set_xticks(range(len(shown)), shown, rotation=90 if upright else 0, fontfamily=fonts)
                axes.set_yticks(range(len(shown)), shown, fontfamily=fonts)
            axes.set_xlabel("predicted class" if named else "predicted class index")
            axes.set_title(title, loc="left")
        all_axes[0].set_ylabel("true class" if named else "true class index")
        figure.colorbar(image, ax=list(all_axes), label="fraction of the true class", shrink=0.7)


def reliability(calibrations: Mapping[str, Mapping[str, Any]], path: pathlib.Path) -> None:
    """Accuracy against confidence, with a histogram of the confidences below; one column per entry.

    Args:
      calibrations: title -> {"ece", "bins"} as `inference.assessment.calibration` returns them.
    """
    with drawing(path, 4.2 * len(calibrations), 5.8) as figure:
        figure.suptitle("Reliability: accuracy of the predictions by their confidence", x=0.01, ha="left")
        grid = figure.subplots(2, len(calibrations), height_ratios=(3, 1), sharex=True, sharey="row", squeeze=False)
        for (upper, lower), (title, found) in zip(grid.T, calibrations.items(), strict=True):
            for one in found["bins"]:
                middle, width = (one["low"] + one["high"]) / 2, 0.94 * (one["high"] - one["low"])
                pale = PALE if one["count"] < FEW_IMAGES else 1.0
                upper.bar(middle, one["accuracy"], width, color=BLUE, alpha=pale)
                lower.bar(middle, one["count"], width, color=GRAY, alpha=pale)
            upper.plot([0, 1], [0, 1], "--", color=ORANGE, linewidth=1.5, label="perfect calibration")
            upper.set_title(f"{title}\ncalibration error (ECE) {100 * found['ece']:.1f} %", loc="left")
            upper.set(xlim=(0, 1), ylim=(0, 1.02))
            lower.set(yscale="log", xlabel=f"confidence (pale: fewer than {FEW_IMAGES} images)")
        grid[0, 0].set_ylabel("accuracy")
        grid[1, 0].set_ylabel("images")
        legend_below(figure)


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A misclassified image of any size, [H, W, C] uint8 as in its file, with its true and predicted class."""

    image: np.ndarray
    file: str
    true: str
    predicted: str
    confidence: float


def mistakes(wrong: Sequence[Mistake], path: pathlib.Path) -> None:
    """A contact sheet of misclassified images."""
    rows = max(1, -(-len(wrong) // SHEET_COLUMNS))
    with drawing(path, SHEET_COLUMNS * SHEET_CELL_INCHES, rows * (SHEET_CELL_INCHES + 0.7) + 0.4) as figure:
        title = "Most confident mistakes: true class → predicted class, confidence"
        figure.suptitle(title if wrong else "No image was misclassified", fontsize=10)
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
    """The name, shortened and escaped for Matplotlib."""
    return literal(shortened(name))
