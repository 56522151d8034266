"""What the commands share: their parser with --plugin and --help, their exit codes, how they refuse bad input."""

import argparse
import contextlib
import functools
import glob
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, ParamSpec

from absl import flags

from udal_tf import __version__, registry, storage
from udal_tf.commands.quiet import import_tensorflow as quiet_import
from udal_tf.commands.quiet import quiet
from udal_tf.commands.streams import OutputLost, Streams
from udal_tf.reporting import terminal
from udal_tf.settings import NO_NUL, bad_text
from udal_tf.shown_names import shown
from udal_tf.stopping import EXIT_SIGNAL

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_SOME_UNREADABLE = 3
# TensorFlow's environment variable with the cluster that this process belongs to.
CLUSTER = "TF_CONFIG"
VERSION = f"udal-tf {__version__}"

_P = ParamSpec("_P")
# Of the commands that are running, the innermost last.
_streams: list[Streams] = []


def command(main: Callable[_P, None]) -> Callable[_P, None]:
    """The entry point of a command: `main` with its standard streams taken over, and ended without a traceback.

    A reader of standard output that has enough, such as `head`, is no failure (exit code 0); Ctrl-C is exit code 130.
    """

    @functools.wraps(main)
    def started(*args: _P.args, **kwargs: _P.kwargs) -> None:
        with Streams() as streams:
            _streams.append(streams)
            try:
                try:
                    main(*args, **kwargs)
                except SystemExit as ended:
                    if not ended.code:  # A failure says more than the loss of further output.
                        streams.flush()
                    raise
                streams.flush()
            except OutputLost as lost:
                if not lost.left:
                    refuse(lost, EXIT_FAILED)
            except KeyboardInterrupt:
                print("interrupted", file=sys.stderr)
                sys.exit(EXIT_SIGNAL + signal.SIGINT)
            except MemoryError as error:
                refuse(f"not enough memory: {error}" if str(error) else "not enough memory", EXIT_FAILED)
            finally:
                _streams.pop()

    return started


def as_called(name: str = "") -> str:
    """How a command is called by someone who calls this one: `udal NAME`, `udal-NAME`, `python -m …`, `python run.py`.

    Args:
      name: of the command; "" for `udal` itself.
    """
    path = pathlib.PurePath(sys.argv[0] if sys.argv else "")
    if path.name == "__main__.py":
        return f"python -m udal_tf {name}".rstrip()
    if name and path.suffix == ".py" and path.parent.name == "commands":
        return f"python -m udal_tf.commands.{name}"
    if name == "train" and path.name == "run.py":
        return "python run.py"
    return f"udal-{name}" if name and path.name.startswith("udal-") else f"udal {name}".rstrip()


def outlive_output(work: str = "") -> None:
    """From here on the command goes on without standard output; see `Streams.outlive_output`."""
    for streams in _streams[-1:]:
        streams.outlive_output(work)


def _paths(text: str) -> tuple[str, ...]:
    return tuple(map(word, text.split(",")))


class _Parser(argparse.ArgumentParser):
    """Refuses --name=--, which argparse takes for an empty list."""

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        namespace, unknown = super().parse_known_args(*args, **kwargs)
        for action in self._actions:
            if action.nargs is None and getattr(namespace, action.dest, None) == []:
                self.error(f"argument {'/'.join(action.option_strings) or action.metavar}: must not be --")
        return namespace, unknown


class _Formatter(argparse.HelpFormatter):
    """Help of the terminal's width; of a description, indented lines stay as they are, such as commands to copy."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=22, width=terminal.width())

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            part if part.startswith("  ") else terminal.wrapped(part) for part in text.strip("\n").split("\n\n")
        )


def about_text(name: str, about: str | None) -> str:
    """A module's docstring with its command, written `udal NAME` there, as it was called if that is as short."""
    called = as_called(name)
    return (about or "").replace(f"udal {name}", called) if called.startswith("udal") else about or ""


def make_parser(name: str, about: str | None, exit_codes: str | None = None) -> argparse.ArgumentParser:
    """A parser with --plugin=FILE[,FILE] and --version, whose --help prints `about`.

    Args:
      name: of the command, such as "inspect".
      about: the docstring of its module.
      exit_codes: printed last.
    """
    parser = _Parser(
        prog=as_called(name), description=about_text(name, about), epilog=exit_codes, formatter_class=_Formatter
    )
    parser.add_argument("--version", action="version", version=VERSION, help="print the version, and exit")
    parser.add_argument(
        "--plugin",
        default=(),
        type=_paths,
        metavar="FILE",
        help="Python files, comma-separated, that register datasets, base learners, methods or backbones; the plugins "
        "of a trained run are found automatically",
    )
    return parser


