"""How the report's figures are drawn and saved: one panel each, readable at a phone's width, on light and on dark."""

import dataclasses
import io
import multiprocessing
import pathlib
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from udal_tf import storage
from udal_tf.reporting.fonts import families
from udal_tf.reporting.names import COLORS, MARKERS
from udal_tf.reporting.plots import literal, name_classes

GREY = "#808080"
# Text and axes have this colour in the figure, and that of the surrounding text in the page.
INK = "#010203"
# Of the panel with its labels; the legend stands below it, where it hides no curve.
WIDTH_INCHES, PANEL_INCHES, LEGEND_LINE_INCHES = 5.4, 3.7, 0.24
# Between the edge and what stands nearest to it.
MARGIN_INCHES = 0.05
PNG_DPI = 140
LONGEST_IN_TWO_COLUMNS = 28
# Letters of a panel's title that fit above it; the caption says all of it.
LONGEST_TITLE = 54
# Of the width, what a colour bar takes with its numbers and its name.
COLOUR_BAR = 0.16
_STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 11.5,
    "legend.fontsize": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "udal_tf",
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A saved figure. name: of its files. svg: for a page, in the colour of its text. caption: what it shows."""

    name: str
    title: str
    caption: str
    svg: str


@dataclasses.dataclass(frozen=True)
class Curve:
    """A line with its spread.

    label: in the legend. x, y: points; y alone for a level. spread: of y, or empty. style: of the line.
    marked: whether points are marked. level: a horizontal line. color: of a method; "": that of `place`, whose None is
    the next one and -1 grey. marker: its form; None: that of the place.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()
    style: str = "-"
    marked: bool = True
    level: bool = False
    place: int | None = None
    color: str = ""
    marker: str | None = None


