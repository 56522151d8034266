""" "A beats B" on the same folds: a paired t-test and Wilcoxon's signed-rank test (folds are the pairs, §4.3)."""

import dataclasses
import math
import statistics
import warnings
from collections.abc import Mapping

from scipy import stats

from udal_tf.reporting.paper import MEASURES
from udal_tf.reporting.tables import Table, TableRow

CAUTION = (
    "Two-sided p-values. Folds share the test pictures, so the pairs are not fully independent; with five folds "
    "Wilcoxon's test cannot fall below 0.0625."
)


@dataclasses.dataclass(frozen=True)
class Paired:
    """A − B over common folds, in points.

    folds: the pairs. mean, std: of the differences. wins: folds in which A is above B.
    t_p, wilcoxon_p: two-sided p-values; None where a test says nothing, as with one pair or equal differences.
    """

    folds: tuple[int, ...]
    mean: float
    std: float | None
    wins: int
    t_p: float | None
    wilcoxon_p: float | None


def _p(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Paired | None:
    """Compares the values of the folds that both have; None without a common fold.

    Example: {1: 3.0, 2: 5.0} and {1: 1.0, 2: 1.0} differ by 3 on average, t = 3 with one degree of freedom: p = 0.205.
    """
    folds = tuple(sorted(set(a) & set(b)))
    if not folds:
        return None
    differences = [a[fold] - b[fold] for fold in folds]
    several = len(folds) > 1
    t_p = wilcoxon_p = None
    if several and max(differences) - min(differences) > 0:
        t_p = _p(stats.ttest_rel([a[f] for f in folds], [b[f] for f in folds]).pvalue)
    if several and any(differences):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ties and zeros: then its normal approximation is used.
            wilcoxon_p = _p(stats.wilcoxon(differences).pvalue)
    std = statistics.stdev(differences) if several else None
    wins = sum(difference > 0 for difference in differences)
    return Paired(folds, statistics.mean(differences), std, wins, t_p, wilcoxon_p)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One line of the comparisons: A against B in one column of a table, by the table's first measure."""

    column: str
    measure: str
    a: str
    b: str
    result: Paired


def _pairs(table: Table) -> list[tuple[TableRow, TableRow]]:
    """UDAL against every other row of its base learner with the same score, and LA (Inf) against the plain score."""
    by_key = {(row.base, row.method, row.score): row for row in table.rows}
    if len(by_key) < len(table.rows):
        return []  # Rows of one method by several readings: there is no such thing as "the" row of UDAL.
    pairs = []
    for (base, method, score), row in by_key.items():
        udal = by_key.get((base, "udal", score))
        if udal and method != "udal":
            pairs.append((udal, row))
        plain = by_key.get((base, method, "ema"))
        if score == "ema_la" and plain:
            pairs.append((row, plain))
    return pairs


def compare(table: Table) -> list[Comparison]:
    """Every comparison of a table that has at least two folds in common."""
    found = []
    for place, column in enumerate(table.columns):
        for a, b in _pairs(table):
            ours, theirs = a.cells[place], b.cells[place]
            if ours is None or theirs is None:
                continue
            result = paired(ours.by_fold, theirs.by_fold)
            if result and len(result.folds) > 1:
                measure = MEASURES[table.measures[0]]
                found.append(Comparison(column.heading, measure, a.full_label, b.full_label, result))
    return found


def p_text(p: float | None) -> str:
    """A p-value as a table shows it."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _sign(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


HEADINGS = ("setting", "measure", "A", "B", "folds", "A − B, points", "A above B", "t-test p", "Wilcoxon p")


def line(comparison: Comparison) -> tuple[str, ...]:
    """The cells below HEADINGS."""
    r = comparison.result
    spread = f" ± {r.std:.1f}" if r.std is not None else ""
    return (
        comparison.column, comparison.measure, comparison.a, comparison.b, ", ".join(map(str, r.folds)),
        _sign(r.mean) + spread, f"{r.wins} of {len(r.folds)}", p_text(r.t_p), p_text(r.wilcoxon_p),
    )  # fmt: skip


def markdown(comparisons: list[Comparison]) -> str:
    """All comparisons as one table."""
    lines = ["## Paired comparisons over folds", "", "| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    lines += ["| " + " | ".join(line(comparison)) + " |" for comparison in comparisons]
    return "\n".join([*lines, "", CAUTION]) + "\n"