def word(text: str) -> str:
    """The type of an argument that names something; refuses what no name can be, such as an unset shell variable."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"must be {NO_NUL}, got {text!r:.60}")
    return text


def path(text: str) -> pathlib.Path:
    """As `word`, for a local path."""
    if storage.is_remote(text):
        raise argparse.ArgumentTypeError(f"must be a local path, got {text!r:.60}, which is in a bucket")
    return pathlib.Path(word(text))


def place(text: str) -> pathlib.Path | str:
    """As `path`, for what may be in a bucket: then the text, which `placed` makes a path."""
    return text if storage.is_remote(text) and not bad_text(text) else path(text)


def text_place(text: str) -> pathlib.Path | str:
    """As `place`, for what TensorFlow reads or writes."""
    return text if storage.is_remote(text) and not bad_text(text) else text_path(text)


def placed(args: argparse.Namespace, *names: str) -> None:
    """Loads the plugins, which may register buckets of their own, and makes paths of the arguments of type `place`.

    Raises:
      PluginError, ValueError: for a plugin or a bucket that cannot be used.
    """
    load_plugins(args.plugin)
    with quiet():  # TensorFlow may be imported.
        for name in names:
            given = getattr(args, name)
            if isinstance(given, list):
                setattr(args, name, [storage.at(one) for one in given])
            elif isinstance(given, str) and storage.is_remote(given):
                setattr(args, name, storage.at(given))


def local_copies(arguments: Sequence[str]) -> list[str]:
    """Files, folders and patterns that a user names, with local copies of those in buckets.

    Raises:
      ValueError, OSError: for a pattern in a bucket, and what cannot be copied.
    """
    for argument in arguments:
        if storage.is_remote(argument) and glob.has_magic(argument):
            raise ValueError(f"patterns work on local files alone, got {shown(argument)}: give the folder")
    return [os.fspath(storage.fetched(one)) if storage.is_remote(one) else one for one in arguments]


def text_path(text: str) -> pathlib.Path:
    """As `path`, for what TensorFlow reads or writes: it takes only names that are valid UTF-8."""
    if fault := bad_text(text):
        raise argparse.ArgumentTypeError(f"must be {fault}, got {text!r}")
    return path(text)


def number(low: float, high: float, kind: type[int] | type[float] = int) -> Callable[[str], float]:
    """The type of an argument that is a number from `low` to `high`."""
    what = f"a {'whole ' if kind is int else ''}number from {low:,} to {high:,}"

    def checked(text: str) -> float:
        try:
            value = kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"must be {what}, got {text!r:.60}") from error
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be {what}, got {text:.60}")
        return value

    return checked


def parse_flags(argv: list[str]) -> list[str]:
    """`absl.flags.FLAGS` filled from a command line; what is no flag. Ends the process as every command does."""
    before, sys.argv = sys.argv, argv  # Where absl's help finds the command's name.
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        refuse(f"{error} (--help lists the allowed values)")
    except SystemExit:  # absl ends with 1 after it has printed the help that was asked for.
        sys.exit(0)
    finally:
        sys.argv = before


def split_settings(argv: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The command's own arguments, and the settings of `run.py` that follow `--`. argv: by default the process's."""
    argv = list(sys.argv[1:] if argv is None else argv)
    end = argv.index("--") if "--" in argv else len(argv)
    return argv[:end], argv[end + 1 :]


def load_plugins(paths: Sequence[str]) -> None:
    """Imports the files. Raises PluginError, a ValueError, for one that cannot be used."""
    prepare_tensorflow()
    with quiet():
        for path in paths:
            registry.load_plugin(path)


def prepare_tensorflow() -> None:
    """Sets the environment variables that TensorFlow reads when it is imported, which a plugin may do."""
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # TensorFlow leaves oneDNN off on some processors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if not os.environ.get(CLUSTER, CLUSTER).strip():  # Schedulers set it empty where there is no cluster.
        del os.environ[CLUSTER]


def import_tensorflow() -> None:
    """TensorFlow, with its environment variables set and without its notes, before anything else imports it."""
    prepare_tensorflow()
    quiet_import()


def refuse(error: Exception | str, code: int = EXIT_BAD_INPUT) -> NoReturn:
    """Ends the process with the reason on standard error, without what moves the cursor or cannot be encoded."""
    reason = (
        f"{shown(str(error.filename))}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
    )
    lines = str(reason).split("\n")
    print("error: " + "\n".join(map(shown, lines)), file=sys.stderr)
    sys.exit(code)


@contextlib.contextmanager
def bad_input_refused() -> Iterator[None]:
    """Ends the process with EXIT_BAD_INPUT and the reason if the block raises ValueError or OSError."""
    try:
        yield
    except (ValueError, OSError) as error:
        refuse(error)
