"""The paper's Figures 1, 3a, 3b and 3c from finished runs, a set for each dataset and setting of it.

Figures 3a to 3c of one setting have the same scale (§4.5). Points are means over runs, bars standard deviations. Here
is also, for every figure of a report, which runs are grouped together and under what name.
"""

import collections
import dataclasses
import hashlib
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from udal_tf.reporting import own_data, paper, tables
from udal_tf.reporting.names import base_name, dataset_name, method_name, method_style
from udal_tf.reporting.plotting import GRAY, Curve, Sketch, common_limits
from udal_tf.reporting.runs import Run
from udal_tf.reporting.tables import dataset_text, setting_text, variant_text

# Settings varied by the curves and points of Figures 1 and 3.
VARIED = ("alpha_min", "k", "epochs", "generations", "select_alpha")
# The methods of Table 4, in its order.
FIGURE_1_METHODS = ("none", "da", "crest+", "udal")
# Bytes; a file name, made of several parts, may have 255.
LONGEST_SLUG = 100
# Curves with error bars are offset by this fraction of the x axis, so that the bars do not overlap.
APART = 0.008


def group_text(run: Run, common: Sequence[str] = ()) -> str:
    """`digits-LT, γ = 12, β = 10 %`: the setting of the runs in a set of figures.

    common: settings that all runs of the report share, which its head states. Seeds of a dataset that the paper has no
      results on are averaged, as folds are.
    """
    seeds = ("seed",) if own_data.is_own(run) else ()
    return ", ".join(filter(None, (dataset_text(run), variant_text(run, omit=(*VARIED, *common, *seeds)))))


def common_settings(runs: Iterable[Run]) -> dict[str, tuple[str, ...]]:
    """For each dataset, the settings other than its recipes' that all of its runs share."""
    return {name: tables.common_settings(of) for name, of in grouped(runs, dataset_text).items()}


def common_texts(runs: Iterable[Run]) -> dict[str, str]:
    """`common_settings` by dataset as `epochs 5, depth 10`; without datasets that have none."""
    texts = {
        name: setting_text({setting: of[0].deviations[setting] for setting in tables.common_settings(of)})
        for name, of in grouped(runs, dataset_text).items()
    }
    return {name: text for name, text in texts.items() if text}


