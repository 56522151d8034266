"""A contact sheet: labeled rows of images, to inspect before and during training."""

import pathlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

from udal_tf import storage
from udal_tf.reporting.fonts import families
from udal_tf.reporting.plotting import columns_of, literal, save_png, shortened
from udal_tf.shown_names import shown

# Sizes of an image, of a letter of the row names, and of the headings.
CELL_INCHES = 0.85
LETTER_INCHES = 0.085
HEADING_INCHES = 0.6
LONGEST_NAME = 32
MOST_ROWS = 24
# Between images, and between groups of columns, as fractions of an image's width.
GAP = 0.06
GROUP_GAP = 0.25
WHITE = 255

Row = TypeVar("Row")


def draw(
    images: np.ndarray, names: Sequence[str], headings: Sequence[tuple[str, int]], title: str, path: pathlib.Path
) -> None:
    """Writes the sheet as a PNG.

    Args:
      images: [rows, columns, H, W, 3] uint8.
      names: of the rows, each on one or more lines.
      headings: of groups of adjacent columns, each with the number of columns it spans.
      title: of the sheet.
      path: of the PNG.
    """
    rows, _, height, width, _ = images.shape
    gap, group_gap = max(1, round(GAP * width)), round(GROUP_GAP * width)
    group = np.repeat(np.arange(len(headings)), [count for _, count in headings])
    lefts = np.arange(len(group)) * (width + gap) + group * group_gap
    sheet = np.full((rows * (height + gap), lefts[-1] + width, 3), WHITE, np.uint8)
    for row in range(rows):
        top = row * (height + gap)
        for column, left in enumerate(lefts):
            sheet[top : top + height, left : left + width] = images[row, column]
    title = shown(title)
    names = ["\n".join(shortened(line, LONGEST_NAME) for line in name.splitlines()) for name in names]
    beside = LETTER_INCHES * max(columns_of(line) for name in names for line in name.splitlines()) + 0.2
    tall, wide = (CELL_INCHES / width * pixels for pixels in sheet.shape[:2])
    inches = np.array([beside + wide, HEADING_INCHES + tall])
    figure = Figure(figsize=tuple(inches))
    axes = figure.add_axes((beside / inches[0], 0, wide / inches[0], tall / inches[1]))
    # Small images stay sharp.
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.axis("off")
    for row, name in enumerate(names):
        middle = row * (height + gap) + height / 2
        axes.text(-gap, middle, literal(name), ha="right", va="center", fontsize=9, fontfamily=families(name))
    for number, (heading, _) in enumerate(headings):
        own = lefts[group == number]
        axes.text((own[0] + own[-1] + width) / 2, -gap, heading, ha="center", va="bottom", fontsize=9)
    figure.text(
        0.1 / inches[0], 1 - 0.1 / inches[1], literal(title), ha="left", va="top", fontsize=10, fontweight="bold",
        fontfamily=families(title),
    )  # fmt: skip
    if not storage.is_remote(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    save_png(figure, path)


def some_rows(ranked: Sequence[Row]) -> list[Row]:
    """All of them, or MOST_ROWS evenly spaced, including the first and the last."""
    spread = np.linspace(0, len(ranked) - 1, min(MOST_ROWS, len(ranked))).round().astype(int)
    return [ranked[i] for i in spread]
