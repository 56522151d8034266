"""`python -m udal_tf.commands.sweep NAME|FILE`: trains every cell of a grid, on this machine or on a Ray cluster.

  python -m udal_tf.commands.sweep digits --jobs=2             # Table 1's rows on digits-LT, two cells at a time
  python -m udal_tf.commands.sweep table1 --list               # every cell with its command and its cost
  python -m udal_tf.commands.sweep fig3b --engine=ray --num_gpus=1 -- --data_dir=DATA

A cell is one `run.py` in a folder of its own below --out, named by its settings, so that grids share what they have in
common. A second start leaves finished cells alone and goes on with cut ones; failures are retried, and each is kept in
OUT/sweep/failures.jsonl with its reason. Ctrl-C or SIGTERM lets the running cells save first. After `--` come further
flags of `run.py` for every cell. A grid file is JSON: [{"flagfile": "flags/x.flags", "settings": {"fold": [1, 2]}}].

With --engine=ray the checkout, --out and the data must lie at the same paths on every machine. On several GPUs use Ray,
which gives each cell its own; --engine=local leaves them all to every cell. The file is longer than most because what
runs a cell, on either engine, is one thing.
"""

import argparse
import concurrent.futures
import ctypes
import dataclasses
import datetime
import fcntl
import fnmatch
import functools
import json
import os
import pathlib
import queue
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

from udal_tf.reporting import grids, listing
from udal_tf.reporting.runs import RECORD, RESULT

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXIT_BAD_INPUT, EXIT_FAILED, EXIT_SIGNAL = 2, 1, 128
# The lock of a work folder, as training.workdir names it; importing that would import TensorFlow.
LOCK = ".lock"
POLL_SECONDS = 0.3
BAR = "{percentage:3.0f}% of the pictures |{bar}| {elapsed}<{remaining}{postfix}"
LINES_OF_REASON = 3
# prctl's number for "send me this signal when my parent dies" (linux/prctl.h).
PR_SET_PDEATHSIG = 1


class SweepError(ValueError):
    """The sweep cannot start; the message says why."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A cell as a process: what to run, where, and where its output and failures are kept."""

    name: str
    command: tuple[str, ...]
    workdir: str
    notes: str
    cwd: str
    commit: str
    retries: int

    @property
    def shown(self) -> str:
        """The command as a person types it."""
        return shlex.join(("python", *self.command[1:]))

    @property
    def finished(self) -> bool:
        return (pathlib.Path(self.cwd) / self.workdir / RESULT).exists()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """state: finished, failed or cut. reason: of a failure."""

    state: str
    reason: str = ""


