"""Tables of datasets that the paper has no results on, and whether methods were worth it, in a sentence each.

A row is a method with the settings in which the runs differ; only runs that exist have one. Means are over seeds and
folds, differences over pairs of runs that have both in common. What holds this file together: these rules, from a run's
settings to the sentence about its method.
"""

import dataclasses
import functools
import itertools
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from udal_tf.registry import BASE_LEARNERS, DATASETS, METHODS
from udal_tf.reporting import comparison, paper, table_text
from udal_tf.reporting.names import name_of
from udal_tf.reporting.paper import ACCURACY, BALANCED, EMA, EMA_LA
from udal_tf.reporting.runs import Run
from udal_tf.reporting.tables import common_settings, dataset_text, differing_settings, setting_text, variant_text
from udal_tf.reporting.terminal import PLAIN_WIDTH
from udal_tf.reporting.terminal import table_text as table_text_of
from udal_tf.sections import DataConfig
from udal_tf.settings import Section
from udal_tf.shown_names import shown

RAREST = "rarest_third_recall"
MEASURES = {**paper.MEASURES, RAREST: "recall of the rarest third"}
PAPERS_DATASETS = frozenset(column.settings["dataset"] for table in paper.TABLES.values() for column in table.columns)
# Settings of the data section that do not decide which images there are, and which of them are labeled.
_SAME_IMAGES = ("fold", "image_size")
# Class names that a note lists before it only counts them.
MOST_NAMED = 10
# Of a table's CSV; scores are in percent. pairs: seed:fold of each run.
CELL_COLUMNS = ("table", "row", "base", "method", "score", "measure", "mean", "std", "n", "pairs")
# Identifies a row: base learner, method, its differing settings as text, and the score.
RowKey = tuple[str, str, str, str]


@dataclasses.dataclass(frozen=True)
class OwnTable:
    """A table of one dataset.

    Attributes:
      name: of its files.
      title: the dataset.
      common: the settings that all of its runs share, formatted; "" if these are the recipe's.
      notes: sentences below the table.
      labels: row -> its label, in order.
      values: a row per run and score: "row", "seed", "fold", and a column for each of MEASURES, in percent.
    """

    name: str
    title: str
    common: str
    notes: tuple[str, ...]
    labels: Mapping[RowKey, str]
    values: pd.DataFrame

    def by_pair(self, row: RowKey, measure: str) -> pd.Series:
        """The values of a row, indexed by seed and fold."""
        of = self.values[self.values.row == row]
        return of.set_index(["seed", "fold"])[measure].dropna()

    @functools.cached_property
    def cells(self) -> pd.DataFrame:
        """CELL_COLUMNS for each row and measure, and "best": whether the mean is the best of two or more."""
        lines = []
        for row, label in self.labels.items():
            base, method, _, score = row
            for measure in MEASURES:
                values = self.by_pair(row, measure)
                pairs = " ".join(f"{seed}:{fold}" for seed, fold in values.index)
                numbers = (values.mean(), values.std(ddof=1), len(values), pairs)
                of = (self.name, label, base, method, score, measure, *numbers)
                lines.append(dict(zip(CELL_COLUMNS, of, strict=True)))
        frame = pd.DataFrame(lines, columns=list(CELL_COLUMNS))
        rounded = frame["mean"].round(1)
        of_measure = rounded.groupby(frame.measure)
        frame["best"] = (of_measure.transform("count") > 1) & (rounded == of_measure.transform("max"))
        return frame


def is_own(run: Run) -> bool:
    """Whether the paper has no results on the run's dataset."""
    return run.settings["dataset"] not in PAPERS_DATASETS


def rarest_third(p_data: Sequence[float]) -> list[int]:
    """The rarest third of the classes, at least one; of equally frequent ones, the last.

    >>> rarest_third([0.1, 0.5, 0.2, 0.1, 0.05, 0.05])
    [4, 5]
    """
    count = max(1, round(len(p_data) / 3))
    return sorted(np.argsort(-np.asarray(p_data), kind="stable")[-count:].tolist())


def _images(run: Run) -> tuple[Any, ...]:
    """What decides which images there are and which of them are labeled."""
    own = DATASETS[run.settings["dataset"]].settings
    sections: list[type[Section]] = [DataConfig, *([own] if own else [])]
    names = [field.name for section in sections for field in dataclasses.fields(section)]
    names = [name for name in [*names, "plugin_sha256"] if name in run.identity and name not in _SAME_IMAGES]
    return run.draw, tuple((name, run.identity[name]) for name in names)


def _scores(run: Run, score: str, rarest: Sequence[int]) -> dict[str, float]:
    recalls = [run.result.per_class_recall[score][c] for c in rarest]
    known = [recall for recall in recalls if recall is not None]
    found = {measure: run.figure(measure, score) for measure in (ACCURACY, BALANCED)}
    return {**found, RAREST: 100 * float(np.mean(known)) if known else np.nan}


