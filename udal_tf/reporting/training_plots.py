"""Figures of one run from its epochs' rows: training curves, per-class recall, Appendix A.1's divergence."""

import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from udal_tf.reporting import plotting
from udal_tf.reporting.names import COLORS
from udal_tf.reporting.plotting import GRAY, MOST_NAMED_CLASSES
from udal_tf.run_records import ClassesByWeights, EpochRow

BLUE, ORANGE, GREEN = COLORS[:3]
# Epochs whose class distributions are shown.
SNAPSHOTS = 4


def _over_epochs(axes: Axes, title: str, y_label: str, rows: Sequence[EpochRow], curves: Sequence[tuple]) -> None:
    """Draws curves, each as (label, color, style, its values by epoch)."""
    for label, color, style, values in curves:
        marker = "o" if len(rows) < 3 else None
        axes.plot([row.epoch for row in rows], values, style, color=color, label=label, marker=marker)
    axes.set(title=title, xlabel="epoch", ylabel=y_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()


def _label_classes(axes: Axes, class_names: list[str]) -> None:
    axes.set_xlabel("class, from frequent to rare" if len(class_names) > MOST_NAMED_CLASSES else "class")
    plotting.name_classes(axes.xaxis, class_names)


def training_curves(rows: Sequence[EpochRow], path: pathlib.Path) -> None:
    """Losses, test or validation accuracy, and the fractions of confident and of correct pseudo-labels, by epoch."""
    losses = (
        ("total", GRAY, "-", "loss"), ("labeled", BLUE, "-", "loss_labeled"),
        ("unlabeled", ORANGE, "-", "loss_unlabeled"),
    )  # fmt: skip
    weights = (
        ("raw weights", BLUE, "-", "raw"), ("EMA weights", ORANGE, "-", "ema"),
        ("EMA weights & LA (Inf)", ORANGE, ":", "ema_la"),
    )  # fmt: skip
    fractions = (
        ("confident", BLUE, "-", "confident"), ("confident and correct", GREEN, "-", "confident_correct"),
        ("100 · α", GRAY, "--", "alpha"),
    )  # fmt: skip
    scored_on = rows[0].scored_on
    panels = {
        ("Training loss", "loss, nats"): [(*one, [row.train[n] for row in rows]) for *one, n in losses],
        (f"{scored_on.capitalize()} accuracy", f"{scored_on} accuracy, %"): [
            (*one, [100 * row.scores.accuracy[n] for row in rows]) for *one, n in weights
        ],
        ("Pseudo-labels and α", "unlabeled images, %"): [
            (*one, [100 * row.train[n] for row in rows]) for *one, n in fractions if n in rows[0].train
        ],
    }
    with plotting.drawing(path, 13, 4.6) as figure:
        for part, ((title, y_label), curves) in zip(
            plotting.parts(figure, 1, len(panels)), panels.items(), strict=True
        ):
            axes = part.subplots()
            _over_epochs(axes, title, y_label, rows, curves)
            plotting.legend_below(part, 2)
        axes.set_ylim(0, 105)


def per_class_recall(
    scores: ClassesByWeights, class_names: list[str], labeled_counts: list[int], path: pathlib.Path
) -> None:
    """Recall of each class with the EMA weights, without and with LA (Inf), above its number of labeled images.

    Classes are sorted from frequent to rare.
    """
    order = np.argsort(-np.asarray(labeled_counts), kind="stable")
    class_names, labeled_counts = [class_names[c] for c in order], [labeled_counts[c] for c in order]
    places = np.arange(len(class_names))
    with plotting.drawing(path, max(7, min(14, 0.5 * len(class_names))), 5.5) as figure:
        recall, counts = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
        for shift, key, color, label in ((-0.2, "ema", BLUE, "EMA"), (0.2, "ema_la", ORANGE, "EMA & LA (Inf)")):
            values = [np.nan if scores[key][c] is None else 100 * scores[key][c] for c in order]
            recall.bar(places + shift, values, 0.4, color=color, label=label)
        recall.set(ylabel="test recall, %", ylim=(0, 100))
        recall.set_title("Recall of each class", loc="left")
        counts.bar(places, labeled_counts, color=GRAY)
        counts.set_ylabel("labeled images")
        _label_classes(counts, class_names)
        for axes in (recall, counts):
            axes.grid(axis="y")
        plotting.legend_below(figure, 2)


def pseudo_label_divergence(
    rows: Sequence[EpochRow], p_data: list[float], class_names: list[str], path: pathlib.Path
) -> None:
    """Appendix A.1: the KL divergence of the pseudo-labels' moving average over training, and the distributions.

    Above, KL(q̂ ‖ p_data) and KL(q̂ ‖ p̃) by epoch; below, p_data, the target p̃ and p_model (q̂) at SNAPSHOTS epochs,
    and p_unlabeled if it differs from p_data; classes are sorted from frequent to rare.
    """
    order = np.argsort(-np.asarray(p_data), kind="stable")
    names = [class_names[c] for c in order]
    picked = np.unique(np.linspace(0, len(rows) - 1, SNAPSHOTS).round().astype(int))
    divergences = (
        (r"KL($\hat{q}$ || $p_{data}$)", BLUE, "-", [row.train["kl_data"] for row in rows]),
        (r"KL($\hat{q}$ || $\tilde{p}_{\alpha_t}$)", ORANGE, "-", [row.train["kl_target"] for row in rows]),
    )
    with plotting.drawing(path, 12, 7.5) as figure:
        above, below = plotting.parts(figure, 2, 1)
        axes = above.subplots()
        title = "KL divergence of the pseudo-labels' moving average"
        _over_epochs(axes, title, "KL divergence, nats", rows, divergences)
        axes.set_ylim(bottom=0)
        plotting.legend_below(above, 2)
        snapshots = below.subplots(1, len(picked), sharey=True, squeeze=False)[0]
        for axes, row in zip(snapshots, (rows[index] for index in picked), strict=True):
            lines = [
                (p_data, BLUE, "-", r"$p_{data}$"),
                (row.p_target, ORANGE, "--", r"target $\tilde{p}_{\alpha_t}$"),
                (row.p_model, GREEN, "-", r"$p_{model}$ ($\hat{q}$)"),
            ]
            lines += [(row.p_unlabeled, GRAY, ":", r"$p_{unlabeled}$")] if row.p_unlabeled != p_data else []
            for values, color, style, label in lines:
                dots = "." if len(values) <= MOST_NAMED_CLASSES else None
                axes.plot(np.asarray(values)[order], style, color=color, label=label, marker=dots)
            axes.set(yscale="log", title=f"epoch {row.epoch}, α = {row.train['alpha']:.2f}")
            _label_classes(axes, names)
            axes.grid()
        snapshots[0].set_ylabel("class probability")
        plotting.legend_below(below, 4)
