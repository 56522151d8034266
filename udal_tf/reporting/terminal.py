"""Terminal output: consoles, tables as text, one progress bar.

A terminal gets bold headings, tables of its width and a progress bar. A file or a pipe gets plain text of a fixed width
and, during long work, a line at intervals. There are no box-drawing characters, which some encodings lack.
"""

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TextIO, TypeVar

from rich import progress
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from udal_tf.shown_names import shown

# Columns of the output, and seconds between two lines about progress, where it is not a terminal.
PLAIN_WIDTH = 80
LINE_EVERY = 60.0
# Seconds over which speed is averaged to estimate the time left: some work reports progress only every few minutes.
_SPEED_OF = 3600.0

Own = TypeVar("Own", bound="Progress")


def console(stream: TextIO | None = None) -> Console:
    """A console on a stream, by default standard output: plain text of PLAIN_WIDTH unless it is a terminal."""
    stream = stream or sys.stdout
    on_screen = stream.isatty()
    made = Console(
        file=stream,
        force_terminal=on_screen,
        force_jupyter=False,
        color_system="auto" if on_screen else None,
        width=None if on_screen else PLAIN_WIDTH,
        markup=False,
        highlight=False,
        emoji=False,
    )
    if made.width < 1:  # COLUMNS=0, or a terminal that does not know its width: nothing would be printed at all.
        made.width = PLAIN_WIDTH
    return made


def width() -> int:
    """Columns of standard output: the terminal's, or PLAIN_WIDTH."""
    return console().width


def filled(parts: Iterable[str], between: str = "  ", first: str = "", following: str = "  ", columns: int = 0) -> str:
    """Parts on as few lines of standard output as hold them; none is broken, so that one alone may be too wide.

    Args:
      parts: of the text, each of one line.
      between: what separates two on the same line.
      first: indentation of the first line.
      following: indentation of the other lines.
      columns: 0: those of standard output.

    Example: on 12 columns, the parts ["one", "two", "three"] give the lines "one  two" and "  three".
    """
    columns, lines = columns or width(), [first]
    used, empty = cell_len(first), True
    for part in parts:
        cells = cell_len(part)
        if not empty and used + cell_len(between) + cells > columns:
            lines.append(following)
            used, empty = cell_len(following), True
        lines[-1] += part if empty else between + part
        used += cells if empty else cell_len(between) + cells
        empty = False
    return "\n".join(lines)


def wrapped(text: str, first: str = "", following: str = "") -> str:
    """Prose wrapped between words to the width of standard output; the indentations are as in `filled`."""
    return filled(text.replace("\n", " ").split(" "), " ", first, following)


def command_text(command: str, indent: str = "  ") -> str:
    """A command to copy into a shell: on a terminal broken before its flags, with backslashes at the ends of lines.

    Elsewhere, for scripts, and with quoted arguments it stays on one line.
    """
    if "'" in command or not sys.stdout.isatty():
        return indent + command
    continued = filled(command.replace(" --", "\0--").split("\0"), " ", indent, indent + "  ", width() - len(" \\"))
    return continued.replace("\n", " \\\n")


def table_text(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table no wider than standard output: names, which wrap, on the left, right-aligned numbers after them.

    Args:
      headings: of the columns.
      rows: the cells of each; an empty row gives a blank line.

    Example: headings ["class", "labeled"] with the row ["cat", "12"] gives two lines of the same length.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 0, 0, 2), header_style="bold")
    for place, heading in enumerate(headings):
        if place:
            table.add_column(heading, justify="right", no_wrap=True)
        else:
            table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(shown, row))
    screen = console()
    with screen.capture() as printed:
        screen.print(table)
    return printed.get().removesuffix("\n")


def duration(seconds: float) -> str:
    """A duration in a suitable unit: "40 s", "12 min", "3.4 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Progress:
    """Progress on standard error: a bar on a terminal, otherwise a line every `line_every` seconds.

    Args:
      total: the amount of work.
      unit: of the work, in the plural.
      done: the amount done before.
      shown: False shows only what `line` prints.
      line_every: seconds, where standard error is not a terminal.
    """

    def __init__(self, total: float, unit: str, done: float = 0.0, shown: bool = True, line_every: float = LINE_EVERY):
        self.done, self._total, self._unit, self._before = done, total, unit, done
        self._shown, self._line_every = shown, line_every
        self._started = self._said = time.monotonic()
        screen = console(sys.stderr)
        columns = (
            progress.BarColumn(bar_width=None),
            progress.TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("<"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[note]}", markup=False),
        )
        self._bar = progress.Progress(
            *columns,
            console=screen,
            transient=True,
            redirect_stdout=False,
            speed_estimate_period=_SPEED_OF,
            refresh_per_second=4,
            disable=not (shown and screen.is_interactive),
        )
        self._task = self._bar.add_task("", total=total, note="")
        self._bar.update(self._task, completed=done)
        self._bar.start()

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def advance(self, count: float = 1.0, note: str = "") -> None:
        """Adds `count` to the work done; `note` is shown beside it."""
        self.done += count
        self._bar.update(self._task, completed=self.done, note=note)
        now = time.monotonic()
        if self._shown and self._bar.disable and now - self._said >= self._line_every:
            self._said = now
            elapsed, worked = now - self._started, self.done - self._before
            left = f", {duration(elapsed * (self._total - self.done) / worked)} left" if worked > 0 else ""
            parts = [f"{self.done:,.0f}/{self._total:,.0f} {self._unit} in {duration(elapsed)}{left}", note]
            print(", ".join(part for part in parts if part), file=sys.stderr, flush=True)

    def line(self, text: str, stream: TextIO | None = None) -> None:
        """Prints a line to a stream, by default standard output; on a terminal, above the bar and wrapped at words."""
        stream = stream or sys.stdout
        if stream.isatty() and not self._bar.disable:
            self._bar.console.print(text)
        else:
            on_screen = stream.isatty() and "\n" not in text
            print(wrapped(text, following="  ") if on_screen else text, file=stream, flush=True)

    def close(self) -> None:
        """Removes the bar."""
        if not self._bar.disable:  # Stopping a disabled bar prints an empty line.
            self._bar.stop()
