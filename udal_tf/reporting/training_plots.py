"""Figures of one run from its epochs' rows: training curves, per-class recall, Appendix A.1's divergence."""

import math
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
        marker = "o" if np.isfinite(values).sum() < 3 else None
        axes.plot([row.epoch for row in rows], values, style, color=color, label=label, marker=marker)
    axes.set(xlabel="epoch", ylabel=y_label)
    axes.set_title(title, loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()


def _label_classes(axes: Axes, class_names: list[str]) -> None:
    axes.set_xlabel("class, from frequent to rare")
    plotting.name_classes(axes.xaxis, class_names)


def training_curves(rows: Sequence[EpochRow], path: pathlib.Path) -> None:
    """Losses, accuracy and balanced accuracy on the test or validation images, and pseudo-labels, by epoch.

    Below the pseudo-labels, in a small panel of its own, is α, the strength of alignment: it is no percentage.
    """
    losses = (
        ("total", GRAY, "-", "loss"), ("labeled images", BLUE, "-", "loss_labeled"),
        ("unlabeled images", ORANGE, "-", "loss_unlabeled"),
    )  # fmt: skip
    weights = (
        ("raw weights", BLUE, "-", "raw"), ("EMA weights", ORANGE, "-", "ema"),
        ("EMA weights & LA (Inf)", ORANGE, ":", "ema_la"),
    )  # fmt: skip
    fractions = (("confident", BLUE, "-", "confident"), ("confident and correct", GREEN, "-", "confident_correct"))
    scored_on = rows[0].scored_on
    scores = {
        f"{scored_on.capitalize()} {measure.replace('_', ' ')}": [
            (*one, [100 * getattr(row.scores, measure)[name] for row in rows]) for *one, name in weights
        ]
        for measure in ("accuracy", "balanced_accuracy")
    }
    alpha = [("α", GRAY, "-", [row.train["alpha"] for row in rows])]
    # A stage that trains the head alone has no pseudo-labels.
    pseudo_labels = [
        (*one, [100 * row.train.get(n, math.nan) for row in rows])
        for *one, n in fractions
        if any(n in row.train for row in rows)
    ]
    with plotting.drawing(path, 10, 8.4) as figure:
        first, *middle, last = plotting.parts(figure, 2, 2)
        _over_epochs(
            first.subplots(),
            "Training loss",
            "loss, nats",
            rows,
            [(*o, [r.train[n] for r in rows]) for *o, n in losses],
        )
        limits = _score_limits([values for curves in scores.values() for *_, values in curves])
        for part, (title, curves) in zip(middle, scores.items(), strict=True):
            axes = part.subplots()
            _over_epochs(axes, title, "%", rows, curves)
            axes.set_ylim(limits)
        heights = (2, 1) if pseudo_labels else (1,)
        panels = np.atleast_1d(last.subplots(len(heights), 1, sharex=True, height_ratios=heights))
        if pseudo_labels:
            _over_epochs(panels[0], "Pseudo-labels", "unlabeled images, %", rows, pseudo_labels)
            panels[0].set(ylim=(0, 105), xlabel="")
        _over_epochs(panels[-1], "Strength of alignment", "α (1: none)", rows, alpha)
        panels[-1].set_ylim(-0.05, 1.05)
        for part in (first, *middle, last):
            plotting.legend_below(part, 2)


def _score_limits(series: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Common limits of both scores in percent, so that they compare."""
    values = np.concatenate(series)
    pad = max(2.0, 0.05 * float(np.ptp(values)))
    return max(0.0, float(values.min()) - pad), min(100.0 + pad, float(values.max()) + pad)


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
        for shift, key, color, label in (
            (-0.2, "ema", BLUE, "EMA weights"),
            (0.2, "ema_la", ORANGE, "EMA weights & LA (Inf)"),
        ):
            values = [np.nan if scores[key][c] is None else 100 * scores[key][c] for c in order]
            recall.bar(places + shift, values, 0.4, color=color, label=label)
        recall.set(ylabel="test recall, %", ylim=(0, 100))
        recall.set_title("Recall of each class on the test images", loc="left")
        counts.bar(places, labeled_counts, color=GRAY)
        counts.set_ylabel("labeled\nimages")
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
        (r"from the labeled images, KL($\hat{q}$ || $p_{data}$)", BLUE, "-", [row.train["kl_data"] for row in rows]),
        (
            r"from the alignment target, KL($\hat{q}$ || $\tilde{p}_{\alpha_t}$)",
            ORANGE,
            "-",
            [row.train["kl_target"] for row in rows],
        ),
    )
    with plotting.drawing(path, 12, 9) as figure:
        above, below = plotting.parts(figure, 2, 1, heights=(2, 3))
        below.suptitle("Class distributions", fontsize="large", x=0.01, ha="left")
        axes = above.subplots()
        title = "How far the predicted class distribution of the unlabeled images is from two others"
        _over_epochs(axes, title, "KL divergence, nats", rows, divergences)
        axes.set_ylim(bottom=0)
        plotting.legend_below(above, 2)
        snapshots = below.subplots(1, len(picked), sharey=True, squeeze=False)[0]
        for axes, row in zip(snapshots, (rows[index] for index in picked), strict=True):
            lines = [
                (p_data, BLUE, "-", r"labeled images, $p_{data}$"),
                (row.p_target, ORANGE, "--", r"alignment target, $\tilde{p}_{\alpha_t}$"),
                (row.p_model, GREEN, "-", r"predicted, $\hat{q}$"),
            ]
            lines += (
                [(row.p_unlabeled, GRAY, ":", r"unlabeled images, $p_{unlabeled}$")]
                if row.p_unlabeled != p_data
                else []
            )
            for values, color, style, label in lines:
                dots = "." if len(values) <= MOST_NAMED_CLASSES else None
                axes.plot(np.asarray(values)[order], style, color=color, label=label, marker=dots)
            axes.set(yscale="log", title=f"epoch {row.epoch}")
            _label_classes(axes, names)
            axes.grid()
        snapshots[0].set_ylabel("class probability")
        plotting.legend_below(below, 4)
