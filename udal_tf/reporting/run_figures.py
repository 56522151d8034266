"""What runs show beside the paper's figures 1 and 3: Appendix A.1, recalls, pseudo-labels, confusion, time.

All of one setting's runs with the recipe's α_min, k and length; curves are means over folds, bands one standard
deviation. The file is long because each kind of picture is a function of its own.
"""

import dataclasses
import functools
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from udal_tf.reporting import paper
from udal_tf.reporting.drawing import Curve, Panel, Picture, common_limits
from udal_tf.reporting.figures import ACCURACY, VARIED, grouped, mean_and_std, setting_groups, slug
from udal_tf.reporting.runs import BadRun, LeftOut, Run
from udal_tf.reporting.tables import BASES, METHODS, name_of

Rows = Sequence[Mapping[str, Any]]
# Up to this many classes each gets a tick with its name, and a confusion matrix its numbers.
MOST_NAMED_CLASSES = 20
BASE_MARKERS = {"supervised": "*", "fixmatch": "o", "mixmatch": "s", "remixmatch": "^"}


def read_all_rows(runs: Sequence[Run]) -> tuple[dict[str, Rows], list[LeftOut]]:
    """The epochs' rows of each run by its label; a run whose rows cannot be read has none and is named."""
    rows, bad = {}, []
    for run in runs:
        try:
            rows[run.label] = run.rows()
        except BadRun as error:
            bad.append(LeftOut(run.label, f"its curves: {error}"))
    return rows, bad


def _place(name: str) -> int:
    """A method's colour, the same in every figure; training on the labelled pictures alone is grey."""
    methods = [method for method in METHODS if name.endswith(f"w/ {METHODS[method]}") and METHODS[method]]
    return list(METHODS).index(methods[0]) if methods else -1 if name == BASES["supervised"] else 0


def _over_epochs(
    label: str,
    of: Sequence[Rows],
    value: Callable[[Mapping[str, Any]], float | None],
    place: int | None = None,
    spread: bool = True,
) -> Curve | None:
    """A curve of `value` by epoch over the runs that have it at every epoch of the shortest."""
    series = [[value(row) for row in rows] for rows in of if rows]
    series = [values for values in series if values and None not in values]
    if not series:
        return None
    length = min(map(len, series))
    means, stds = zip(*(mean_and_std([values[i] for values in series]) for i in range(length)), strict=True)
    epochs = [row["epoch"] for row in max(of, key=len)[:length]]
    return Curve(label, epochs, means, stds if spread and any(stds) else (), marked=length < 3, place=place)


def _train(name: str, factor: float = 1.0) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda row: factor * row["train"][name] if row["train"].get(name) is not None else None


def _precision(row: Mapping[str, Any]) -> float | None:
    confident, correct = row["train"].get("confident"), row["train"].get("confident_correct")
    if confident is None or correct is None:
        return None
    return 100 * correct / confident if confident > 0 else float("nan")


def _epoch_panel(title: str, y_label: str, curves: Sequence[Curve]) -> Panel:
    panel = Panel(title, "epoch", y_label)
    for curve in curves:
        panel.draw(curve)
    panel.axes.xaxis.set_major_locator(MaxNLocator(integer=True))
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
    own = [
        _over_epochs(label, of, _train(n)) for n, label in names for m, of in methods.items() if m.endswith("w/ UDAL")
    ]
    all_methods = [_over_epochs(m, of, _train("kl_data"), _place(m), spread=False) for m, of in methods.items()]
    own, all_methods = ([curve for curve in curves if curve] for curves in (own, all_methods))
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
        found = [_over_epochs(label, of, value, _place(label), spread=False) for label, of in methods.items()]
        curves = [curve for curve in found if curve]
        if curves:
            panel = _epoch_panel(group, f"{name} of the pseudo-labels, %", curves)
            panel.title = f"Pseudo-labels: {name} over training"
            caption = (
                f"{name.capitalize()} of the pseudo-labels in training batches, {title}; {group}. Means over folds."
            )
            pictures.append(panel.save(f"pseudo_{name}_{slug(group)}", caption, folder))
    return pictures


def _class_axis(panel: Panel, run: Run) -> None:
    names = run.result["class_names"]
    if len(names) <= MOST_NAMED_CLASSES:
        panel.axes.set_xticks(range(len(names)), names, rotation=45 if max(map(len, names)) > 3 else 0)


def _by_class(label: str, of: Sequence[Sequence[float | None]]) -> Curve:
    columns = [[value for value in values if value is not None] for values in zip(*of, strict=True)]
    points = [(c, *mean_and_std([100 * v for v in values])) for c, values in enumerate(columns) if values]
    x, means, stds = zip(*points, strict=True) if points else ((), (), ())
    return Curve(label, x, means, stds if any(stds) else ())


def recall(methods: Mapping[str, Sequence[Run]], group: str, folder: pathlib.Path) -> list[Picture]:
    """Test recall of each class with the averaged weights."""
    panel = Panel(group, "class, from frequent to rare", "test recall, %")
    for name, of in methods.items():
        curve = _by_class(name, [run.result["per_class_recall"][paper.EMA] for run in of])
        panel.draw(dataclasses.replace(curve, spread=(), place=_place(name), style="--" if _place(name) < 0 else "-"))
    panel.axes.set_ylim(-3, 103)
    _class_axis(panel, next(iter(methods.values()))[0])
    panel.title = "Recall of each class"
    caption = f"Test recall of each class with the averaged weights; {group}. Means over folds."
    return [panel.save(f"recall_{slug(group)}", caption, folder)]


