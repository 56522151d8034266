"""Console output of a run: settings, data, a line per epoch, the final table."""

from collections.abc import Mapping, Sequence
from typing import Any

from udal_tf import shown_names
from udal_tf.config import Config
from udal_tf.reporting.terminal import filled, table_text, wrapped
from udal_tf.run_dir import CONFIG
from udal_tf.run_records import NO_LA, VALIDATION, ByWeights, EpochRow, LaChoice, Result

SCORE_COLUMNS = {"raw": "raw", "ema": "EMA", "raw_la": "raw + LA", "ema_la": "EMA + LA"}
# The settings that select records, which are always shown.
SELECTED = ("dataset", "base", "method", "arch")
SHOWN_OF_HASH = 12
DEFAULT_STRATEGY = "_DefaultDistributionStrategy"
# Of the provenance, what the recipe was made from; the folder's counts say it again.
NOT_SHOWN = ("recipe_facts",)
# A residual of DARP's class totals, as a fraction of the unlabeled images, up to which it is not reported.
RESIDUAL_WORTH_REPORTING = 1e-3
# Classes that a line lists by name before it only counts them.
MOST_NAMED = 20
# Pseudo-labels are checked after this epoch, and then at this interval.
FIRST_CHECK = 3
CHECK_EVERY = 10
# A class is over-represented at more than this multiple of its target, and at this much above it.
OVER_FACTOR = 2.0
OVER_MARGIN = 0.1
# With at least this many confident pseudo-labels, a class's precision below MIN_PRECISION is reported.
ENOUGH_TO_JUDGE = 20
MIN_PRECISION = 0.5
# The EMA weights have not caught up if their accuracy is this much below that of the raw weights, and the initial
# weights still are this fraction of them. Where they are less, the reason is another one.
EMA_BEHIND = 0.05
INITIAL_FRACTION = 0.01


def settings_text(config: Config) -> str:
    """The settings that differ from the recipe; with --show_settings all, by section."""
    nested = config.to_dict()
    if config.train.show_settings:
        return "\n".join(["Settings:", *(f"{name}:\n{_assigned(values)}" for name, values in nested.items())])
    flat = {name: value for values in nested.values() for name, value in values.items()}
    lines = [_assigned({name: flat[name] for name in SELECTED}, "Settings: ")]
    changed = {name: flat[name] for name in config.changed if name not in (*SELECTED, "workdir", "plugin_sha256")}
    if changed:
        lines += ["  changed from the recipe:", _assigned(changed, "    ", "    ")]
    lines.append(f"  all settings: --show_settings, or {CONFIG} in the work folder")
    return "\n".join([*lines, f"Work folder: {shown_names.shown(config.train.workdir)}"])


def _assigned(values: Mapping[str, Any], first: str = "  ", following: str = "  ") -> str:
    """name=value of each setting that is not empty."""
    shown = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in values.items()}
    parts = (shown_names.shown(f"{name}={value}") for name, value in shown.items() if value != "")
    return filled(parts, first=first, following=following)


def hardware_text(hardware: Mapping[str, Any]) -> str:
    """The hardware of a run, and the strategy of distribution unless it is TensorFlow's default one."""
    return _assigned({name: v for name, v in hardware.items() if v != DEFAULT_STRATEGY}, "Hardware: ")


