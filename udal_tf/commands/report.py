"""`udal report DIR... --out=OUT`: tables, figures and one page from finished runs alone.

  udal report runs --out=report

Every run below the folders is read. Runs on datasets that the paper has no results on, such as your own, get a table
per dataset and a sentence on what each method gained; runs on the paper's datasets, its tables. OUT gets report.html, a
single self-contained page; tables/ with each table in Markdown, CSV and LaTeX, the paired comparisons, and runs.csv
with a line per run; figures/ as PNG and SVG. Runs that cannot be read are listed and left out.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence

import pandas as pd

from udal_tf import storage
from udal_tf.commands import program
from udal_tf.reporting import (
    comparison,
    figures,
    own_data,
    page,
    plotting,
    run_figures,
    run_table,
    table_text,
    tables,
    terminal,
)
from udal_tf.reporting.runs import LeftOut, Run, read_runs
from udal_tf.run_dir import RESULT
from udal_tf.shown_names import shown
from udal_tf.storage import write_text

PAGE = "report.html"
TABLES = "tables"
FIGURES = "figures"
_WRITTEN = {TABLES: (".md", ".csv", ".tex"), FIGURES: (".png", ".svg")}


@contextlib.contextmanager
def _folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folder to write to: `out`, or, in a bucket, one that is put there when it is complete, the page last."""
    if not storage.is_remote(out):
        yield out
        return
    with storage.written_whole(out, last=PAGE, replaced=_is_ours) as folder:
        yield pathlib.Path(folder)


def _is_ours(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return file.endswith(_WRITTEN.get(folder, ()))


def _clear(out: pathlib.Path) -> None:
    """Makes the folders, and removes an earlier report's files, so that none is taken for a part of this one."""
    for name in _WRITTEN:
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        if (out / PAGE).exists():
            for path in folder.iterdir():
                if _is_ours(f"{name}/{path.name}"):
                    path.unlink()


def _sketches(runs: Sequence[Run]) -> tuple[list[plotting.Sketch], list[LeftOut]]:
    """All figures, and the runs without curves. The rows are freed before processes are forked."""
    rows, bad = run_figures.read_all_rows(runs)
    return figures.paper_figures(runs) + run_figures.run_figures(runs, rows), bad


def write_report(
    roots: Sequence[pathlib.Path], out: pathlib.Path, processes: int = 1, only_present: bool = False
) -> tuple[int, list[LeftOut], list[own_data.OwnTable]]:
    """Writes the report of all runs below `roots` into `out`.

    Args:
      roots: folders with runs, at any depth.
      out: the folder to write to.
      processes: how many processes draw figures.
      only_present: whether to omit rows and columns without a run, and tables without any.

    Returns:
      the number of runs in the report, what was left out, and the tables of datasets that are not the paper's.

    Raises:
      ValueError: if there is no finished run.
    """
    runs, left_out = read_runs(roots)
    if not runs:
        named = "".join(f"\n  {shown(one.label)}: {one.reason}" for one in left_out)
        raise ValueError(f"no finished run ({RESULT}) below {', '.join(map(shown, roots))}{named}")
    _clear(out)
    sketches, bad_rows = _sketches(runs)
    left_out = [*left_out, *bad_rows]
    wait = plotting.drawn(sketches, out / FIGURES, processes)
    own, papers = own_data.own_tables(runs), [run for run in runs if not own_data.is_own(run)]
    filled = tables.build_tables(papers) if papers else []
    if only_present:
        filled = [table.present() for table in filled if not table.runs.empty]
    parts = [part for part in (own_data.compare(own), comparison.compare(filled)) if not part.empty]
    comparisons = pd.concat(parts) if parts else comparison.compare(())
    texts = {"comparisons.md": comparison.markdown(comparisons), "comparisons.csv": comparisons.to_csv(index=False)}
    texts["runs.csv"] = run_table.run_table(runs).to_csv(index=False)
    for table in filled:
        texts[f"{table.name}.md"] = table_text.markdown(table)
        texts[f"{table.name}.csv"] = table.cells.to_csv(index=False, columns=list(tables.CELL_COLUMNS))
        texts[f"{table.name}.tex"] = table_text.latex(table)
    for one in own:
        texts[f"{one.name}.md"] = own_data.markdown(one)
        texts[f"{one.name}.csv"] = one.cells.to_csv(index=False, columns=list(own_data.CELL_COLUMNS))
        texts[f"{one.name}.tex"] = own_data.latex(one)
    for name, text in texts.items():
        write_text(out / TABLES / name, text)
    write_text(out / PAGE, page.page(own, filled, comparisons, wait(), runs, left_out))
    return len(runs), left_out, own


@program.command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = program.make_parser("report", __doc__)
    parser.add_argument("folders", nargs="+", type=program.place, help="folders with runs, at any depth")
    parser.add_argument("--out", default="report", type=program.place, help="folder to write to (default: report)")
    parser.add_argument(
        "--only_present",
        action="store_true",
        help="omit rows and columns without a run, and tables without any",
    )
    args = parser.parse_args(argv)
    program.outlive_output()
    with program.bad_input_refused():
        program.placed(args, "folders", "out")
        for folder in args.folders:
            if not storage.is_dir(folder):
                raise ValueError(f"{shown(folder)} must be a folder with runs, and is not")
        processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        with _folder(args.out) as out:
            count, left_out, own = write_report(args.folders, out, processes, args.only_present)
    for table in own:
        print(own_data.text(table) + "\n")
    for one in left_out:
        print(terminal.wrapped(f"left out: {shown(one.label)}: {one.reason}", following="  "))
    print(f"{count} {'run' if count == 1 else 'runs'}, {len(left_out)} left out: {shown(args.out / PAGE)}")


if __name__ == "__main__":
    main()
