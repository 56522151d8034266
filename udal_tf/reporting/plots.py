"""Pictures of a run, drawn from its rows alone: training curves, per-class recall, Appendix A.1's divergence."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from udal_tf.reporting.fonts import families
from udal_tf.run_records import ClassesByWeights, EpochRow
from udal_tf.storage import written_whole

# Okabe & Ito's palette: told apart in print and by colour-blind readers.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
SNAPSHOTS = 4
# Up to this many classes each gets a tick with its name.
MOST_NAMED_CLASSES = 20
LONGEST_NAME = 18


def _finish(figure: Figure, path: pathlib.Path) -> None:
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def _epochs(rows: Sequence[EpochRow]) -> list[int]:
    return [row.epoch for row in rows]


def literal(text: str) -> str:
    """A text that Matplotlib does not take for a formula, as class names with dollar signs would be."""
    return text.replace("$", r"\$")


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """A name as far as there is room for it, which is so many letters."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def name_classes(axis: Axis, class_names: Sequence[str]) -> None:
    """Gives each class a tick with its name, where they are not too many; long names below a panel stand askew."""
    if len(class_names) <= MOST_NAMED_CLASSES:
        askew = isinstance(axis, XAxis) and max(map(len, class_names)) > 3
        turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if askew else {}
        axis.set_ticks(
            range(len(class_names)),
            [literal(shortened(name)) for name in class_names],
            fontfamily=families("".join(class_names)),
            **turned,
        )


def _label_classes(axes: Axes, class_names: list[str]) -> None:
    axes.set_xlabel("class, from frequent to rare" if len(class_names) > MOST_NAMED_CLASSES else "class")
    name_classes(axes.xaxis, class_names)