def provenance_text(provenance: Mapping[str, Any], class_names: Sequence[str] = ()) -> str:
    """The data's source and how the protocol split it: a line per fact and a table of per-class counts.

    NOT_SHOWN is left out; of many classes only the range of their counts is said, and of a hash the beginning.
    result.json has all.
    """
    per_class = {name: v for name, v in provenance.items() if name.endswith("_counts") and len(v) == len(class_names)}
    # Images of unknown class are in no class's count.
    unknown = provenance.get("unlabeled_of_unknown_class")
    titles = {"unlabeled_counts": "unlabeled_counts, of known class"} if unknown else {}
    few = len(class_names) <= MOST_NAMED
    lines = []
    for name, value in provenance.items():
        if name in NOT_SHOWN:
            facts = []
        elif name in per_class:
            facts = [] if few else [f"{min(value):,} to {max(value):,} in each of {len(value)} classes"]
        elif _are_sentences(value):
            facts = value
        elif isinstance(value, Mapping):
            facts = [", ".join(f"{key}={one}" for key, one in value.items() if one != "")]
        else:
            facts = [f"{value[:SHOWN_OF_HASH]}…" if name.endswith("_sha256") else str(value)]
        lines += [wrapped(f"{titles.get(name, name)}: {shown_names.shown(fact)}", "  ", "    ") for fact in facts]
    if per_class and few:
        counts = zip(*per_class.values(), strict=True)
        rows = [[f"  {name}", *map(str, row)] for name, row in zip(class_names, counts, strict=True)]
        headings = (titles.get(name, name).replace("_counts", "") for name in per_class)
        lines.append(table_text(["  class", *headings], rows))
    return "\n".join(["Data:", *lines])