def grouped(runs: Iterable[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    """The runs by `key`, keys in order of first appearance."""
    groups = collections.defaultdict(list)
    for run in runs:
        groups[key(run)].append(run)
    return dict(groups)


def setting_groups(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs by `group_text`, and by `Run.draw` where it is ambiguous; largest groups first."""
    runs = list(runs)
    common = common_settings(runs)
    by_draw = grouped(runs, lambda run: (group_text(run, common[dataset_text(run)]), run.draw))
    texts = [text for text, _ in by_draw]
    ordered = sorted(by_draw.items(), key=lambda item: -len(item[1]))
    return {text + (f", {draw}" if texts.count(text) > 1 else ""): of for (text, draw), of in ordered}


def figure_groups(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs that share a figure: as `setting_groups`, without the points of Figure 3.

    A setting whose runs are all such points is split by what they vary, which its text then includes.
    """
    groups, runs = {}, list(runs)
    common = common_settings(runs)
    for text, of in setting_groups(runs).items():
        variants = grouped(
            of,
            lambda run: tuple(
                (n, v) for n, v in run.deviations.items() if n in VARIED and n not in common[dataset_text(run)]
            ),
        )
        if () in variants:
            groups[text] = variants[()]
        else:
            groups |= {f"{text}, {setting_text(dict(varied))}": same for varied, same in variants.items()}
    return groups


def slug(text: str) -> str:
    """`text` as part of a file name; a long one is cut and ends in a hash of the whole."""
    plain = text.replace("γ", "g").replace("β", "b").replace("α", "a").replace(" = ", "").replace(" %", "")
    plain = re.sub(r"[^\w.+]+", "_", plain).strip("_")
    short = plain.encode()[:LONGEST_SLUG].decode(errors="ignore")
    return plain if short == plain else f"{short}_{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def over(label: str, points: Iterable[tuple[float, float]], **options: Any) -> Curve:
    """A curve of the mean and the standard deviation of y at each x; options: of `Curve`."""
    found = pd.DataFrame(list(points), columns=["x", "y"]).groupby("x").y.agg(["mean", "std"]).fillna({"std": 0.0})
    spread = found["std"].tolist()
    return Curve(label, found.index.tolist(), found["mean"].tolist(), spread if any(spread) else (), **options)


def usual_epochs(runs: Iterable[Run]) -> int:
    """The most common length of a generation among the runs."""
    return statistics.mode(run.settings["epochs"] for run in runs)


def axis_text(measure: str) -> str:
    """`test accuracy, %`: the axis label of a measure."""
    return f"test {paper.MEASURES[measure]}, %"


def _level(label: str, runs: Sequence[Run], measure: str, **options: Any) -> Curve:
    return over(label, ((0.0, run.figure(measure, paper.EMA)) for run in runs), level=True, **options)


def _over(runs: Iterable[Run], name: str, measure: str) -> list[tuple[float, float]]:
    return [(run.settings[name], run.figure(measure, paper.EMA)) for run in runs]


def _folds_text(runs: Sequence[Run]) -> str:
    folds = sorted({run.fold for run in runs})
    return f"fold {folds[0]}" if len(folds) == 1 else f"folds {', '.join(map(str, folds))}"


def _reference(runs: Sequence[Run], method: str) -> list[Run]:
    """Runs of FixMatch with `method` and the recipe's α_min, k and length."""
    return [r for r in runs if r.pair == ("fixmatch", method) and not set(r.deviations) & set(VARIED)]


def figure_3(runs: Sequence[Run], group: str) -> list[Sketch]:
    """Those of Figures 3a, 3b and 3c of one setting that have runs, on a common scale."""
    length, measure = usual_epochs(runs), paper.FIGURE_MEASURES["3"]
    alone = [run for run in runs if run.settings["base"] == "fixmatch"]
    hybrid = [r for r in alone if r.settings["method"] == "hybrid" and r.settings["epochs"] == length]
    udal = [r for r in alone if r.settings["method"] == "udal"]
    scheduled = [r for r in udal if r.settings["k"] > 0 and r.settings["epochs"] == length]
    fixed = [r for r in udal if r.settings["k"] == 0]
    best, crest = _reference(runs, "udal"), _reference(runs, "crest+")
    levels = [_level(_udal_label(best[0]), best, measure, style="--", color=GRAY)] if best else []
    crest_level = [_level("CReST+", crest, measure, style=":", color=method_style("crest+")[0])] if crest else []

    def curves(of: Sequence[Run], name: str, words: str) -> list[Curve]:
        groups = sorted(grouped(of, lambda run: run.settings[name]).items())
        return [over(words.format(value), _over(same, "alpha_min", measure)) for value, same in groups]

    drawn = {}
    if len({(r.settings["alpha_min"], r.settings["k"]) for r in hybrid}) > 1:
        shown = curves(hybrid, "k", "hybrid, k = {:g}") + levels + crest_level
        drawn["3a"] = ("UDAL's loss, aligned pseudo-labels", shown, hybrid + best + crest)
    if len({(r.settings["alpha_min"], r.settings["k"]) for r in scheduled}) > 1:
        drawn["3b"] = ("UDAL's schedule parameters k and α_min", curves(scheduled, "k", "UDAL, k = {:g}"), scheduled)
    if fixed:
        drawn["3c"] = (
            "UDAL without a schedule (k = 0)",
            curves(fixed, "epochs", "k = 0, {} epochs") + levels,
            fixed + best,
        )
    if not drawn:
        return []
    limits = common_limits([curve for _, shown, _ in drawn.values() for curve in shown])
    sketches = []
    for name, (title, shown, used) in drawn.items():
        lengths = sorted({run.settings["epochs"] for run in used})
        caption = (
            f"Figure {name}: {title}; {group}, {_folds_text(used)}, "
            f"{' and '.join(map(str, lengths))} epochs. Mean and standard deviation of the EMA weights' "
            f"{paper.MEASURES[measure]}."
        )
        sketches.append(
            Sketch(
                f"fig{name}_{slug(group)}", f"Figure {name}: {title}", group, caption, r"$\alpha_{min}$",
                axis_text(measure), _apart(shown), y_limits=limits,
            )
        )  # fmt: skip
    return sketches


def _apart(curves: Sequence[Curve]) -> list[Curve]:
    """The curves, each shifted slightly along x."""
    every = [x for curve in curves for x in curve.x]
    step = APART * (max(every) - min(every))
    middle = (sum(not curve.level for curve in curves) - 1) / 2
    return [dataclasses.replace(c, x=[x + (i - middle) * step for x in c.x]) for i, c in enumerate(curves)]


def _udal_label(run: Run) -> str:
    return f"UDAL, k = {run.settings['k']:g}, α_min = {run.settings['alpha_min']:g}"


def _length_points(runs: Sequence[Run], measure: str) -> list[tuple[float, float]]:
    """(epochs trained, score); a generation's end is a point, too, unless a run of that length exists."""
    points = [(run.epochs, run.figure(measure, paper.EMA)) for run in runs]
    ends = {epochs for epochs, _ in points}
    inner = [
        (number * run.settings["epochs"], run.figure(measure, paper.EMA, number))
        for run in runs
        for number in range(1, len(run.result.generations or []))
    ]
    return points + [point for point in inner if point[0] not in ends]


def figure_1(runs: Sequence[Run], name: str) -> list[Sketch]:
    """Figure 1: balanced accuracy against the epochs trained, with supervised training on few and on all labels.

    Args:
      runs: of one dataset and imbalance; supervised ones with β = 1 are the upper bound.
      name: of that setting.
    """
    measure = paper.FIGURE_MEASURES["1"]
    shown = [r for r in runs if r.settings["base"] == "fixmatch" and r.settings["method"] in FIGURE_1_METHODS]
    shown.sort(key=lambda r: (FIGURE_1_METHODS.index(r.settings["method"]), r.settings["alpha_min"], r.settings["k"]))
    curves = [over(label, _length_points(of, measure)) for label, of in grouped(shown, _figure_1_label).items()]
    if all(len(curve.x) < 2 for curve in curves):
        return []
    supervised = [r for r in runs if r.settings["base"] == "supervised" and r.settings["method"] == "none"]
    for (beta, _), of in sorted(grouped(supervised, lambda r: (r.settings["beta"], r.settings["epochs"])).items()):
        label = f"supervised, {100 * beta:g} % of the labels"
        curves.append(_level(label, of, measure, style="--" if beta < 1 else ":", color=GRAY))
    title = f"Figure 1: {paper.MEASURES[measure]} against training length"
    caption = f"{title}; {name}, {_folds_text(runs)}."
    if any(curve.label.startswith("CReST") for curve in curves):
        caption += " The points of CReST+ before its last are its earlier generations or shorter runs."
    if runs[0].settings["dataset"] == "imagenet127":
        curves.append(_of_the_paper())
        caption += " Crosses are the paper's values (Table 4)."
    words = ("training epochs, summed over generations", axis_text(measure))
    return [Sketch(f"fig1_{slug(name)}", title, name, caption, *words, curves, x_step=1)]


def _figure_1_label(run: Run) -> str:
    label = method_name(run.settings["method"]) or base_name(run.settings["base"])
    further = {n: v for n, v in run.deviations.items() if n in ("alpha_min", "k", "select_alpha")}
    return label + (f", {setting_text(further)}" if further else "")


def _of_the_paper() -> Curve:
    table = paper.TABLE_4
    points = [
        (float(column.label), value.mean)
        for row in table.rows
        for column, value in zip(table.columns[1:], row.values[1:], strict=True)
        if value
    ]
    x, y = zip(*points, strict=True)
    return Curve("paper", x, y, style="none", color=GRAY, marker="x")


def paper_figures(runs: Sequence[Run]) -> list[Sketch]:
    """Every figure of the paper for which there are runs, largest settings first."""
    sketches = []
    by_data = grouped(runs, lambda r: (r.settings["dataset"], r.settings["protocol"], r.settings["imbalance"], r.draw))
    for (dataset, protocol, imbalance, _), of in by_data.items():
        shared = [
            r for r in of if not set(r.deviations) - {*VARIED, "imbalance", "beta", "protocol", "steps_per_epoch"}
        ]
        few_labels = [r.settings["beta"] for r in shared if r.settings["base"] != "supervised"]
        if protocol == "crest" and few_labels:
            beta = statistics.mode(few_labels)
            chosen = [r for r in shared if r.settings["beta"] in (beta, 1.0) and _of_figure_1(r, beta)]
            name = f"{dataset_name(dataset)}, γ = {imbalance:g}, β = {100 * beta:g} %"
            sketches += figure_1(chosen, name)
    return sketches + [sketch for group, of in setting_groups(runs).items() for sketch in figure_3(of, group)]


def _of_figure_1(run: Run, beta: float) -> bool:
    """Runs of the recipe except their length, ImageNet's three α_min, and the supervised bounds."""
    if run.settings["base"] == "supervised":
        return run.settings["method"] == "none"
    ablated = set(run.deviations) & {"k", "select_alpha"}
    ablated |= set(run.deviations) & {"alpha_min"} if run.settings["dataset"] != "imagenet127" else set()
    return run.settings["beta"] == beta and not ablated and "steps_per_epoch" not in run.deviations
