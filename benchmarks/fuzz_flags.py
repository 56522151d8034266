"""Random command lines over all commands, parsed in this process: only help, acceptance or a clear error may come.

    python benchmarks/fuzz_flags.py --lines=10000

A command line is made of the command's own flags, flags of others, misspelled ones and positional arguments, with
values from the plausible to the absurd. It ends where the work would begin: no image is read, nothing is trained or
written.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import os
import pathlib
import random
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags

from udal_tf import config as config_module
from udal_tf import crest_flags
from udal_tf.commands import evaluate, export, inspect, predict, program, report, suggest, sweep
from udal_tf.config import section_fields
from udal_tf.settings import allowed

FLAGS_PER_LINE = 6
# Beside those that a flag allows. NUL bytes come from flagfiles, surrogates from bytes that are not UTF-8.
VALUES = (
    "", " ", "0", "1", "-1", "2", "5", "10", "0.5", "1e3", "1.5", "nan", "inf", "-inf", "1e400", "-1e-300", "1e39",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" * 30, "9" * 5000, "0x10", "1_000", "٣",
    "true", "False", "perhaps", "none", "None", "x", "a,b", ",", "a=1,b=2", "a=nan", "=1", "cat=0.5,dog=0.5", "1,1",
    "{}", "[1, 2", "/", ".", "..", "~", "/nonexistent/x", "/dev/null", "gs://bucket/run", "no/such.json", "*", "[",
    "**/*", "-", "--", "\0", "run\0", "caf\udce9", "日本", "🐈", "a\nb", "\\", "%s%n", "$HOME", "'", '"', "x" * 5000,
)  # fmt: skip
# Of absl, with those that end the process; others start a debugger or a profiler.
ABSL = (
    "help",
    "helpfull",
    "helpshort",
    "helpxml",
    "verbosity",
    "flagfile",
    "undefok",
    "logtostderr",
)
POSITIONAL = ("run", "photos", "out", "digits", "table1", "fig3b", *VALUES)


@dataclasses.dataclass(frozen=True)
class Command:
    """A command: its flags, a function that parses a command line up to where the work would begin, what it needs."""

    flags: tuple[str, ...]
    parse: Callable[[list[str]], None]
    needed: tuple[str, ...] = ()


def own_flags(start: Callable[[list[str]], None]) -> tuple[str, ...]:
    """The flags of a command with argparse, from its help."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        start(["--help"])
    return tuple(
        sorted({word[2:] for word in text.getvalue().replace(",", " ").split() if word.startswith("--")} - {""})
    )


class WorkBegins(Exception):
    """The command line was accepted."""


def begin_work(*arguments: object, **named: object) -> None:
    raise WorkBegins


def with_argparse(module: Any, first_step: str, *needed: str) -> Command:
    """A command whose `main` takes its arguments. first_step: the function of its module that begins the work."""

    def parse(arguments: list[str]) -> None:
        before = getattr(module, first_step)
        setattr(module, first_step, begin_work)
        try:
            module.main(arguments)
        finally:
            setattr(module, first_step, before)

    return Command(own_flags(module.main), parse, needed)


def with_absl(
    define: Sequence[Callable[[flags.FlagValues], None]], resolve: Callable[[flags.FlagValues], object]
) -> Command:
    """A command with absl's flags, which is parsed and resolved as `train` and `crest_export` do."""

    def parse(arguments: list[str]) -> None:
        values = flags.FlagValues()
        for one in (*define, flags_of_absl):
            one(values)
        before, flags.FLAGS = flags.FLAGS, values
        try:
            with program.bad_input_refused():
                config_module.load_plugins_on(arguments)
                if rest := program.parse_flags(["run.py", *arguments])[1:]:
                    raise ValueError(f"unexpected argument {rest[0]!r}")
                resolve(values)
        finally:
            flags.FLAGS = before
        raise WorkBegins

    values = flags.FlagValues()
    for one in define:
        one(values)
    return Command(tuple(values), program.command(parse))


def flags_of_absl(values: flags.FlagValues) -> None:
    """absl's own flags, as `app.run` defines them."""
    for name in flags.FLAGS:
        if name in ABSL and name not in values:
            values[name] = flags.FLAGS[name]


def define_out(values: flags.FlagValues) -> None:
    flags.DEFINE_string("out", None, "", values)


