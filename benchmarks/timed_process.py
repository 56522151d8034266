"""Processes that time themselves on request, so that rounds alternate between them while all of them stay warm.

The child calls `serve`, the parent makes a `TimedProcess` of it. They talk in lines of JSON. This file needs nothing
but the standard library, so that the child may be any Python.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

# Marks an answer among whatever else the child prints.
PREFIX = "timed: "
LOG_LINES_SHOWN = 20
SECONDS_TO_END = 30
PEAK_MEMORY = "memory"


class ProcessFailed(RuntimeError):
    """A child ended before it answered; the message has the last lines that it printed."""


def threads() -> int:
    """Cores that this process may use: every implementation gets as many threads."""
    return len(os.sched_getaffinity(0))


def peak_memory() -> float:
    """The most memory in MiB that this process has held so far (Linux).

    Not `ru_maxrss`, which a process inherits from the one that started it.
    """
    for line in pathlib.Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status does not say VmHWM: peak memory is read on Linux only")


def timed(action: Callable[[int], None], warmup: int, count: int) -> float:
    """Seconds that the action takes for `count`, after it was done for `warmup`, which may be 0."""
    if warmup:
        action(warmup)
    start = time.perf_counter()
    action(count)
    return time.perf_counter() - start


def timed_batches(batches: Iterable, warmup: int, count: int) -> float:
    """Seconds for so many batches from a new iterator, for nobody: an idle one would have made batches ahead."""
    iterator = iter(batches)

    def take(number: int) -> None:
        for _ in range(number):
            next(iterator)

    return timed(take, warmup, count)


def serve(actions: Mapping[str, Callable[[int, int], float]], facts: Mapping[str, str]) -> None:
    """Says that the process is ready, then answers what standard input asks for, until that ends.

    Args:
      actions: name -> a function from a warm-up and a count, as in `timed`, to seconds.
      facts: what is said with "ready", e.g. versions.
    """
    _say({"facts": dict(facts)})
    for line in sys.stdin:
        request = json.loads(line)
        if request["name"] == PEAK_MEMORY:
            _say({"value": peak_memory()})
        else:
            _say({"value": actions[request["name"]](request["warmup"], request["count"])})


def _say(answer: dict) -> None:
    print(PREFIX + json.dumps(answer), flush=True)


class TimedProcess:
    """A child process that serves; made when it is ready, ended by `close` or at the end of a `with`.

    Args:
      command: its command line.
      environment: its whole environment.
      log: the file for what it prints, answers excepted.

    Attributes:
      facts: what it said with "ready".
      seconds_to_ready: from the start of the process until then.

    Raises:
      ProcessFailed: if it cannot be started or ends before it is ready.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: pathlib.Path):
        self._log = log
        start = time.perf_counter()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        try:
            with open(log, "w", encoding="utf-8") as messages:
                self._process = subprocess.Popen(list(command), env=dict(environment), stderr=messages, **pipes)
        except OSError as error:
            raise ProcessFailed(f"{command[0]} cannot be started: {error.strerror}") from error
        try:
            self.facts: dict[str, str] = self._answer()["facts"]
        except BaseException:
            self.close()
            raise
        self.seconds_to_ready = time.perf_counter() - start

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def ask(self, name: str, warmup: int = 0, count: int = 1) -> float:
        """What the action of that name says of `warmup` and `count`, or MiB for PEAK_MEMORY. Raises ProcessFailed."""
        request = json.dumps({"name": name, "warmup": warmup, "count": count})
        with contextlib.suppress(BrokenPipeError):  # It is gone; there will be no answer, which says why.
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        return self._answer()["value"]

    def close(self) -> None:
        """Ends the child: it stops at the end of its input; one that does not is killed."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> dict:
        printed = []
        for line in self._process.stdout:
            if line.startswith(PREFIX):
                return json.loads(line.removeprefix(PREFIX))
            printed.append(line)
        status = self._process.wait()
        written = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = [*(line.rstrip() for line in printed[-LOG_LINES_SHOWN:]), *written[-LOG_LINES_SHOWN:]]
        command = " ".join(map(str, self._process.args[:2]))
        raise ProcessFailed(f"{command} … ended with status {status}; it said last:\n  " + "\n  ".join(last))
