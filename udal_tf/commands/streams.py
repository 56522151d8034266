"""Standard input, output and error of a command, whatever they are: of any encoding, closed, full, or left by a reader.

A command whose output is its result, such as a listing, ends when it cannot be written. Work whose result is in files,
such as a training, outlives its output (`outlive_output`): what cannot be written is discarded from then on.
"""

from __future__ import annotations

import contextlib
import errno
import io
import locale
import os
import sys
from collections.abc import Callable
from typing import Any, cast

STDIN, STDOUT, STDERR = range(3)
# The reader has left: a closed pipe, a terminal that is gone.
_LEFT = (errno.EPIPE, errno.EIO)


class OutputLost(Exception):
    """Standard output, which is the command's result, cannot be written. left: whether its reader has just left."""

    def __init__(self, error: OSError):
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self.left = error.errno in _LEFT


class _Descriptor(io.RawIOBase):
    """A file descriptor whose output is discarded from the first failure on. on_loss: called with that failure."""

    def __init__(self, number: int, on_loss: Callable[[OSError], None]):
        self._number, self._on_loss = number, on_loss

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = left.nbytes
        while left:
            try:
                left = left[os.write(self._number, left) :]
            except BlockingIOError:  # Another owner of the same terminal or pipe has made it non-blocking.
                os.set_blocking(self._number, True)
            except OSError as error:
                # All further output goes to nowhere, that of libraries too, so that nothing fails again at the end.
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._number)
                os.close(null)
                self._on_loss(error)
                break
        return size


class Streams:
    """Takes the process's standard streams over while a command runs; a context manager.

    In a notebook or a test, whose streams are no files, only the handling of characters changes.
    """

    def __init__(self) -> None:
        self._outlives = False
        self._work = ""

    def __enter__(self) -> Streams:
        self._previous = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._own: dict[str, Any] = {}
        _read_files_as_utf_8()
        for number in (STDIN, STDOUT, STDERR):
            _open_if_closed(number)
        for name, number, on_loss in (("stdout", STDOUT, self._lost), ("stderr", STDERR, lambda error: None)):
            stream: Any = self._previous[name]
            if stream is None or _is(stream, number):
                self._own[name] = _over(_Descriptor(number, on_loss), stream)
                setattr(sys, name, self._own[name])
            elif isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return self

    def outlive_output(self, work: str = "") -> None:
        """From here on the command goes on without standard output. work: in words, for long work that is to say so."""
        self._outlives, self._work = True, work

    def _lost(self, error: OSError) -> None:
        lost = OutputLost(error)
        if not self._outlives:
            raise lost
        if self._work or not lost.left:
            print(f"{lost}; {self._work or 'the command'} goes on without it", file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Writes what is still in memory. Raises OutputLost."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()

    def __exit__(self, *exception: object) -> None:
        self._outlives = True
        for name, stream in self._own.items():
            stream.flush()
            if getattr(sys, name) is stream:
                setattr(sys, name, self._previous[name])


def _read_files_as_utf_8() -> None:
    """Has libraries read text files, such as absl its flagfiles, as UTF-8 in every locale."""
    if locale.getpreferredencoding(False).lower().replace("-", "") != "utf8":
        with contextlib.suppress(locale.Error):  # Not every system has it; then the error names the file's encoding.
            locale.setlocale(locale.LC_CTYPE, "C.UTF-8")


def _is(stream: Any, number: int) -> bool:
    """Whether a stream is text of this file descriptor, and not what a test or a notebook has put there."""
    try:
        return type(stream) is io.TextIOWrapper and stream.fileno() == number
    except (OSError, ValueError):
        return False


def _over(descriptor: _Descriptor, like: io.TextIOWrapper | None) -> io.TextIOWrapper:
    """A text stream over a descriptor, with the encoding and buffering of another one."""
    unbuffered = like is not None and like.write_through
    return io.TextIOWrapper(
        cast(Any, descriptor) if unbuffered else io.BufferedWriter(descriptor),
        encoding=like.encoding if like else "utf-8",
        errors="backslashreplace",
        line_buffering=like is not None and like.line_buffering,
        write_through=unbuffered,
    )


def _open_if_closed(number: int) -> None:
    """Opens the null device where a stream was closed, or the next file would get its number and what others print."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
