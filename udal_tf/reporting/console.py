"""What a run prints: its settings, a progress bar, a line per epoch, the table at the end."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from udal_tf.run_records import ByWeights, EpochRow, Result

SCORE_COLUMNS = {"raw": "raw", "ema": "EMA", "raw_la": "raw + LA", "ema_la": "EMA + LA"}
# DARP's class totals, met to this share of all unlabelled pictures, count as met.
RESIDUAL_WORTH_SAYING = 1e-3
# Classes that a line names before it only counts.
MOST_NAMED = 20
# Pseudo-labels are looked at in words after this epoch, and after every so many.
FIRST_LOOK, LOOK_EVERY = 3, 10
# A class crowds the pseudo-labels with so many times its share of the target, and so much more of all than that.
CROWDED, CROWDED_BY = 2.0, 0.1
# Of a class with so many confident pseudo-labels fewer right ones than this are worth saying.
ENOUGH_TO_JUDGE, HALF = 20, 0.5
# Seconds between two prints of the bar: on a terminal, and into a file, where each is a line.
_TERMINAL_INTERVAL, _FILE_INTERVAL = 0.2, 60.0


def settings_text(config: dict[str, dict[str, Any]]) -> str:
    """The resolved settings, a line per section."""
    lines = ["Settings:"]
    for section, values in config.items():
        shown = "  ".join(f"{k}={','.join(v) if isinstance(v, list) else v}" for k, v in values.items() if v != "")
        lines.append(f"  {section:<10}{shown}")
    return "\n".join(lines)


def provenance_text(provenance: dict[str, Any], class_names: Sequence[str] = ()) -> str:
    """Where the data came from and what the protocol made of it, a line per fact; counts with the classes' names."""

    def shown(name: str, value: Any) -> Any:
        if not name.endswith("_counts") or len(value) != len(class_names) or len(value) > MOST_NAMED:
            return value
        return ", ".join(f"{class_name} {count}" for class_name, count in zip(class_names, value, strict=True))

    # Of a pool with pictures of unknown class only the others can be counted by class.
    unknown = provenance.get("unlabeled_of_unknown_class")
    titles = {"unlabeled_counts": "unlabeled_counts, of known class"} if unknown else {}
    lines = [f"  {titles.get(name, name)}: {shown(name, value)}" for name, value in provenance.items()]
    return "\n".join(["Data:", *lines])


class Progress:
    """A bar over all steps of a run, with what the last steps gave.

    Args:
      total_steps, done_steps: of the run. images_per_step: training pictures, each view counted once.
      shown: False for a bar that prints nothing, as a second worker's.
    """

    def __init__(self, total_steps: int, done_steps: int, images_per_step: int, shown: bool = True):
        self._images_per_step = images_per_step
        self._bar = tqdm(
            total=total_steps,
            initial=done_steps,
            unit="step",
            mininterval=_TERMINAL_INTERVAL if sys.stderr.isatty() else _FILE_INTERVAL,
            dynamic_ncols=True,
            disable=not shown,
        )

    def advance(self, steps: int, metrics: dict[str, float], seconds: float) -> None:
        """Moves on by `steps` that took `seconds` and ended with these metrics."""
        shown = {"loss": f"{metrics['loss']:.3f}", "α": f"{metrics['alpha']:.2f}"}
        if "confident" in metrics:
            shown["confident"] = f"{100 * metrics['confident']:.0f}%"
        shown["img/s"] = f"{steps * self._images_per_step / max(seconds, 1e-9):,.0f}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(steps)

    def line(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(text, file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        self._bar.close()


def epoch_text(row: EpochRow, epochs: int, class_names: Sequence[str] = ()) -> str:
    """One line for an epoch's row, and now and then lines about its pseudo-labels."""
    train, test = row.train, row.test.accuracy
    parts = [f"epoch {row.epoch:>{len(str(epochs))}}/{epochs}", f"loss {train['loss']:.4f}"]
    if "confident" in train:
        parts.append(f"confident {100 * train['confident']:5.1f} %")
    parts.append(f"α {train['alpha']:.3f}")
    if train.get("darp_residual", 0.0) > RESIDUAL_WORTH_SAYING:
        parts.append(f"DARP misses a class's total by {100 * train['darp_residual']:.1f} % of the pictures")
    parts.append("test accuracy " + ", ".join(f"{SCORE_COLUMNS[key]} {100 * test[key]:.1f}" for key in SCORE_COLUMNS))
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
                share = f"{100 * right / count:.0f} %"
                warnings.append(f"of class {name}'s {count:.0f} confident pseudo-labels {share} are right")
    return warnings


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def result_text(result: Result) -> str:
    """The table at the end: accuracy and mean per-class recall, then the recall of each class, in per cent."""

    width = max(len(name) for name in ["mean per-class recall", *(f"recall of {name}" for name in result.class_names)])

    def row(name: str, scores: Mapping[str, float | None] | ByWeights) -> str:
        cells = ("    –" if scores[key] is None else f"{100 * scores[key]:.2f}" for key in SCORE_COLUMNS)
        return f"  {name:<{width}}" + "".join(f"{cell:>10}" for cell in cells)

    lines = [f"  {'test, %':<{width}}" + "".join(f"{title:>10}" for title in SCORE_COLUMNS.values())]
    lines.append(row("accuracy", result.accuracy))
    lines.append(row("mean per-class recall", result.balanced_accuracy))
    for c, name in enumerate(result.class_names):
        recalls = {key: result.per_class_recall[key][c] for key in SCORE_COLUMNS}
        lines.append(row(f"recall of {name}", recalls))
    return "\n".join(lines)