def training_curves(rows: Sequence[EpochRow], path: pathlib.Path) -> None:
    """Losses, test accuracy, and the shares of confident and of correct pseudo-labels, over the epochs."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    losses, accuracy, pseudo = figure.subplots(1, 3)
    epochs = _epochs(rows)
    marker = "o" if len(rows) < 3 else None
    for name, colour, label in (
        ("loss", GREY, "total"),
        ("loss_labeled", BLUE, "labelled"),
        ("loss_unlabeled", ORANGE, "unlabelled"),
    ):
        losses.plot(epochs, [row.train[name] for row in rows], color=colour, label=label, marker=marker)
    losses.set_ylabel("loss, nats")
    losses.set_title("Training loss")
    for key, colour, style, label in (
        ("raw", BLUE, "-", "raw weights"),
        ("ema", ORANGE, "-", "EMA weights"),
        ("ema_la", ORANGE, ":", "EMA weights & LA (Inf)"),
    ):
        values = [100 * row.test.accuracy[key] for row in rows]
        accuracy.plot(epochs, values, style, color=colour, label=label, marker=marker)
    accuracy.set_ylabel("test accuracy, %")
    accuracy.set_title("Test accuracy")
    if "confident" in rows[0].train:
        confident = np.array([row.train["confident"] for row in rows])
        pseudo.plot(epochs, 100 * confident, color=BLUE, label="confident", marker=marker)
    if "confident_correct" in rows[0].train:
        correct = np.array([row.train["confident_correct"] for row in rows])
        pseudo.plot(epochs, 100 * correct, color=GREEN, label="confident and correct", marker=marker)
    pseudo.plot(epochs, [100 * row.train["alpha"] for row in rows], "--", color=GREY, label="100 · α", marker=marker)
    pseudo.set_ylabel("share of unlabelled pictures, %")
    pseudo.set_title("Pseudo-labels and α")
    pseudo.set_ylim(0, 105)
    for axes in (losses, accuracy, pseudo):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    _finish(figure, path)


def per_class_recall(
    scores: ClassesByWeights, class_names: list[str], labeled_counts: list[int], path: pathlib.Path
) -> None:
    """Recall of each class with the EMA weights, plain and with LA (Inf), over its number of labelled pictures.

    Classes stand from frequent to rare, whatever order their names are in.
    """
    order = np.argsort(-np.asarray(labeled_counts), kind="stable")
    class_names, labeled_counts = [class_names[c] for c in order], [labeled_counts[c] for c in order]
    figure = Figure(figsize=(max(7, min(14, 0.5 * len(class_names))), 5.5), layout="constrained")
    recall, counts = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    places = np.arange(len(class_names))
    for shift, key, colour, label in ((-0.2, "ema", BLUE, "EMA"), (0.2, "ema_la", ORANGE, "EMA & LA (Inf)")):
        values = [np.nan if scores[key][c] is None else 100 * scores[key][c] for c in order]
        recall.bar(places + shift, values, 0.4, color=colour, label=label)
    recall.set_ylabel("test recall, %")
    recall.set_ylim(0, 100)
    recall.set_title("Recall of each class", loc="left")
    recall.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.98), borderpad=0.2)
    counts.bar(places, labeled_counts, color=GREY)
    counts.set_ylabel("labelled pictures")
    _label_classes(counts, class_names)
    for axes in (recall, counts):
        axes.grid(alpha=0.3, axis="y")
        axes.set_axisbelow(True)
    _finish(figure, path)


def pseudo_label_divergence(
    rows: Sequence[EpochRow], p_data: list[float], class_names: list[str], path: pathlib.Path
) -> None:
    """Appendix A.1: the divergence of the pseudo-labels' moving average over training, and the distributions.

    Above, KL(q̂ ‖ p_data) and KL(q̂ ‖ p̃) by epoch; below, p_data, the target p̃ and p_model (q̂) at a few epochs, and
    what the unlabelled pictures are taken for where that is not p_data; the classes from frequent to rare.
    """
    order = np.argsort(-np.asarray(p_data), kind="stable")
    class_names = [class_names[c] for c in order]
    picked = np.unique(np.linspace(0, len(rows) - 1, SNAPSHOTS).round().astype(int))
    figure = Figure(figsize=(12, 7), layout="constrained")
    grid = figure.add_gridspec(2, len(picked))
    divergence = figure.add_subplot(grid[0, :])
    marker = "o" if len(rows) < 3 else None
    for name, colour, label in (
        ("kl_data", BLUE, r"KL($\hat{q}$ || $p_{data}$)"),
        ("kl_target", ORANGE, r"KL($\hat{q}$ || $\tilde{p}_{\alpha_t}$)"),
    ):
        values = [row.train[name] for row in rows]
        divergence.plot(_epochs(rows), values, color=colour, label=label, marker=marker)
    divergence.set_xlabel("epoch")
    divergence.set_ylabel("KL divergence, nats")
    divergence.xaxis.set_major_locator(MaxNLocator(integer=True))
    divergence.set_ylim(bottom=0)
    divergence.set_title("Divergence of the pseudo-labels' moving average")
    divergence.grid(alpha=0.3)
    divergence.legend(frameon=False)
    first = None
    for place, index in enumerate(picked):
        row = rows[index]
        axes = figure.add_subplot(grid[1, place], sharey=first)
        first = first or axes
        lines = [
            (p_data, BLUE, "-", r"$p_{data}$"),
            (row.p_target, ORANGE, "--", r"target $\tilde{p}_{\alpha_t}$"),
            (row.p_model, GREEN, "-", r"$p_{model}$ ($\hat{q}$)"),
        ]
        if row.p_unlabeled != p_data:
            lines.append((row.p_unlabeled, GREY, ":", r"$p_{unlabeled}$"))
        for values, colour, style, label in lines:
            dots = "." if len(values) <= MOST_NAMED_CLASSES else None
            axes.plot(np.asarray(values)[order], style, color=colour, label=label, marker=dots)
        axes.set_yscale("log")
        axes.set_title(f"epoch {row.epoch}, α {row.train['alpha']:.2f}")
        _label_classes(axes, class_names)
        axes.grid(alpha=0.3)
        if place == 0:
            axes.set_ylabel("share of class")
            axes.legend(frameon=False, fontsize="small")
        else:
            axes.tick_params(labelleft=False)
    _finish(figure, path)
