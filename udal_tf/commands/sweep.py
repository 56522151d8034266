"""`python -m udal_tf.commands.sweep NAME|FILE`: trains every cell of a grid, on this machine or on a Ray cluster.

  python -m udal_tf.commands.sweep digits --jobs=2             # Table 1's rows on digits-LT, two cells at a time
  python -m udal_tf.commands.sweep table1 --list               # every cell with its command and its cost
  python -m udal_tf.commands.sweep table1 --list --measure     # its hours on this machine
  python -m udal_tf.commands.sweep fig3b --engine=ray --num_gpus=1 -- --data_dir=DATA

A cell is one `run.py` in a folder of its own below --out, named by its settings, so that grids share what they have in
common. A second start leaves finished cells alone and goes on with cut ones; failures are retried, and each is kept in
OUT/sweep/failures.jsonl with its reason. Ctrl-C or SIGTERM lets the running cells save first. After `--` come further
flags of `run.py` for every cell. A grid file is JSON: [{"flagfile": "flags/x.flags", "settings": {"fold": [1, 2]}}].

With --engine=ray the checkout, --out and the data must lie at the same paths on every machine. On several GPUs use Ray,
which gives each cell its own; --engine=local leaves them all to every cell.
"""

import argparse
import fnmatch
import os
import pathlib
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

from udal_tf.commands import outputs
from udal_tf.commands.plugins import add_plugin_argument, load_plugins
from udal_tf.data import settings
from udal_tf.reporting import revision, terminal
from udal_tf.run_dir import RunDir
from udal_tf.run_records import RunDirError
from udal_tf.sweep import grids, listing
from udal_tf.sweep.engines import ENGINES, ROOT, LocalEngine, RayEngine, SweepError
from udal_tf.sweep.jobs import Job
from udal_tf.sweep.speeds import measured_speeds

EXIT_BAD_INPUT, EXIT_FAILED, EXIT_SIGNAL = 2, 1, 128


class _StopRequest:
    """The last stop signal that came; a second one is passed on as SIGKILL."""

    def __init__(self) -> None:
        self.number, self.exit_number = 0, 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.number = signal.SIGKILL if self.exit_number else number
        self.exit_number = self.exit_number or number


def train_all(
    jobs: dict[str, tuple[grids.Cell, Job]], engine: LocalEngine | RayEngine, total: int, done: int
) -> tuple[dict[str, str], int]:
    """Runs the jobs to their end. Returns the failed cells' reasons by name, and the signal that stopped it or 0."""
    stop, told = _StopRequest(), 0
    failed: dict[str, str] = {}
    whole = sum(cell.images for cell, _ in jobs.values())
    bar = terminal.Progress(whole, "images")
    left = dict(jobs)
    looked, ended_images = 0.0, 0.0
    for _, job in jobs.values():
        engine.submit(job)
    while engine.busy:
        for job, outcome in engine.ended():
            cell, _ = left.pop(job.name)
            workdir = pathlib.Path(job.workdir)
            ended_images += listing.images_done(cell, workdir) if outcome.state == "cut" else cell.images
            if outcome.state == "failed":
                failed[job.name] = outcome.reason
            done += outcome.state == "finished"
            text = f"[{done}/{total}] {job.name}: {outcome.state} {_accuracy(job)}{outcome.reason}"
            bar.line(text.rstrip())
        if stop.number != told:
            told = stop.number
            bar.line("Stopping: the running cells save first; once more kills them.")
            engine.stop(told)
        if time.monotonic() - looked > 2:
            looked = time.monotonic()
            running = sum(listing.images_done(cell, pathlib.Path(job.workdir)) for cell, job in left.values())
            bar.advance(ended_images + running - bar.done, f"{done}/{total} cells, {len(failed)} failed")
    bar.close()
    engine.close()
    return failed, stop.exit_number


def _accuracy(job: Job) -> str:
    try:
        result = RunDir(job.workdir).result()
    except RunDirError:
        return ""
    plain, balanced = result.accuracy, result.balanced_accuracy
    return ", with LA (Inf) ".join(
        f"{100 * plain[score]:.1f} % (balanced {100 * balanced[score]:.1f} %)" for score in ("ema", "ema_la")
    )


