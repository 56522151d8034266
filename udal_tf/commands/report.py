"""`python -m udal_tf.commands.report DIR... --out=OUT`: tables, figures and one page from finished runs alone.

  python -m udal_tf.commands.report runs --out=report

Every run below the folders is read. OUT gets report.html, which needs no other file; tables/ with each table in
Markdown, CSV and LaTeX, and the paired comparisons; figures/ as PNG and SVG. What cannot be read is named and left out.
"""

import argparse
import csv
import os
import pathlib
import sys
from collections.abc import Sequence

from udal_tf.commands import outputs
from udal_tf.commands.plugins import add_plugin_argument, load_plugins
from udal_tf.reporting import comparison, drawing, figures, page, run_figures, table_text, tables, terminal
from udal_tf.reporting.runs import LeftOut, read_runs
from udal_tf.run_dir import RESULT
from udal_tf.storage import local, write_text

EXIT_BAD_INPUT = 2
PAGE, TABLES, FIGURES = "report.html", "tables", "figures"
_WRITTEN = {TABLES: (".md", ".csv", ".tex"), FIGURES: (".png", ".svg")}


def _clear(out: pathlib.Path) -> None:
    """Makes the folders, and removes an earlier report's files, so that none of them seems to be of this one."""
    for name, endings in _WRITTEN.items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        if (out / PAGE).exists():
            for path in folder.iterdir():
                if path.suffix in endings:
                    path.unlink()


def write_report(roots: Sequence[pathlib.Path], out: pathlib.Path, processes: int = 1) -> tuple[int, list[LeftOut]]:
    """Writes the report of all runs below `roots` into `out`.

    Args:
      processes: how many draw figures at a time; more than one needs fork.

    Returns:
      the number of runs in it, and what was left out.

    Raises:
      ValueError: where there is no finished run.
    """
    runs, left_out = read_runs(roots)
    if not runs:
        named = "".join(f"\n  {one.label}: {one.reason}" for one in left_out)
        raise ValueError(f"no finished run ({RESULT}) below {', '.join(map(str, roots))}{named}")
    _clear(out)
    filled = tables.build_tables(runs)
    for table in filled:
        stem = out / TABLES / table.name
        write_text(stem.with_suffix(".md"), table_text.markdown(table))
        write_text(stem.with_suffix(".csv"), table_text.csv_text(table))
        write_text(stem.with_suffix(".tex"), table_text.latex(table))
    # Tables 1 and 2 share runs; what both compare is said once.
    comparisons = list({(c.column, c.a, c.b): c for table in filled for c in comparison.compare(table)}.values())
    write_text(out / TABLES / "comparisons.md", comparison.markdown(comparisons))
    with outputs.new_file(out / TABLES / "comparisons.csv", overwrite=True) as file:
        csv.writer(file).writerows([comparison.HEADINGS, *map(comparison.line, comparisons)])
    rows, bad_rows = run_figures.read_all_rows(runs)
    left_out = [*left_out, *bad_rows]
    tasks = figures.paper_figures(runs, out / FIGURES) + run_figures.run_figures(runs, rows, out / FIGURES)
    pictures = drawing.drawn(tasks, processes)
    text = page.page(filled, comparisons, pictures, runs, left_out)
    write_text(out / PAGE, text)
    return len(runs), left_out


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    terminal.accept_any_text()
    parser = argparse.ArgumentParser(
        prog="python -m udal_tf.commands.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=pathlib.Path, help="folders with runs, at any depth")
    parser.add_argument("--out", default="report", type=pathlib.Path, help="folder to write to (default: report)")
    add_plugin_argument(parser)
    args = parser.parse_args(argv)
    try:
        load_plugins(args.plugin)
        local(args.out)
        for folder in args.folders:
            if not folder.is_dir():
                raise ValueError(f"{folder} must be a folder with runs, and is none")
        # Linux alone forks safely beside its own libraries.
        processes = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
        count, left_out = write_report(args.folders, args.out, processes)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    for one in left_out:
        print(f"left out: {one.label}: {one.reason}")
    print(f"{count} runs, {len(left_out)} left out: {args.out / PAGE}")


if __name__ == "__main__":
    main()
