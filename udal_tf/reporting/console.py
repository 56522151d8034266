"""What a run prints: its settings, its data, a line per epoch, the table at the end."""

from collections.abc import Mapping, Sequence
from typing import Any

from udal_tf.reporting.terminal import table_text
from udal_tf.run_records import ByWeights, EpochRow, Result

SCORE_COLUMNS = {"raw": "raw", "ema": "EMA", "raw_la": "raw + LA", "ema_la": "EMA + LA"}
# DARP's class totals, met to this share of all unlabeled images, count as met.
RESIDUAL_WORTH_SAYING = 1e-3
# Classes that a line names before it only counts.
MOST_NAMED = 20
# Pseudo-labels are looked at in words after this epoch, and after every so many.
FIRST_LOOK, LOOK_EVERY = 3, 10
# A class crowds the pseudo-labels with so many times its share of the target, and so much more of all than that.
CROWDED, CROWDED_BY = 2.0, 0.1
# Of a class with so many confident pseudo-labels fewer right ones than this are worth saying.
ENOUGH_TO_JUDGE, HALF = 20, 0.5


def settings_text(config: dict[str, dict[str, Any]]) -> str:
    """The resolved settings, a line per section."""
    lines = ["Settings:"]
    for section, values in config.items():
        shown = "  ".join(f"{k}={','.join(v) if isinstance(v, list) else v}" for k, v in values.items() if v != "")
        lines.append(f"  {section:<15} {shown}")
    return "\n".join(lines)


def provenance_text(provenance: Mapping[str, Any], class_names: Sequence[str] = ()) -> str:
    """Where the data came from and what the protocol made of it: a line per fact, and a table of counts per class."""
    few = len(class_names) <= MOST_NAMED
    of_class = {
        name: value
        for name, value in provenance.items()
        if few and name.endswith("_counts") and len(value) == len(class_names)
    }
    # Of a pool with images of unknown class only the others can be counted by class.
    unknown = provenance.get("unlabeled_of_unknown_class")
    titles = {"unlabeled_counts": "unlabeled_counts, of known class"} if unknown else {}
    lines = [f"  {titles.get(name, name)}: {value}" for name, value in provenance.items() if name not in of_class]
    if of_class:
        counts = zip(*of_class.values(), strict=True)
        rows = [[f"  {name}", *map(str, row)] for name, row in zip(class_names, counts, strict=True)]
        lines.append(table_text(["  class", *(titles.get(name, name) for name in of_class)], rows))
    return "\n".join(["Data:", *lines])


def metrics_text(metrics: Mapping[str, float], images_per_second: float) -> str:
    """What the last steps gave, short enough to stand beside a progress bar."""
    confident = f" confident={100 * metrics['confident']:.0f}%" if "confident" in metrics else ""
    return f"loss={metrics['loss']:.3f} α={metrics['alpha']:.2f}{confident} {images_per_second:,.0f} img/s"


def epoch_text(row: EpochRow, epochs: int, class_names: Sequence[str] = ()) -> str:
    """One line for an epoch's row, and now and then lines about its pseudo-labels."""
    train, test, balanced = row.train, row.test.accuracy, row.test.balanced_accuracy
    parts = [f"epoch {row.epoch:>{len(str(epochs))}}/{epochs}", f"loss {train['loss']:.4f}"]
    if "confident" in train:
        parts.append(f"confident {100 * train['confident']:5.1f} %")
    parts.append(f"α {train['alpha']:.3f}")
    if train.get("darp_residual", 0.0) > RESIDUAL_WORTH_SAYING:
        parts.append(f"DARP misses a class's total by {100 * train['darp_residual']:.1f} % of the images")
    scores = (f"{title} {100 * test[key]:.1f} ({100 * balanced[key]:.1f})" for key, title in SCORE_COLUMNS.items())
    parts.append("test accuracy (balanced) " + ", ".join(scores))
    lines = ["  ".join(parts)]
    counts = row.pseudo_labels
    if counts and (row.epoch == FIRST_LOOK or row.epoch % LOOK_EVERY == 0):
        lines += pseudo_label_warnings(counts.confident, counts.correct, row.p_target, class_names, row.epoch)
    return "\n  ".join(lines)


def pseudo_label_warnings(
    confident: Sequence[float],
    correct: Sequence[float] | None,
    p_target: Sequence[float],
    class_names: Sequence[str],
    epoch: int,
) -> list[str]:
    """What is wrong with an epoch's confident pseudo-labels, in plain words; empty where nothing is.

    Args:
      confident: how many there were of each class. correct: how many of these were right; None where nobody knows.
      p_target: the share of each class that the method aims at. class_names: all [C].

    Example: confident [90, 10, 0] with p_target [0.4, 0.3, 0.3] says that the third class has none, and that the first
      has 90 % of them.
    """
    total = sum(confident)
    if not total:
        return [f"no pseudo-label of any class is confident yet after epoch {epoch}"]
    warnings = []
    missing = [name for name, count in zip(class_names, confident, strict=True) if not count]
    if missing:
        warnings.append(f"no pseudo-label of class {_named(missing)} is confident yet after epoch {epoch}")
    for name, count, target in zip(class_names, confident, p_target, strict=True):
        share = count / total
        if share > CROWDED * target and share > target + CROWDED_BY:
            warnings.append(
                f"class {name} has {100 * share:.0f} % of the confident pseudo-labels, and {100 * target:.0f} % of "
                "what is aimed at"
            )
    if correct is not None:
        for name, count, right in zip(class_names, confident, correct, strict=True):
            if count >= ENOUGH_TO_JUDGE and right < HALF * count:
                right_share = f"{100 * right / count:.0f} %"
                warnings.append(f"of class {name}'s {count:.0f} confident pseudo-labels {right_share} are right")
    return warnings


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def result_text(result: Result) -> str:
    """The table at the end: accuracy and balanced accuracy, then the recall of each class, in per cent."""

    def row(name: str, scores: Mapping[str, float | None] | ByWeights) -> list[str]:
        return [name, *(_percent(scores[key]) for key in SCORE_COLUMNS)]

    rows = [row("accuracy", result.accuracy), row("balanced accuracy", result.balanced_accuracy)]
    for c, name in enumerate(result.class_names):
        rows.append(row(f"recall of {name}", {key: result.per_class_recall[key][c] for key in SCORE_COLUMNS}))
    return table_text(["test, %", *SCORE_COLUMNS.values()], rows)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"
