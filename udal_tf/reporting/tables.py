"""Tables 1 to 4 filled with finished runs: which run belongs into which of the paper's cells, and which into none.

A run stands in a column of the paper only if its settings are those of that cell, to the last one that could change a
figure; runs on other data, another protocol or another recipe get a table of their own with the paper's rows, and the
paper's figures beside them as columns that are marked as something else. The file is long because all rules of what may
stand beside what are here.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from udal_tf.registry import BASE_LEARNERS, DATASETS, METHODS
from udal_tf.reporting import paper
from udal_tf.reporting.names import base_name, dataset_name, name_of
from udal_tf.reporting.paper import EMA, PaperTable, Row, Value
from udal_tf.reporting.runs import NUMERICS, Run, identity_of, shown

# What Figure 3 varies: such runs are points of a figure, not columns of a table.
ABLATED = ("alpha_min", "k", "generations", "select_alpha")
# Of a column: runs of the paper's own setting, of another one, or the paper's figures alone.
PAPERS_SETTING, OTHER_SETTING, PAPER = "paper's setting", "other setting", "paper"
_PLACE = ["row_number", "column_number", "measure"]


@dataclasses.dataclass(frozen=True)
class TableColumn:
    """label, and the labels above it. kind: PAPERS_SETTING, OTHER_SETTING or PAPER."""

    label: str
    above: tuple[str, ...]
    kind: str

    @property
    def heading(self) -> str:
        """All labels in one line."""
        return ", ".join([*self.above, self.label])


@dataclasses.dataclass(frozen=True)
class Place:
    """What stands where a row and a column of a table meet, by their numbers.

    runs: at most one per fold. folds: those that belong there. printed: the paper's value.
    generation: after which one of CReST the runs are read; None: at their end.
    """

    row: int
    column: int
    runs: tuple[Run, ...] = ()
    folds: tuple[int, ...] = ()
    printed: Value | None = None
    generation: int | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A filled table.

    name: of its files. measures: of its figures; the first is that of the paper's values. notes: sentences to print
    below. rows, columns: by their numbers.
    runs: a line for each run, place and measure: row_number, column_number, measure, fold, value in percent, run.
    cells: a line for each place and measure: row_number, column_number, then what `CELL_COLUMNS` says, and whether the
      mean is the best of its column, of two or more.
    """

    name: str
    title: str
    measures: tuple[str, ...]
    notes: tuple[str, ...]
    rows: tuple[Row, ...]
    columns: tuple[TableColumn, ...]
    runs: pd.DataFrame
    cells: pd.DataFrame

    @property
    def caption(self) -> str:
        """The title with the measures."""
        return f"{self.title} ({' and '.join(paper.MEASURES[measure] for measure in self.measures)}, %)"

    def present(self) -> "Table":
        """The table without the rows and columns in which no run stands; the paper's own columns stay for the rest."""
        cells = self.cells[self.cells.row_number.isin(self.runs.row_number)]
        kept = (cells.column_number.isin(self.runs.column_number)) | (cells.kind == PAPER)
        return dataclasses.replace(self, cells=cells[kept])


# Of a table's CSV; figures are in percent, differences in points: ours less the paper's.
CELL_COLUMNS = (
    "table", "row", "base", "method", "score", "column", "kind", "measure", "mean", "std", "n", "folds",
    "missing_folds", "paper_mean", "paper_std", "difference",
)  # fmt: skip


def row_label(row: Row) -> str:
    """A row's label, `w/ …` with its base learner: `FixMatch w/ DA (α_min = 0.5)`."""
    return f"{base_name(row.settings['base'])} {row.label}" if row.label.startswith("w/") else row.label


def _joined(folds: Iterable[int]) -> str:
    return " ".join(map(str, folds))


def filled(
    layout: PaperTable, rows: Sequence[Row], columns: Sequence[TableColumn], places: Iterable[Place], **said: Any
) -> Table:
    """A table of these places; means and standard deviations of the sample are over folds. said: name, title, notes."""
    lines, cells = [], []
    for place in places:
        row, column = rows[place.row], columns[place.column]
        stands = {run.fold for run in place.runs}
        missing = [fold for fold in place.folds if fold not in stands]
        for measure in layout.measures if column.kind != PAPER else layout.measures[:1]:
            at = (place.row, place.column, measure)
            lines += [(*at, r.fold, r.figure(measure, row.score, place.generation), r.label) for r in place.runs]
            printed = place.printed if measure == layout.measures[0] else None
            cells.append(
                {
                    **dict(zip(_PLACE, at, strict=True)),
                    "row": row_label(row),
                    "base": row.settings["base"],
                    "method": row.settings["method"],
                    "score": row.score,
                    "column": column.heading,
                    "kind": column.kind,
                    "folds": _joined(sorted(stands)),
                    "missing_folds": _joined(missing),
                    "paper_mean": printed.mean if printed else None,
                    "paper_std": printed.std if printed else None,
                }
            )
    runs = pd.DataFrame(lines, columns=[*_PLACE, "fold", "value", "run"])
    statistics = runs.groupby(_PLACE).value.agg(mean="mean", std="std", n="count")
    frame = pd.DataFrame(cells).join(statistics, on=_PLACE).assign(table=said["name"])
    frame[["mean", "std", "paper_mean", "paper_std"]] = frame[["mean", "std", "paper_mean", "paper_std"]].astype(float)
    frame["n"] = frame["n"].fillna(0).astype(int)
    frame["difference"] = frame["mean"] - frame["paper_mean"]
    shown_mean = frame["mean"].round(1)
    groups = shown_mean.groupby([frame.column_number, frame.measure])
    frame["best"] = (groups.transform("count") > 1) & (shown_mean == groups.transform("max"))
    frame = frame[["row_number", "column_number", *CELL_COLUMNS, "best"]]
    return Table(measures=layout.measures, rows=tuple(rows), columns=tuple(columns), runs=runs, cells=frame, **said)


