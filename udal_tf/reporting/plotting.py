"""The common style of all figures, and how they are saved: one palette, legends outside the axes.

`drawing` is for figures of any layout. A report's figures have a single panel each, readable at a phone's width and in
light and dark mode: a `Sketch` specifies one, `drawn` renders many in parallel.

What holds this file together: everything that decides how a figure looks, from its style to its two files. What
figures show is decided in the modules above it.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import io
import itertools
import os
import re
import sys
import textwrap
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, MultipleLocator
from matplotlib.transforms import Bbox
from PIL import Image

from udal_tf import shown_names, storage
from udal_tf.reporting.fonts import families
from udal_tf.reporting.names import COLORS, MARKERS

GRAY = "#808080"
# Text and axes have this color in a file, and the color of the surrounding text in the page.
INK = "#010203"
STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "udal_tf",
}
_PANEL_STYLE: dict[Any, Any] = {
    **STYLE,
    "font.size": 12,
    "figure.titlesize": 11.5,
    "legend.fontsize": 10.5,
    "legend.labelspacing": 0.35,
}
DPI = 120
PANEL_DPI = 140
# Width and height of a panel; each line of its legend and rotated class names add to the height.
WIDTH_INCHES = 5.4
PANEL_INCHES = 3.9
LEGEND_LINE_INCHES = 0.24
ROTATED_NAMES_INCHES = 0.6
PAD_INCHES = 0.05
BAR_INCHES = 0.18
# Letters: the longest label in a legend of two columns; the longest heading, which the caption has in full.
LONGEST_IN_TWO_COLUMNS = 28
LONGEST_HEADING = 54
# Limits of an axis lie this fraction of its length beyond round numbers, of which there are about STEPS in between.
LIMITS_PAD = 0.03
STEPS = 6
# Figures with the same frame that one process draws in one go.
MOST_PER_TASK = 12
# With at most this many classes, each gets a tick with its name, of at most LONGEST_NAME letters.
MOST_NAMED_CLASSES = 20
LONGEST_NAME = 18
# Points of a curve up to which they get markers.
FEW_POINTS = 40


def literal(text: str) -> str:
    """The text with dollar signs escaped, which Matplotlib would parse as a formula."""
    return text.replace("$", r"\$")


def columns_of(text: str) -> int:
    """The width of a text in letters; those of Chinese, Japanese and Korean take two.

    >>> columns_of("猫 cat")
    6
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """The name on one line, cut to the width of `longest` letters."""
    name = shown_names.shown(name)
    if columns_of(name) <= longest:
        return name
    ends = itertools.accumulate(map(columns_of, name))
    return "".join(letter for letter, end in zip(name, ends, strict=True) if end < longest) + "…"


def _rotated(class_names: Sequence[str]) -> bool:
    return max(map(columns_of, class_names)) > 3


def name_classes(axis: Axis, class_names: Sequence[str]) -> None:
    """Gives each class a tick with its name, unless there are too many; long names on an x axis are rotated."""
    if len(class_names) <= MOST_NAMED_CLASSES:
        rotated = isinstance(axis, XAxis) and _rotated(class_names)
        options: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if rotated else {}
        axis.set_ticks(
            range(len(class_names)),
            [literal(shortened(name)) for name in class_names],
            fontfamily=families("".join(class_names)),
            **options,
        )


def legend_below(figure: Figure | SubFigure, columns: int = 1) -> None:
    """Adds a legend of all labeled curves below the axes, each label once."""
    found = [axes.get_legend_handles_labels() for axes in figure.axes]
    by_label = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
    if by_label:
        figure.legend(by_label.values(), by_label, loc="outside lower left", ncols=columns, borderpad=0.2)


def parts(figure: Figure, rows: int, columns: int, heights: Sequence[float] | None = None) -> list[SubFigure]:
    """Subfigures in row-major order, each of which may have its own legend. heights: of the rows, relative."""
    grid = figure.add_gridspec(rows, columns, height_ratios=heights)
    return [figure.add_subfigure(grid[place]) for place in range(rows * columns)]


def save_png(figure: Figure, path: str | os.PathLike, dpi: int = DPI) -> None:
    """Writes the figure atomically, on white."""
    with storage.written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=dpi, facecolor="white")


