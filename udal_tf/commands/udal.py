"""`udal COMMAND`: every command by one name; each is also installed as `udal-COMMAND`.

A command is a module of this package with `main(argv)`, imported only when it is called. To add one, add its line to
COMMANDS.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence

from udal_tf.commands import program

COMMANDS = {
    "train": "train a classifier; also `python run.py`",
    "inspect": "check a folder of images before training on it",
    "evaluate": "score a trained model on images whose classes are known",
    "predict": "the class of each image, by a trained model",
    "suggest": "which images to label next",
    "export": "a trained model as SavedModel, Keras, TFLite or ONNX file",
    "sweep": "train every cell of a grid, here or on a cluster",
    "report": "tables, figures and one page from finished runs",
}


def help_text(called: str) -> str:
    """The text of --help: a line per command. called: how this one was called, such as "udal"."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {about}" for name, about in COMMANDS.items()]
    usage = [f"usage: {called} COMMAND …", f"       {called} COMMAND --help", f"       {called} --version"]
    return "\n".join([*usage, "", "commands:", *lines])


def _unknown(name: str, called: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(COMMANDS)}"
    return f"unknown command {name!r:.60}: {hint} ({called} --help lists all)"


@program.command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. argv: by default the process's arguments."""
    given = list(sys.argv[1:] if argv is None else argv)
    called = program.as_called()
    if not given:
        print(help_text(called), file=sys.stderr)
        sys.exit(program.EXIT_BAD_INPUT)
    name, rest = given[0], given[1:]
    if name in ("--help", "-h", "-help"):
        print(help_text(called))
    elif name == "--version":
        print(program.VERSION)
    elif name in COMMANDS:
        importlib.import_module(f"udal_tf.commands.{name}").main(rest)
    else:
        program.refuse(_unknown(name, called))
