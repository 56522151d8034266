"""What the commands share: their parser with --plugin, their exit codes, and how they refuse bad input."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from udal_tf import registry

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_SOME_UNREADABLE = 3
# A process ended by a signal exits with 128 + the signal's number, so that schedulers start it again.
EXIT_SIGNAL = 128


def _paths(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def make_parser(name: str, about: str | None, exit_codes: str | None = None) -> argparse.ArgumentParser:
    """A parser with --plugin=FILE[,FILE], whose --help prints `about` as it is written.

    Args:
      name: of the command.
      about: the docstring of its module.
      exit_codes: printed last.
    """
    parser = argparse.ArgumentParser(
        prog=name, description=about, epilog=exit_codes, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--plugin",
        default=(),
        type=_paths,
        metavar="FILE",
        help="Python files, comma-separated, that register datasets, base learners, methods or backbones; the plugins "
        "of a trained run are found automatically",
    )
    return parser


def split_settings(argv: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The command's own arguments, and the settings of `run.py` that follow `--`. argv: by default the process's."""
    argv = list(sys.argv[1:] if argv is None else argv)
    end = argv.index("--") if "--" in argv else len(argv)
    return argv[:end], argv[end + 1 :]


def load_plugins(paths: Sequence[str]) -> None:
    """Imports the files. Raises PluginError, a ValueError, for one that cannot be used."""
    prepare_tensorflow()
    for path in paths:
        registry.load_plugin(path)


def prepare_tensorflow() -> None:
    """Sets the environment variables that TensorFlow reads when it is imported, which a plugin may do."""
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # TensorFlow leaves oneDNN off on some processors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def refuse(error: Exception | str, code: int = EXIT_BAD_INPUT) -> NoReturn:
    """Ends the process with the reason on standard error."""
    reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(code)


@contextlib.contextmanager
def bad_input_refused() -> Iterator[None]:
    """Ends the process with EXIT_BAD_INPUT and the reason if the block raises ValueError or OSError."""
    try:
        yield
    except (ValueError, OSError) as error:
        refuse(error)