def commands() -> dict[str, Command]:
    app.define_help_flags()
    return {
        "train": with_absl([config_module.define_flags, crest_flags.define_flags], crest_flags.resolve_command_line),
        "crest_export": with_absl([config_module.define_flags, define_out], config_module.from_flags),
        "sweep": with_argparse(sweep, "_speeds", "digits"),
        "report": with_argparse(report, "write_report", "."),
        "predict": with_argparse(predict, "_run", "run", "a.png"),
        "evaluate": with_argparse(evaluate, "_run", "run", "photos"),
        "export": with_argparse(export, "_run", "run", "out", "--format=onnx"),
        "suggest": with_argparse(suggest, "_run", "run"),
        "inspect": with_argparse(inspect, "inspect", ".."),
    }


def plausible(name: str, draw: random.Random) -> str:
    """A value that a setting allows, or nearly; any value for another flag."""
    field = section_fields().get(name)
    if not field:
        return draw.choice(VALUES)
    if field.metadata["choices"]:
        return draw.choice(allowed(field).removeprefix("one of ").split(", "))
    bounds = [field.metadata[bound] for bound in ("low", "high", "above") if field.metadata[bound] is not None]
    return str(draw.choice([field.default, *bounds, *(bound + draw.choice([-1, 1, 0.5]) for bound in bounds)]))


def command_line(command: Command, every: Sequence[str], draw: random.Random) -> list[str]:
    """A random command line; half of them are mild: a few plausible settings and what the command needs."""
    mild = draw.random() < 0.5
    words: list[str] = []
    for _ in range(draw.randint(0, 2 if mild else FLAGS_PER_LINE)):
        name = draw.choice(command.flags if mild or draw.random() < 0.8 else every)
        if not mild and draw.random() < 0.1:
            place = draw.randrange(len(name) + 1)
            name = name[:place] + draw.choice(["", "x", "no", "é", "=", "-"]) + name[place + 1 :]
        value = plausible(name, draw) if mild or draw.random() < 0.5 else draw.choice(VALUES)
        shapes = [[f"--{name}={value}"], [f"--{name}={value}"], [f"--{name}", value], [f"--{name}"], [f"-{name}"]]
        words += draw.choice(shapes[: 3 if mild else None])
    if mild:
        return [*command.needed, *words]
    for _ in range(draw.choice([0, 0, 1, 1, 2, 3])):
        words.insert(draw.randint(0, len(words)), draw.choice(POSITIONAL))
    return words


def outcome(command: Command, words: list[str]) -> str:
    """ "accepted", "help" or "refused"; a traceback or a bad message for anything else."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            command.parse(words)
    except WorkBegins:
        return "accepted"
    except SystemExit as ended:
        message = err.getvalue()
        if ended.code in (0, None):
            return "help" if out.getvalue() else "nothing printed and exit code 0"
        clear = ended.code == program.EXIT_BAD_INPUT and "error: " in message and "Traceback" not in message
        return "refused" if clear else f"exit code {ended.code}: {message}"
    except BaseException:
        return traceback.format_exc()
    return "neither refused nor begun"


def outcomes(lines: int, seed: int) -> Iterator[tuple[str, list[str], str]]:
    """Yields command, arguments and outcome of each of the command lines; runs in an empty folder."""
    draw, every = random.Random(seed), commands()
    names = list(every)
    other = sorted({name for command in every.values() for name in command.flags} | set(ABSL))
    with tempfile.TemporaryDirectory() as folder:
        before = os.getcwd()
        os.chdir(folder)
        try:
            for _ in range(lines):
                name = draw.choice(names)
                words = command_line(every[name], other, draw)
                yield name, words, outcome(every[name], words)
                if left := [path.name for path in pathlib.Path(folder).iterdir()]:
                    yield name, words, f"wrote {left[0]}"
                    return
        finally:
            os.chdir(before)


CLEAR = ("accepted", "refused", "help")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    for name, words, found in outcomes(args.lines, args.seed):
        counts[found if found in CLEAR else "unclear"] += 1
        if found not in CLEAR:
            print(f"{name} {words!r:.300}\n{found[-1500:]}", file=sys.stderr)
    shown = ", ".join(f"{counts[kind]:,} {kind}" for kind in (*CLEAR, "unclear"))
    print(f"{sum(counts.values()):,} command lines: {shown}")
    sys.exit(1 if counts["unclear"] else 0)


if __name__ == "__main__":
    main()
