"""The paper's Figures 1, 3a, 3b and 3c from finished runs, a set for each data set and setting of it.

Figures 3a to 3c of one setting have the same scale (§4.5). Points are means over folds, bars standard deviations. The
file is long because which runs are drawn together, and under what name, is decided here for every figure of a report.
"""

import collections
import dataclasses
import functools
import hashlib
import math
import pathlib
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from udal_tf.reporting import paper
from udal_tf.reporting.drawing import Curve, Panel, Picture, common_limits
from udal_tf.reporting.names import base_name, dataset_name, method_name, method_style
from udal_tf.reporting.runs import Run
from udal_tf.reporting.tables import dataset_text, setting_text, variant_text

# What the curves and points of Figures 1 and 3 vary.
VARIED = ("alpha_min", "k", "epochs", "generations", "select_alpha")
# Those of Table 4, in its order.
FIGURE_1_METHODS = ("none", "da", "crest+", "udal")
# Bytes; a file's name, made of several parts, may have 255.
LONGEST_SLUG = 100
# Curves with error bars stand this part of the axis apart, so that the bars do not hide each other.
APART = 0.008


def group_text(run: Run) -> str:
    """`digits-LT, γ = 12, β = 10 %`: the setting that the runs of a set of figures share."""
    return ", ".join(filter(None, (dataset_text(run), variant_text(run, but_for=VARIED))))


