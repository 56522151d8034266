"""The driver of a sweep: submits the jobs to an engine, shows their progress, and passes on a stop signal."""

import functools
import pathlib
import signal
import sys
import time
from collections.abc import Callable

from udal_tf.reporting import terminal
from udal_tf.run_dir import RunDir
from udal_tf.run_records import RunDirError
from udal_tf.stopping import MESSAGE, StopRequest
from udal_tf.sweep import listing
from udal_tf.sweep.engines import LocalEngine, RayEngine
from udal_tf.sweep.grids import Cell
from udal_tf.sweep.jobs import INTERRUPTED, Job

# Between two looks at the epochs that the running cells have trained.
_PROGRESS_SECONDS = 2


class _StopRequest(StopRequest):
    """The cells are asked to save and stop at the first stop signal, and killed at the second."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(f"the running cells are {MESSAGE}", self._kill)
        self.say = say
        self._killing = False

    def _kill(self, number: int) -> None:
        self._killing = True

    @property
    def passed_on(self) -> int:
        """The signal for the running cells; 0 for none.

        SIGHUP asks for a checkpoint, too, and is never a cell's second signal: a scheduler may have sent the first
        one to all processes of the job.
        """
        return signal.SIGKILL if self._killing else signal.SIGHUP if self.number else 0


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
    failed: dict[str, str] = {}
    left = dict(jobs)
    looked, ended_images, told = 0.0, 0.0, 0
    bar = terminal.Progress(sum(cell.images for cell, _ in jobs.values()), "images")
    with _StopRequest(functools.partial(bar.line, stream=sys.stderr)) as stop:
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
            if stop.passed_on != told:
                told = stop.passed_on
                engine.stop(told)
            if time.monotonic() - looked > _PROGRESS_SECONDS:
                looked = time.monotonic()
                running = sum(listing.images_done(cell, pathlib.Path(job.workdir)) for cell, job in left.values())
                bar.advance(ended_images + running - bar.done, f"{done}/{total} cells, {len(failed)} failed")
        bar.close()
        engine.close()
        return failed, stop.number


def _accuracy(job: Job) -> str:
    try:
        result = RunDir(job.workdir).result()
    except RunDirError:
        return ""
    plain, balanced = result.accuracy, result.balanced_accuracy
    return ", with LA (Inf) ".join(
        f"{100 * plain[score]:.1f} % (balanced {100 * balanced[score]:.1f} %)" for score in ("ema", "ema_la")
    )