def added_labels(runs: Sequence[Run], method: str, group: str, folder: pathlib.Path) -> list[Picture]:
    """What CReST's generations added to the labelled set: precision and recall per class, a curve per generation."""
    pictures = []
    for measure in ("precision", "recall"):
        panel = Panel(f"{method}; {group}", "class, from frequent to rare", f"{measure} of the added labels, %")
        count = max(len(run.result["generations"]) for run in runs)
        for generation in range(1, count):
            of = [run.result["generations"][generation].get(measure) for run in runs]
            of = [values for values in of if values and any(value is not None for value in values)]
            if of:
                panel.draw(_by_class(f"into generation {generation + 1}", of))
        if not panel.axes.get_legend_handles_labels()[0]:
            continue
        panel.axes.set_ylim(-3, 103)
        _class_axis(panel, runs[0])
        panel.title = f"{method}: {measure} of the labels that each generation adds"
        caption = f"{measure.capitalize()} per class of the pictures that join each generation; {method}, {group}."
        pictures.append(panel.save(f"added_{measure}_{slug(method)}_{slug(group)}", caption, folder))
    return pictures


def confusion(runs: Sequence[Run], method: str, group: str, folder: pathlib.Path) -> list[Picture]:
    """The confusion matrix, over all folds, of runs whose result holds "confusion": score -> [C][C] counts."""
    found = [run.result.get("confusion") for run in runs]
    matrices = [np.array(c[paper.EMA], float) for c in found if isinstance(c, dict) and paper.EMA in c]
    size = len(runs[0].result["class_names"])
    if not matrices or any(matrix.shape != (size, size) for matrix in matrices):
        return []
    shares = sum(matrices) / np.maximum(sum(matrices).sum(axis=1, keepdims=True), 1)
    panel = Panel(f"{method}; {group}", "predicted class", "true class")
    panel.axes.grid(False)
    panel.axes.set_aspect("auto")
    image = panel.axes.imshow(100 * shares, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    panel.figure.colorbar(image, ax=panel.axes, label="share of the true class, %", fraction=0.05, pad=0.02)
    if size <= MOST_NAMED_CLASSES:
        names = runs[0].result["class_names"]
        panel.axes.set_xticks(range(size), names, rotation=45 if max(map(len, names)) > 3 else 0)
        panel.axes.set_yticks(range(size), names)
    panel.title = f"Confusion matrix, {method}"
    caption = f"Confusion matrix of the averaged weights, {len(matrices)} folds together; {method}, {group}."
    return [panel.save(f"confusion_{slug(method)}_{slug(group)}", caption, folder)]


def time_and_accuracy(methods: Mapping[str, Sequence[Run]], group: str, folder: pathlib.Path) -> list[Picture]:
    """Training time against accuracy, a point per method."""
    panel = Panel(group, "training time, minutes", ACCURACY)
    for name, of in methods.items():
        minutes = [run.result["seconds"] / 60 for run in of]
        mean, std = mean_and_std([run.accuracy(paper.EMA) for run in of])
        panel.draw(
            Curve(
                name,
                [statistics.mean(minutes)],
                [mean],
                [std] if std else (),
                "none",
                place=_place(name),
                marker=BASE_MARKERS[of[0].settings["base"]],
            )
        )
    panel.axes.set_xlim(left=0)
    panel.title = "Training time against accuracy"
    caption = (
        f"Training time, mean over folds, against accuracy; {group}. Seconds as the runs recorded them, "
        "on whatever machine and beside whatever else ran there."
    )
    return [panel.save(f"time_{slug(group)}", caption, folder)]


def run_figures(
    runs: Sequence[Run], rows: Mapping[str, Rows], folder: pathlib.Path
) -> list[Callable[[], list[Picture]]]:
    """A task for `drawing.drawn` for every figure of this module, setting by setting and base learner by base learner.

    rows: of `read_all_rows`.
    """
    tasks = []

    def add(draw: Callable[..., list[Picture]], *arguments: Any) -> None:
        tasks.append(functools.partial(draw, *arguments, folder))

    order = list(METHODS)
    plain = [run for run in runs if not set(run.deviations) & set(VARIED)]
    for group, of in setting_groups(plain).items():
        of = sorted(of, key=lambda run: (run.settings["base"], order.index(run.settings["method"]), run.fold))
        everything = {name_of(*pair): same for pair, same in grouped(of, lambda run: run.pair).items()}
        lower = {name: same for name, same in everything.items() if name == BASES["supervised"]}
        for base, same_base in grouped(of, lambda run: run.settings["base"]).items():
            methods = {name_of(*pair): same for pair, same in grouped(same_base, lambda run: run.pair).items()}
            beside = f"{BASES[base]}; {group}"
            curves = {name: [rows.get(run.label, ()) for run in same] for name, same in methods.items()}
            if base != "supervised":
                add(divergence, curves, beside)
                add(pseudo_labels, curves, beside)
            add(recall, methods if base == "supervised" else {**lower, **methods}, beside)
            for name, same in methods.items():
                add(confusion, same, name, group)
                if all(run.result.get("generations") for run in same):
                    add(added_labels, same, name, group)
        if len(everything) > 1:
            add(time_and_accuracy, everything, group)
    return tasks