def grouped(runs: Iterable[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    """The runs by `key`, in the order in which the keys come."""
    groups = collections.defaultdict(list)
    for run in runs:
        groups[key(run)].append(run)
    return dict(groups)


def setting_groups(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs by `group_text`, with the draw where one text has several; those with most runs first."""
    by_draw = grouped(runs, lambda run: (group_text(run), run.draw))
    texts = [text for text, _ in by_draw]
    ordered = sorted(by_draw.items(), key=lambda item: -len(item[1]))
    return {text + (f", {draw}" if texts.count(text) > 1 else ""): of for (text, draw), of in ordered}


def figure_groups(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Which runs are drawn together: as `setting_groups` those that vary nothing, the points of Figure 3 left out.

    A setting that has none of these is drawn for each way in which its runs vary, which its text then says.
    """
    groups = {}
    for text, of in setting_groups(runs).items():
        variants = grouped(of, lambda run: tuple((n, v) for n, v in run.deviations.items() if n in VARIED))
        if () in variants:
            groups[text] = variants[()]
        else:
            groups |= {f"{text}, {setting_text(dict(varied))}": same for varied, same in variants.items()}
    return groups


def slug(text: str) -> str:
    """A file name's part that says what `text` says; a long one ends in a hash of all of it."""
    plain = text.replace("γ", "g").replace("β", "b").replace("α", "a").replace(" = ", "").replace(" %", "")
    plain = re.sub(r"[^\w.+]+", "_", plain).strip("_")
    short = plain.encode()[:LONGEST_SLUG].decode(errors="ignore")
    return plain if short == plain else f"{short}_{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of the sample, 0 for a single value."""
    count = len(values)
    mean = math.fsum(values) / count
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1)) if count > 1 else 0.0


def usual_epochs(runs: Iterable[Run]) -> int:
    """The length of a generation in most runs: that of the recipe, unless nobody ran it."""
    return statistics.mode(run.settings["epochs"] for run in runs)


def _curve(label: str, points: Mapping[float, list[float]], **options: Any) -> Curve:
    x = sorted(points)
    means, stds = zip(*(mean_and_std(points[value]) for value in x), strict=True)
    return Curve(label, x, means, stds if any(stds) else (), **options)


def axis_text(measure: str) -> str:
    """`test accuracy, %`: what an axis of that measure is called."""
    return f"test {paper.MEASURES[measure]}, %"


def _level(label: str, runs: Sequence[Run], measure: str, **options: Any) -> Curve:
    mean, std = mean_and_std([run.figure(measure, paper.EMA) for run in runs])
    return Curve(label, (), (mean,), (std,) if std else (), level=True, **options)


def _over(runs: Iterable[Run], name: str, measure: str) -> dict[float, list[float]]:
    points = collections.defaultdict(list)
    for run in runs:
        points[run.settings[name]].append(run.figure(measure, paper.EMA))
    return points


def _folds_text(runs: Sequence[Run]) -> str:
    folds = sorted({run.fold for run in runs})
    return f"fold {folds[0]}" if len(folds) == 1 else f"folds {', '.join(map(str, folds))}"


def _reference(runs: Sequence[Run], method: str) -> list[Run]:
    """Runs of FixMatch with a method whose α_min, k and length are the recipe's."""
    return [r for r in runs if r.pair == ("fixmatch", method) and not set(r.deviations) & set(VARIED)]


def figure_3(runs: Sequence[Run], group: str, folder: pathlib.Path) -> list[Picture]:
    """Figures 3a, 3b and 3c of one setting, those of them that have runs, on one scale."""
    length, measure = usual_epochs(runs), paper.FIGURE_MEASURES["3"]
    alone = [run for run in runs if run.settings["base"] == "fixmatch"]
    hybrid = [r for r in alone if r.settings["method"] == "hybrid" and r.settings["epochs"] == length]
    udal = [r for r in alone if r.settings["method"] == "udal"]
    scheduled = [r for r in udal if r.settings["k"] > 0 and r.settings["epochs"] == length]
    fixed = [r for r in udal if r.settings["k"] == 0]
    by_k, by_length = lambda r: r.settings["k"], lambda r: r.settings["epochs"]
    best = _reference(runs, "udal")
    levels = [_level(_udal_label(best[0]), best, measure, style="--", place=-1)] if best else []
    crest = _reference(runs, "crest+")
    drawn = {}
    if hybrid and (len({r.settings["alpha_min"] for r in hybrid}) > 1 or len({r.settings["k"] for r in hybrid}) > 1):
        curves = [
            _curve(f"hybrid, k = {k:g}", _over(of, "alpha_min", measure))
            for k, of in sorted(grouped(hybrid, by_k).items())
        ]
        level = [_level("CReST+", crest, measure, style=":", color=method_style("crest+")[0])] if crest else []
        curves += levels + level
        drawn["3a"] = ("UDAL's labelled loss with aligned pseudo-labels", curves, hybrid + best + crest)
    if len({(r.settings["alpha_min"], r.settings["k"]) for r in scheduled}) > 1:
        groups = sorted(grouped(scheduled, by_k).items())
        curves = [_curve(f"UDAL, k = {k:g}", _over(of, "alpha_min", measure)) for k, of in groups]
        drawn["3b"] = ("schedule parameters k and α_min of UDAL", curves, scheduled)
    if fixed:
        curves = [
            _curve(f"k = 0, {epochs} epochs", _over(of, "alpha_min", measure))
            for epochs, of in sorted(grouped(fixed, by_length).items())
        ]
        drawn["3c"] = ("UDAL without a schedule (k = 0)", curves + levels, fixed + best)
    if not drawn:
        return []
    limits = common_limits([curve for _, curves, _ in drawn.values() for curve in curves])
    pictures = []
    for name, (title, curves, used) in drawn.items():
        panel = Panel(group, r"$\alpha_{min}$", axis_text(measure))
        for curve in _apart(curves):
            panel.draw(curve)
        panel.axes.set_ylim(*limits)
        lengths = sorted({run.settings["epochs"] for run in used})
        caption = (
            f"Figure {name}: {title}; {group}, {_folds_text(used)}, "
            f"{' and '.join(map(str, lengths))} epochs. Mean and standard deviation of the EMA weights' "
            f"{paper.MEASURES[measure]}."
        )
        panel.title = f"Figure {name}: {title}"
        pictures.append(panel.save(f"fig{name}_{slug(group)}", caption, folder))
    return pictures


def _apart(curves: Sequence[Curve]) -> list[Curve]:
    """The curves with their points moved a little sideways."""
    every = [x for curve in curves for x in curve.x]
    step = APART * (max(every) - min(every))
    middle = (sum(not curve.level for curve in curves) - 1) / 2
    return [dataclasses.replace(c, x=[x + (i - middle) * step for x in c.x]) for i, c in enumerate(curves)]


def _udal_label(run: Run) -> str:
    return f"UDAL, k = {run.settings['k']:g}, α_min = {run.settings['alpha_min']:g}"


def _length_points(runs: Sequence[Run], measure: str) -> dict[float, list[float]]:
    """Figures by epochs trained; generations that a run reports are points, too, where no shorter run stands there."""
    points = collections.defaultdict(list)
    inner = collections.defaultdict(list)
    for run in runs:
        points[run.epochs].append(run.figure(measure, paper.EMA))
        for number in range(1, run.settings.get("generations", 1)):
            inner[number * run.settings["epochs"]].append(run.figure(measure, paper.EMA, number))
    return {**inner, **points}


def figure_1(runs: Sequence[Run], name: str, folder: pathlib.Path) -> list[Picture]:
    """Figure 1: balanced accuracy against the epochs trained, between training on few labels and on all.

    Args:
      runs: of one data set and imbalance; supervised ones with β = 1 are the upper bound.
      name: of that setting.
    """
    shown = [r for r in runs if r.settings["base"] == "fixmatch" and r.settings["method"] in FIGURE_1_METHODS]
    shown.sort(key=lambda r: (FIGURE_1_METHODS.index(r.settings["method"]), r.settings["alpha_min"], r.settings["k"]))
    methods = grouped(shown, _figure_1_label)
    measure = paper.FIGURE_MEASURES["1"]
    curves = {label: _length_points(of, measure) for label, of in methods.items()}
    if all(len(points) < 2 for points in curves.values()):
        return []
    panel = Panel(name, "epochs trained, all generations", axis_text(measure))
    for label, points in curves.items():
        panel.draw(_curve(label, points))
    supervised = [r for r in runs if r.settings["base"] == "supervised" and r.settings["method"] == "none"]
    for (beta, _), of in sorted(grouped(supervised, lambda r: (r.settings["beta"], r.settings["epochs"])).items()):
        label = f"supervised, {100 * beta:g} % of the labels"
        panel.draw(_level(label, of, measure, style="--" if beta < 1 else ":", place=-1))
    title = f"Figure 1: {paper.MEASURES[measure]} against the epochs trained"
    caption = f"{title}; {name}, {_folds_text(runs)}."
    if any(label.startswith("CReST") for label in curves):
        caption += (
            " Points of CReST+ before its last are the ends of its generations, unless a shorter run stands there."
        )
    if runs[0].settings["dataset"] == "imagenet127":
        _draw_paper(panel)
        caption += " Crosses are the paper's figures (Table 4)."
    panel.axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.title = title
    return [panel.save(f"fig1_{slug(name)}", caption, folder)]


def _figure_1_label(run: Run) -> str:
    label = method_name(run.settings["method"]) or base_name(run.settings["base"])
    further = {n: v for n, v in run.deviations.items() if n in ("alpha_min", "k", "select_alpha")}
    return label + (f", {setting_text(further)}" if further else "")


def _draw_paper(panel: Panel) -> None:
    table = paper.TABLE_4
    x = [float(column.label) for column in table.columns[1:]]
    points = [(at, value.mean) for row in table.rows for at, value in zip(x, row.values[1:], strict=True) if value]
    panel.axes.plot(*zip(*points, strict=True), "x", color="#777777", label="paper")


def paper_figures(runs: Sequence[Run], folder: pathlib.Path) -> list[Callable[[], list[Picture]]]:
    """A task for `drawing.drawn` for every figure of the paper that the runs allow, settings with most runs first."""
    tasks: list[Callable[[], list[Picture]]] = []
    by_data = grouped(runs, lambda r: (r.settings["dataset"], r.settings["protocol"], r.settings["imbalance"], r.draw))
    for (dataset, protocol, imbalance, _), of in by_data.items():
        shared = [
            r for r in of if not set(r.deviations) - {*VARIED, "imbalance", "beta", "protocol", "steps_per_epoch"}
        ]
        labelled = [r.settings["beta"] for r in shared if r.settings["base"] != "supervised"]
        if protocol == "crest" and labelled:
            beta = statistics.mode(labelled)
            chosen = [r for r in shared if r.settings["beta"] in (beta, 1.0) and _of_figure_1(r, beta)]
            name = f"{dataset_name(dataset)}, γ = {imbalance:g}, β = {100 * beta:g} %"
            tasks.append(functools.partial(figure_1, chosen, name, folder))
    return tasks + [functools.partial(figure_3, of, group, folder) for group, of in setting_groups(runs).items()]


def _of_figure_1(run: Run, beta: float) -> bool:
    """Runs of the recipe but for their length, ImageNet's three α_min, and the supervised bounds."""
    if run.settings["base"] == "supervised":
        return run.settings["method"] == "none"
    ablated = set(run.deviations) & {"k", "select_alpha"}
    ablated |= set(run.deviations) & {"alpha_min"} if run.settings["dataset"] != "imagenet127" else set()
    return run.settings["beta"] == beta and not ablated and "steps_per_epoch" not in run.deviations
