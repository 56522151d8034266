"""A numbered sheet of images with captions, to look through before labels are added or corrected."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from udal_tf.reporting.fonts import families
from udal_tf.reporting.plotting import GRAY, drawing, literal, shortened

COLUMNS = 5
# Of an image and of its caption.
CELL_INCHES = 1.7
CAPTION_INCHES = 0.55
HEADING_INCHES = 0.4
# More would exceed what image viewers open.
MOST_IMAGES = 200
# Letters of a class name, where there are one or two.
LONGEST_NAMES = {1: 20, 2: 9}
LONGEST_FILE = 30


@dataclasses.dataclass(frozen=True)
class Tile:
    """An image, [H, W, C] uint8, with one or two class names, the probability of the last, and the name of its file."""

    image: np.ndarray
    names: tuple[str, ...]
    confidence: float
    file: str


def draw(tiles: Sequence[Tile], title: str, path: pathlib.Path) -> None:
    """Writes the sheet as a PNG. tiles: from 1 to MOST_IMAGES, which are numbered as in the files beside it."""
    rows = -(-len(tiles) // COLUMNS)
    height = rows * (CELL_INCHES + CAPTION_INCHES) + HEADING_INCHES
    with drawing(path, COLUMNS * CELL_INCHES, height) as figure:
        # Captions are below their images, each row's in the space above the next.
        below = CAPTION_INCHES / 2
        figure.set_layout_engine("constrained", h_pad=below, rect=(0, below / height, 1, 1 - below / height))
        figure.suptitle(literal(title), fontsize=10, fontfamily=families(title))
        places = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes in places:
            axes.set_axis_off()
        for number, (axes, tile) in enumerate(zip(places, tiles, strict=False), 1):
            # Of other channels than gray and RGB, the first.
            pixels = tile.image if tile.image.shape[-1] == 3 else tile.image[..., 0]
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            names = " → ".join(shortened(name, LONGEST_NAMES[len(tile.names)]) for name in tile.names)
            captions = [(f"{number}  {names} {tile.confidence:.2f}", 8.0, "black", -0.03)]
            captions += [(shortened(pathlib.Path(tile.file).name, LONGEST_FILE), 6.5, GRAY, -0.17)]
            for text, size, color, place in captions:
                axes.text(
                    0.5, place, literal(text), transform=axes.transAxes, ha="center", va="top", fontsize=size,
                    color=color, fontfamily=families(text), in_layout=False,
                )  # fmt: skip
