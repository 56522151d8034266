"""Tables 1 to 4 filled with finished runs: which run belongs into which of the paper's cells, and which into none.

A run stands in a column of the paper only if its settings are those of that cell, to the last one that could change a
figure; runs on other data, another protocol or another recipe get a table of their own with the paper's rows, and the
paper's figures beside them as columns that are marked as something else. The file is long because all rules of what may
stand beside what are here.
"""

import collections
import dataclasses
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from udal_tf.registry import BASE_LEARNERS, DATASETS, METHODS
from udal_tf.reporting import paper
from udal_tf.reporting.names import dataset_name, name_of
from udal_tf.reporting.paper import EMA, PaperTable, Row, Value
from udal_tf.reporting.runs import NUMERICS, Run, identity_of, shown

# What Figure 3 varies: such runs are points of a figure, not columns of a table.
ABLATED = ("alpha_min", "k", "generations", "select_alpha")


@dataclasses.dataclass(frozen=True)
class Cell:
    """What a table says at one place.

    runs: at most one per fold. measure, score: which of their figures. folds: those that belong there. printed: the
    paper's value. comparable: whether the runs are of the paper's own setting, so that a difference means something.
    generation: after which one of CReST the runs are read; None: at their end.
    """

    runs: tuple[Run, ...]
    measure: str
    score: str
    folds: tuple[int, ...]
    printed: Value | None = None
    comparable: bool = True
    generation: int | None = None

    @property
    def by_fold(self) -> dict[int, float]:
        """The figure of each fold, in percent."""
        return {run.fold: run.figure(self.measure, self.score, self.generation) for run in self.runs}

    def measured(self, measure: str) -> "Cell":
        """The same runs by another measure, for which nothing is printed."""
        return self if measure == self.measure else dataclasses.replace(self, measure=measure, printed=None)

    @property
    def missing(self) -> list[int]:
        """The folds without a run."""
        return [fold for fold in self.folds if fold not in self.by_fold]

    @property
    def mean(self) -> float | None:
        return statistics.mean(self.by_fold.values()) if self.runs else None

    @property
    def std(self) -> float | None:
        """Standard deviation of the sample; None for fewer than two folds."""
        return statistics.stdev(self.by_fold.values()) if len(self.runs) > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's, in points."""
        if self.mean is None or self.printed is None or not self.comparable:
            return None
        return self.mean - self.printed.mean


@dataclasses.dataclass(frozen=True)
class TableColumn:
    """label, and the labels above it. kind: "paper's setting", "other setting", or "paper" for figures alone."""

    label: str
    above: tuple[str, ...]
    kind: str

    @property
    def heading(self) -> str:
        """All labels in one line."""
        return ", ".join([*self.above, self.label])


@dataclasses.dataclass(frozen=True)
class TableRow:
    """label: as printed. base, method, score: what it is. cells: one per column; None: there is nothing to say."""

    label: str
    base: str
    method: str
    score: str
    cells: tuple[Cell | None, ...]
    in_paper: bool

    @property
    def full_label(self) -> str:
        """The label with its base learner, understood without the rows above."""
        return name_of(self.base, self.method, self.score)


@dataclasses.dataclass(frozen=True)
class Table:
    """A filled table. name: of its files. notes: sentences to print below.

    measures: of its figures; that of the cells, which the paper's values are of, comes first.
    """

    name: str
    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]
    measures: tuple[str, ...]

    @property
    def caption(self) -> str:
        """The title with the measures."""
        return f"{self.title} ({' and '.join(paper.MEASURES[measure] for measure in self.measures)}, %)"

    def shown_columns(self) -> list[tuple[int, str]]:
        """The columns to show as (place, measure): every measure where runs stand, the first one elsewhere."""
        return [
            (place, measure)
            for place in range(len(self.columns))
            for measure in self.measures
            if measure == self.measures[0] or any((cell := row.cells[place]) and cell.runs for row in self.rows)
        ]

    @property
    def runs(self) -> list[Run]:
        """Every run that stands in it."""
        return [run for row in self.rows for cell in row.cells if cell for run in cell.runs]


