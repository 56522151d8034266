"""Figures beyond the paper's Figures 1 and 3: Appendix A.1, pseudo-labels, training time; `run_figures` makes all.

They show the runs of one setting with the recipe's α_min, k and length; curves are means over runs, bands one
standard deviation.
"""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence

from udal_tf.registry import BASE_LEARNERS, METHODS
from udal_tf.reporting import class_figures, paper
from udal_tf.reporting.class_figures import Rows
from udal_tf.reporting.figures import axis_text, figure_groups, grouped, over, slug
from udal_tf.reporting.names import base_marker, base_name, name_of, style_of
from udal_tf.reporting.plotting import Curve, Sketch, common_limits
from udal_tf.reporting.runs import LeftOut, Run
from udal_tf.run_records import EpochRow, RunDirError


def read_all_rows(runs: Sequence[Run]) -> tuple[dict[str, Rows], list[LeftOut]]:
    """The epochs' rows of each run by its label, and the runs whose rows cannot be read."""
    rows: dict[str, Rows] = {}
    bad = []
    for run in runs:
        try:
            rows[run.label] = run.rows()
        except RunDirError as error:
            bad.append(LeftOut(run.label, f"no curves: {error}".replace(f"{run.folder}/", "")))
    return rows, bad


def _over_epochs(
    label: str, of: Sequence[Rows], value: Callable[[EpochRow], float | None], color: str = "", spread: bool = True
) -> list[Curve]:
    """A curve of `value` by epoch, over the runs that have it at every epoch; empty if no run has."""
    whole = [[(row.epoch, value(row)) for row in rows] for rows in of if rows]
    series = [[(x, y) for x, y in points if y is not None] for points in whole if all(y is not None for _, y in points)]
    if not series:
        return []
    length = min(map(len, series))
    curve = over(label, [point for points in series for point in points[:length]], marked=length < 3, color=color)
    return [curve if spread else dataclasses.replace(curve, spread=())]


def _train(name: str, factor: float = 1.0) -> Callable[[EpochRow], float | None]:
    return lambda row: factor * row.train[name] if name in row.train else None


def _precision(row: EpochRow) -> float | None:
    confident, correct = row.train.get("confident"), row.train.get("confident_correct")
    if confident is None or correct is None:
        return None
    return 100 * correct / confident if confident > 0 else float("nan")


def epoch_sketch(name: str, title: str, group: str, caption: str, y_label: str, curves: Sequence[Curve]) -> Sketch:
    """Curves over epochs, or over training progress if their lengths differ, as with CReST's generations."""
    ends = [max(curve.x) for curve in curves]
    name = f"{name}_{slug(group)}"
    if min(ends) == max(ends):
        return Sketch(name, title, group, caption, "epoch", y_label, curves, x_step=1)
    progress = [
        dataclasses.replace(curve, x=[100 * x / end for x in curve.x]) for curve, end in zip(curves, ends, strict=True)
    ]
    return Sketch(name, title, group, caption, "training progress, %", y_label, progress, x_step=20)


def divergence(methods: Mapping[str, Sequence[Rows]], group: str) -> list[Sketch]:
    """Appendix A.1: KL divergence of the pseudo-labels' moving average q̂ from p_data, the target and uniform.

    One figure shows all three for UDAL, as in the paper, another that from p_data for every method, on the same scale.
    """
    names = (
        ("kl_data", r"from the labeled images, KL($\hat{q}$ || $p_{data}$)"),
        ("kl_target", r"from the target, KL($\hat{q}$ || $\tilde{p}_{\alpha_t}$)"),
        ("kl_uniform", r"from equal classes, KL($\hat{q}$ || uniform)"),
    )
    udal = [of for method, of in methods.items() if method.endswith("w/ UDAL")]
    own = [curve for name, label in names for of in udal for curve in _over_epochs(label, of, _train(name))]
    every = [
        curve
        for method, of in methods.items()
        for curve in _over_epochs(method, of, _train("kl_data"), style_of(method)[0], spread=False)
    ]
    if not every:
        return []
    low, high = common_limits(own + every)
    sketches = []
    for curves, what, others, words, y_label in (
        (own, "UDAL", "target classes", "of UDAL", "KL divergence, nats"),
        (every, "methods", "labeled classes", "from p_data, of each method", "KL divergence, nats"),
    ):
        if curves:
            caption = (
                f"Figure A.1: KL divergence of the moving average of the predictions on unlabeled images {words}, over "
                f"training; {group}. Both figures A.1 of a setting have the same scale."
            )
            title = f"Figure A.1: divergence from the {others}"
            sketch = epoch_sketch(f"figA1_{what}", title, group, caption, y_label, curves)
            sketches.append(dataclasses.replace(sketch, y_limits=(min(low, 0.0), high)))
    return sketches


