"""`udal predict WORKDIR IMAGES…`: the class of each image, with its confidence.

  udal predict runs/mine photos/        a table of all images below photos/
  udal predict runs/mine 'photos/**/*.jpg' --top_k=3
  udal predict runs/mine photos/ --format=csv --out=classes.csv

IMAGES are files, folders (images of all formats that Pillow reads, at any depth) and patterns. Images of any size and
color mode are converted to what the model was trained on; of an animation, the first frame is used. Files that cannot
be read are named on standard error and skipped; other files in the folders are counted there.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len, set_cell_size

from udal_tf.buckets import origin
from udal_tf.commands import model_arguments, outputs, program
from udal_tf.data import formats
from udal_tf.reporting.terminal import filled
from udal_tf.shown_names import shown
from udal_tf.storage import csv_row

if TYPE_CHECKING:
    import numpy as np

    from udal_tf.inference.trained import TrainedModel

# Float32 probabilities are reproducible to about six decimal places.
DECIMALS = 6

Ranked = list[tuple[str, float]]
# From a path and its most likely classes to a line, without the line break.
Line = Callable[[str, Ranked], str]


def _table(class_names: Sequence[str], top_k: int) -> tuple[str, Line]:
    """Columns of one width; on a terminal too narrow for them, an image takes several lines."""
    widest = max(cell_len(name) for name in ["class", *class_names])

    def row(names: Iterable[str], confidences: Iterable[str], file: str) -> str:
        cells = [f"{set_cell_size(name, widest)}  {c:>6}" for name, c in zip(names, confidences, strict=True)]
        return filled([*cells, file]) if sys.stdout.isatty() else "  ".join([*cells, file])

    heading = row(["class", *(f"class {k}" for k in range(2, top_k + 1))], ["conf."] * top_k, "file")
    return (
        heading,
        lambda path, ranked: row([name for name, _ in ranked], [f"{prob:.3f}" for _, prob in ranked], shown(path)),
    )


def _csv(class_names: Sequence[str], top_k: int) -> tuple[str, Line]:
    more = [name for k in range(2, top_k + 1) for name in (f"class_{k}", f"confidence_{k}")]
    heading = csv_row(["file", "class", "confidence", *more])
    return heading, lambda path, ranked: csv_row([path, *(cell for pair in ranked for cell in pair)])


def _jsonl(class_names: Sequence[str], top_k: int) -> tuple[str, Line]:
    def line(path: str, ranked: Ranked) -> str:
        (name, prob), top = ranked[0], [{"class": name, "confidence": prob} for name, prob in ranked]
        row = {"file": path, "class": name, "confidence": prob} | ({"top": top} if top_k > 1 else {})
        return json.dumps(row, ensure_ascii=False)

    return "", line


FORMATS = {"table": _table, "csv": _csv, "jsonl": _jsonl}


def ranked(probs: np.ndarray, class_names: Sequence[str], top_k: int) -> Ranked:
    """The most likely classes of an image and their probabilities, most likely first. probs: [C]. Ties: class order."""
    order = (-probs).argsort(kind="stable")[:top_k]
    return [(class_names[c], round(float(probs[c]), DECIMALS)) for c in order]


def write_predictions(
    model: TrainedModel, args: argparse.Namespace, file: TextIO, bar: model_arguments.ImageProgress
) -> tuple[int, int]:
    """Writes a line for each image that `args.images` name; returns how many are done and how many are unreadable.

    Raises:
      ValueError: for priors that do not match the model, and if --top_k exceeds the number of classes.
    """
    from udal_tf.inference import image_files

    if not 1 <= args.top_k <= len(model.class_names):
        raise ValueError(f"--top_k must be from 1 to the {len(model.class_names)} classes, got {args.top_k}")
    shift = model.shift(args.target_prior, args.source_prior)
    heading, line = FORMATS[args.format](model.class_names, args.top_k)
    if heading:
        print(heading, file=file)
    done = unreadable = 0
    for path, logits in model.logits_of_files(image_files.named(args.images)):
        if isinstance(logits, str):
            unreadable += 1
            bar.image(path, logits)
        else:
            done += 1
            probs = model.prediction(logits[None], shift).probs[0]
            print(line(origin(path), ranked(probs, model.class_names, args.top_k)), file=file)
            bar.image(path)
    return done, unreadable


def _parser() -> argparse.ArgumentParser:
    parser = model_arguments.model_parser("predict", __doc__)
    parser.add_argument("images", nargs="+", type=program.word, metavar="IMAGES", help="files, folders, patterns")
    parser.add_argument(
        "--top_k", type=program.number(1, 1_000_000), default=1, help="how many classes to print per image (default: 1)"
    )
    parser.add_argument("--format", default="table", choices=tuple(FORMATS), help="default: table")
    parser.add_argument("--out", type=program.place, help="file to write to (default: standard output)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --out")
    return parser


def _run(args: argparse.Namespace) -> int:
    """Predicts as the arguments say; returns the exit code."""
    program.placed(args, "workdir", "out")
    args.images = program.local_copies(args.images)
    if args.out:
        program.outlive_output()
        with outputs.new_file(args.out, args.overwrite) as file:
            unreadable = _predict(args, file)
    else:
        unreadable = _predict(args, sys.stdout)
    return program.EXIT_SOME_UNREADABLE if unreadable else 0


def _predict(args: argparse.Namespace, file: TextIO) -> int:
    """Writes all predictions; returns how many files are unreadable. Raises ValueError if all of them are."""
    program.import_tensorflow()
    from udal_tf.inference import image_files

    image_files.check_named(args.images)
    model = model_arguments.load_model(args)
    model_arguments.say_caution(model, args)
    # A progress bar would break up the table on the same terminal.
    hidden = file is sys.stdout and sys.stdout.isatty()
    unread: image_files.Unread = collections.Counter()
    with model_arguments.ImageProgress(sum(1 for _ in image_files.named(args.images, unread)), hidden) as bar:
        done, unreadable = write_predictions(model, args, file, bar)
    for line in formats.not_read_lines(unread):
        print(line, file=sys.stderr)
    if not done:
        raise ValueError(f"none of the {unreadable} files is an image that can be read")
    if unreadable:
        print(f"{done} images done, {unreadable} could not be read", file=sys.stderr)
    return unreadable


@program.command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = _parser().parse_args(argv)
    with program.bad_input_refused():
        code = _run(args)
    sys.exit(code)


if __name__ == "__main__":
    main()
