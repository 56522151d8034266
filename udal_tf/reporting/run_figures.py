"""What runs show beside the paper's figures 1 and 3: Appendix A.1, pseudo-labels, training time; `run_figures` for all.

All of one setting's runs with the recipe's α_min, k and length; curves are means over folds, bands one standard
deviation.
"""

import dataclasses
import functools
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator, MultipleLocator

from udal_tf.registry import BASE_LEARNERS, METHODS
from udal_tf.reporting import class_figures, paper
from udal_tf.reporting.class_figures import Rows
from udal_tf.reporting.drawing import Curve, Panel, Picture, common_limits
from udal_tf.reporting.figures import axis_text, figure_groups, grouped, mean_and_std, slug
from udal_tf.reporting.names import base_marker, base_name, name_of, style_of
from udal_tf.reporting.runs import LeftOut, Run
from udal_tf.run_records import EpochRow, RunDirError


def read_all_rows(runs: Sequence[Run]) -> tuple[dict[str, Rows], list[LeftOut]]:
    """The epochs' rows of each run by its label; a run whose rows cannot be read has none and is named."""
    rows: dict[str, Rows] = {}
    bad = []
    for run in runs:
        try:
            rows[run.label] = run.rows()
        except RunDirError as error:
            bad.append(LeftOut(run.label, f"its curves: {error}".replace(f"{run.folder}/", "")))
    return rows, bad


def _over_epochs(
    label: str,
    of: Sequence[Rows],
    value: Callable[[EpochRow], float | None],
    color: str = "",
    spread: bool = True,
) -> Curve | None:
    """A curve of `value` by epoch over the runs that have it at every epoch of the shortest."""
    whole = [[value(row) for row in rows] for rows in of if rows]
    series = [[float(v) for v in values if v is not None] for values in whole if None not in values]
    if not series:
        return None
    length = min(map(len, series))
    means, stds = zip(*(mean_and_std([values[i] for values in series]) for i in range(length)), strict=True)
    epochs = [row.epoch for row in max(of, key=len)[:length]]
    return Curve(label, epochs, means, stds if spread and any(stds) else (), marked=length < 3, color=color)


def _train(name: str, factor: float = 1.0) -> Callable[[EpochRow], float | None]:
    return lambda row: factor * row.train[name] if name in row.train else None


def _precision(row: EpochRow) -> float | None:
    confident, correct = row.train.get("confident"), row.train.get("confident_correct")
    if confident is None or correct is None:
        return None
    return 100 * correct / confident if confident > 0 else float("nan")


def _epoch_panel(title: str, y_label: str, curves: Sequence[Curve]) -> Panel:
    """Curves over epochs, or over shares of the training where one is longer, as CReST's generations are."""
    ends = [max(curve.x) for curve in curves]
    as_shares = min(ends) < max(ends)
    panel = Panel(title, "share of the training, %" if as_shares else "epoch", y_label)
    for curve, end in zip(curves, ends, strict=True):
        panel.draw(dataclasses.replace(curve, x=[100 * x / end for x in curve.x]) if as_shares else curve)
    panel.axes.xaxis.set_major_locator(MultipleLocator(20) if as_shares else MaxNLocator(integer=True))
    return panel


