"""Paired comparisons of methods over the same folds (§4.3): t-test and Wilcoxon's signed-rank test."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from udal_tf.reporting import table_text
from udal_tf.reporting.names import name_of
from udal_tf.reporting.paper import EMA, EMA_LA, MEASURES
from udal_tf.reporting.tables import Table

# With fewer pairs there is no test.
FEWEST_PAIRS = 3
CONFIDENCE = 0.95
CAUTION = (
    f"Two-sided p-values and {CONFIDENCE:.0%} confidence intervals of the mean difference, for at least {FEWEST_PAIRS} "
    "pairs. Folds share the test images, so the pairs are not fully independent; with five folds the p-value of "
    "Wilcoxon's test cannot fall below 0.0625."
)
STATISTICS = ("difference", "std", "n", "wins", "t_p", "wilcoxon_p", "ci_low", "ci_high")
COLUMNS = ("setting", "measure", "a", "b", "folds", *STATISTICS)


def paired(a: npt.ArrayLike, b: npt.ArrayLike) -> dict[str, float]:
    """STATISTICS of a − b, paired by position; NaN where there are too few pairs or all differences are equal.

    Example: 3, 5, 4 and 1, 1, 1 differ by 2, 4, 3: 3 on average, t = 3·√3 with two degrees of freedom, p = 0.035.
    """
    from scipy import stats  # Here: the import takes half a second, in which a report's figures are drawn.

    difference = np.subtract(a, b)
    n = len(difference)
    found: dict[str, Any] = dict.fromkeys(STATISTICS, np.nan)
    found |= {"difference": difference.mean(), "n": n, "wins": int((difference > 0).sum())}
    if n > 1:
        found["std"] = difference.std(ddof=1)
    if n >= FEWEST_PAIRS and np.ptp(difference) > 0:
        test = stats.ttest_rel(a, b)
        found["t_p"] = test.pvalue
        found["ci_low"], found["ci_high"] = test.confidence_interval(CONFIDENCE)
    if n >= FEWEST_PAIRS and difference.any():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # With ties or zeros it uses a normal approximation.
            found["wilcoxon_p"] = stats.wilcoxon(difference).pvalue
    return found


def _pairs(table: Table) -> list[tuple[int, int]]:
    """UDAL against every other row of its base learner with the same score, and LA (Inf) against the plain score."""
    by_key = {(row.settings["base"], row.settings["method"], row.score): n for n, row in enumerate(table.rows)}
    if len(by_key) < len(table.rows):
        return []  # Several readings of one method: no single row is UDAL's.
    pairs = []
    for (base, method, score), row in by_key.items():
        udal, plain = by_key.get((base, "udal", score)), by_key.get((base, method, EMA))
        pairs += [(udal, row)] if udal is not None and method != "udal" else []
        pairs += [(row, plain)] if score == EMA_LA and plain is not None else []
    return pairs


def compare(tables: Iterable[Table]) -> pd.DataFrame:
    """A row of COLUMNS for each pair of methods with two folds in common in a table's column, by its first measure."""
    lines = []
    for table in tables:
        runs = table.runs[table.runs.measure == table.measures[0]]
        for number, column in enumerate(table.columns):
            of = runs[runs.column_number == number]
            values = of.pivot(index="fold", columns="row_number", values="value")
            for pair in _pairs(table):
                common = values[list(pair)].dropna() if set(pair) <= set(values) else pd.DataFrame()
                if len(common) > 1:
                    settings = [(table.rows[n].settings["base"], table.rows[n].settings["method"]) for n in pair]
                    names = [name_of(*own, table.rows[n].score) for own, n in zip(settings, pair, strict=True)]
                    labels = (column.heading, MEASURES[table.measures[0]], *names)
                    statistics = paired(common[pair[0]].to_numpy(), common[pair[1]].to_numpy())
                    folds = " ".join(map(str, list(common.index)))
                    lines.append({**dict(zip(COLUMNS, (*labels, folds), strict=False)), **statistics})
    # Tables 1 and 2 share runs: comparisons in both are listed once.
    return pd.DataFrame(lines, columns=list(COLUMNS)).drop_duplicates(["setting", "measure", "a", "b"])


def p_text(p: float) -> str:
    """A p-value, formatted for a table."""
    return "–" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def shown(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The comparisons, formatted for readers: `setting` to `B`, then the statistics."""
    spread = ["" if np.isnan(std) else f" ± {std:.1f}" for std in comparisons["std"]]
    interval = [
        "–" if np.isnan(low) else f"{table_text.signed(low)} to {table_text.signed(high)}"
        for low, high in zip(comparisons.ci_low, comparisons.ci_high, strict=True)
    ]
    return pd.DataFrame(
        {
            "setting": comparisons.setting,
            "measure": comparisons.measure,
            "A": comparisons.a,
            "B": comparisons.b,
            "A − B, points": comparisons.difference.map(table_text.signed) + spread,
            f"{CONFIDENCE:.0%} interval": interval,
            "pairs with A > B": comparisons.wins.astype(str) + " of " + comparisons.n.astype(str),
            "t-test p": comparisons.t_p.map(p_text),
            "Wilcoxon p": comparisons.wilcoxon_p.map(p_text),
            "folds (seed:fold)": comparisons.folds.str.replace(" ", ", "),
        },
        dtype=object,
    )


def markdown(comparisons: pd.DataFrame) -> str:
    """All comparisons as one table."""
    table = table_text.as_markdown(shown(comparisons).set_index("setting"))
    return f"## Paired comparisons\n\n{table}\n\n{CAUTION}\n"