def _resources(text: str) -> tuple[tuple[str, float], ...]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    try:
        return tuple((name, float(amount)) for name, _, amount in pairs)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be NAME=NUMBER,…, got {text!r}") from error


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; `further` holds what stands after `--`."""
    cut = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        prog="python -m udal_tf.commands.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("grid", help=f"{', '.join(grids.GRIDS)}, or a JSON file")
    parser.add_argument("--list", action="store_true", help="say what would run and what it costs, and end")
    parser.add_argument("--dry_run", action="store_true", help="resolve every cell, look at its folder, and end")
    parser.add_argument("--only", default="*", help="cells whose name fits this pattern, as '*udal_fold[12]'")
    parser.add_argument("--out", default="runs", type=pathlib.Path, help="folder of the cells' folders (default: runs)")
    parser.add_argument("--retries", default=1, type=int, help="how often a failed cell is started again (default: 1)")
    parser.add_argument("--images_per_second", default=0.0, type=float, help="training images a second, for the hours")
    parser.add_argument("--measure", action="store_true", help="for the hours, time some steps of each kind here first")
    parser.add_argument("--engine", default="local", choices=tuple(ENGINES))
    parser.add_argument("--jobs", default=1, type=int, help="cells at a time (local; default: 1)")
    parser.add_argument("--address", default="", help="Ray cluster (default: the one here, or a new local one)")
    parser.add_argument("--num_cpus", default=1.0, type=float, help="cores of a Ray task (default: 1)")
    parser.add_argument("--num_gpus", default=0.0, type=float, help="GPUs of a Ray task (default: 0)")
    parser.add_argument("--resources", default=(), type=_resources, help="further resources of a Ray task: TPU=4,…")
    add_plugin_argument(parser)
    args = parser.parse_args(argv[:cut])
    args.python_path = os.environ.get("PYTHONPATH", "")
    args.further = [*argv[cut + 1 :], *([f"--plugin={','.join(args.plugin)}"] if args.plugin else [])]
    for name, lowest in (("jobs", 1), ("retries", 0), ("images_per_second", 0), ("num_cpus", 0), ("num_gpus", 0)):
        if not getattr(args, name) >= lowest:
            parser.error(f"--{name} must be at least {lowest}, got {getattr(args, name)}")
    return args


def chosen_cells(args: argparse.Namespace) -> list[grids.Cell]:
    """The cells that the command line names. Raises SweepError, naming every cell that does not resolve."""
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
        raise SweepError(f"no cell of {args.grid} fits --only={args.only}")
    return cells


def _speeds(args: argparse.Namespace, cells: list[grids.Cell]) -> listing.Speeds:
    if args.images_per_second:
        return listing.Speeds(lambda config: args.images_per_second, "as given by --images_per_second")
    return measured_speeds(cells) if args.measure else listing.known_speeds(cells)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    terminal.accept_any_text()
    args = parse(sys.argv[1:] if argv is None else argv)
    if not (ROOT / "run.py").exists():
        sys.exit(_refuse(f"run.py and flags/ must lie beside the package, got no {ROOT / 'run.py'}: use a checkout"))
    try:
        load_plugins(args.plugin)
        cells = chosen_cells(args)
        states = [listing.state_of(cell, args.out / cell.name) for cell in cells]
    except ValueError as error:
        sys.exit(_refuse(str(error)))
    run = os.path.relpath(ROOT / "run.py")
    arguments = [(run, *cell.arguments, f"--workdir={args.out / cell.name}") for cell in cells]
    commands = [shlex.join(("python", *line)) for line in arguments]
    listed = listing.listing(cells, states, commands, _speeds(args, cells))
    if args.list or args.dry_run:
        counts = ", ".join(f"{states.count(state)} {state}" for state in (listing.FINISHED, listing.BEGUN, listing.NEW))
        try:
            print(f"{listed}\nEvery cell resolves: {counts}.", flush=True)
        except BrokenPipeError:
            outputs.stop_printing()
        return
    print(listed)
    notes, commit = args.out / "sweep", revision.commit()
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
    try:
        engine = ENGINES[args.engine](args)
    except SweepError as error:
        sys.exit(_refuse(str(error)))
    failed, number = train_all(jobs, engine, len(cells), len(cells) - len(jobs))
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    if failed:
        print(f"The outputs and reasons are kept in {notes}.", file=sys.stderr)
    if number:
        print("Stopped; the same command goes on from here.")
        sys.exit(EXIT_SIGNAL + number)
    if failed:
        sys.exit(EXIT_FAILED)
    print(f"All {len(cells)} cells are finished: python -m udal_tf.commands.report {args.out} --out=report")


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return EXIT_BAD_INPUT


if __name__ == "__main__":
    main()
