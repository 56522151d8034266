"""`report.html`: tables, figures and every run on one page that needs nothing else, neither a network nor a script."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from udal_tf.reporting import comparison, table_text
from udal_tf.reporting.comparison import Comparison
from udal_tf.reporting.drawing import Picture
from udal_tf.reporting.paper import ACCURACY, BALANCED, EMA, EMA_LA
from udal_tf.reporting.runs import LeftOut, Run
from udal_tf.reporting.tables import Cell, Table, TableColumn, name_of

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #5b6470; --line: #d5dae0; --tint: #f3f5f8;
  --accent: #00588f; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ed; --soft: #a0a9b4; --line: #363c44;
  --tint: #1d2127; --accent: #7cc0f2; --warn: #f0b060; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 84rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { margin-top: 2.5rem; font-size: 1.25rem; }
h3 { margin: 1.75rem 0 0.5rem; font-size: 1.05rem; }
a { color: var(--accent); } nav a { display: inline-block; margin-right: 1rem; padding: 0.25rem 0; }
p, li, figcaption, .note { max-width: 48rem; } .note, figcaption, small { color: var(--soft); font-size: 0.875rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 0.4rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.35rem 0.7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; background: var(--tint); max-width: 13rem; vertical-align: bottom; }
tbody tr:last-child > * { border-bottom: 0; }
tbody th { font-weight: 500; position: sticky; left: 0; background: var(--paper); min-width: 8.5rem; }
td { white-space: nowrap; } td.paper, th.paper { background: var(--tint); color: var(--soft); font-style: italic; }
td small { display: block; } .warn { color: var(--warn); } td.none { color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figure h3 { margin-top: 0; } figure svg { width: 100%; height: auto; display: block; }
details { border-bottom: 1px solid var(--line); padding: 0.35rem 0; } summary { cursor: pointer; }
summary small { margin-left: 0.5rem; } dl { display: grid; grid-template-columns: 1fr; gap: 0 1rem; margin: 0.5rem 0; }
dt { font-weight: 600; } dd { margin: 0 0 0.5rem; }
code { font: 0.85rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
@media (min-width: 45rem) { dl { grid-template-columns: 9rem 1fr; } tbody th { white-space: nowrap; } }
@media print { nav { display: none; } .figures { display: block; } figure { break-inside: avoid; } }
"""


def _text(value: Any) -> str:
    return html.escape(str(value))


def _cell(cell: Cell | None, column: TableColumn) -> str:
    kind = ' class="paper"' if column.kind == "paper" else ""
    if cell is None:
        return f"<td{kind}>–</td>"
    if column.kind == "paper":
        return f"<td{kind}>{_text(table_text.value_text(cell.printed))}</td>"
    lines = [_text(table_text.own_text(cell))]
    if table_text.missing_text(cell):
        lines.append(f'<small class="warn">{_text(table_text.missing_text(cell))}</small>')
    if column.kind == "paper's setting" and cell.printed:
        lines.append(f"<small>paper {_text(table_text.value_text(cell.printed))}</small>")
        if cell.difference is not None:
            lines.append(f"<small>difference {_text(table_text.difference_text(cell))}</small>")
    start = "<td>" if cell.runs else '<td class="none">'
    return f"{start}{''.join(lines)}</td>"


def _table(table: Table) -> str:
    kinds = [table.columns[place].kind for place, _ in table.shown_columns()]
    rows = []
    headings = table_text.heading_rows(table)
    for depth, heading in enumerate(headings):
        first = f"<th>{_text(table_text.corner(table)) if depth == len(headings) - 1 else ''}</th>"
        cells, left = [], list(kinds)
        for label, count in heading:
            spanned, left = left[:count], left[count:]
            marked = set(spanned) == {"paper"}
            cells.append(f'<th colspan="{count}"{" class=paper" if marked else ""}>{_text(label)}</th>')
        rows.append(f"<tr>{first}{''.join(cells)}</tr>")
    body = []
    for label, row in zip(table_text.row_labels(table), table.rows, strict=True):
        shown = "".join(_cell(cell, column) for cell, column in table_text.measured_cells(table, row))
        body.append(f"<tr><th>{_text(label)}</th>{shown}</tr>")
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in table.notes)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(table.title)}"><table><thead>'
        f"{''.join(rows)}</thead><tbody>{''.join(body)}</tbody></table></div>{notes}"
    )


def _table_section(table: Table) -> str:
    title = table.caption if "_" in table.name else table_text.caption(table)
    if table.runs:
        return f'<h3 id="{_text(table.name)}">{_text(title)}</h3>{_table(table)}'
    return f"<details><summary>{_text(title)} <small>no finished run</small></summary>{_table(table)}</details>"


