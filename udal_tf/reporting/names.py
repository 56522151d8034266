"""Display names of datasets, base learners and methods, and the style of each method, from their records."""

import colorsys
import functools

from udal_tf.registry import BASE_LEARNERS, DATASETS, METHODS
from udal_tf.reporting import paper

# For records without a color or marker, and for other curves. Okabe & Ito's colorblind-safe palette, without colors
# that vanish on white or on black, extended.
COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#A07800", "#56B4E9", "#8C6BD8", "#66A61E", "#B2506E", "#7A5230",
    "#2F9C95", "#FF5252", "#4F6D9A", "#B8860B", "#C2459A", "#5C8A3A", "#1B4D3E", "#9C755F", "#6B4C9A", "#D4A017",
    "#7F9C3B", "#3E8ED0",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p", "d", "8", "H", "*", "1", "2", "3", "4", "x", "+", "|")


def dataset_name(dataset: str) -> str:
    """`CIFAR10-LT`; without a record, the name itself."""
    return DATASETS[dataset].label if dataset in DATASETS else dataset


def base_name(base: str) -> str:
    """`FixMatch`."""
    return BASE_LEARNERS[base].label if base in BASE_LEARNERS else base


def method_name(method: str) -> str:
    """`UDAL`; "" for the base learner alone."""
    return METHODS[method].label if method in METHODS else method


def name_of(base: str, method: str, score: str = paper.EMA) -> str:
    """`FixMatch w/ UDAL & LA (Inf)`: the full name of a row."""
    added = [method_name(method)] if method_name(method) else []
    added += ["LA (Inf)"] if score == paper.EMA_LA else []
    return base_name(base) + (" w/ " + " & ".join(added) if added else "")


def _free(taken: set[str], palette: tuple[str, ...]) -> list[str]:
    return [one for one in palette if one not in taken]


@functools.cache
def _styles(records: tuple[tuple[str, str, str], ...]) -> dict[str, tuple[str, str]]:
    """Color and marker of each (name, color, marker): its own, or the next unused one, in name order."""
    colors = _free({color for _, color, _ in records}, COLORS)
    markers = _free({marker for _, _, marker in records}, MARKERS)
    styles = {}
    for number, (name, color, marker) in enumerate(sorted(records)):
        if not color:  # Beyond the palette, hues spaced by the golden ratio are all distinct.
            hue = colorsys.hsv_to_rgb((number * 0.618) % 1.0, 0.75, 0.65)
            color = colors.pop(0) if colors else "#" + "".join(f"{round(255 * part):02x}" for part in hue)
        styles[name] = color, marker or (markers.pop(0) if markers else f"${number}$")
    return styles


def method_style(method: str) -> tuple[str, str]:
    """Color and marker of a method, unique and the same in every figure."""
    return _styles(tuple((name, record.color, record.marker) for name, record in METHODS.items()))[method]


def base_marker(base: str) -> str:
    """The unique marker of a base learner."""
    return _styles(tuple((name, record.color, record.marker) for name, record in BASE_LEARNERS.items()))[base][1]


@functools.cache
def _drawn(pairs: tuple[tuple[str, str], ...]) -> dict[str, tuple[str, str, str]]:
    found = {}
    for base, method in pairs:
        color, marker = method_style(method)
        own = BASE_LEARNERS[base].color if method == "none" else ""
        style = own or color, BASE_LEARNERS[base].marker if own else marker, "--" if own else "-"
        found[name_of(base, method)] = style
    return found


def style_of(name: str) -> tuple[str, str, str]:
    """Color, marker and line style for a name from `name_of`: its method's, or its base learner's if that has one.

    Training on the labeled images alone is gray and dashed.
    """
    return _drawn(tuple((base, method) for base in BASE_LEARNERS for method in METHODS))[name]