class Panel:
    """A figure of one panel while it is drawn.

    Args:
      title: above it. x_label, y_label: with units.
    """

    def __init__(self, title: str, x_label: str, y_label: str):
        with matplotlib.rc_context(_STYLE):
            self.figure = Figure(figsize=(WIDTH_INCHES, PANEL_INCHES))
            self.axes: Axes = self.figure.add_axes((0.155, 0.16, 0.805, 0.755))
            shown = textwrap.shorten(title, LONGEST_TITLE, placeholder=" …")
            # A stated y spares a search for it.
            self._heading = self.axes.set_title(literal(shown), loc="left", y=1.01, fontfamily=families(shown))
            self.axes.set_xlabel(x_label)
            self.axes.set_ylabel(y_label)
            self.axes.grid(alpha=0.25)
            self.axes.set_axisbelow(True)
        self.title = title
        self._drawn = 0
        self._named = False

    def name_classes(self, axis: Axis, class_names: Sequence[str]) -> None:
        """Gives each class a tick with its name on an axis of the panel's, and the names the room that they need."""
        name_classes(axis, class_names)
        self._named = True

    def draw(self, curve: Curve) -> None:
        """Adds a curve in the next colour; a level is a horizontal line through all x with a band of its spread."""
        place = self._drawn if curve.place is None else curve.place
        self._drawn += curve.place is None and not curve.color
        colour = curve.color or (GREY if place < 0 else COLORS[place % len(COLORS)])
        marker = curve.marker or ("*" if place < 0 else MARKERS[place % len(MARKERS)])
        if curve.level:
            self.axes.axhline(curve.y[0], color=colour, linestyle=curve.style, label=curve.label)
            if curve.spread:
                low, high = curve.y[0] - curve.spread[0], curve.y[0] + curve.spread[0]
                self.axes.axhspan(low, high, color=colour, alpha=0.12, linewidth=0)
            return
        few = curve.marked and len(curve.x) <= 40
        options: dict[str, Any] = {"color": colour, "linestyle": curve.style, "label": curve.label}
        if curve.spread and few:
            self.axes.errorbar(
                curve.x, curve.y, curve.spread, marker=marker, markersize=5, capsize=2.5, elinewidth=1, **options
            )
            return
        self.axes.plot(curve.x, curve.y, marker=marker if few else None, markersize=5, **options)
        if curve.spread:
            below = [y - s for y, s in zip(curve.y, curve.spread, strict=True)]
            above = [y + s for y, s in zip(curve.y, curve.spread, strict=True)]
            self.axes.fill_between(curve.x, below, above, color=colour, alpha=0.15, linewidth=0)

    def add_colour_bar(self, image: AxesImage, label: str) -> None:
        """Says beside the panel, which becomes narrower, what the colours of `image` stand for."""
        with matplotlib.rc_context(_STYLE):
            left, bottom, width, height = self.axes.get_position().bounds
            self.axes.set_position((left, bottom, width - COLOUR_BAR, height))
            beside = self.figure.add_axes((left + width - COLOUR_BAR + 0.03, bottom, 0.03, height))
            self.figure.colorbar(image, cax=beside, label=label)

    def save(self, name: str, caption: str, folder: pathlib.Path) -> Picture:
        """Writes `name`.png and `name`.svg into `folder`, and returns it for a page."""
        with matplotlib.rc_context(_STYLE):
            self._make_room()
            self._add_legend()
            file = io.StringIO()
            self.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
            with storage.written_whole(folder / f"{name}.png") as partial:
                self.figure.savefig(partial, format="png", dpi=PNG_DPI, facecolor="white")
        svg = file.getvalue()
        storage.write_text(folder / f"{name}.svg", svg)
        return Picture(name, self.title, caption, _for_page(svg, name))

    def _make_room(self) -> None:
        """Moves the axes away from the left and lower edges as far as the names of classes beside them need it."""
        if not self._named:
            return
        renderer = FigureCanvasAgg(self.figure).get_renderer()
        boxes = [box for axis in (self.axes.xaxis, self.axes.yaxis) if (box := axis.get_tightbbox(renderer))]
        left = max(0.0, MARGIN_INCHES - min(box.x0 for box in boxes) / self.figure.dpi)
        below = max(0.0, MARGIN_INCHES - min(box.y0 for box in boxes) / self.figure.dpi)
        x, y, width, height = self.axes.get_position().bounds
        moved = left / WIDTH_INCHES
        self.axes.set_position((x + moved, y, width - moved, height))
        self._heading.set_x(-moved / (width - moved))  # Where it was, for it may be as wide as the figure.
        self._add_below(below)

    def _add_below(self, inches: float) -> None:
        """Makes the figure taller by an empty strip below what is drawn."""
        before = self.figure.get_figheight()
        self.figure.set_size_inches(WIDTH_INCHES, before + inches)
        for axes in self.figure.axes:
            x, y, width, tall = axes.get_position().bounds
            axes.set_position((x, (y * before + inches) / (before + inches), width, tall * before / (before + inches)))

    def _add_legend(self) -> None:
        handles, labels = self.axes.get_legend_handles_labels()
        if not labels:
            return
        columns = 2 if len(labels) > 1 and max(map(len, labels)) <= LONGEST_IN_TWO_COLUMNS else 1
        lines = -(-len(labels) // columns)
        self._add_below(LEGEND_LINE_INCHES * lines)
        self.figure.legend(
            handles, labels, loc="lower left", bbox_to_anchor=(0.1, 0.0), ncols=columns, frameon=False, borderpad=0.2,
            labelspacing=0.35,
        )  # fmt: skip


def _for_page(svg: str, name: str) -> str:
    """The <svg> element alone, its ids its own, its ink that of the page, its size that of its place."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 role="img" aria-hidden="true"', svg, count=1)


_tasks: Sequence[Callable[[], list[Picture]]] = ()


def _drawn(number: int) -> list[Picture]:
    return _tasks[number]()


def drawn(tasks: Sequence[Callable[[], list[Picture]]], processes: int) -> list[Picture]:
    """The pictures of all tasks, in their order.

    Args:
      tasks: each draws and saves some pictures. processes: forked from this one, which should have no other threads;
        1 draws here.
    """
    global _tasks
    _tasks = tasks  # What is forked needs not be pickled.
    if processes == 1 or len(tasks) < 2:
        parts = [task() for task in tasks]
    else:
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            parts = pool.map(_drawn, range(len(tasks)), chunksize=1)
    _tasks = ()
    return [picture for part in parts for picture in part]


def common_limits(curves: Sequence[Curve], margin: float = 0.06) -> tuple[float, float]:
    """Limits of y that hold every curve with its spread: the same scale for several panels."""
    low = min(y - s for curve in curves for y, s in zip(curve.y, curve.spread or [0] * len(curve.y), strict=True))
    high = max(y + s for curve in curves for y, s in zip(curve.y, curve.spread or [0] * len(curve.y), strict=True))
    pad = margin * max(high - low, 1.0)
    return low - pad, high + pad
