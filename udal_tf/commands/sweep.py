"""`udal sweep NAME|FILE`: trains every cell of a grid, on this machine or on a Ray cluster.

  udal sweep digits --jobs=2          Table 1's rows on digits-LT, two at a time
  udal sweep table1 --list            every cell with its command and its cost
  udal sweep table1 --list --measure  its hours on this machine
  udal sweep fig3b --engine=ray --num_gpus=1 -- --data_dir=DATA

A cell is one run of `run.py` in a folder of its own below --out, named after its settings, so that grids share the
cells they have in common. A second start skips finished cells and resumes interrupted ones; failed cells are retried,
and each failure is logged with its reason in OUT/sweep/failures.jsonl. On Ctrl-C or SIGTERM the running cells save
first. Further flags of `run.py` for every cell follow `--`. A grid file is JSON:
[{"flagfile": "flags/x.flags", "settings": {"fold": [1, 2]}}].

With several GPUs each cell gets one of its own: --jobs=8 trains eight cells on eight GPUs. --out may be in a bucket
(gs://…); logs and failures are then in ./sweep_NAME. With --engine=ray the checkout, --out and the data must be at the
same paths on every machine.
"""

import argparse
import fnmatch
import os
import pathlib
import sys
from collections.abc import Sequence

from udal_tf import storage
from udal_tf.commands import program
from udal_tf.data import settings
from udal_tf.reporting import revision
from udal_tf.shown_names import command_line, shown
from udal_tf.sweep import driver, grids, listing, speeds
from udal_tf.sweep.engines import ENGINES, ROOT, SweepError
from udal_tf.sweep.jobs import Job

# Far above any cluster's, so that a mistyped number is refused by name.
MOST = 1_000_000_000


