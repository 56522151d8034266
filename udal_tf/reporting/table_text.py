"""A filled table as Markdown, CSV and LaTeX; what a cell says is worded here once, for the HTML page as well."""

import csv
import io
from collections.abc import Sequence

from udal_tf.reporting.names import base_name
from udal_tf.reporting.paper import MEASURES, Value
from udal_tf.reporting.tables import Cell, Table, TableColumn, TableRow

NO_RUN = "no run"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "δ": r"$\delta$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
}
PLACE_COLUMNS = ("table", "row", "base", "method", "score", "column", "kind", "folds", "missing_folds")


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def value_text(value: Value | None) -> str:
    """The paper's figure as it prints it."""
    if value is None:
        return "–"
    return f"{value.mean:.1f}" + (f" ± {value.std:.2f}" if value.std is not None else "")


def own_text(cell: Cell) -> str:
    """`88.0 ± 3.2`: the runs' mean ± standard deviation over folds."""
    if not cell.runs:
        return NO_RUN
    return f"{cell.mean:.1f}" + (f" ± {cell.std:.1f}" if cell.std is not None else "")


def missing_text(cell: Cell) -> str:
    """Which folds a mean lacks; empty where none is missing or there is no run at all."""
    if not cell.runs or not cell.missing:
        return ""
    return f"fold{'s' * (len(cell.missing) > 1)} {', '.join(map(str, cell.missing))} missing"


def difference_text(cell: Cell) -> str:
    """`+0.3`: ours less the paper's, in points; empty where they cannot be compared."""
    return "" if cell.difference is None else _signed(cell.difference, 1)


def cell_text(cell: Cell | None, column: TableColumn) -> str:
    """All that a cell says, in one line."""
    if cell is None:
        return "–"
    if column.kind == "paper":
        return value_text(cell.printed)
    parts = [own_text(cell) + (f" ({missing_text(cell)})" if missing_text(cell) else "")]
    if column.kind == "paper's setting" and cell.printed is not None:
        parts.append(f"paper {value_text(cell.printed)}")
        parts += [difference_text(cell)] if cell.difference is not None else []
    return " · ".join(parts)


def row_labels(table: Table) -> list[str]:
    """The rows' labels, `w/ …` with its base learner: `FixMatch w/ DA (α_min = 0.5)`."""
    return [f"{base_name(row.base)} {row.label}" if row.label.startswith("w/") else row.label for row in table.rows]


def measured_cells(table: Table, row: TableRow) -> list[tuple[Cell | None, TableColumn]]:
    """What a row shows in each of the table's shown columns."""
    return [
        ((cell := row.cells[place]) and cell.measured(measure), table.columns[place])
        for place, measure in table.shown_columns()
    ]


def corner(table: Table) -> str:
    """Above the rows' labels: the measure, where the columns do not say theirs."""
    return f"{MEASURES[table.measures[0]]} in %" if len(_shown_measures(table)) == 1 else "in %"


def _shown_measures(table: Table) -> set[str]:
    return {measure for _, measure in table.shown_columns()}


def caption(table: Table) -> str:
    """`Table 4: … (balanced accuracy, %)`."""
    return f"{table.name.split('_')[0].replace('table', 'Table ')}: {table.caption}"


def markdown(table: Table) -> str:
    """A heading, the table and its notes."""
    several = len(_shown_measures(table)) > 1
    headings = [
        table.columns[place].heading + (f", {MEASURES[measure]}" if several else "")
        for place, measure in table.shown_columns()
    ]
    lines = [f"## {caption(table)}", "", f"| {corner(table)} | " + " | ".join(headings) + " |"]
    lines.append("|---" * (len(headings) + 1) + "|")
    for label, row in zip(row_labels(table), table.rows, strict=True):
        cells = [cell_text(cell, column) for cell, column in measured_cells(table, row)]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", *(f"- {note}" for note in table.notes)] if table.notes else []
    return "\n".join(lines) + "\n"


