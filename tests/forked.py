"""Processes of their own for what is killed or needs devices of its own: forked from one that imported TensorFlow.

The import takes longer than most trainings here. The process that forks has imported and done nothing else, so that
each child sets its devices, its cluster and its signal handlers up by itself, as one started from a shell does.
"""

import dataclasses
import gc
import multiprocessing
import os
import pathlib
import runpy
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

REPOSITORY = pathlib.Path(__file__).parents[1]
SECONDS_ALLOWED = 900
# The first two are what run.py says before it imports TensorFlow.
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(REPOSITORY)}
# Of the three groups of the Wide ResNet the first: most of a short run is the tracing of its layers.
SMALL_NETWORK = (16,)
IMPORTED = ("udal_tf.commands.train", "udal_tf.training.experiment", "sklearn.datasets")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(IMPORTED))


@dataclasses.dataclass
class Finished:
    """How a process ended: its exit code, or minus the number of the signal that killed it, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Started:
    """A process that runs `function(*arguments)` in a folder, and ends as a program ends.

    Args:
      function: of a module, so that the process can import it. cwd: its folder. environment: further variables.
    """

    def __init__(
        self, function: Callable, *arguments: Any, cwd: pathlib.Path, environment: dict[str, str] | None = None
    ):
        self._printed = pathlib.Path(tempfile.mkdtemp(dir=cwd, prefix="printed"))
        further = {**ENVIRONMENT, **(environment or {})}
        self._process = _context.Process(target=_child, args=(cwd, self._printed, further, function, arguments))
        _start(self._process)

    def running(self) -> bool:
        return self._process.is_alive()

    def signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def finish(self) -> Finished:
        """Waits for the end; AssertionError when it does not come."""
        self._process.join(SECONDS_ALLOWED)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            raise AssertionError(f"no end after {SECONDS_ALLOWED} s: {self._text('stderr')[-3000:]}")
        return Finished(self._process.exitcode, self._text("stdout"), self._text("stderr"))

    def _text(self, name: str) -> str:
        path = self._printed / name
        return path.read_text(encoding="utf-8") if path.exists() else ""


def _start(process: multiprocessing.Process) -> None:
    """The first start also starts the process that forks, in the environment that its imports are to see."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        process.start()


def _child(
    cwd: pathlib.Path, printed: pathlib.Path, environment: dict[str, str], function: Callable, arguments: tuple
) -> None:
    gc.freeze()  # What was imported is no garbage.
    os.environ.update(environment)
    os.chdir(cwd)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(printed / name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    function(*arguments)


def run_command(*arguments: str) -> None:
    """`python run.py` with these arguments, in this process; it draws no figures, which takes as long as its steps."""
    from udal_tf.training import record

    record.draw = lambda rows, data, folder: None
    sys.argv = [str(REPOSITORY / "run.py"), *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")


def shrink_network(setattr: Callable = setattr) -> None:
    """Makes the Wide ResNet a SMALL_NETWORK."""
    from udal_tf.models import wide_resnet

    setattr(wide_resnet, "GROUP_FILTERS", SMALL_NETWORK)


def run_small(*arguments: str) -> None:
    """`run_command` with a small network."""
    shrink_network()
    run_command(*arguments)