def divergence(methods: Mapping[str, Sequence[Rows]], group: str, folder: pathlib.Path) -> list[Picture]:
    """Appendix A.1: how far the pseudo-labels' moving average q̂ is from p_data, the target and the uniform one.

    A figure of UDAL's three divergences, as the paper has it, and one of every method's from p_data, on one scale.
    """
    names = (
        ("kl_data", r"KL($\hat{q}$ || $p_{data}$)"),
        ("kl_target", r"KL($\hat{q}$ || $\tilde{p}_{\alpha_t}$)"),
        ("kl_uniform", r"KL($\hat{q}$ || uniform)"),
    )
    of_udal = [of for method, of in methods.items() if method.endswith("w/ UDAL")]
    own = [curve for n, label in names for of in of_udal if (curve := _over_epochs(label, of, _train(n)))]
    all_methods = [
        curve
        for method, of in methods.items()
        if (curve := _over_epochs(method, of, _train("kl_data"), style_of(method)[0], spread=False))
    ]
    if not all_methods:
        return []
    low, high = common_limits(own + all_methods)
    pictures = []
    for curves, what, words, y_label in (
        (own, "UDAL", "of UDAL", "KL divergence, nats"),
        (all_methods, "methods", r"from p_data, of each method", r"KL($\hat{q}$ || $p_{data}$), nats"),
    ):
        if not curves:
            continue
        panel = _epoch_panel(group, y_label, curves)
        panel.axes.set_ylim(min(low, 0.0), high)
        panel.title = f"Figure A.1: divergence of the pseudo-labels {words}"
        caption = (
            f"Figure A.1: KL divergence of the moving average of the predictions on unlabelled pictures {words}, over "
            f"training; {group}. Both figures A.1 of a setting have one scale."
        )
        pictures.append(panel.save(f"figA1_{what}_{slug(group)}", caption, folder))
    return pictures


def pseudo_labels(methods: Mapping[str, Sequence[Rows]], group: str, folder: pathlib.Path) -> list[Picture]:
    """Precision and recall of the confident pseudo-labels over training, all classes together."""
    pictures = []
    for name, title, value in (
        ("precision", "the share of the confident ones that is right", _precision),
        (
            "recall",
            "the share of unlabelled pictures that have a confident, right one",
            _train("confident_correct", 100),
        ),
    ):
        found = [_over_epochs(label, of, value, style_of(label)[0], spread=False) for label, of in methods.items()]
        curves = [curve for curve in found if curve]
        if curves:
            panel = _epoch_panel(group, f"{name} of the pseudo-labels, %", curves)
            panel.title = f"Pseudo-labels: {name} over training"
            caption = (
                f"{name.capitalize()} of the pseudo-labels in training batches, {title}; {group}. Means over folds."
            )
            pictures.append(panel.save(f"pseudo_{name}_{slug(group)}", caption, folder))
    return pictures


def time_and_accuracy(methods: Mapping[str, Sequence[Run]], group: str, folder: pathlib.Path) -> list[Picture]:
    """Training time against accuracy, a point per method."""
    measure = paper.FIGURE_MEASURES["time"]
    panel = Panel(group, "training time, minutes", axis_text(measure))
    for name, of in methods.items():
        minutes = [run.result.seconds / 60 for run in of]
        mean, std = mean_and_std([run.figure(measure, paper.EMA) for run in of])
        panel.draw(
            Curve(
                name,
                [statistics.mean(minutes)],
                [mean],
                [std] if std else (),
                "none",
                color=style_of(name)[0],
                marker=base_marker(of[0].settings["base"]),
            )
        )
    panel.axes.set_xlim(left=0)
    words = paper.MEASURES[measure]
    panel.title = f"Training time against {words}"
    caption = (
        f"Training time, mean over folds, against {words}; {group}. Seconds as the runs recorded them, "
        "on whatever machine and beside whatever else ran there."
    )
    return [panel.save(f"time_{slug(group)}", caption, folder)]


def run_figures(
    runs: Sequence[Run], rows: Mapping[str, Rows], folder: pathlib.Path
) -> list[Callable[[], list[Picture]]]:
    """A task for `drawing.drawn` for every figure of this module and of `class_figures`, setting by setting,
    base learner by base learner.

    rows: of `read_all_rows`.
    """
    tasks: list[Callable[[], list[Picture]]] = []

    def add(draw: Callable[..., list[Picture]], *arguments: Any) -> None:
        tasks.append(functools.partial(draw, *arguments, folder))

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
                add(divergence, curves, beside)
                add(pseudo_labels, curves, beside)
            add(class_figures.recall, methods if trains_alone else {**lower, **methods}, beside)
            for name, same in methods.items():
                add(class_figures.confusion, same, name, group)
                add(class_figures.pseudo_labels, same, curves[name], name, group)
                if all(run.result.generations for run in same):
                    add(class_figures.added_labels, same, name, group)
        if len(everything) > 1:
            add(time_and_accuracy, everything, group)
    return tasks