def _are_sentences(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def metrics_text(metrics: Mapping[str, float], images_per_second: float) -> str:
    """Metrics of the last steps, short enough to fit beside a progress bar."""
    confident = f" confident={100 * metrics['confident']:.0f}%" if "confident" in metrics else ""
    return f"loss={metrics['loss']:.3f} α={metrics['alpha']:.2f}{confident} {images_per_second:,.0f} img/s"


def epoch_text(
    row: EpochRow, epochs: int, class_names: Sequence[str] = (), optimizer: Mapping[str, Any] | None = None
) -> str:
    """One line for an epoch's row, followed by warnings about the EMA weights and, at intervals, the pseudo-labels.

    optimizer: the settings of that section.
    """
    train, test, balanced = row.train, row.scores.accuracy, row.scores.balanced_accuracy
    parts = [f"epoch {row.epoch:>{len(str(epochs))}}/{epochs}", f"loss {train['loss']:.4f}"]
    if "confident" in train:
        parts.append(f"confident {100 * train['confident']:5.1f} %")
    parts.append(f"α {train['alpha']:.3f}")
    if train.get("darp_residual", 0.0) > RESIDUAL_WORTH_REPORTING:
        parts.append(f"DARP residual {100 * train['darp_residual']:.1f} % of the unlabeled images")
    parts.append(f"{'val' if row.scored_on == VALIDATION else row.scored_on} accuracy (balanced)")
    parts += [f"{title} {100 * test[key]:.1f} ({100 * balanced[key]:.1f})" for key, title in SCORE_COLUMNS.items()]
    warnings = ema_warnings(test, row.step, optimizer or {})
    counts = row.pseudo_labels
    if counts and (row.epoch == FIRST_CHECK or row.epoch % CHECK_EVERY == 0):
        warnings += pseudo_label_warnings(counts.confident, counts.correct, row.p_target, class_names, row.epoch)
    return "\n".join([filled(parts), *(wrapped(warning, "  ", "    ") for warning in warnings)])


def ema_warnings(accuracy: ByWeights, step: int, optimizer: Mapping[str, Any]) -> list[str]:
    """A warning if the EMA weights have not caught up with the raw ones; empty if they have.

    Args:
      accuracy: of a model.
      step: the steps that it was trained for.
      optimizer: the settings of that section; without `ema_decay` there is no warning.

    Example: after 1,000 steps at a decay of 0.999 the initial weights are 0.999^1000 = 37 % of the EMA; if the raw
      weights have an accuracy of 50 % and the EMA one of 10 %, this is said.
    """
    warmed_up = optimizer.get("ema_warmup", False) or "ema_decay" not in optimizer
    if warmed_up or accuracy.raw - accuracy.ema <= EMA_BEHIND or optimizer["ema_decay"] ** step < INITIAL_FRACTION:
        return []
    figures = f"raw {100 * accuracy.raw:.1f} %, EMA {100 * accuracy.ema:.1f} %"
    return [f"EMA has not caught up: {figures}; --ema_warmup helps"]


def pseudo_label_warnings(
    confident: Sequence[float],
    correct: Sequence[float] | None,
    p_target: Sequence[float],
    class_names: Sequence[str],
    epoch: int,
) -> list[str]:
    """Warnings about an epoch's confident pseudo-labels; empty if there is nothing to report.

    Args:
      confident: [C], the number of confident pseudo-labels of each class.
      correct: [C], how many of them are correct; None if true labels are unknown.
      p_target: [C], the class distribution that the method aligns to.
      class_names: [C].
      epoch: named in the warnings.

    Example: confident [90, 10, 0] with p_target [0.4, 0.3, 0.3] warns that the third class has none and that the
      first has 90 % of them.
    """
    total = sum(confident)
    if not total:
        return [f"no confident pseudo-labels for any class after epoch {epoch}"]
    warnings = []
    missing = [name for name, count in zip(class_names, confident, strict=True) if not count]
    if missing:
        warnings.append(f"no confident pseudo-labels for class {_named(missing)} after epoch {epoch}")
    for name, count, target in zip(class_names, confident, p_target, strict=True):
        fraction = count / total
        if fraction > OVER_FACTOR * target and fraction > target + OVER_MARGIN:
            warnings.append(
                f"class {name} has {100 * fraction:.0f} % of the confident pseudo-labels; its target is "
                f"{100 * target:.0f} %"
            )
    if correct is not None:
        for name, count, right in zip(class_names, confident, correct, strict=True):
            if count >= ENOUGH_TO_JUDGE and right < MIN_PRECISION * count:
                precision = f"{100 * right / count:.0f} %"
                warnings.append(f"only {precision} of {count:.0f} confident pseudo-labels for class {name} are correct")
    return warnings


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def result_text(result: Result) -> str:
    """The final table, in percent: accuracy, balanced accuracy and the recall of each class; warnings below it."""

    def row(name: str, scores: Mapping[str, float | None] | ByWeights) -> list[str]:
        return [name, *(_percent(scores[key]) for key in SCORE_COLUMNS)]

    rows = [row("accuracy", result.accuracy), row("balanced accuracy", result.balanced_accuracy)]
    for c, name in enumerate(result.class_names):
        rows.append(row(f"recall of {name}", {key: result.per_class_recall[key][c] for key in SCORE_COLUMNS}))
    best, chosen = result.best, []
    if best.test:
        rows.append(row(f"best epoch {best.epoch}, accuracy", best.test.accuracy))
        rows.append(row(f"best epoch {best.epoch}, balanced accuracy", best.test.balanced_accuracy))
        chosen.append(
            f"Epoch {best.epoch} has the best balanced accuracy on the validation images, "
            f"{_percent(best.balanced_accuracy)} %; the other rows are of the last epoch"
        )
    table, train = table_text(["test, %", *SCORE_COLUMNS.values()], rows), result.config.get("train", {})
    if result.la_choices:
        table += "\n" + la_choices_text(result.la_choices) + "\n"
    # Of the last generation, as each starts with new weights.
    steps = train.get("epochs", 0) * train.get("steps_per_epoch", 0)
    remarks = [*chosen, *ema_warnings(result.accuracy, steps, result.config.get("optimizer", {}))]
    return "\n".join([table, *map(wrapped, remarks)])


def la_choices_text(choices: Sequence[LaChoice]) -> str:
    """What LA (Inf) gives on the validation images, in percent, by each prior that it can remove."""
    names = {choice.prior: f"LA (Inf), prior {choice.prior}" for choice in choices} | {NO_LA: "without LA (Inf)"}
    rows = [[names[c.prior], _percent(c.accuracy), _percent(c.balanced_accuracy)] for c in choices]
    return "\n" + table_text(["validation, EMA, %", "accuracy", "balanced accuracy"], rows)


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.2f}"