def setting_text(deviations: Mapping[str, Any]) -> str:
    """`γ = 50, β = 30 %, epochs 32`: what a column's runs have in common beside their dataset."""
    symbols = {"imbalance": lambda v: f"γ = {v:g}", "beta": lambda v: f"β = {100 * v:g} %"}
    symbols |= {"alpha_min": lambda v: f"α_min = {v:g}", "k": lambda v: f"k = {v:g}"}
    symbols["protocol"] = lambda v: f"{v.upper()}'s protocol"
    return ", ".join(symbols.get(n, lambda v, n=n: f"{n} {shown(v)}")(v) for n, v in deviations.items())


def _folder_name(run: Run) -> str:
    """Of a folder of one's own; empty for a dataset of the literature."""
    return pathlib.PurePath(run.settings["data_dir"]).name if DATASETS[run.settings["dataset"]].by_folder else ""


def dataset_text(run: Run) -> str:
    """`CIFAR10-LT`; `custom images, flowers` for a folder of that name."""
    return ", ".join(filter(None, (dataset_name(run.settings["dataset"]), _folder_name(run))))


def variant_text(run: Run, but_for: Sequence[str] = ()) -> str:
    """What a run of another dataset or recipe shares with those in its column: γ, β and where it leaves the recipe.

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
    columns, places, draws = [], [], {}
    for at, column in enumerate(table.columns):
        # The places of Table 4 are those where the paper has no dash.
        there = [n for n, row in enumerate(rows) if row.values[at] is not None or table.name != paper.TABLE_4.name]
        found = {n: index.of(table.settings_of(rows[n], at)) for n in there}
        seen = sorted({_variant(run) for runs_of_row in found.values() for run in runs_of_row})
        variants: Sequence[tuple[str, str] | None] = seen or [None]
        for variant in variants:
            label = column.label + (f", {variant[1]}" if variant and variant[1] else "")
            columns.append(TableColumn(label, column.above, PAPERS_SETTING))
            if variant:
                draws[columns[-1].heading] = variant[0]
            for n, runs_of_row in found.items():
                printed, generation = rows[n].values[at], rows[n].generations.get(at)
                chosen = tuple(run for run in runs_of_row if _variant(run) == variant)
                places.append(Place(n, len(columns) - 1, chosen, table.folds, printed, generation))
    notes = (*_draw_notes(draws), *table.notes)
    return filled(table, rows, columns, places, name=table.name, title=table.title, notes=notes)


def _draw_notes(draws: Mapping[str, str]) -> tuple[str, ...]:
    """Which images the columns show; one note where it is the same rule for all."""
    said = {heading: f"mages drawn by {draw or 'an unknown rule'}." for heading, draw in draws.items()}
    if len(set(said.values())) == 1:
        return (f"I{next(iter(said.values()))}",)
    return tuple(f"{heading}: i{text}" for heading, text in said.items())


def other_tables(runs: Sequence[Run]) -> list[Table]:
    """Tables with the paper's rows for runs that stand in none of its own cells, one per dataset."""
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
    rows, name = [*first, *layout.rows, *last], dataset_name(dataset)
    columns, places, draws = [], [], {}
    for (_, draw), runs in sorted(by_column.items(), key=lambda item: (-len(item[1]), str(item[0]))):
        heading = ", ".join(filter(None, (_folder_name(runs[0]), variant_text(runs[0]))))
        columns.append(TableColumn(heading, (name,), OTHER_SETTING))
        draws[columns[-1].heading] = draw
        for n, row in enumerate(rows):
            own = tuple(run for run in runs if run.pair == tuple(row.settings.values()))
            places.append(Place(n, len(columns) - 1, own, paper.FOLDS))
    for at, column in enumerate(layout.columns):
        columns.append(TableColumn(column.label, ("paper: another dataset or recipe", *column.above), PAPER))
        places += [Place(n, len(columns) - 1, printed=row.values[at]) for n, row in enumerate(rows) if row.values[at]]
    notes = (
        *_draw_notes(draws),
        "The paper's columns are of another dataset or recipe; differences to them mean nothing.",
    )
    title = f"The rows of {layout.name.replace('table', 'Table ')} on {name}"
    return filled(layout, rows, columns, places, name=f"{layout.name}_{dataset}", title=title, notes=notes)


def build_tables(runs: Sequence[Run]) -> list[Table]:
    """The paper's four tables with their twins, then those of other data, for the runs that stand in none of them."""
    tables = [paper_table(table, runs) for table in paper.TABLES.values()]
    used = {label for table in tables for label in table.runs.run}
    return tables + other_tables([run for run in runs if run.label not in used])