def _resources(text: str) -> tuple[tuple[str, float], ...]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    try:
        found = tuple((name, float(amount)) for name, _, amount in pairs)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be NAME=NUMBER,…, got {text!r}") from error
    if not all(name and 0 <= amount <= MOST for name, amount in found):
        raise argparse.ArgumentTypeError(f"must be NAME=NUMBER,… with numbers from 0 to {MOST:,}, got {text!r}")
    return found


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `further` has the flags of `run.py`."""
    own, further = program.split_settings(argv)
    parser = program.make_parser("sweep", __doc__)
    parser.add_argument("grid", type=program.word, help=f"{', '.join(grids.GRIDS)}, or a JSON file")
    parser.add_argument("--list", action="store_true", help="list the cells with their commands and cost, and exit")
    parser.add_argument("--dry_run", action="store_true", help="the same as --list")
    parser.add_argument(
        "--only",
        default="*",
        type=program.word,
        help="only cells whose name matches this pattern, e.g. '*udal_fold[12]'",
    )
    parser.add_argument(
        "--out", default="runs", type=program.text_place, help="folder of the cells' folders (default: runs)"
    )
    parser.add_argument(
        "--retries",
        default=1,
        type=program.number(0, 1_000_000),
        help="how often a failed cell is retried (default: 1)",
    )
    parser.add_argument(
        "--images_per_second",
        default=0.0,
        type=program.number(0, MOST, float),
        help="assumed training images per second, to estimate the hours",
    )
    parser.add_argument(
        "--measure", action="store_true", help="time some steps of each kind of cell here, to estimate the hours"
    )
    parser.add_argument("--engine", default="local", choices=tuple(ENGINES))
    parser.add_argument("--jobs", default=1, type=program.number(1, 10_000), help="cells at a time (local; default: 1)")
    parser.add_argument(
        "--gpus_per_job",
        type=program.number(0, 1_000),
        help="GPUs of a cell, which sees no other; 0: each sees all (local; default: 1 if there are any)",
    )
    parser.add_argument(
        "--address", type=program.word, help="Ray cluster (default: the current one, or a new local one)"
    )
    parser.add_argument(
        "--num_cpus", default=1.0, type=program.number(0, MOST, float), help="cores of a Ray task (default: 1)"
    )
    parser.add_argument(
        "--num_gpus",
        type=program.number(0, MOST, float),
        help="GPUs of a Ray task (default: 1 if the cluster has any)",
    )
    parser.add_argument("--resources", default=(), type=_resources, help="other resources of a Ray task: TPU=4,…")
    args = parser.parse_args(own)
    args.python_path = os.environ.get("PYTHONPATH", "")
    args.visible_gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    args.further = [*further, *([f"--plugin={','.join(args.plugin)}"] if args.plugin else [])]
    return args


def chosen_cells(args: argparse.Namespace) -> list[grids.Cell]:
    """The cells that the command line names. Raises SweepError, listing every cell that does not resolve."""
    if args.grid in grids.GRIDS:
        blocks = grids.GRIDS[args.grid]
    elif pathlib.Path(args.grid).is_file():
        blocks = grids.read_grid(pathlib.Path(args.grid))
    else:
        raise SweepError(f"the grid must be one of {', '.join(grids.GRIDS)}, or a file, got {args.grid!r}")
    cells, errors = grids.cells(blocks, os.path.relpath(ROOT / "flags"), args.further, settings.resolve)
    if errors:
        raise SweepError("these cells do not resolve:\n  " + "\n  ".join(errors))
    cells = [cell for cell in cells if fnmatch.fnmatch(cell.name, args.only)]
    if not cells:
        raise SweepError(f"no cell of {args.grid} matches --only={args.only}")
    return cells


def _speeds(args: argparse.Namespace, cells: list[grids.Cell]) -> speeds.Speeds:
    if args.images_per_second:
        return speeds.Speeds(lambda config: args.images_per_second, "as given by --images_per_second")
    return speeds.measured_speeds(cells) if args.measure else speeds.known_speeds(cells)


def _notes(out: pathlib.Path) -> pathlib.Path:
    """The folder of logs and failures; they are appended to, so those of a sweep in a bucket stay on this machine."""
    return pathlib.Path(f"sweep_{out.name}") if storage.is_remote(out) else out / "sweep"


@program.command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = parse(argv)
    if not (ROOT / "run.py").exists():
        program.refuse(f"run.py and flags/ must be beside the package, got no {ROOT / 'run.py'}: use a checkout")
    with program.bad_input_refused():
        program.placed(args, "out")
        if args.engine == "ray" and storage.is_remote(args.out):
            raise SweepError(f"--engine=ray needs a folder at the same path on every machine as --out, got {args.out}")
        cells = chosen_cells(args)
        states = [listing.state_of(cell, args.out / cell.name) for cell in cells]
    run = os.path.relpath(ROOT / "run.py")
    arguments = [(run, *cell.arguments, f"--workdir={args.out / cell.name}") for cell in cells]
    commands = [command_line(("python", *line)) for line in arguments]
    listed = listing.listing(cells, states, commands, _speeds(args, cells))
    if args.list or args.dry_run:
        counts = ", ".join(
            f"{states.count(state)} {state}" for state in (listing.FINISHED, listing.STARTED, listing.NEW)
        )
        print(f"{listed}\nEvery cell resolves: {counts}.")
        return
    program.outlive_output("the sweep")
    print(listed)
    notes, commit = _notes(args.out), revision.commit()
    with program.bad_input_refused():
        notes.mkdir(parents=True, exist_ok=True)
    jobs = {
        cell.name: (
            cell,
            Job(
                cell.name,
                (sys.executable, *line),
                str(args.out / cell.name),
                str(notes),
                os.getcwd(),
                commit,
                args.retries,
            ),
        )
        for cell, state, line in zip(cells, states, arguments, strict=True)
        if state != listing.FINISHED
    }
    if not jobs:
        print("Nothing to do.")
        return
    with program.bad_input_refused():
        engine = ENGINES[args.engine](args)
    failed, number = driver.train_all(jobs, engine, len(cells), len(cells) - len(jobs))
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    if failed:
        print(f"Logs and reasons of failures: {shown(notes)}", file=sys.stderr)
    if number:
        print("Stopped; the same command resumes the sweep.")
        sys.exit(program.EXIT_SIGNAL + number)
    if failed:
        sys.exit(program.EXIT_FAILED)
    report = f"{program.as_called('report')} {command_line((str(args.out), '--out=report'))}"
    print(f"All {len(cells)} cells are finished: {report}")


if __name__ == "__main__":
    main()