def _comparisons(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return "<p>No two methods have two folds of one setting in common.</p>"
    head = "".join(f"<th>{_text(name)}</th>" for name in ("A − B", *comparison.HEADINGS[5:], comparison.HEADINGS[4]))
    by_setting: dict[str, list[str]] = {}
    for one in comparisons:
        setting, measure, a, b, folds, *figures = comparison.line(one)
        cells = "".join(f"<td>{_text(value)}</td>" for value in (*figures, folds))
        by_setting.setdefault(f"{setting}; {measure}", []).append(f"<tr><th>{_text(a)} − {_text(b)}</th>{cells}</tr>")
    parts = [
        f"<details{' open' if place == 0 else ''}><summary>{_text(setting)}</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(setting)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
        for place, (setting, rows) in enumerate(by_setting.items())
    ]
    return f'<p class="note">{_text(comparison.CAUTION)}</p>{"".join(parts)}'


def _figure(picture: Picture) -> str:
    return (
        f'<figure id="{_text(picture.name)}"><h3>{_text(picture.title)}</h3>{picture.svg}'
        f"<figcaption>{_text(picture.caption)}</figcaption></figure>"
    )


def _facts(values: Mapping[str, Any]) -> str:
    parts = []
    for name, value in values.items():
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
        parts.append(f"{name}: {shown}")
    return "; ".join(parts) or "not recorded"


def hardware_of(run: Run) -> str:
    """What the run's result, or the sweep's record, says of the machine."""
    known = run.result.hardware or run.record.get("hardware")
    return _facts(known) if isinstance(known, dict) else str(known or "not recorded")


def commit_of(run: Run) -> str:
    """The commit that the run's result, or the sweep's record, names."""
    return str(run.result.commit or run.record.get("commit") or "not recorded")


def _run(run: Run) -> str:
    config = " ".join(f"{name}={value}" for section in run.result.config.values() for name, value in section.items())
    recorded = "" if run.record.get("command") else " (not recorded; gives the same settings)"
    facts = {
        f"command{recorded}": f"<code>{_text(run.command())}</code>",
        "commit": _text(commit_of(run)),
        "hardware": _text(hardware_of(run)),
        "time": _text(f"{run.result.steps:,} steps in {run.result.seconds:,.0f} s"),
        "data": _text(_facts(run.result.data)),
        "versions": _text(_facts(run.result.versions)),
        "LA (Inf) takes away": _text(run.result.la_prior.kind),
        "config": f"<code>{_text(config)}</code>",
    }
    lines = "".join(f"<dt>{_text(name)}</dt><dd>{value}</dd>" for name, value in facts.items())
    scores = ", with LA (Inf) ".join(
        f"{run.figure(ACCURACY, score):.1f} % (balanced {run.figure(BALANCED, score):.1f} %)" for score in (EMA, EMA_LA)
    )
    summary = f"{_text(name_of(*run.pair))}, fold {run.fold}: {scores} <small>{_text(run.label)}</small>"
    return f"<details><summary>{summary}</summary><dl>{lines}</dl></details>"


def _left_out(left_out: Iterable[LeftOut]) -> str:
    items = "".join(f"<li><code>{_text(one.label)}</code>: {_text(one.reason)}</li>" for one in left_out)
    return f"<ul>{items}</ul>" if items else "<p>Nothing: every folder holds a finished, readable run.</p>"


def page(
    tables: Sequence[Table],
    comparisons: Sequence[Comparison],
    pictures: Sequence[Picture],
    runs: Sequence[Run],
    left_out: Sequence[LeftOut],
) -> str:
    """The whole page."""
    sections = {
        "tables": (
            "Tables",
            "<p>Test figures of the EMA weights in percent, mean ± standard deviation of the sample over folds. Each "
            "table says its measure; where it has two, the paper's figures stand beside the first. Balanced accuracy "
            "is the mean per-class recall; rows with “LA (Inf)” take the log prior away from the logits of the same "
            "runs. Only runs of the paper's own settings stand in its columns.</p>"
            + "".join(map(_table_section, _shown_first(tables))),
        ),
        "comparisons": ("Which beats which", _comparisons(comparisons)),
        "figures": ("Figures", f'<div class="figures">{"".join(map(_figure, pictures))}</div>'),
        "left_out": (f"Left out ({len(left_out)})", _left_out(left_out)),
        "runs": (f"Runs ({len(runs)})", "".join(map(_run, runs))),
    }
    links = "".join(f'<a href="#{name}">{_text(title)}</a>' for name, (title, _) in sections.items())
    body = "".join(f'<h2 id="{name}">{_text(title)}</h2>{content}' for name, (title, content) in sections.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>UDAL: tables, figures and runs</title><style>{_STYLE}</style></head><body>"
        f"<h1>UDAL: tables, figures and runs</h1><p>{len(runs)} finished runs.</p><nav>{links}</nav>{body}"
        "</body></html>\n"
    )


def _shown_first(tables: Sequence[Table]) -> list[Table]:
    return sorted(tables, key=lambda table: not table.runs)
