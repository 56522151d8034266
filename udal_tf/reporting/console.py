"""What a run prints: its settings, a progress bar, a line per epoch, the table at the end."""

import sys
from typing import Any

from tqdm import tqdm

SCORE_COLUMNS = {"raw": "raw", "ema": "EMA", "raw_la": "raw + LA", "ema_la": "EMA + LA"}
# DARP's class totals, met to this share of all unlabelled pictures, count as met.
RESIDUAL_WORTH_SAYING = 1e-3
# Seconds between two prints of the bar: on a terminal, and into a file, where each is a line.
_TERMINAL_INTERVAL, _FILE_INTERVAL = 0.2, 60.0


def settings_text(config: dict[str, dict[str, Any]]) -> str:
    """The resolved settings, a line per section."""
    lines = ["Settings:"]
    for section, values in config.items():
        shown = "  ".join(f"{k}={','.join(v) if isinstance(v, list) else v}" for k, v in values.items() if v != "")
        lines.append(f"  {section:<10}{shown}")
    return "\n".join(lines)


def provenance_text(provenance: dict[str, Any]) -> str:
    """Where the data came from and what the protocol made of it, a line per fact."""
    return "\n".join(["Data:"] + [f"  {name}: {value}" for name, value in provenance.items()])


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


def epoch_text(row: dict[str, Any], epochs: int) -> str:
    """One line for an epoch's row."""
    train, test = row["train"], row["test"]["accuracy"]
    parts = [f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}", f"loss {train['loss']:.4f}"]
    if "confident" in train:
        parts.append(f"confident {100 * train['confident']:5.1f} %")
    parts.append(f"α {train['alpha']:.3f}")
    if train.get("darp_residual", 0.0) > RESIDUAL_WORTH_SAYING:
        parts.append(f"DARP misses a class's total by {100 * train['darp_residual']:.1f} % of the pictures")
    parts.append("test accuracy " + ", ".join(f"{SCORE_COLUMNS[key]} {100 * test[key]:.1f}" for key in SCORE_COLUMNS))
    return "  ".join(parts)


def result_text(result: dict[str, Any], class_names: list[str]) -> str:
    """The table at the end: accuracy and mean per-class recall, then the recall of each class, in per cent."""

    width = max(len(name) for name in ["mean per-class recall", *(f"recall of {name}" for name in class_names)])

    def row(name: str, scores: dict[str, float | None]) -> str:
        cells = ("    –" if scores[key] is None else f"{100 * scores[key]:.2f}" for key in SCORE_COLUMNS)
        return f"  {name:<{width}}" + "".join(f"{cell:>10}" for cell in cells)

    lines = [f"  {'test, %':<{width}}" + "".join(f"{title:>10}" for title in SCORE_COLUMNS.values())]
    lines.append(row("accuracy", result["accuracy"]))
    lines.append(row("mean per-class recall", result["balanced_accuracy"]))
    for c, name in enumerate(class_names):
        recalls = {key: result["per_class_recall"][key][c] for key in SCORE_COLUMNS}
        lines.append(row(f"recall of {name}", recalls))
    return "\n".join(lines)
