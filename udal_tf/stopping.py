"""Stop signals: the first one asks for a checkpoint and an orderly end, the second one ends the process at once.

SIGINT is Ctrl-C, SIGTERM what schedulers send, SIGHUP a terminal that was closed (under `nohup` it stays ignored).
SIGCONT, which SLURM sends beside SIGTERM, changes nothing.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

# A process ended by a signal exits with this + the signal's number, as a shell reports it.
EXIT_SIGNAL = 128
MESSAGE = "stopping after this step; once more ends it"

Own = TypeVar("Own", bound="StopRequest")


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _exit(number: int) -> None:
    os._exit(EXIT_SIGNAL + number)


class StopRequest:
    """Remembers a stop signal until the work reaches a point where it can stop; a context manager of the main thread.

    A thread answers the signals, as a compiled step may keep the main thread for minutes.

    Args:
      message: said at the first signal.
      end: called with the number of the second signal, in the thread; by default it ends the process with 128 + number.

    Attributes:
      number: of the first signal; 0 before.
      say: prints the message, by default to standard error.
    """

    def __init__(self, message: str = MESSAGE, end: Callable[[int], None] = _exit):
        self.number = 0
        self.say: Callable[[str], None] = _print
        self._message, self._end = message, end

    def __enter__(self: Own) -> Own:
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()
        self._previous_descriptor = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number

    def _answer(self) -> None:
        """Reads the number of each signal as it arrives, until the other end is closed."""
        said, counted = False, 0
        while received := self._read.recv(1):
            number = received[0]
            if number not in self._previous:
                continue
            self.number = self.number or number
            if not said:
                said = True
                self.say(self._message)
            # A closed terminal sends SIGHUP, often twice and beside SIGTERM, without anybody being in a hurry.
            counted += number != signal.SIGHUP
            if counted == 2:
                self._end(number)

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_descriptor)
        self._write.close()
        self._thread.join()
        self._read.close()
