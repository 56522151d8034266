"""Tables 1 to 4 filled with finished runs: all rules for which results may be compared with which.

A run is in a cell of the paper only if every setting that can affect the score is that cell's. Runs on the paper's
datasets with another protocol or recipe get separate tables with its rows, where its values are in columns that are
marked as not comparable; other datasets are in `own_data`. What holds this file together: these rules, from a row's
settings to the means of its cells.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from udal_tf import shown_names
from udal_tf.registry import BASE_LEARNERS, DATASETS, METHODS
from udal_tf.reporting import paper
from udal_tf.reporting.names import base_name, dataset_name, name_of
from udal_tf.reporting.paper import EMA, PaperTable, Row, Value
from udal_tf.reporting.runs import NUMERICS, Run, identity_of, shown

# Settings varied in Figure 3: such runs are points of a figure, not columns of a table.
ABLATED = ("alpha_min", "k", "generations", "select_alpha")
# Kinds of columns: runs of the paper's setting, runs of another one, or the paper's values alone.
PAPERS_SETTING, OTHER_SETTING, PAPER = "paper's setting", "other setting", "paper"
_KEYS = ["row_number", "column_number", "measure"]


@dataclasses.dataclass(frozen=True)
class TableColumn:
    """A column: its label, the labels above it, and its kind (PAPERS_SETTING, OTHER_SETTING or PAPER)."""

    label: str
    above: tuple[str, ...]
    kind: str

    @property
    def heading(self) -> str:
        """All labels in one line."""
        return ", ".join([*self.above, self.label])


@dataclasses.dataclass(frozen=True)
class TableCell:
    """The contents of a cell, before averaging.

    Attributes:
      row: its number.
      column: its number.
      runs: at most one per fold.
      folds: that the mean is to be over.
      printed: the paper's value.
      generation: of CReST, after which the runs are evaluated; None: after the last.
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

    Attributes:
      name: of its files.
      title: without the measures.
      measures: of its scores; the paper's values are of the first.
      notes: sentences below the table.
      rows: by their numbers.
      columns: by their numbers.
      runs: a row per run, cell and measure: row_number, column_number, measure, fold, value in percent, run.
      cells: a row per cell and measure: row_number, column_number, `CELL_COLUMNS`, and "best": whether the mean is
        the best of its column, among two or more.
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
        """The title and the measures."""
        return f"{self.title} ({' and '.join(paper.MEASURES[measure] for measure in self.measures)}, %)"

    def present(self) -> "Table":
        """The table without rows and columns that have no runs; columns of kind PAPER stay."""
        cells = self.cells[self.cells.row_number.isin(self.runs.row_number)]
        kept = (cells.column_number.isin(self.runs.column_number)) | (cells.kind == PAPER)
        return dataclasses.replace(self, cells=cells[kept])


# Of a table's CSV; scores are in percent, differences (ours minus the paper's) in points.
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
    layout: PaperTable, rows: Sequence[Row], columns: Sequence[TableColumn], contents: Iterable[TableCell], **texts: Any
) -> Table:
    """A table of these cells, with means and sample standard deviations over folds; texts: name, title, notes."""
    lines, cells = [], []
    for cell in contents:
        row, column = rows[cell.row], columns[cell.column]
        present = {run.fold for run in cell.runs}
        missing = [fold for fold in cell.folds if fold not in present]
        for measure in layout.measures if column.kind != PAPER else layout.measures[:1]:
            at = (cell.row, cell.column, measure)
            lines += [(*at, r.fold, r.figure(measure, row.score, cell.generation), r.label) for r in cell.runs]
            printed = cell.printed if measure == layout.measures[0] else None
            cells.append(
                {
                    **dict(zip(_KEYS, at, strict=True)),
                    "row": row_label(row),
                    "base": row.settings["base"],
                    "method": row.settings["method"],
                    "score": row.score,
                    "column": column.heading,
                    "kind": column.kind,
                    "folds": _joined(sorted(present)),
                    "missing_folds": _joined(missing),
                    "paper_mean": printed.mean if printed else None,
                    "paper_std": printed.std if printed else None,
                }
            )
    runs = pd.DataFrame(lines, columns=[*_KEYS, "fold", "value", "run"])
    statistics = runs.groupby(_KEYS).value.agg(mean="mean", std="std", n="count")
    frame = pd.DataFrame(cells).join(statistics, on=_KEYS).assign(table=texts["name"])
    frame[["mean", "std", "paper_mean", "paper_std"]] = frame[["mean", "std", "paper_mean", "paper_std"]].astype(float)
    frame["n"] = frame["n"].fillna(0).astype(int)
    frame["difference"] = frame["mean"] - frame["paper_mean"]
    shown_mean = frame["mean"].round(1)
    groups = shown_mean.groupby([frame.column_number, frame.measure])
    frame["best"] = (groups.transform("count") > 1) & (shown_mean == groups.transform("max"))
    frame = frame[["row_number", "column_number", *CELL_COLUMNS, "best"]]
    return Table(measures=layout.measures, rows=tuple(rows), columns=tuple(columns), runs=runs, cells=frame, **texts)


def setting_text(deviations: Mapping[str, Any]) -> str:
    """`γ = 50, β = 30 %, epochs 32`: settings by name, for a heading."""
    symbols = {"imbalance": lambda v: f"γ = {v:g}", "beta": lambda v: f"β = {100 * v:g} %"}
    symbols |= {"alpha_min": lambda v: f"α_min = {v:g}", "k": lambda v: f"k = {v:g}"}
    symbols["protocol"] = lambda v: f"{v.upper()}'s protocol"
    return ", ".join(symbols.get(n, lambda v, n=n: f"{n} {shown(v)}")(v) for n, v in deviations.items())