def pseudo_labels(methods: Mapping[str, Sequence[Rows]], group: str) -> list[Sketch]:
    """Precision and recall of the confident pseudo-labels over training, over all classes."""
    sketches = []
    recall = _train("confident_correct", 100)
    for name, words, value in (
        ("precision", "the fraction of the confident ones that are correct", _precision),
        ("recall", "the fraction of unlabeled images with a confident, correct one", recall),
    ):
        curves = [
            curve
            for method, of in methods.items()
            for curve in _over_epochs(method, of, value, style_of(method)[0], spread=False)
        ]
        if curves:
            caption = (
                f"{name.capitalize()} of the pseudo-labels in training batches, {words}; {group}. Means over runs."
            )
            title, y_label = f"Pseudo-label {name} over training", f"pseudo-label {name}, %"
            sketches.append(epoch_sketch(f"pseudo_{name}", title, group, caption, y_label, curves))
    return sketches


def time_and_accuracy(methods: Mapping[str, Sequence[Run]], group: str) -> list[Sketch]:
    """Accuracy against training time, a point per method."""
    measure = paper.FIGURE_MEASURES["time"]
    curves = []
    for name, of in methods.items():
        minutes = statistics.mean(run.result.seconds / 60 for run in of)
        points = [(minutes, run.figure(measure, paper.EMA)) for run in of]
        marker = base_marker(of[0].settings["base"])
        curves.append(over(name, points, style="none", color=style_of(name)[0], marker=marker))
    title = f"{paper.MEASURES[measure].capitalize()} against training time"
    caption = (
        f"{title}, mean over runs; {group}. Times are as recorded by the runs, which may have used different or "
        "shared machines."
    )
    words = ("training time, minutes", axis_text(measure))
    return [Sketch(f"time_{slug(group)}", title, group, caption, *words, curves, x_from_zero=True)]


def run_figures(runs: Sequence[Run], rows: Mapping[str, Rows]) -> list[Sketch]:
    """Every figure of this module and of `class_figures`, by setting and base learner.

    Args:
      runs: finished ones.
      rows: of `read_all_rows`.
    """
    sketches = []
    order = list(METHODS)
    for group, of in figure_groups(runs).items():
        of = sorted(of, key=lambda run: (run.settings["base"], order.index(run.settings["method"]), run.fold))
        everything = {name_of(*pair): same for pair, same in grouped(of, lambda run: run.pair).items()}
        lower = {name: same for name, same in everything.items() if name == base_name("supervised")}
        for base, same_base in grouped(of, lambda run: run.settings["base"]).items():
            methods = {name_of(*pair): same for pair, same in grouped(same_base, lambda run: run.pair).items()}
            beside = f"{base_name(base)}; {group}"
            curves = {name: [rows.get(run.label, ()) for run in same] for name, same in methods.items()}
            trains_alone = not BASE_LEARNERS[base].unlabeled_views
            if not trains_alone:
                sketches += divergence(curves, beside) + pseudo_labels(curves, beside)
            sketches += class_figures.recall(methods if trains_alone else {**lower, **methods}, beside)
            for name, same in methods.items():
                sketches += class_figures.confusion(same, name, group)
                sketches += class_figures.pseudo_labels(same, curves[name], name, group)
                if all(run.result.generations for run in same):
                    sketches += class_figures.added_labels(same, name, group)
        if len(everything) > 1:
            sketches += time_and_accuracy(everything, group)
    return sketches