def own_tables(runs: Sequence[Run]) -> list[OwnTable]:
    """A table for each set of images that the paper has no results on, the one with the most runs first."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        if is_own(run):
            groups.setdefault(_images(run), []).append(run)
    ordered = sorted(groups.values(), key=len, reverse=True)
    return [_table(f"own{number}", of) for number, of in enumerate(ordered, start=1)]


def _row_of(run: Run, common: Iterable[str]) -> tuple[str, str, str]:
    return (*run.pair, setting_text(differing_settings(run, common)))


def _table(name: str, runs: Sequence[Run]) -> OwnTable:
    common = common_settings(runs)
    rarest = rarest_third(runs[0].result.p_data)
    order = list(METHODS)

    def place(row: tuple[str, str, str]) -> tuple:
        base, method, settings = row
        return BASE_LEARNERS[base].unlabeled_views != 0, base, order.index(method), settings

    rows = sorted({_row_of(run, common) for run in runs}, key=place)
    labels = {
        (*row, score): ", ".join(filter(None, (name_of(*row[:2], score), row[2])))
        for row in rows
        for score in (EMA, EMA_LA)
    }
    values = [
        {
            "row": (*_row_of(run, common), score),
            "seed": run.settings["seed"],
            "fold": run.fold,
            **_scores(run, score, rarest),
        }
        for run in runs
        for score in (EMA, EMA_LA)
    ]
    named = [shown(runs[0].result.class_names[c]) for c in rarest]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    notes = (
        "Test scores of the EMA weights in percent after the last epoch, mean ± sample standard deviation over seeds "
        "and folds.",
        f"The rarest third of the classes, by their labeled images: {', '.join(named[:MOST_NAMED])}{more}.",
    )
    variant = variant_text(runs[0], omit=[name for name in runs[0].deviations if name not in common])
    return OwnTable(name, dataset_text(runs[0]), variant, notes, labels, pd.DataFrame(values))


def _reference(table: OwnTable, row: RowKey, base: str, method: str) -> RowKey | None:
    """The row of another method to compare a row with: that of the same differing settings, else of none of them."""
    for settings in (row[2], ""):
        found = (base, method, settings, row[3])
        if found in table.labels and found != row:
            return found
    alike = [other for other in table.labels if other[:2] == (base, method) and other[3] == row[3] and other != row]
    return alike[0] if len(alike) == 1 and (base, method) != row[:2] else None


def _alone(table: OwnTable, row: RowKey) -> RowKey | None:
    """The row of training on the labeled images alone that a row is compared with."""
    bases = [base for base, record in BASE_LEARNERS.items() if not record.unlabeled_views]
    found = [_reference(table, row, base, "none") for base in bases]
    return next((one for one in found if one), None)


def pairs(table: OwnTable) -> Iterator[tuple[RowKey, RowKey, str]]:
    """Rows (A, B) to compare, and what B is in words."""
    for row in table.labels:
        base, method, _, score = row
        if score == EMA_LA:
            yield row, (*row[:3], EMA), "the same without LA (Inf)"
            continue
        if not BASE_LEARNERS[base].unlabeled_views:
            continue
        if alone := _alone(table, row):
            yield row, alone, "the labeled images alone"
        if method != "none" and (unaligned := _reference(table, row, base, "none")):
            yield row, unaligned, f"{name_of(base, 'none')} without it"
    plain = [row for row in table.labels if row[2:] == ("", EMA)]
    for row, other in itertools.product(plain, repeat=2):
        if row[1] == "udal" and other[0] == row[0] and other[1] not in ("udal", "none"):
            yield row, other, table.labels[other]


def _differences(table: OwnTable, a: RowKey, b: RowKey, measure: str) -> pd.DataFrame:
    """The values of both rows, columns "a" and "b", at the seeds and folds that they have in common."""
    both = {"a": table.by_pair(a, measure), "b": table.by_pair(b, measure)}
    return pd.DataFrame(both).dropna().sort_index()


def interval(difference: Sequence[float]) -> tuple[float, float] | None:
    """The confidence interval of a mean difference, by Student's t; None if there are fewer than two or no spread."""
    if len(difference) < 2 or np.ptp(difference) == 0:
        return None
    from scipy import stats  # Here, as in `comparison.paired`.

    error = stats.sem(difference)
    low, high = stats.t.interval(comparison.CONFIDENCE, len(difference) - 1, loc=np.mean(difference), scale=error)
    return float(low), float(high)