def _folder_name(run: Run) -> str:
    """The folder of a custom dataset, or its CSV file; empty for a standard one."""
    if not DATASETS[run.settings["dataset"]].by_folder:
        return ""
    return shown_names.shown(pathlib.PurePath(run.settings["data_dir"] or run.settings.get("labels", "")).name)


def dataset_text(run: Run) -> str:
    """`CIFAR10-LT`; `custom images, flowers` for a folder of that name."""
    return ", ".join(filter(None, (dataset_name(run.settings["dataset"]), _folder_name(run))))


def variant_text(run: Run, omit: Sequence[str] = ()) -> str:
    """The heading of a run of another dataset or recipe: γ, β and its deviations from the recipe, except `omit`.

    A custom dataset has no γ, and β only if some labels are unused.
    """
    always = ("imbalance",) if run.settings["protocol"] == "darp" else ("imbalance", "beta")
    own = always if DATASETS[run.settings["dataset"]].long_tailed else ()
    settings = {**{name: run.settings[name] for name in own}, **run.deviations}
    return setting_text({name: value for name, value in settings.items() if name not in omit})


def common_settings(runs: Sequence[Run]) -> tuple[str, ...]:
    """The deviations, by name, that all runs share: said once for all of them. The seed is none."""
    first, *others = (run.deviations for run in runs)
    same = (n for n, v in first.items() if n != "seed" and all(n in of and of[n] == v for of in others))
    return tuple(same)


def differing_settings(run: Run, common: Iterable[str]) -> dict[str, Any]:
    """The run's deviations that are not in `common`, without the seed."""
    return {name: value for name, value in run.deviations.items() if name != "seed" and name not in common}


def _key(identity: Mapping[str, Any]) -> tuple:
    return tuple(sorted((name, value) for name, value in identity.items() if name not in NUMERICS))


class _Index:
    """Runs by their settings."""

    def __init__(self, runs: Iterable[Run]):
        self._by_key = collections.defaultdict(list)
        for run in runs:
            self._by_key[_key(run.identity)].append(run)

    def of(self, settings: Mapping[str, Any]) -> list[Run]:
        """The runs with these settings, of any fold, draw and numerics."""
        return self._by_key.get(_key(identity_of(settings)), [])


def _variant(run: Run) -> tuple[str, str]:
    return run.draw, setting_text(run.numerics)


def _extra_rows(known: Iterable[Row], runs: Iterable[Run], columns: int) -> tuple[list[Row], list[Row]]:
    """Rows for base learners and methods missing from the paper's table: supervised ones, to come first, and others."""
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
    """The paper's table with the runs of its settings; each further draw or numerics adds a column."""
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
    columns, contents, draws = [], [], {}
    for at, column in enumerate(table.columns):
        # Table 4 has no cells where the paper has a dash.
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
                contents.append(TableCell(n, len(columns) - 1, chosen, table.folds, printed, generation))
    notes = (*_draw_notes(draws), *table.notes)
    return filled(table, rows, columns, contents, name=table.name, title=table.title, notes=notes)


def _draw_notes(draws: Mapping[str, str]) -> tuple[str, ...]:
    """How the images of the columns were sampled; a single note if it is the same for all."""
    notes = {heading: f"mages sampled by {draw or 'an unknown rule'}." for heading, draw in draws.items()}
    if len(set(notes.values())) == 1:
        return (f"I{next(iter(notes.values()))}",)
    return tuple(f"{heading}: i{note}" for heading, note in notes.items())


def other_tables(runs: Sequence[Run]) -> list[Table]:
    """Tables with the paper's rows for runs that belong in none of its cells, one per dataset."""
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
    columns, contents, draws = [], [], {}
    for (_, draw), runs in sorted(by_column.items(), key=lambda item: (-len(item[1]), str(item[0]))):
        heading = ", ".join(filter(None, (_folder_name(runs[0]), variant_text(runs[0]))))
        columns.append(TableColumn(heading, (name,), OTHER_SETTING))
        draws[columns[-1].heading] = draw
        for n, row in enumerate(rows):
            own = tuple(run for run in runs if run.pair == tuple(row.settings.values()))
            contents.append(TableCell(n, len(columns) - 1, own, paper.FOLDS))
    for at, column in enumerate(layout.columns):
        columns.append(TableColumn(column.label, ("paper: another dataset or recipe", *column.above), PAPER))
        contents += [
            TableCell(n, len(columns) - 1, printed=row.values[at]) for n, row in enumerate(rows) if row.values[at]
        ]
    notes = (
        *_draw_notes(draws),
        "The paper's columns are of another dataset or recipe and not comparable.",
    )
    title = f"The rows of {layout.name.replace('table', 'Table ')} on {name}"
    return filled(layout, rows, columns, contents, name=f"{layout.name}_{dataset}", title=title, notes=notes)


def build_tables(runs: Sequence[Run]) -> list[Table]:
    """All tables of `paper.TABLES`, then tables of other settings for the runs that are in none of them.

    runs: on datasets that the paper has results on; those of others are in `own_data.own_tables`.
    """
    tables = [paper_table(table, runs) for table in paper.TABLES.values()]
    used = {label for table in tables for label in table.runs.run}
    return tables + other_tables([run for run in runs if run.label not in used])