def _in_use(workdir: pathlib.Path) -> bool:
    """Whether another process trains there: one of another sweep, or one that outlived its own."""
    try:
        with open(workdir / LOCK, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _commit() -> str:
    """The checkout's commit, marked where files differ from it; empty where there is no git."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
        )
    except OSError:
        return ""
    return "" if head.returncode else head.stdout.strip() + (" and changes" if changed.stdout.strip() else "")


def usable_cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))


def _in_child(cores: Sequence[int] | None, libc: ctypes.CDLL | None) -> None:
    """Run between fork and exec: a cell whose sweep or Ray worker dies saves and ends, too, and keeps to its cores."""
    if libc:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if cores:
        os.sched_setaffinity(0, cores)


def _run_once(job: Job, cores: Sequence[int] | None, stop: Callable[[], int]) -> tuple[int, str]:
    """Exit code and last lines of one start. A stop signal is passed on once; the process may take its time to save."""
    log_path = pathlib.Path(job.cwd) / job.notes / f"{job.name}.log"
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    with open(log_path, "ab") as log:
        start = log.tell()
        process = subprocess.Popen(
            job.command, cwd=job.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=functools.partial(_in_child, cores, libc),
        )  # fmt: skip
        told = 0
        try:
            while process.poll() is None:
                if stop() and stop() != told:
                    told = stop()
                    process.send_signal(told)
                time.sleep(POLL_SECONDS)
        except BaseException:  # Ray ends a task by an exception where it may.
            process.terminate()
            process.wait()
            raise
    with open(log_path, "rb") as log:
        log.seek(start)
        lines = log.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    return process.returncode, " / ".join([line.strip() for line in lines if line.strip()][-LINES_OF_REASON:])


def run_job(job: Job, cores: Sequence[int] | None = None, stop: Callable[[], int] = lambda: 0) -> Outcome:
    """Trains one cell unless it is finished, `retries` times again if it fails; both engines call this.

    Args:
      cores: the cores that it may use; None for all. stop: the number of the signal to stop by; 0 for none.
    """
    workdir, notes = pathlib.Path(job.cwd) / job.workdir, pathlib.Path(job.cwd) / job.notes
    attempt, reason = 1, ""
    while attempt <= job.retries + 1:
        while _in_use(workdir) and not stop():
            time.sleep(POLL_SECONDS)
        if job.finished:
            return Outcome("finished")
        if stop():
            return Outcome("cut")
        began = time.monotonic()
        code, last_lines = _run_once(job, cores, stop)
        if job.finished:
            _record(job, workdir, len(cores or usable_cores()), attempt)
            return Outcome("finished")
        if stop():
            return Outcome("cut")
        if _in_use(workdir):
            continue  # Another sweep was faster; its run is waited for.
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        reason = f"{how}: {last_lines}"
        note_failure(notes, job, attempt, reason, time.monotonic() - began)
        attempt += 1
    return Outcome("failed", reason)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _record(job: Job, workdir: pathlib.Path, cores: int, attempt: int) -> None:
    """Leaves beside the result how it came about; the result itself names the hardware."""
    record = {"command": job.shown, "commit": job.commit, "cores": cores, "attempt": attempt, "finished": _now()}
    partial = workdir / f"{RECORD}.partial"
    partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, workdir / RECORD)


def note_failure(notes: pathlib.Path, job: Job, attempt: int, reason: str, seconds: float) -> None:
    """Adds a line to failures.jsonl, in one write."""
    entry = {"cell": job.name, "attempt": attempt, "reason": reason, "seconds": round(seconds, 1), "time": _now()}
    entry["command"] = job.shown
    with open(notes / "failures.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


@dataclasses.dataclass(frozen=True)
class StopFile:
    """The number in a file that driver and workers share, as the signal to stop by; 0 while there is no file.

    Ray's own cancelling reached a task that waits for its process after a minute at times, or not at all.
    """

    path: pathlib.Path

    def __call__(self) -> int:
        try:
            return int(self.path.read_text(encoding="utf-8") or 0)
        except FileNotFoundError:
            return 0

    def ask(self, number: int) -> None:
        """Asks all who look to stop; 0 takes that back."""
        if number:
            self.path.write_text(str(number), encoding="utf-8")
        else:
            self.path.unlink(missing_ok=True)


class LocalEngine:
    """n cells at a time on this machine, each on its own share of the cores."""

    def __init__(self, args: argparse.Namespace):
        available = usable_cores()
        shares = [available[place :: args.jobs] for place in range(args.jobs)]
        self._cores: queue.SimpleQueue = queue.SimpleQueue()
        for share in shares:
            # More jobs than cores, or one job: there is nothing to share out.
            self._cores.put(share if all(shares) and args.jobs > 1 and sys.platform == "linux" else None)
        self._pool = concurrent.futures.ThreadPoolExecutor(args.jobs)
        self._running: dict[concurrent.futures.Future, Job] = {}
        self._signal = 0

    def _run(self, job: Job) -> Outcome:
        cores = self._cores.get()
        try:
            return run_job(job, cores, lambda: self._signal)
        finally:
            self._cores.put(cores)

    def submit(self, job: Job) -> None:
        self._running[self._pool.submit(self._run, job)] = job

    def ended(self) -> list[tuple[Job, Outcome]]:
        """What ended since the last call, waiting for a moment."""
        done, _ = concurrent.futures.wait(self._running, POLL_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED)
        return [(self._running.pop(future), future.result()) for future in done]

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def stop(self, number: int) -> None:
        self._signal = number

    def close(self) -> None:
        self._pool.shutdown()


class RayEngine:
    """A Ray task per cell, with the resources that it asks for; Ray decides where and when it runs."""

    def __init__(self, args: argparse.Namespace):
        try:
            import ray
        except ImportError as error:
            raise SweepError("--engine=ray needs Ray, which is not installed: pip install 'udal-tf[sweep]'") from error
        self._ray = ray
        # The workers import this package from the same checkout; TensorFlow takes the cores that the task asked for.
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        variables = {"PYTHONPATH": path, "TF_NUM_INTRAOP_THREADS": str(max(1, int(args.num_cpus)))}
        try:
            ray.init(address=args.address or None, log_to_driver=False, runtime_env={"env_vars": variables})
        except ConnectionError as error:
            raise SweepError(
                f"no Ray cluster answers at --address={args.address}: {error}. One with token authentication wants the "
                "same RAY_AUTH_TOKEN here."
            ) from error
        from udal_tf.commands import sweep  # By its name, so that workers import it; run as a program it is __main__.

        self._stop = sweep.StopFile(args.out.resolve() / "sweep" / f"stop-{os.getpid()}-{time.time_ns()}")
        self._task = ray.remote(sweep.run_job).options(
            num_cpus=args.num_cpus, num_gpus=args.num_gpus, resources=dict(args.resources), max_retries=args.retries
        )
        self._running: dict = {}

    def submit(self, job: Job) -> None:
        self._running[self._task.remote(job, None, self._stop)] = job

    def ended(self) -> list[tuple[Job, Outcome]]:
        done, _ = self._ray.wait(list(self._running), timeout=POLL_SECONDS)
        return [(self._running[ref], self._outcome(ref, self._running.pop(ref))) for ref in done]

    def _outcome(self, ref, job: Job) -> Outcome:
        try:
            outcome = self._ray.get(ref)
            return Outcome(outcome.state, outcome.reason)
        except self._ray.exceptions.RayError as error:
            reason = f"Ray: {str(error).strip().splitlines()[0]}"
            note_failure(pathlib.Path(job.cwd) / job.notes, job, job.retries + 1, reason, 0.0)
            return Outcome("failed", reason)

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def stop(self, number: int) -> None:
        self._stop.ask(number)

    def close(self) -> None:
        self._stop.ask(0)
        self._ray.shutdown()


ENGINES = {"local": LocalEngine, "ray": RayEngine}


class _StopRequest:
    """The last stop signal that came; a second one is passed on as SIGKILL."""

    def __init__(self):
        self.number, self.exit_number = 0, 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number, frame):
        self.number = signal.SIGKILL if self.exit_number else number
        self.exit_number = self.exit_number or number


def train_all(jobs: dict[str, tuple[grids.Cell, Job]], engine, total: int, done: int) -> tuple[dict[str, str], int]:
    """Runs the jobs to their end. Returns the failed cells' reasons by name, and the signal that stopped it or 0."""
    stop, failed, told = _StopRequest(), {}, 0
    whole = sum(cell.pictures for cell, _ in jobs.values())
    interval = 1.0 if sys.stderr.isatty() else 60.0
    bar = tqdm(total=whole, dynamic_ncols=True, mininterval=interval, bar_format=BAR)
    left = dict(jobs)
    looked, ended_pictures = 0.0, 0.0
    for _, job in jobs.values():
        engine.submit(job)
    while engine.busy:
        for job, outcome in engine.ended():
            cell, _ = left.pop(job.name)
            workdir = pathlib.Path(job.workdir)
            ended_pictures += listing.pictures_done(cell, workdir) if outcome.state == "cut" else cell.pictures
            if outcome.state == "failed":
                failed[job.name] = outcome.reason
            done += outcome.state == "finished"
            text = f"[{done}/{total}] {job.name}: {outcome.state} {_accuracy(job)}{outcome.reason}"
            bar.write(text.rstrip(), file=sys.stdout)
            sys.stdout.flush()
        if stop.number != told:
            told = stop.number
            bar.write("Stopping: the running cells save first; once more kills them.", file=sys.stdout)
            engine.stop(told)
        if time.monotonic() - looked > 2:
            looked = time.monotonic()
            running = sum(listing.pictures_done(cell, pathlib.Path(job.workdir)) for cell, job in left.values())
            bar.set_postfix_str(f"{done}/{total} cells, {len(failed)} failed", refresh=False)
            bar.update(ended_pictures + running - bar.n)
    bar.close()
    engine.close()
    return failed, stop.exit_number


def _accuracy(job: Job) -> str:
    try:
        result = json.loads((pathlib.Path(job.workdir) / RESULT).read_text(encoding="utf-8"))
        return f"{100 * result['accuracy']['ema']:.1f} %, with LA (Inf) {100 * result['accuracy']['ema_la']:.1f} %"
    except (OSError, ValueError, KeyError):
        return ""


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
    parser.add_argument("--images_per_second", default=0.0, type=float, help="training pictures a second, for --list")
    parser.add_argument("--engine", default="local", choices=tuple(ENGINES))
    parser.add_argument("--jobs", default=1, type=int, help="cells at a time (local; default: 1)")
    parser.add_argument("--address", default="", help="Ray cluster (default: the one here, or a new local one)")
    parser.add_argument("--num_cpus", default=1.0, type=float, help="cores of a Ray task (default: 1)")
    parser.add_argument("--num_gpus", default=0.0, type=float, help="GPUs of a Ray task (default: 0)")
    parser.add_argument("--resources", default=(), type=_resources, help="further resources of a Ray task: TPU=4,…")
    args = parser.parse_args(argv[:cut])
    args.further = list(argv[cut + 1 :])
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
    cells, errors = grids.cells(blocks, os.path.relpath(ROOT / "flags"), args.further)
    if errors:
        raise SweepError("these cells do not resolve:\n  " + "\n  ".join(errors))
    cells = [cell for cell in cells if fnmatch.fnmatch(cell.name, args.only)]
    if not cells:
        raise SweepError(f"no cell of {args.grid} fits --only={args.only}")
    return cells


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = parse(sys.argv[1:] if argv is None else argv)
    if not (ROOT / "run.py").exists():
        sys.exit(_refuse(f"run.py and flags/ must lie beside the package, got no {ROOT / 'run.py'}: use a checkout"))
    try:
        cells = chosen_cells(args)
        states = [listing.state_of(cell, args.out / cell.name) for cell in cells]
    except ValueError as error:
        sys.exit(_refuse(str(error)))
    run = os.path.relpath(ROOT / "run.py")
    arguments = [(run, *cell.arguments, f"--workdir={args.out / cell.name}") for cell in cells]
    print(listing.listing(cells, states, [shlex.join(("python", *line)) for line in arguments], args.images_per_second))
    if args.list or args.dry_run:
        counts = ", ".join(f"{states.count(state)} {state}" for state in (listing.FINISHED, listing.BEGUN, listing.NEW))
        print(f"Every cell resolves: {counts}.")
        return
    notes, commit = args.out / "sweep", _commit()
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
