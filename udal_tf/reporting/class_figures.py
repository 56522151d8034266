"""Per-class figures: test recall, confusion matrix, pseudo-labels over training, labels added by CReST."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from udal_tf.reporting import paper
from udal_tf.reporting.figures import over, slug
from udal_tf.reporting.names import style_of
from udal_tf.reporting.plotting import Curve, Sketch
from udal_tf.reporting.runs import Run
from udal_tf.run_records import EpochRow

Rows = Sequence[EpochRow]
# Limits of a percent axis, with room for the markers.
PERCENT = (-3, 103)


def _from_frequent_to_rare(run: Run) -> np.ndarray:
    """[C] integer, the classes by descending frequency; those of a custom dataset are numbered by name."""
    return np.argsort(-np.asarray(run.result.p_data), kind="stable")


def _by_class(label: str, of: Sequence[Sequence[float | None]], order: np.ndarray, **options: Any) -> Curve:
    """A point for each class, in this order: the mean of the available values."""
    values = [(place, values[c]) for values in of for place, c in enumerate(order)]
    return over(label, [(place, 100 * value) for place, value in values if value is not None], **options)


def _class_sketch(
    name: str, title: str, heading: str, caption: str, y_label: str, runs: Sequence[Run], curves: Sequence[Curve]
) -> Sketch:
    names = [runs[0].result.class_names[c] for c in _from_frequent_to_rare(runs[0])]
    x_label = "class, from frequent to rare"
    return Sketch(name, title, heading, caption, x_label, y_label, curves, x_names=names, y_limits=PERCENT)


def recall(methods: Mapping[str, Sequence[Run]], group: str) -> list[Sketch]:
    """Test recall of each class with the EMA weights."""
    first = next(iter(methods.values()))
    order, curves = _from_frequent_to_rare(first[0]), []
    for name, of in methods.items():
        color, marker, style = style_of(name)
        values = [run.result.per_class_recall[paper.EMA] for run in of]
        curve = _by_class(name, values, order, color=color, marker=marker, style=style)
        curves.append(dataclasses.replace(curve, spread=()))
    caption = f"Test recall of each class with the EMA weights; {group}. Means over runs."
    name = f"recall_{slug(group)}"
    return [
        _class_sketch(name, "Recall of each class on the test images", group, caption, "test recall, %", first, curves)
    ]


def added_labels(runs: Sequence[Run], method: str, group: str) -> list[Sketch]:
    """Precision and recall per class of the pseudo-labels that CReST adds, a curve per generation."""
    sketches = []
    order = _from_frequent_to_rare(runs[0])
    for measure in ("precision", "recall"):
        curves = []
        generations = [run.result.generations or [] for run in runs]
        for number in range(1, max(map(len, generations))):
            of = [getattr(own[number], measure) for own in generations]
            of = [values for values in of if values and any(value is not None for value in values)]
            curves += [_by_class(f"added for generation {number + 1}", of, order)] if of else []
        if curves:
            name = f"added_{measure}_{slug(method)}_{slug(group)}"
            title = f"{measure.capitalize()} of the added pseudo-labels"
            caption = f"{measure.capitalize()} per class of the pseudo-labels added per generation; {method}, {group}."
            y_label = f"{measure} of the added pseudo-labels, %"
            sketches.append(_class_sketch(name, title, f"{method}; {group}", caption, y_label, runs, curves))
    return sketches


def confusion(runs: Sequence[Run], method: str, group: str) -> list[Sketch]:
    """The confusion matrix, summed over the runs, in percent of each true class."""
    matrices = [np.array(run.result.confusion.ema, float) for run in runs]
    names = runs[0].result.class_names
    if any(matrix.shape != (len(names), len(names)) for matrix in matrices):
        return []
    counts = np.sum(matrices, axis=0)
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    caption = f"Confusion matrix of the EMA weights, summed over the runs; {method}, {group}."
    return [
        Sketch(
            f"confusion_{slug(method)}_{slug(group)}", "Confusion matrix", f"{method}; {group}", caption,
            "predicted class", "true class", matrix=percent, color_label="images of the true class, %", x_names=names,
            y_names=names,
        )
    ]  # fmt: skip


def pseudo_labels(runs: Sequence[Run], rows: Sequence[Rows], method: str, group: str) -> list[Sketch]:
    """Precision and recall of each class's confident pseudo-labels over training, over all runs.

    Args:
      runs: of one setting and method.
      rows: of each run; runs whose rows do not count the correct pseudo-labels of each class are skipped.
    """
    counted = [of for of in rows if of and all(row.pseudo_labels and row.pseudo_labels.correct for row in of)]
    if not counted:
        return []
    length = min(map(len, counted))
    sums = {
        name: sum(np.array([getattr(row.pseudo_labels, name) for row in of[:length]], float).T for of in counted)
        for name in ("confident", "correct", "shown")
    }
    sketches = []
    for measure, whole, words in (
        ("precision", "confident", "the fraction of the confident pseudo-labels of a class that are correct"),
        ("recall", "shown", "the fraction of the class's images with a confident, correct pseudo-label"),
    ):
        percent = 100 * np.where(sums[whole] > 0, sums["correct"] / np.maximum(sums[whole], 1), np.nan)
        title = f"Pseudo-label {measure} of each class over training"
        caption = f"{measure.capitalize()} by class and epoch: {words}; blank: no such image. {method}, {group}."
        sketches.append(
            Sketch(
                f"pseudo_{measure}_by_class_{slug(method)}_{slug(group)}", title, f"{method}; {group}", caption,
                "epoch", "class", matrix=percent, color_label=f"{measure}, %", y_names=runs[0].result.class_names,
                x_step=1,
            )
        )  # fmt: skip
    return sketches