def setting_text(deviations: Mapping[str, Any]) -> str:
    """`γ = 50, β = 30 %, epochs 32`: what a column's runs have in common beside their data set."""
    symbols = {"imbalance": lambda v: f"γ = {v:g}", "beta": lambda v: f"β = {100 * v:g} %"}
    symbols |= {"alpha_min": lambda v: f"α_min = {v:g}", "k": lambda v: f"k = {v:g}"}
    symbols["protocol"] = lambda v: f"{v.upper()}'s protocol"
    return ", ".join(symbols.get(n, lambda v, n=n: f"{n} {shown(v)}")(v) for n, v in deviations.items())


def _folder_name(run: Run) -> str:
    """Of a folder of one's own; empty for a data set of the literature."""
    return pathlib.PurePath(run.settings["data_dir"]).name if DATASETS[run.settings["dataset"]].by_folder else ""


def dataset_text(run: Run) -> str:
    """`CIFAR10-LT`; `own pictures, flowers` for a folder of that name."""
    return ", ".join(filter(None, (dataset_name(run.settings["dataset"]), _folder_name(run))))


def variant_text(run: Run, but_for: Sequence[str] = ()) -> str:
    """What a run of another data set or recipe shares with those in its column: γ, β and where it leaves the recipe.

    A folder of one's own has neither γ nor, with all of its labels, β. but_for: settings that are not said.
    """
    always = ("imbalance",) if run.settings["protocol"] == "darp" else ("imbalance", "beta")
    own = always if DATASETS[run.settings["dataset"]].long_tailed else ()
    said = {**{name: run.settings[name] for name in own}, **run.deviations}
    return setting_text({name: value for name, value in said.items() if name not in but_for})


def _key(identity: Mapping[str, Any]) -> tuple:
    return tuple(sorted((name, value) for name, value in identity.items() if name not in NUMERICS))


class _Index:
    """Runs by their settings."""

    def __init__(self, runs: Iterable[Run]):
        self._by_key = collections.defaultdict(list)
        for run in runs:
            self._by_key[_key(run.identity)].append(run)

    def of(self, settings: Mapping[str, Any]) -> list[Run]:
        """The runs of these settings, whatever their fold, draw and numerics."""
        return self._by_key.get(_key(identity_of(settings)), [])


def _variant(run: Run) -> tuple[str, str]:
    return run.draw, setting_text(run.numerics)


def _chosen(runs: Iterable[Run], variant: tuple[str, str] | None) -> tuple[Run, ...]:
    return tuple(sorted((run for run in runs if _variant(run) == variant), key=lambda run: run.fold))


def _extra_rows(known: Iterable[Row], runs: Iterable[Run], columns: int) -> tuple[list[Row], list[Row]]:
    """Rows for base learners and methods that the paper's table lacks: supervised ones, to stand first, and others."""
    listed = {(row.settings["base"], row.settings["method"], row.score) for row in known}
    first: list[Row] = []
    last: list[Row] = []
    for base, method in dict.fromkeys(run.pair for run in runs):
        for score in (EMA, paper.EMA_LA):
            if (base, method, score) not in listed:
                row = Row(name_of(base, method, score), {"base": base, "method": method}, score, (None,) * columns)
                (last if BASE_LEARNERS[base].unlabeled_views else first).append(row)
    order = list(METHODS)
    for rows in (first, last):
        rows.sort(key=lambda row: (row.settings["base"], order.index(row.settings["method"]), row.score))
    return first, last


def paper_table(table: PaperTable, runs: Sequence[Run]) -> Table:
    """The paper's table with the runs of its own settings; a further draw or numerics doubles a column."""
    index = _Index(runs)
    rows = list(table.rows)
    if all(set(row.settings) == {"base", "method"} for row in rows) and table.name != "table2":
        pairs = {run.pair: run for run in runs}
        here = [
            run
            for (base, method), run in pairs.items()
            if any(index.of({**column.settings, "base": base, "method": method}) for column in table.columns)
        ]
        first, last = _extra_rows(rows, here, len(table.columns))
        rows = [*first, *rows, *last]
    columns, draws = [], {}
    cells: list[list[Cell | None]] = [[] for _ in rows]
    for place, column in enumerate(table.columns):
        found = [index.of(table.settings_of(row, place)) if _has_cell(table, row, place) else [] for row in rows]
        seen = sorted({_variant(run) for runs_of_row in found for run in runs_of_row})
        variants: Sequence[tuple[str, str] | None] = seen or [None]
        for variant in variants:
            label = column.label + (f", {variant[1]}" if variant and variant[1] else "")
            columns.append(TableColumn(label, column.above, "paper's setting"))
            if variant:
                draws[columns[-1].heading] = variant[0]
            for row, runs_of_row, line in zip(rows, found, cells, strict=True):
                cell = Cell(
                    _chosen(runs_of_row, variant),
                    table.measures[0],
                    row.score,
                    table.folds,
                    row.values[place],
                    generation=row.generations.get(place),
                )
                line.append(cell if _has_cell(table, row, place) else None)
    filled = tuple(_filled(row, line) for row, line in zip(rows, cells, strict=True))
    notes = (*_draw_notes(draws), *table.notes)
    return Table(table.name, table.title, tuple(columns), filled, notes, table.measures)