def csv_text(table: Table) -> str:
    """A line per cell, with every figure in a column of its own that says its measure."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    own = [f"{measure}_{statistic}" for measure in table.measures for statistic in ("mean", "std")]
    first = table.measures[0]
    papers = [f"paper_{first}_mean", f"paper_{first}_std", f"{first}_difference"]
    writer.writerow([*PLACE_COLUMNS, *own, *papers])
    for label, row in zip(row_labels(table), table.rows, strict=True):
        for cell, column in zip(row.cells, table.columns, strict=True):
            if cell is None:
                continue
            place = [table.name, label, row.base, row.method, row.score, column.heading, column.kind]
            place += [" ".join(map(str, cell.by_fold))]
            place += [" ".join(map(str, cell.missing)) if column.kind != "paper" else ""]
            measured = [cell.measured(measure) for measure in table.measures]
            figures = [figure for one in measured for figure in (one.mean, one.std)]
            figures += [cell.printed.mean, cell.printed.std] if cell.printed else [None, None]
            figures += [cell.difference]
            writer.writerow([*place, *("" if figure is None else f"{figure:.4f}" for figure in figures)])
    return file.getvalue()


def _latex(text: str) -> str:
    marked = text.replace("α_min", "\0")
    return "".join(_LATEX.get(character, character) for character in marked).replace("\0", r"$\alpha_{\min}$")


def _spans(labels: Sequence[str]) -> list[tuple[str, int]]:
    """Neighbours of one label joined: (label, how many)."""
    spans: list[tuple[str, int]] = []
    for label in labels:
        if spans and spans[-1][0] == label:
            spans[-1] = (label, spans[-1][1] + 1)
        else:
            spans.append((label, 1))
    return spans


def heading_rows(table: Table) -> list[list[tuple[str, int]]]:
    """The headings from the top down, each a list of (label, shown columns that it spans).

    The lowest says the measures, where the shown columns have several.
    """
    depth = max(len(column.above) for column in table.columns)
    shown = table.shown_columns()
    above = [table.columns[place].above for place, _ in shown]
    padded = [("",) * (depth - len(labels)) + labels for labels in above]
    rows = []
    for level in range(depth):
        # A label spans its neighbors only below one and the same label.
        paths = ["\0".join(labels[: level + 1]) for labels in padded]
        rows.append([(path.split("\0")[-1], count) for path, count in _spans(paths)])
    places = [place for place, _ in shown]
    rows.append([(table.columns[place].label, places.count(place)) for place in dict.fromkeys(places)])
    return [*rows, [(MEASURES[measure], 1) for _, measure in shown]] if len(_shown_measures(table)) > 1 else rows


def latex(table: Table) -> str:
    """A table for the booktabs package; below our figure the paper's and the difference, in small type."""
    lines = ["% \\usepackage{booktabs}", "\\begin{table}", "\\centering", f"\\caption{{{_latex(caption(table))}}}"]
    lines += [f"\\begin{{tabular}}{{l{'c' * len(table.shown_columns())}}}", "\\toprule"]
    for heading in heading_rows(table):
        spanning = [f"\\multicolumn{{{n}}}{{c}}{{{_latex(label)}}}" if n > 1 else _latex(label) for label, n in heading]
        lines.append("& " + " & ".join(spanning) + " \\\\")
    lines.append("\\midrule")
    for label, row in zip(row_labels(table), table.rows, strict=True):
        cells = []
        for cell, column in measured_cells(table, row):
            first, *rest = cell_text(cell, column).split(" · ")
            cells.append(_latex(first) + (f" {{\\scriptsize ({_latex(', '.join(rest))})}}" if rest else ""))
        lines.append(f"{_latex(label)} & " + " & ".join(cells) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}", *(f"% {note}" for note in table.notes), "\\end{table}"]
    return "\n".join(lines) + "\n"