@contextlib.contextmanager
def drawing(path: str | os.PathLike, width: float, height: float) -> Iterator[Figure]:
    """A figure of this size in inches, saved as a PNG if the block ends without an exception."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        save_png(figure, path)


@dataclasses.dataclass(frozen=True)
class Curve:
    """A line with its spread.

    Attributes:
      label: in the legend.
      x: of the points; unused for a level.
      y: of the points.
      spread: of y, or empty.
      style: of the line.
      marked: whether the points have markers.
      level: whether it is a horizontal line.
      color: "" for the next one of the palette.
      marker: "" for the next one of the palette.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()
    style: str = "-"
    marked: bool = True
    level: bool = False
    color: str = ""
    marker: str = ""

    @property
    def range(self) -> tuple[float, float]:
        """The minimum and maximum of y, including the spread, without NaN."""
        spread = np.asarray(self.spread if len(self.spread) else np.zeros(len(self.y)))
        return float(np.fmin.reduce(self.y - spread)), float(np.fmax.reduce(self.y + spread))


@dataclasses.dataclass(frozen=True)
class Sketch:
    """The specification of a figure with one panel, which shows either curves or a matrix.

    Attributes:
      name: of its files.
      title: what the figure shows, above the panel.
      heading: of which runs, below the title.
      caption: what the figure shows, in sentences.
      x_label: of the axis.
      y_label: of the axis.
      curves: to plot.
      matrix: [classes, columns] percent, shown as colors, NaN blank.
      color_label: of the matrix's color bar.
      x_names: class names on the axis; empty for numbers.
      y_names: class names on the axis; empty for numbers.
      y_limits: of the axis; None: chosen by the curves.
      x_step: between ticks, 1 for any whole numbers; None: chosen by Matplotlib.
      x_from_zero: whether the axis starts at 0.
    """

    name: str
    title: str
    heading: str
    caption: str
    x_label: str
    y_label: str
    curves: Sequence[Curve] = ()
    matrix: np.ndarray | None = None
    color_label: str = ""
    x_names: Sequence[str] = ()
    y_names: Sequence[str] = ()
    y_limits: tuple[float, float] | None = None
    x_step: float | None = None
    x_from_zero: bool = False


@dataclasses.dataclass(frozen=True)
class SavedFigure:
    """A saved figure: the name of its files, title and caption as in `Sketch`, and an SVG in the page's text color."""

    name: str
    title: str
    caption: str
    svg: str


def _draw_curve(axes: Axes, curve: Curve, place: int) -> None:
    color = curve.color or COLORS[place % len(COLORS)]
    marker = curve.marker or MARKERS[place % len(MARKERS)]
    options: dict[str, Any] = {"color": color, "linestyle": curve.style, "label": curve.label}
    if curve.level:
        axes.axhline(curve.y[0], **options)
        if len(curve.spread):
            axes.axhspan(*curve.range, color=color, alpha=0.12, linewidth=0)
        return
    marked: dict[str, Any] = {"marker": marker, "markersize": 5} if curve.marked and len(curve.x) <= FEW_POINTS else {}
    if marked and len(curve.spread):
        axes.errorbar(curve.x, curve.y, curve.spread, capsize=2.5, elinewidth=1, **marked, **options)
        return
    axes.plot(curve.x, curve.y, **marked, **options)
    if len(curve.spread):
        y, spread = np.asarray(curve.y), np.asarray(curve.spread)
        axes.fill_between(curve.x, y - spread, y + spread, color=color, alpha=0.15, linewidth=0)


def common_limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Limits of y around round numbers that contain every curve with its spread: a common scale for several panels.

    Round, so that similar figures have the same axes: they compare well and are quick to draw.
    """
    ends = np.array([curve.range for curve in curves])
    known = ends[np.isfinite(ends)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    slack = 0.0 if high - low > 1e-6 * abs(high) else 0.05 * (abs(high) or 1.0)
    ticks = MaxNLocator(STEPS, steps=[1, 2, 5, 10]).tick_values(low - slack, high + slack)
    pad = LIMITS_PAD * (ticks[-1] - ticks[0])
    return float(ticks[0] - pad), float(ticks[-1] + pad)


def render(sketch: Sketch) -> Figure:
    """The figure after layout."""
    with matplotlib.rc_context(_PANEL_STYLE):
        canvas = _frame(sketch)
        _fill(canvas.figure, sketch)
        return canvas.figure


def _fill(figure: Figure, sketch: Sketch) -> None:
    """Shows a sketch's heading, curves and matrix in its figure, or in one with the same frame."""
    lines = (textwrap.shorten(line, LONGEST_HEADING, placeholder=" …") for line in (sketch.title, sketch.heading))
    shown = "\n".join(lines)
    figure.texts[0].set(text=literal(shown), fontfamily=families(shown))
    axes = figure.axes[0]
    if sketch.matrix is not None:
        axes.images[0].set_data(sketch.matrix)
    for artist in _curves(axes):
        artist.remove()
    for place, curve in enumerate(sketch.curves):
        _draw_curve(axes, curve, place)


