"""What reports call data sets, base learners and methods, and how each method is drawn."""

import functools

from udal_tf.reporting import paper

# Okabe & Ito's colors, told apart by color-blind readers, without what vanishes on white or on black, and more: for
# methods in the order of METHODS, and for curves of anything else.
COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#A07800", "#56B4E9", "#8C6BD8", "#66A61E", "#B2506E", "#7A5230",
    "#2F9C95", "#FF5252", "#4F6D9A", "#B8860B", "#C2459A", "#5C8A3A",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p", "d", "8", "H", "*", "1")
GREY = "#808080"
DATASETS = {
    "digitslt": "digits-LT",
    "cifar10lt": "CIFAR10-LT",
    "cifar100lt": "CIFAR100-LT",
    "fashionlt": "Fashion-MNIST-LT",
    "imagenet127": "ImageNet-127",
    "folder": "own pictures",
}
BASE_LEARNERS = {"fixmatch": "FixMatch", "mixmatch": "MixMatch", "remixmatch": "ReMixMatch", "supervised": "Supervised"}
METHODS = {
    "none": "",
    "udal": "UDAL",
    "da": "DA",
    "da_la": "DA + LA (Sup)",
    "la": "LA (Sup)",
    "hybrid": "hybrid of Figure 3a",
    "crest": "CReST",
    "crest+": "CReST+",
    "darp": "DARP",
    "da_darp": "DA + DARP",
}
_BASE_MARKERS = {"supervised": "*", "fixmatch": "o", "mixmatch": "s", "remixmatch": "^"}


def dataset_name(dataset: str) -> str:
    """`CIFAR10-LT`; the name itself of one that is not known."""
    return DATASETS.get(dataset, dataset)


def base_name(base: str) -> str:
    """`FixMatch`."""
    return BASE_LEARNERS.get(base, base)


def method_name(method: str) -> str:
    """`UDAL`; "" for the base learner as it is."""
    return METHODS.get(method, method)


def name_of(base: str, method: str, score: str = paper.EMA) -> str:
    """`FixMatch w/ UDAL & LA (Inf)`: a row in full."""
    added = [method_name(method)] if method_name(method) else []
    added += ["LA (Inf)"] if score == paper.EMA_LA else []
    return base_name(base) + (" w/ " + " & ".join(added) if added else "")


def method_style(method: str) -> tuple[str, str]:
    """Color and marker of a method, the same in every figure and no other method's."""
    place = list(METHODS).index(method)
    return COLORS[place], MARKERS[place]


def base_marker(base: str) -> str:
    """The marker of a base learner, no other one's."""
    return _BASE_MARKERS[base]


@functools.cache
def _styles() -> dict[str, tuple[str, str, str]]:
    styles = {name_of(base, method): (*method_style(method), "-") for base in BASE_LEARNERS for method in METHODS}
    return {**styles, base_name("supervised"): (GREY, "*", "--")}


def style_of(name: str) -> tuple[str, str, str]:
    """Color, marker and line style of what `name_of` calls so; training on the labeled images alone is grey, dashed."""
    return _styles()[name]
