"""A filled table as Markdown, CSV and LaTeX; what a cell says is worded here once, for the HTML page as well."""

import csv
import io
from collections.abc import Sequence

from udal_tf.reporting.names import base_name
from udal_tf.reporting.paper import Value
from udal_tf.reporting.tables import Cell, Table, TableColumn

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
CSV_COLUMNS = (
    "table", "row", "base", "method", "score", "column", "kind", "mean", "std", "folds", "missing_folds",
    "paper_mean", "paper_std", "difference",
)  # fmt: skip


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


def markdown(table: Table) -> str:
    """A heading, the table and its notes."""
    lines = [f"## {table.name.split('_')[0].replace('table', 'Table ')}: {table.title}", ""]
    lines.append("| accuracy in % | " + " | ".join(column.heading for column in table.columns) + " |")
    lines.append("|---" * (len(table.columns) + 1) + "|")
    for label, row in zip(row_labels(table), table.rows, strict=True):
        cells = [cell_text(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", *(f"- {note}" for note in table.notes)] if table.notes else []
    return "\n".join(lines) + "\n"


def csv_text(table: Table) -> str:
    """A line per cell, with every figure in a column of its own."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for label, row in zip(row_labels(table), table.rows, strict=True):
        for cell, column in zip(row.cells, table.columns, strict=True):
            if cell is None:
                continue
            figures = [cell.mean, cell.std, " ".join(map(str, cell.by_fold))]
            figures += [" ".join(map(str, cell.missing)) if column.kind != "paper" else ""]
            figures += [cell.printed.mean, cell.printed.std] if cell.printed else [None, None]
            shown = [
                "" if f is None else f"{f:.4f}" if isinstance(f, float) else f for f in (*figures, cell.difference)
            ]
            writer.writerow([table.name, label, row.base, row.method, row.score, column.heading, column.kind, *shown])
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
    """The headings from the top down, each a list of (label, columns that it spans); the lowest has one per column."""
    depth = max(len(column.above) for column in table.columns)
    padded = [("",) * (depth - len(column.above)) + column.above for column in table.columns]
    rows = []
    for level in range(depth):
        # A label spans its neighbours only below one and the same label.
        paths = ["\0".join(above[: level + 1]) for above in padded]
        rows.append([(path.split("\0")[-1], count) for path, count in _spans(paths)])
    return [*rows, [(column.label, 1) for column in table.columns]]


def latex(table: Table) -> str:
    """A tabular for the booktabs package; below our figure the paper's and the difference, in small type."""
    lines = ["% \\usepackage{booktabs}", f"\\begin{{tabular}}{{l{'c' * len(table.columns)}}}", "\\toprule"]
    for row in heading_rows(table):
        cells = [f"\\multicolumn{{{n}}}{{c}}{{{_latex(label)}}}" if n > 1 else _latex(label) for label, n in row]
        lines.append("& " + " & ".join(cells) + " \\\\")
    lines.append("\\midrule")
    for label, row in zip(row_labels(table), table.rows, strict=True):
        cells = []
        for cell, column in zip(row.cells, table.columns, strict=True):
            first, *rest = cell_text(cell, column).split(" · ")
            cells.append(_latex(first) + (f" {{\\scriptsize ({_latex(', '.join(rest))})}}" if rest else ""))
        lines.append(f"{_latex(label)} & " + " & ".join(cells) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}", *(f"% {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"