def _draw_notes(draws: Mapping[str, str]) -> tuple[str, ...]:
    """Which pictures the columns show; one note where it is the same rule for all."""
    said = {heading: f"ictures drawn by {draw or 'an unknown rule'}." for heading, draw in draws.items()}
    if len(set(said.values())) == 1:
        return (f"P{next(iter(said.values()))}",)
    return tuple(f"{heading}: p{text}" for heading, text in said.items())


def _has_cell(table: PaperTable, row: Row, place: int) -> bool:
    """Whether a row has a cell there: everywhere in Tables 1 to 3, where the paper has no dash in Table 4."""
    return row.values[place] is not None or table.name != paper.TABLE_4.name


def _filled(row: Row, cells: Sequence[Cell | None]) -> TableRow:
    in_paper = any(value is not None for value in row.values)
    return TableRow(row.label, row.settings["base"], row.settings["method"], row.score, tuple(cells), in_paper)


def other_tables(runs: Sequence[Run]) -> list[Table]:
    """Tables with the paper's rows for runs that stand in none of its own cells, one per data set."""
    groups: dict[tuple[str, str], dict[Any, list[Run]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for run in runs:
        if not set(run.deviations) & set(ABLATED):
            layout = paper.TABLE_3 if run.settings["protocol"] == "darp" else paper.TABLE_1
            column = (tuple(sorted(run.deviations.items())), run.draw)
            groups[layout.name, run.settings["dataset"]][column].append(run)
    return [_other_table(paper.TABLES[name], dataset, groups[name, dataset]) for name, dataset in sorted(groups)]


def _other_table(layout: PaperTable, dataset: str, by_column: Mapping[tuple, list[Run]]) -> Table:
    everything = [run for runs in by_column.values() for run in runs]
    first, last = _extra_rows(layout.rows, everything, len(layout.columns))
    rows = [*first, *layout.rows, *last]
    name = dataset_name(dataset)
    ordered = sorted(by_column.items(), key=lambda item: (-len(item[1]), str(item[0])))
    columns, draws = [], {}
    for (_, draw), runs in ordered:
        heading = ", ".join(filter(None, (_folder_name(runs[0]), variant_text(runs[0]))))
        columns.append(TableColumn(heading, (name,), "other setting"))
        draws[columns[-1].heading] = draw
    for column in layout.columns:
        columns.append(TableColumn(column.label, ("paper: another data set or recipe", *column.above), "paper"))
    notes = (
        *_draw_notes(draws),
        "The paper's columns are of another data set or recipe; differences to them mean nothing.",
    )
    filled = []
    for row in rows:
        cells: list[Cell | None] = []
        for _, runs in ordered:
            own = sorted((run for run in runs if run.pair == tuple(row.settings.values())), key=lambda run: run.fold)
            cells.append(Cell(tuple(own), layout.measures[0], row.score, paper.FOLDS, None, False))
        cells += [Cell((), layout.measures[0], row.score, (), value, False) if value else None for value in row.values]
        filled.append(_filled(row, cells))
    title = f"The rows of {layout.name.replace('table', 'Table ')} on {name}"
    return Table(f"{layout.name}_{dataset}", title, tuple(columns), tuple(filled), notes, layout.measures)


def build_tables(runs: Sequence[Run]) -> list[Table]:
    """The paper's four tables with their twins, then those of other data, for the runs that stand in none of them."""
    tables = [paper_table(table, runs) for table in paper.TABLES.values()]
    used = {run.label for table in tables for run in table.runs}
    return tables + other_tables([run for run in runs if run.label not in used])
