"""One cell of a sweep as a process: started, stopped with the sweep, retried when it fails, its failures logged.

Both engines run cells through `run_job`, which therefore depends on neither.
"""

import ctypes
import dataclasses
import datetime
import functools
import os
import pathlib
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence

from udal_tf import storage
from udal_tf.run_dir import CELL, RunDir
from udal_tf.shown_names import command_line

INTERRUPTED = "interrupted"
POLL_SECONDS = 0.3
# Last lines of the output that are kept as the reason of a failure.
LINES_OF_REASON = 3
# prctl's option "send me this signal when my parent dies" (linux/prctl.h).
PR_SET_PDEATHSIG = 1


@dataclasses.dataclass(frozen=True)
class Job:
    """A cell as a process: its command and working directory, and the folder (`notes`) of its log and failures."""

    name: str
    command: tuple[str, ...]
    workdir: str
    notes: str
    cwd: str
    commit: str
    retries: int

    @property
    def shown(self) -> str:
        """The command as typed in a shell."""
        return command_line(("python", *self.command[1:]))

    @property
    def run_dir(self) -> RunDir:
        return RunDir(self.workdir if storage.is_remote(self.workdir) else pathlib.Path(self.cwd) / self.workdir)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """state: finished, failed or INTERRUPTED. reason: of a failure."""

    state: str
    reason: str = ""


def core_numbers() -> list[int]:
    """The numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))


def _in_child(cores: Sequence[int] | None, libc: ctypes.CDLL | None) -> None:
    """Runs between fork and exec: pins the cell to its cores, and has it save and exit if its sweep or worker dies."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Under nohup it is ignored, but it is how the sweep stops a cell.
    if libc:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if cores:
        os.sched_setaffinity(0, cores)


def _run_once(
    job: Job, cores: Sequence[int] | None, stop: Callable[[], int], variables: Mapping[str, str]
) -> tuple[int, str]:
    """Exit code and last lines of one attempt. A stop signal is sent once; the process may take any time to save."""
    log_path = pathlib.Path(job.cwd) / job.notes / f"{job.name}.log"
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    with open(log_path, "ab") as log:
        start = log.tell()
        # `env` adds to the environment and becomes the command.
        setting = ["env", *(f"{name}={value}" for name, value in variables.items())] if variables else []
        process = subprocess.Popen(
            [*setting, *job.command], cwd=job.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=functools.partial(_in_child, cores, libc),
        )  # fmt: skip
        told = 0
        try:
            while process.poll() is None:
                if stop() and stop() != told:
                    told = stop()
                    process.send_signal(told)
                time.sleep(POLL_SECONDS)
        except BaseException:  # Ray may end a task by an exception.
            process.terminate()
            process.wait()
            raise
    with open(log_path, "rb") as log:
        log.seek(start)
        lines = log.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    return process.returncode, " / ".join([line.strip() for line in lines if line.strip()][-LINES_OF_REASON:])


def run_job(
    job: Job,
    cores: Sequence[int] | None = None,
    stop: Callable[[], int] = lambda: 0,
    variables: Mapping[str, str] = types.MappingProxyType({}),
) -> Outcome:
    """Trains one cell unless it is finished, with `retries` further attempts if it fails.

    Args:
      job: the cell.
      cores: the cores that it may use; None for all.
      stop: returns the number of the signal to stop with; 0 for none.
      variables: of the environment, besides those of this process.
    """
    run_dir, notes = job.run_dir, pathlib.Path(job.cwd) / job.notes
    attempt, reason = 1, ""
    while attempt <= job.retries + 1:
        while run_dir.in_use and not stop():
            time.sleep(POLL_SECONDS)
        if run_dir.finished:
            return Outcome("finished")
        if stop():
            return Outcome(INTERRUPTED)
        began = time.monotonic()
        code, last_lines = _run_once(job, cores, stop, variables)
        if run_dir.finished:
            _record(job, run_dir, len(cores or core_numbers()), attempt)
            return Outcome("finished")
        if stop():
            return Outcome(INTERRUPTED)
        if run_dir.in_use:
            continue  # Another sweep has started this cell; wait for its run.
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        reason = f"{how}: {last_lines}"
        note_failure(notes, job, attempt, reason, time.monotonic() - began)
        attempt += 1
    return Outcome("failed", reason)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _record(job: Job, run_dir: RunDir, cores: int, attempt: int) -> None:
    """Records the command and commit beside the result; the result itself names the hardware."""
    record = {"command": job.shown, "commit": job.commit, "cores": cores, "attempt": attempt, "finished": _now()}
    storage.write_json(run_dir / CELL, record)


def note_failure(notes: pathlib.Path, job: Job, attempt: int, reason: str, seconds: float) -> None:
    """Appends a line to failures.jsonl in one write."""
    entry = {"cell": job.name, "attempt": attempt, "reason": reason, "seconds": round(seconds, 1), "time": _now()}
    storage.append_json(notes / "failures.jsonl", {**entry, "command": job.shown})


@dataclasses.dataclass(frozen=True)
class StopFile:
    """The stop signal's number in a file that driver and workers share; 0 while there is no file.

    Ray's own cancellation sometimes took a minute to reach a task that waits for its process, or never did.
    """

    path: pathlib.Path

    def __call__(self) -> int:
        try:
            return int(self.path.read_text(encoding="utf-8") or 0)
        except FileNotFoundError:
            return 0

    def ask(self, number: int) -> None:
        """Requests a stop; 0 withdraws the request."""
        if number:
            storage.write_text(self.path, str(number))
        else:
            self.path.unlink(missing_ok=True)