def worth(difference: Sequence[float]) -> str:
    """How much was gained, in words, from paired differences of balanced accuracy in points.

    >>> worth([6.1])
    '+6.1 points of balanced accuracy (a single pair of runs: repeat with other seeds)'
    """
    n = len(difference)
    gained = f"{table_text.signed(float(np.mean(difference)))} points of balanced accuracy"
    if n == 1:
        return f"{gained} (a single pair of runs: repeat with other seeds)"
    found = interval(difference)
    if found is None:
        return f"{gained} (the same in all {n} pairs)"
    low, high = map(table_text.signed, found)
    open_question = "; no difference is not ruled out" if found[0] <= 0 <= found[1] else ""
    percent = f"{100 * comparison.CONFIDENCE:.0f} %"
    return f"{gained} ({percent} interval {low} to {high}, {n} pairs{open_question})"


def answers(table: OwnTable) -> list[str]:
    """A sentence for each method: what it gained over the labeled images alone, and over no alignment."""
    sentences = []
    for a, b, words in pairs(table):
        if a[3] == EMA and words != table.labels[b]:
            both = _differences(table, a, b, BALANCED)
            found = worth((both.a - both.b).tolist()) if len(both) else "no pair of runs with the same seed and fold"
            sentences.append(f"{table.labels[a]} against {words}: {found}.")
    if not any(not BASE_LEARNERS[row[0]].unlabeled_views for row in table.labels):
        sentences.append(
            "What the unlabeled images are worth is unknown: train on the labeled ones alone as well "
            "(--base=supervised --method=none)."
        )
    return sentences


def compare(tables: Iterable[OwnTable]) -> pd.DataFrame:
    """A row of `comparison.COLUMNS` for each of `pairs` with two pairs of runs, by balanced accuracy."""
    lines = []
    for table in tables:
        for a, b, _ in pairs(table):
            both = _differences(table, a, b, BALANCED)
            if len(both) < 2:
                continue
            seeds = {seed for seed, _ in both.index}
            folds = " ".join(f"{fold}" if len(seeds) == 1 else f"{seed}:{fold}" for seed, fold in both.index)
            heading = ", ".join(filter(None, (table.title, table.common)))
            of = (heading, MEASURES[BALANCED], table.labels[a], table.labels[b], folds)
            lines.append({**dict(zip(comparison.COLUMNS, of, strict=False)), **comparison.paired(both.a, both.b)})
    return pd.DataFrame(lines, columns=list(comparison.COLUMNS))


def number_text(cell: Any) -> str:
    """`88.0 ± 3.2`; a dash where no run has the score."""
    return table_text.value_text(cell.mean, cell.std) if cell.n else "–"


def grid(table: OwnTable, bold: str = "{}") -> pd.DataFrame:
    """The table as strings: a row per label, a column per measure, and the number of runs."""
    cells = table.cells.itertuples()
    by_row = [[next(cells) for _ in MEASURES] for _ in table.labels]
    texts = [
        [*(bold.format(number_text(c)) if c.best else number_text(c) for c in row), str(row[0].n)] for row in by_row
    ]
    return pd.DataFrame(texts, index=list(table.labels.values()), columns=[*MEASURES.values(), "runs"], dtype=object)


def caption(table: OwnTable) -> str:
    """`flowers: accuracy, balanced accuracy and recall of the rarest third in %`."""
    *first, last = MEASURES.values()
    return f"{table.title}: {', '.join(first)} and {last} in %"


def markdown(table: OwnTable) -> str:
    """A heading, the answers, the table and its notes."""
    head = f"All runs: {table.common}.\n\n" if table.common else ""
    listed = "".join(f"- {one}\n" for one in answers(table))
    notes = "".join(f"- {note}\n" for note in table.notes)
    text = table_text.as_markdown(grid(table, "**{}**").rename_axis("in %"))
    return f"## {caption(table)}\n\n{head}{listed}\n{text}\n\n{notes}"


def text(table: OwnTable) -> str:
    """For the console: the table, and below it the answers."""
    rows = [[label, *cells] for label, *cells in grid(table).itertuples(name=None)]
    headings = ["in %", "accuracy", "balanced", "rarest third", "runs"]
    head = [table.title, *([f"All runs: {table.common}"] if table.common else [])]
    wrapped = [textwrap.fill(one, PLAIN_WIDTH, break_on_hyphens=False) for one in (*head, *answers(table))]
    return "\n".join([*wrapped[: len(head)], table_text_of(headings, rows), *wrapped[len(head) :]])


def latex(table: OwnTable) -> str:
    """The table for the booktabs package; the best of each column is bold."""
    frame = grid(table, "\\textbf{{{}}}").map(lambda text: text.replace("±", r"$\pm$").replace("–", "--"))
    frame.index = list(map(table_text.escaped, frame.index))
    return table_text.latex_table(frame, caption(table), table.notes)
