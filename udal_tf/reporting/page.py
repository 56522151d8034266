"""The report as one self-contained HTML page with inline SVG figures and no scripts.

It fits a phone's width, in light and dark mode; wide tables scroll separately.
"""

import importlib.resources
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import pandas as pd

from udal_tf.reporting import comparison, own_data, table_text
from udal_tf.reporting import figures as figures_of
from udal_tf.reporting.names import name_of
from udal_tf.reporting.paper import ACCURACY, BALANCED, EMA, EMA_LA
from udal_tf.reporting.plotting import SavedFigure
from udal_tf.reporting.runs import LeftOut, Run
from udal_tf.reporting.tables import PAPER, Table
from udal_tf.shown_names import shown

_TEMPLATES = importlib.resources.files(__package__) / "templates"
_FORMATTERS = (table_text.cell_text, table_text.own_text, table_text.missing_text, table_text.paper_texts)


def _table(table: Table) -> dict[str, Any]:
    frame = table_text.grid(table, lambda cell: cell)
    papers = [table.columns[number].kind == PAPER for number, _ in table_text.shown_columns(table)]
    headings = []
    for row in table_text.heading_rows(frame.columns):
        starts = itertools.accumulate((count for _, count in row), initial=0)
        headings.append([(*one, papers[start]) for one, start in zip(row, starts, strict=False)])
    return {
        "name": table.name,
        "title": table.caption if "_" in table.name else table_text.caption(table),
        "headings": headings,
        "corner": table_text.corner(table),
        "rows": list(zip(frame.index, frame.to_numpy().tolist(), strict=True)),
        "notes": table.notes,
        "has_runs": not table.runs.empty,
    }


def _comparisons(comparisons: pd.DataFrame) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """(setting and measure, rows of (A − B, statistics)), settings in the order of the tables."""
    shown = comparison.shown(comparisons)
    return [
        (f"{setting}; {measure}", [(f"{line[2]} − {line[3]}", line[4:]) for line in of.to_numpy().tolist()])
        for (setting, measure), of in shown.groupby(["setting", "measure"], sort=False)
    ]


def _text(values: Any) -> str:
    """A mapping as `name: value; …`; anything else unchanged."""
    if not isinstance(values, Mapping):
        return str(values or "not recorded")
    texts = {n: json.dumps(v, ensure_ascii=False) if isinstance(v, (dict, list)) else v for n, v in values.items()}
    return "; ".join(f"{name}: {value}" for name, value in texts.items()) or "not recorded"


def _run(run: Run) -> dict[str, Any]:
    result = run.result
    recorded = "" if run.record.get("command") else " (reconstructed from the settings)"
    facts = {
        f"command{recorded}": run.command(),
        "commit": _text(result.commit or run.record.get("commit")),
        "hardware": _text(result.hardware or run.record.get("hardware")),
        "time": f"{result.steps:,} steps in {result.seconds:,.0f} s",
        "data": _text(result.data),
        "versions": _text(result.versions),
        "LA (Inf) prior": result.la_prior.kind,
        "config": " ".join(f"{name}={value}" for section in result.config.values() for name, value in section.items()),
    }
    scores = ", with LA (Inf) ".join(
        f"{run.figure(ACCURACY, score):.1f} % (balanced {run.figure(BALANCED, score):.1f} %)" for score in (EMA, EMA_LA)
    )
    summary = f"{name_of(*run.pair)}, fold {run.fold}: {scores}"
    facts = {name: shown(value) for name, value in facts.items()}
    return {"summary": summary, "label": run.label, "facts": list(facts.items())}


def _own(table: own_data.OwnTable) -> dict[str, Any]:
    cells = iter(table.cells.itertuples())
    rows = [(label, [next(cells) for _ in own_data.MEASURES]) for label in table.labels.values()]
    return {
        "name": table.name,
        "title": own_data.caption(table),
        "common": table.common,
        "answers": own_data.answers(table),
        "headings": [[(heading, 1, False) for heading in own_data.grid(table).columns]],
        "rows": [(label, [(own_data.number_text(c), c.best) for c in of], of[0].n) for label, of in rows],
        "notes": table.notes,
    }


def page(
    own: Sequence[own_data.OwnTable],
    tables: Sequence[Table],
    comparisons: pd.DataFrame,
    figures: Sequence[SavedFigure],
    runs: Sequence[Run],
    left_out: Sequence[LeftOut],
) -> str:
    """The whole page; tables with runs come first.

    Args:
      own: tables of datasets that are not the paper's.
      tables: the paper's.
      comparisons: of both.
      figures: all of them.
      runs: all of them.
      left_out: folders without a run that can be used.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.globals |= {function.__name__: function for function in _FORMATTERS}
    template = environment.from_string((_TEMPLATES / "report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        style=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        own=[_own(table) for table in own],
        common=figures_of.common_texts(runs),
        tables=[_table(table) for table in sorted(tables, key=lambda table: table.runs.empty)],
        comparisons=_comparisons(comparisons),
        comparison_headings=[(name, 1, False) for name in comparison.shown(comparisons).columns[4:]],
        caution=comparison.CAUTION,
        figures=figures,
        left_out=left_out,
        runs=[_run(run) for run in runs],
    )
