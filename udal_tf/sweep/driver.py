"""The driver of a sweep: submits the jobs to an engine, shows their progress, and passes on a stop signal."""

import pathlib
import signal
import time
from types import FrameType

from udal_tf.reporting import terminal
from udal_tf.run_dir import RunDir
from udal_tf.run_records import RunDirError
from udal_tf.sweep import listing
from udal_tf.sweep.engines import LocalEngine, RayEngine
from udal_tf.sweep.grids import Cell
from udal_tf.sweep.jobs import INTERRUPTED, Job

# Between two looks at the epochs that the running cells have trained.
_PROGRESS_SECONDS = 2


class _StopRequest:
    """The last stop signal received; a second one is passed on as SIGKILL."""

    def __init__(self) -> None:
        self.number = 0
        self.exit_number = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.number = signal.SIGKILL if self.exit_number else number
        self.exit_number = self.exit_number or number


def train_all(
    jobs: dict[str, tuple[Cell, Job]], engine: LocalEngine | RayEngine, total: int, done: int
) -> tuple[dict[str, str], int]:
    """Runs all jobs to completion.

    Args:
      jobs: by the name of the cell.
      engine: to run them on.
      total: the number of cells in the grid.
      done: how many of them are finished already.

    Returns:
      the reasons of the failed cells by name, and the signal that stopped the sweep, or 0.
    """
    stop, told = _StopRequest(), 0
    failed: dict[str, str] = {}
    bar = terminal.Progress(sum(cell.images for cell, _ in jobs.values()), "images")
    left = dict(jobs)
    looked, ended_images = 0.0, 0.0
    for _, job in jobs.values():
        engine.submit(job)
    while engine.busy:
        for job, outcome in engine.ended():
            cell, _ = left.pop(job.name)
            workdir = pathlib.Path(job.workdir)
            ended_images += listing.images_done(cell, workdir) if outcome.state == INTERRUPTED else cell.images
            if outcome.state == "failed":
                failed[job.name] = outcome.reason
            done += outcome.state == "finished"
            text = f"[{done}/{total}] {job.name}: {outcome.state} {_accuracy(job)}{outcome.reason}"
            bar.line(text.rstrip())
        if stop.number != told:
            told = stop.number
            bar.line("Stopping: the running cells save first; a second signal kills them.")
            engine.stop(told)
        if time.monotonic() - looked > _PROGRESS_SECONDS:
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