def _curves(axes: Axes) -> list[Artist]:
    return [*axes.lines, *axes.collections, *axes.patches]


def _frame_of(sketch: Sketch) -> tuple[Any, ...]:
    """All that decides on a sketch's axes and legend: figures that are equal in it differ in what `_fill` shows."""
    curves = [
        (c.label, c.style, c.marked and len(c.x) <= FEW_POINTS, c.level, c.color, c.marker, len(c.spread) > 0)
        for c in sketch.curves
    ]
    every = [x for curve in sketch.curves if not curve.level for x in curve.x]
    shape = None if sketch.matrix is None else sketch.matrix.shape
    labels = sketch.x_label, sketch.y_label, sketch.color_label, tuple(sketch.x_names), tuple(sketch.y_names)
    ends = (min(every), max(every)) if every else None
    return labels, shape, tuple(curves), ends, _y_limits(sketch), sketch.x_step, sketch.x_from_zero


def _y_limits(sketch: Sketch) -> tuple[float, float] | None:
    return sketch.y_limits or (common_limits(sketch.curves) if sketch.curves else None)


def _frame(sketch: Sketch) -> FigureCanvasAgg:
    """A figure after layout, without its heading and the values of its matrix."""
    labels = [curve.label for curve in sketch.curves]
    columns = 2 if len(labels) > 1 and max(map(len, labels)) <= LONGEST_IN_TWO_COLUMNS else 1
    height = PANEL_INCHES + LEGEND_LINE_INCHES * -(-len(labels) // columns)
    height += ROTATED_NAMES_INCHES * (0 < len(sketch.x_names) <= MOST_NAMED_CLASSES and _rotated(sketch.x_names))
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=PANEL_DPI)
    axes = figure.add_subplot(xlabel=sketch.x_label, ylabel=sketch.y_label)
    figure.suptitle("Title\nHeading", x=0.01, ha="left")
    for place, curve in enumerate(sketch.curves):
        _draw_curve(axes, curve, place)
    if sketch.matrix is None:
        axes.grid()
    else:
        rows, width = sketch.matrix.shape
        first = -0.5 if sketch.x_names else 0.5
        image = axes.imshow(
            np.zeros((rows, width)), vmin=0, vmax=100, aspect="auto", interpolation="nearest",
            extent=(first, first + width, rows - 0.5, -0.5),
        )  # fmt: skip
        bar = figure.add_axes((0.8, 0.2, BAR_INCHES / WIDTH_INCHES, 0.6))
        figure.colorbar(image, cax=bar, label=sketch.color_label, ticks=(0, 25, 50, 75, 100))
    for axis, names in ((axes.xaxis, sketch.x_names), (axes.yaxis, sketch.y_names)):
        if names:
            name_classes(axis, names)
    if sketch.x_step:
        whole = MaxNLocator(integer=True) if sketch.x_step == 1 else MultipleLocator(sketch.x_step)
        axes.xaxis.set_major_locator(whole)
    if sketch.x_from_zero:
        axes.set_xlim(left=0)
    axes.set_ylim(_y_limits(sketch))
    axes.autoscale(False)
    legend_below(figure, columns)
    return _laid_out(figure)


def _laid_out(figure: Figure) -> FigureCanvasAgg:
    """Positions panel, labels and color bar once for both files; Matplotlib's constrained layout takes much longer."""
    canvas = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    panel, *color_bars = figure.axes
    before = panel.bbox.frozen()
    around = panel.get_tightbbox(renderer) or before
    # Beside the current tick labels; left to itself, a label is positioned on each draw.
    places = [axis.label.get_transform().transform(axis.label.get_position()) for axis in (panel.xaxis, panel.yaxis)]
    below, beside = places[0][1] - before.y0, places[1][0] - before.x0
    pad = PAD_INCHES * figure.dpi
    bars = sum((bar.get_tightbbox(renderer) or bar.bbox).x1 - bar.bbox.x0 + 2 * pad for bar in color_bars)
    low = max((legend.get_window_extent().y1 for legend in figure.legends), default=0.0) + pad
    corners = (pad, low), (figure.bbox.x1 - bars - pad, figure.texts[0].get_window_extent().y0 - pad)
    inside = Bbox(corners + before.get_points() - around.get_points())
    panel.set_position(inside.transformed(figure.transFigure.inverted()))
    panel.xaxis.set_label_coords(0.5, below / panel.bbox.height)
    panel.yaxis.set_label_coords(beside / panel.bbox.width, 0.5)
    for bar in color_bars:
        place, width = panel.get_position(), BAR_INCHES * figure.dpi / figure.bbox.width
        bar.set_position((place.x1 + 2 * pad / figure.bbox.width, place.y0, width, place.height))
    return canvas


