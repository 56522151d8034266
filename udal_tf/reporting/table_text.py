"""A filled table as Markdown, as LaTeX and for the page; the text of a cell is the same in all."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from udal_tf.reporting.paper import MEASURES
from udal_tf.reporting.tables import PAPER, PAPERS_SETTING, Table, row_label

NO_RUN = "no run"
_LATEX = {
    "α_min": r"$\alpha_{\min}$", "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$",
    "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "±": r"$\pm$", "−": "$-$", "–": "--",
}  # fmt: skip


def value_text(mean: float, std: float, digits: int = 1) -> str:
    """`88.0 ± 3.2`, or the mean alone without a standard deviation, which has two digits in the paper."""
    return f"{mean:.1f}" + ("" if pd.isna(std) else f" ± {std:.{digits}f}")


def signed(value: float) -> str:
    """`+0.3`; negative values have a typographic minus."""
    return f"{round(value, 1) + 0.0:+.1f}".replace("-", "−")  # No negative zero.


def own_text(cell: Any) -> str:
    """The runs' mean ± standard deviation over folds."""
    return value_text(cell.mean, cell.std) if cell.n else NO_RUN


def missing_text(cell: Any) -> str:
    """The folds missing from a mean; empty if there are none, or no runs at all."""
    folds = cell.missing_folds.split()
    return f"fold{'s' * (len(folds) > 1)} {', '.join(folds)} missing" if cell.n and folds else ""


def paper_texts(cell: Any) -> list[str]:
    """`paper 80.2 ± 0.59` and, if there are runs, the difference from it; empty if the paper has no value."""
    if pd.isna(cell.paper_mean) or cell.kind != PAPERS_SETTING:
        return []
    return [f"paper {value_text(cell.paper_mean, cell.paper_std, 2)}", *([signed(cell.difference)] if cell.n else [])]


def cell_text(cell: Any) -> str:
    """A cell's full text in one line; cell: a row of `Table.cells`, or None for an empty cell."""
    if cell is None:
        return "–"
    if cell.kind == PAPER:
        return value_text(cell.paper_mean, cell.paper_std, 2)
    missing = f" ({missing_text(cell)})" if missing_text(cell) else ""
    return " · ".join([own_text(cell) + missing, *paper_texts(cell)])


def shown_columns(table: Table) -> list[tuple[int, str]]:
    """The columns to show as (number, measure): all measures if it has runs, otherwise the first."""
    with_runs = set(table.runs.column_number)
    return [
        (number, measure)
        for number in sorted(table.cells.column_number.unique())
        for measure in (table.measures if number in with_runs else table.measures[:1])
    ]


def _names_measures(table: Table) -> bool:
    return len({measure for _, measure in shown_columns(table)}) > 1


def grid(table: Table, text: Callable[[Any], Any]) -> pd.DataFrame:
    """The table as a frame with the cells formatted by `text`; column labels are from the top down.

    The lowest labels are the measures, if the columns shown have several.
    """
    shown = shown_columns(table)
    depth = max(len(table.columns[number].above) for number, _ in shown)
    headings = []
    for number, measure in shown:
        above = table.columns[number].above
        labels = ("",) * (depth - len(above)) + (*above, table.columns[number].label)
        headings.append(labels + ((MEASURES[measure],) if _names_measures(table) else ()))
    numbers = sorted(table.cells.row_number.unique())
    at = {(cell.row_number, cell.column_number, cell.measure): cell for cell in table.cells.itertuples()}
    return pd.DataFrame(
        [[text(at.get((row, *place))) for place in shown] for row in numbers],
        index=[row_label(table.rows[row]) for row in numbers],
        columns=pd.MultiIndex.from_tuples(headings),
        dtype=object,
    )


def heading_rows(columns: Iterable[Sequence[str]]) -> list[list[tuple[str, int]]]:
    """The heading rows of a grid from the top down, each a list of (label, number of columns spanned)."""
    columns = list(columns)
    rows = []
    for depth in range(1, len(columns[0]) + 1):
        # A label spans adjacent columns only below the same parent label.
        groups = itertools.groupby(columns, key=lambda labels: labels[:depth])
        rows.append([(labels[-1], sum(1 for _ in same)) for labels, same in groups])
    return rows


def corner(table: Table) -> str:
    """The top left cell: the measure, unless the columns name theirs."""
    return "in %" if _names_measures(table) else f"{MEASURES[table.measures[0]]} in %"


def caption(table: Table) -> str:
    """`Table 4: … (balanced accuracy, %)`."""
    return f"{table.name.split('_')[0].replace('table', 'Table ')}: {table.caption}"


def as_markdown(frame: pd.DataFrame) -> str:
    """A frame of strings as a Markdown table."""
    return frame.map(lambda text: text.replace("|", "\\|")).to_markdown(disable_numparse=True)


def markdown(table: Table) -> str:
    """A heading, the table and its notes."""
    frame = grid(table, cell_text)
    frame.columns = [", ".join(filter(None, labels)) for labels in frame.columns]
    notes = "".join(f"- {note}\n" for note in table.notes)
    return f"## {caption(table)}\n\n{as_markdown(frame.rename_axis(corner(table)))}\n" + (notes and f"\n{notes}")


def escaped(text: str) -> str:
    """The text for LaTeX."""
    for number, plain in enumerate(_LATEX):
        text = text.replace(plain, chr(0xE000 + number))  # Private-use characters, which no later replacement matches.
    for number, marked in enumerate(_LATEX.values()):
        text = text.replace(chr(0xE000 + number), marked)
    return text


def _latex_cell(cell: Any) -> str:
    """The score, bold if it is the best of its column; in small type missing folds and the paper's value."""
    if cell is None or cell.kind == PAPER:
        return escaped(cell_text(cell))
    own = escaped(own_text(cell)) if cell.n else ""
    small = [f"$n$ = {cell.n}"] if cell.n and cell.missing_folds else []
    small = [*small, *map(escaped, paper_texts(cell))]
    parts = [rf"\textbf{{{own}}}" if cell.best else own, rf"{{\scriptsize ({', '.join(small)})}}" if small else ""]
    return " ".join(filter(None, parts))


def latex(table: Table) -> str:
    """A table for the booktabs package."""
    frame = grid(table, _latex_cell)
    frame.index = list(map(escaped, frame.index))
    frame.columns = pd.MultiIndex.from_tuples([tuple(map(escaped, labels)) for labels in frame.columns])
    return latex_table(frame, caption(table), table.notes)


def latex_table(frame: pd.DataFrame, title: str, notes: Sequence[str]) -> str:
    """A frame of LaTeX cells as a table for the booktabs package, with notes as comments."""
    text = frame.style.to_latex(
        hrules=True, multicol_align="c", column_format="l" + "c" * len(frame.columns), position_float="centering",
        caption=escaped(title),
    )  # fmt: skip
    comments = "".join(f"% {note}\n" for note in notes)
    return "% \\usepackage{booktabs}\n" + text.replace("\\end{table}", f"{comments}\\end{{table}}")
