"""What the commands that use a trained model have in common: their arguments, and how the model is loaded."""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import TYPE_CHECKING

from udal_tf.commands.plugins import add_plugin_argument, load_plugins
from udal_tf.reporting.terminal import Progress

if TYPE_CHECKING:  # At run time TensorFlow is imported when the arguments are known to be good.
    from udal_tf.inference.trained import TrainedModel

# From so many images on a bar is shown.
MANY = 200
EXIT_FAILED, EXIT_BAD_INPUT, EXIT_SOME_UNREADABLE = 1, 2, 3
EXIT_CODES = "exit code: 0 all done; 2 bad input, nothing done; 3 some images could not be read, the rest is done"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """WORKDIR and which of its weights."""
    parser.add_argument("workdir", type=pathlib.Path, metavar="WORKDIR", help="work folder of a training")
    parser.add_argument(
        "--weights",
        default="last",
        choices=("last", "best", "raw"),
        help="EMA weights at the end (last), of the epoch that was best on the test images (best), or those at "
        "the end without averaging (raw); default: last",
    )
    parser.add_argument(
        "--unfinished", action="store_true", help="take the last checkpoint of a training that is not finished"
    )
    add_plugin_argument(parser)


def add_prior_arguments(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """The priors of LA (Inf)."""
    parser.add_argument(
        "--target_prior",
        default=default,
        metavar="uniform|train|FILE",
        help="LA (Inf): the class distribution of the images, instead of what the model assumes: all classes "
        "alike, as the labeled images of the training, or a file of shares (JSON, or lines `name share`); "
        f"default: {default or 'the predictions as they are'}",
    )
    parser.add_argument(
        "--source_prior",
        default="",
        choices=("labeled", "own"),
        help="what LA (Inf) takes away: the prior of the labeled images, as the paper does with every method, or "
        "the one that the method's labeled loss leaves the model with (for udal p̃); default: as the training's own "
        "evaluation, --la_prior",
    )


def load_model(args: argparse.Namespace) -> TrainedModel:
    """The model that the arguments name. Raises ModelError or PluginError where it cannot be used."""
    load_plugins(args.plugin)
    from udal_tf.inference import trained

    return trained.load(args.workdir, args.weights, args.unfinished)


class ImageProgress(Progress):
    """A bar over images, where there are many, and the names of those that cannot be read."""

    def __init__(self, count: int, hidden: bool = False):
        super().__init__(count, "images", shown=count >= MANY and not hidden)

    def image(self, path: str, fault: str = "") -> None:
        """One more image; where something is wrong with it, this is said."""
        if fault:
            self.line(f"not read: {path}: {fault}", sys.stderr)
        self.advance()


def refuse(error: Exception, code: int = EXIT_BAD_INPUT) -> None:
    """Ends the process with the reason on standard error."""
    reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(code)