def _svg_of(canvas: FigureCanvasAgg) -> str:
    file = io.StringIO()
    FigureCanvasSVG(canvas.figure).print_svg(file, metadata={"Date": None})
    canvas.figure.set(dpi=PANEL_DPI, canvas=canvas)  # Restores the canvas, with its cached text sizes.
    return file.getvalue()


class _Stencil:
    """The common part of sketches with the same frame, drawn once; what differs is drawn over it."""

    def __init__(self, sketch: Sketch):
        self._canvas = _frame(sketch)
        figure = self._canvas.figure
        axes, *color_bars = figure.axes
        spines = (spine for spine in axes.spines.values() if spine.get_visible())
        same: list[Artist] = [figure.patch, axes.xaxis, axes.yaxis, *color_bars, *figure.legends]
        own: list[Artist] = [figure.texts[0], *axes.images, *_curves(axes), *spines]
        for artist in own:
            artist.set_visible(False)
        self._canvas.draw()
        self._pixels = self._canvas.copy_from_bbox(figure.bbox)
        figure.patch.set_visible(False)
        self._svg = _svg_of(self._canvas)
        for artist in own:
            artist.set_visible(True)
        for artist in same:
            artist.set_visible(False)

    def filled(self, sketch: Sketch) -> tuple[np.ndarray, str]:
        """The sketch's pixels and SVG."""
        canvas = self._canvas
        _fill(canvas.figure, sketch)
        canvas.restore_region(self._pixels)
        canvas.figure.draw(canvas.get_renderer())
        own = re.sub(r'(\bid="|href="#|url\(#)', r"\1own-", _svg_of(canvas))
        own = own[own.index('<g id="own-figure_1"') :]
        return np.asarray(canvas.buffer_rgba()), self._svg[: self._svg.rindex("</svg>")] + own


def _draw_alike(sketches: Sequence[Sketch], folder: str | os.PathLike) -> list[SavedFigure]:
    """Writes PNG and SVG of sketches with the same frame."""
    place, saved = storage.local(folder), []
    with matplotlib.rc_context(_PANEL_STYLE):
        stencil = _Stencil(sketches[0])
        for sketch in sketches:
            pixels, svg = stencil.filled(sketch)
            with storage.written_whole(place / f"{sketch.name}.png") as partial:
                image = Image.fromarray(pixels).convert("RGB")
                image.save(partial, "png", dpi=(PANEL_DPI, PANEL_DPI), compress_level=1)
            storage.write_text(place / f"{sketch.name}.svg", svg)
            saved.append(SavedFigure(sketch.name, sketch.title, sketch.caption, _for_page(svg, sketch.name)))
    return saved


def _for_page(svg: str, name: str) -> str:
    """The <svg> element for inlining: unique ids, text in the page's color, no fixed size."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 role="img" aria-hidden="true"', svg, count=1)


def drawn(sketches: Sequence[Sketch], folder: str | os.PathLike, processes: int = 1) -> Callable[[], list[SavedFigure]]:
    """Draws all sketches into `folder`, with several processes while the caller goes on.

    Args:
      sketches: to draw.
      folder: of the files.
      processes: that draw in parallel, at most; a process with other threads, which TensorFlow starts, draws by itself,
        as it cannot be forked.

    Returns:
      A function that waits for the figures, and returns them in the order of the sketches.
    """
    alike = collections.defaultdict(list)
    for sketch in sketches:
        alike[_frame_of(sketch)].append(sketch)
    tasks = [same[n : n + MOST_PER_TASK] for same in alike.values() for n in range(0, len(same), MOST_PER_TASK)]
    jobs = min(processes, len(tasks))
    if jobs > 1 and threading.active_count() == 1 and "tensorflow" not in sys.modules:
        pool = concurrent.futures.ProcessPoolExecutor(jobs)
        futures = [pool.submit(_draw_alike, task, folder) for task in tasks]
        pool.shutdown(wait=False)  # Ends it when these are done.
        done = (future.result() for future in futures)
    else:
        done = (_draw_alike(task, folder) for task in tasks)

    def wait() -> list[SavedFigure]:
        by_name = {figure.name: figure for figures in done for figure in figures}
        return [by_name[sketch.name] for sketch in sketches]

    return wait
