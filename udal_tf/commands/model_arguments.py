"""What the commands that use a trained model have in common: their arguments, and how the model is loaded."""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from typing import TYPE_CHECKING, TextIO

from udal_tf.buckets import origin
from udal_tf.commands import program
from udal_tf.reporting.terminal import PLAIN_WIDTH, Progress
from udal_tf.run_records import NO_LA
from udal_tf.shown_names import shown

if TYPE_CHECKING:  # At run time TensorFlow is imported only after the arguments have been checked.
    from udal_tf.inference.trained import TrainedModel

# The fewest images for which a progress bar is shown.
MANY = 200
EXIT_CODES = "exit code: 0 success; 2 bad input, nothing done; 3 some images could not be read, the others are done"


def model_parser(
    name: str, about: str | None, prior: str | None = None, exit_codes: str = EXIT_CODES
) -> argparse.ArgumentParser:
    """A parser with WORKDIR, its weights, and the priors of LA (Inf).

    Args:
      name: of the command, such as "predict".
      about: the docstring of its module.
      prior: the default of --target_prior.
      exit_codes: printed last.
    """
    parser = program.make_parser(name, about, exit_codes)
    parser.add_argument("workdir", type=program.text_place, metavar="WORKDIR", help="work folder of a run")
    parser.add_argument(
        "--weights",
        default="last",
        choices=("last", "best", "raw"),
        help="EMA weights at the end (last), EMA weights of the epoch with the best balanced accuracy on the "
        "validation images, without any on the test images (best), or the raw weights at the end (raw); default: last",
    )
    parser.add_argument(
        "--tau_norm",
        default=0.0,
        type=_tau,
        metavar="TAU",
        help="divide the last layer's weights of each class by their norm to the power of TAU, the τ-normalized head; "
        "default: 0, the head as it is",
    )
    parser.add_argument(
        "--unfinished", action="store_true", help="use the last checkpoint of a run that is not finished"
    )
    parser.add_argument(
        "--target_prior",
        default=prior,
        type=program.word,
        metavar="uniform|train|FILE",
        help="apply LA (Inf) for this class distribution of the images: uniform, that of the run's labeled images "
        "(train), or a file of proportions (JSON, or lines `name proportion`); "
        f"default: {prior or 'no adjustment'}",
    )
    parser.add_argument(
        "--source_prior",
        default="",
        choices=("labeled", "own"),
        help="the prior that LA (Inf) removes: that of the labeled images, as in the paper for every method, or the "
        "one that the method's labeled loss implies (for udal p̃), recommended for methods that balance the model "
        "themselves, such as udal; default: as in the run's own evaluation, --la_prior",
    )
    return parser


def load_model(args: argparse.Namespace) -> TrainedModel:
    """The model that the arguments name. Raises ModelError or PluginError if it cannot be used."""
    program.import_tensorflow()
    program.load_plugins(args.plugin)
    from udal_tf.inference import trained

    return trained.load(args.workdir, args.weights, args.unfinished, tau_norm=args.tau_norm)


def _tau(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, got {text!r}")
    return value


def say_caution(model: TrainedModel, args: argparse.Namespace, file: TextIO | None = None) -> None:
    """Says, by default on standard error, what LA (Inf) from p_data may do to a model that its method has balanced.

    Only if LA (Inf) is asked for without a --source_prior; nothing is chosen for the user.
    """
    from udal_tf.inference import priors

    text = priors.caution(model.folder.config.method.method)
    if not text or args.target_prior in (None, priors.TRAIN) or args.source_prior:
        return
    if model.folder.config.method.la_prior == "target":  # What the run itself was evaluated with: p̃, as `own` is.
        return
    result = model.folder.result
    if result and result.la_choices:
        on_validation = {choice.prior: f"{100 * choice.balanced_accuracy:.1f} %" for choice in result.la_choices}
        listed = ", ".join(f"prior {prior} {score}" for prior, score in on_validation.items())
        text += f" Balanced accuracy on validation: {listed.replace(f'prior {NO_LA}', 'without LA (Inf)')}."
    print(textwrap.fill(f"note: {text}", PLAIN_WIDTH, break_on_hyphens=False), file=file or sys.stderr)


class ImageProgress(Progress):
    """A progress bar over many images, which also prints the names of those that cannot be read."""

    def __init__(self, count: int, hidden: bool = False):
        super().__init__(count, "images", shown=count >= MANY and not hidden)

    def image(self, path: str, fault: str = "") -> None:
        """Counts one more image. fault: why it could not be read, which is printed."""
        if fault:
            self.line(f"not read: {shown(origin(path))}: {shown(fault)}", sys.stderr)
        self.advance()
