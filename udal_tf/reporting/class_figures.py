"""What runs show class by class: test recall, confusion matrix, pseudo-labels over training, CReST's added labels."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from udal_tf.reporting import paper
from udal_tf.reporting.drawing import Curve, Panel, Picture
from udal_tf.reporting.figures import mean_and_std, slug
from udal_tf.reporting.names import style_of
from udal_tf.reporting.runs import Run
from udal_tf.run_records import EpochRow

Rows = Sequence[EpochRow]


def _from_frequent_to_rare(run: Run) -> np.ndarray:
    """[C] integer, the classes by their share of the labelled pictures: one's own are in the order of their names."""
    return np.argsort(-np.asarray(run.result.p_data), kind="stable")


def _by_class(label: str, of: Sequence[Sequence[float | None]], order: np.ndarray) -> Curve:
    """A point for each class, in this order: the mean of what is there of each."""
    columns = [[values[c] for values in of if values[c] is not None] for c in order]
    points = [(place, *mean_and_std([100 * v for v in values])) for place, values in enumerate(columns) if values]
    x, means, stds = zip(*points, strict=True) if points else ((), (), ())
    return Curve(label, x, means, stds if any(stds) else ())


def recall(methods: Mapping[str, Sequence[Run]], group: str, folder: pathlib.Path) -> list[Picture]:
    """Test recall of each class with the averaged weights."""
    panel = Panel(group, "class, from frequent to rare", "test recall, %")
    first = next(iter(methods.values()))[0]
    order = _from_frequent_to_rare(first)
    for name, of in methods.items():
        curve = _by_class(name, [run.result.per_class_recall[paper.EMA] for run in of], order)
        color, marker, line = style_of(name)
        panel.draw(dataclasses.replace(curve, spread=(), color=color, marker=marker, style=line))
    panel.axes.set_ylim(-3, 103)
    panel.name_classes(panel.axes.xaxis, [first.result.class_names[c] for c in order])
    panel.title = "Recall of each class"
    caption = f"Test recall of each class with the averaged weights; {group}. Means over folds."
    return [panel.save(f"recall_{slug(group)}", caption, folder)]


def added_labels(runs: Sequence[Run], method: str, group: str, folder: pathlib.Path) -> list[Picture]:
    """What CReST's generations added to the labelled set: precision and recall per class, a curve per generation."""
    pictures = []
    order = _from_frequent_to_rare(runs[0])
    for measure in ("precision", "recall"):
        panel = Panel(f"{method}; {group}", "class, from frequent to rare", f"{measure} of the added labels, %")
        generations = [run.result.generations or [] for run in runs]
        for generation in range(1, max(map(len, generations))):
            of = [getattr(own[generation], measure) for own in generations]
            of = [values for values in of if values and any(value is not None for value in values)]
            if of:
                panel.draw(_by_class(f"into generation {generation + 1}", of, order))
        if not panel.axes.get_legend_handles_labels()[0]:
            continue
        panel.axes.set_ylim(-3, 103)
        panel.name_classes(panel.axes.xaxis, [runs[0].result.class_names[c] for c in order])
        panel.title = f"{method}: {measure} of the labels that each generation adds"
        caption = f"{measure.capitalize()} per class of the pictures that join each generation; {method}, {group}."
        pictures.append(panel.save(f"added_{measure}_{slug(method)}_{slug(group)}", caption, folder))
    return pictures


def _matrix_panel(title: str, run: Run, shares: np.ndarray, x_label: str, y_label: str, colour_label: str) -> Panel:
    """A panel of per cents [C, n] as colours, a row for each class; NaN stays blank."""
    panel = Panel(title, x_label, y_label)
    panel.axes.grid(False)
    image = panel.axes.imshow(100 * shares, cmap="viridis", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    panel.add_colour_bar(image, colour_label)
    panel.name_classes(panel.axes.yaxis, run.result.class_names)
    return panel


def confusion(runs: Sequence[Run], method: str, group: str, folder: pathlib.Path) -> list[Picture]:
    """The confusion matrix, over all folds, as shares of each true class."""
    matrices = [np.array(run.result.confusion.ema, float) for run in runs]
    size = len(runs[0].result.class_names)
    if any(matrix.shape != (size, size) for matrix in matrices):
        return []
    counts = np.sum(matrices, axis=0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    words = ("predicted class", "true class", "share of the true class, %")
    panel = _matrix_panel(f"{method}; {group}", runs[0], shares, *words)
    panel.name_classes(panel.axes.xaxis, runs[0].result.class_names)
    panel.title = f"Confusion matrix, {method}"
    caption = f"Confusion matrix of the averaged weights, {len(matrices)} folds together; {method}, {group}."
    return [panel.save(f"confusion_{slug(method)}_{slug(group)}", caption, folder)]


def pseudo_labels(
    runs: Sequence[Run], rows: Sequence[Rows], method: str, group: str, folder: pathlib.Path
) -> list[Picture]:
    """Precision and recall of each class's confident pseudo-labels over training, all folds together.

    rows: of each run; only runs take part whose rows count the right pseudo-labels of each class, too.
    """
    counted = [of for of in rows if of and all(row.pseudo_labels and row.pseudo_labels.correct for row in of)]
    if not counted:
        return []
    length = min(map(len, counted))
    sums = {
        name: sum(np.array([getattr(row.pseudo_labels, name) for row in of[:length]], float).T for of in counted)
        for name in ("confident", "correct", "shown")
    }
    pictures = []
    for measure, whole, words in (
        ("precision", "confident", "of the confident pseudo-labels of a class, the share that is right"),
        ("recall", "shown", "of the shown pictures of a class, the share with a confident, right pseudo-label"),
    ):
        shares = np.where(sums[whole] > 0, sums["correct"] / np.maximum(sums[whole], 1), np.nan)
        panel = _matrix_panel(f"{method}; {group}", runs[0], shares, "epoch", "class", f"{measure}, %")
        panel.axes.images[0].set_extent((0.5, length + 0.5, len(shares) - 0.5, -0.5))
        panel.axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.title = f"Pseudo-labels of each class: {measure} over training, {method}"
        caption = f"{measure.capitalize()} by class and epoch: {words}; blank: none. {method}, {group}."
        pictures.append(panel.save(f"pseudo_{measure}_by_class_{slug(method)}_{slug(group)}", caption, folder))
    return pictures
