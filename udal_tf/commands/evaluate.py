"""`udal evaluate WORKDIR DIR`: how good a model is on images whose classes are known.

  udal evaluate runs/mine photos/test
  udal evaluate runs/mine --labels=labels.csv --out=evaluation

DIR has one folder per class, named like the model's classes; or a CSV file gives the class of each image. Every score
is reported without adjustment and with LA (Inf) for --target_prior. A folder below WORKDIR, or that of --out, gets
evaluation.json with everything, per_class.csv, confusion.csv, predictions.csv with every image, confusion.png,
reliability.png (the reliability diagram) and mistakes.png, the most confident mistakes.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from udal_tf import storage
from udal_tf.buckets import origin
from udal_tf.commands import model_arguments, outputs, program
from udal_tf.data import decoding, formats, label_files
from udal_tf.reporting.terminal import wrapped
from udal_tf.shown_names import shown
from udal_tf.storage import csv_row, write_json, write_text

if TYPE_CHECKING:
    from udal_tf.inference.assessment import Predicted
    from udal_tf.inference.trained import TrainedModel

RESULT = "evaluation.json"
# The folder below WORKDIR; further evaluations of the same run get a number.
FOLDER = "evaluation"
MOST_MISTAKES = 24


def evaluate(model: TrainedModel, args: argparse.Namespace) -> tuple[dict[str, Any], Predicted]:
    """Predicts all images and scores the predictions: what evaluation.json holds, and the predictions.

    Raises:
      ValueError: for folders and priors that do not match the model, and if no image can be read.
    """
    from udal_tf.inference import assessment, image_files, priors

    shift = model.shift(args.target_prior, args.source_prior)
    unread: image_files.Unread = collections.Counter()
    named = args.folder or args.labels.parent
    folder = pathlib.Path(storage.fetched(named)) if storage.is_remote(named) else named
    if args.labels:
        file = pathlib.Path(storage.fetched(args.labels)) if storage.is_remote(args.labels) else args.labels
        table = label_files.read(file, folder)
        paths, labels, unknown = image_files.by_labels(table, model.class_names, args.split, args.skip_unknown)
    else:
        paths, labels, unknown = image_files.by_class(folder, model.class_names, args.skip_unknown, unread)
    with model_arguments.ImageProgress(len(paths)) as bar:
        predicted = assessment.predict(model, paths, labels, shift, bar.image)
    target = priors.target_prior(args.target_prior, model.class_names, model.p_data)
    evaluation = {
        "workdir": str(args.workdir),
        "weights": model.weights,
        "tau_norm": model.tau_norm,
        "step": model.folder.step,
        "images": str(args.labels or args.folder),
        "count": len(predicted.paths),
        "unreadable": [origin(path) for path in predicted.unreadable],
        "not_read": formats.not_read_lines(unread),
        "unknown_folders": unknown,
        "class_names": list(model.class_names),
        "target_prior": {"stated": args.target_prior, "distribution": target.tolist()},
        "source_prior": {
            "kind": args.source_prior or model.folder.config.method.la_prior,
            "distribution": model.source_prior(args.source_prior).tolist(),
        },
        **{kind: assessment.assess(probs, predicted.labels) for kind, probs in predicted.probs.items()},
    }
    return evaluation, predicted


def write(folder: pathlib.Path, evaluation: dict[str, Any], predicted: Predicted, model: TrainedModel) -> None:
    """Writes all files of an evaluation into an empty folder."""
    from udal_tf.inference import assessment
    from udal_tf.reporting import assessment_plots, assessment_tables

    names, titles = model.class_names, assessment_tables.titles(evaluation)
    predictions: dict[str, Sequence[Any]] = {
        "file": [origin(path) for path in predicted.paths],
        "class": [names[label] for label in predicted.labels],
    }
    for kind in titles:
        predictions[f"predicted_{kind}"] = [names[c] for c in predicted.probs[kind].argmax(axis=1)]
        predictions[f"confidence_{kind}"] = predicted.probs[kind].max(axis=1)
    frames = {
        "per_class": assessment_tables.per_class(evaluation),
        "confusion": assessment_tables.confusion(evaluation),
    }
    for name, frame in frames.items():
        write_text(folder / f"{name}.csv", frame.to_csv(index=False))
    # Not by pandas, whose strings cannot hold file names that are not UTF-8.
    rows = [predictions, *zip(*predictions.values(), strict=True)]
    write_text(folder / "predictions.csv", "".join(csv_row(row) + "\n" for row in rows))
    matrices = {title: evaluation[kind]["confusion"] for kind, title in titles.items()}
    assessment_plots.confusion_matrices(matrices, names, folder / "confusion.png")
    calibrations = {title: evaluation[kind]["calibration"] for kind, title in titles.items()}
    assessment_plots.reliability(calibrations, folder / "reliability.png")
    probs = predicted.probs[assessment.PLAIN]
    worst = assessment.worst_mistakes(probs, predicted.labels, MOST_MISTAKES)
    wrong = [
        assessment_plots.Mistake(
            image=decoding.whole(predicted.paths[i], assessment_plots.MISTAKE_PIXELS),
            file=origin(predicted.paths[i]),
            true=names[predicted.labels[i]],
            predicted=names[probs[i].argmax()],
            confidence=probs[i].max(),
        )
        for i in worst
    ]
    assessment_plots.mistakes(wrong, folder / "mistakes.png")
    write_json(folder / RESULT, evaluation)


@contextlib.contextmanager
def _folder(args: argparse.Namespace) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """The empty folder to write to and its final name: that of --out, or a new one below WORKDIR."""
    first = args.workdir / FOLDER
    if args.out or args.overwrite:
        with outputs.new_folder(args.out or first, args.overwrite, RESULT) as folder:
            yield folder, args.out or first
    else:
        outputs.check_writable(args.workdir)
        with outputs.numbered_folder(first, RESULT) as made:
            yield made


def _run(args: argparse.Namespace) -> int:
    """Evaluates as the arguments say; returns the exit code."""
    program.placed(args, "workdir", "folder", "labels", "out")
    if args.out:
        outputs.check_folder(args.out, args.overwrite, RESULT)
    model = model_arguments.load_model(args)
    with _folder(args) as (folder, out):
        evaluation, predicted = evaluate(model, args)
        write(folder, evaluation, predicted, model)
    from udal_tf.reporting import assessment_tables

    print(assessment_tables.text(evaluation))
    model_arguments.say_caution(model, args, sys.stdout)
    supports = evaluation["plain"]["per_class"]["support"]
    empty = [name for name, support in zip(model.class_names, supports, strict=True) if not support]
    if empty:
        print("\n" + wrapped(f"No images of {', '.join(map(shown, empty))}: not in the balanced accuracy"))
    for line in evaluation["not_read"]:
        print(wrapped(line, following="  "))
    print("\n" + wrapped(f"{evaluation['count']} images. All scores and figures: {shown(out)}"))
    if not predicted.unreadable:
        return 0
    print(f"{len(predicted.unreadable)} images could not be read and were skipped", file=sys.stderr)
    return program.EXIT_SOME_UNREADABLE


@program.command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = model_arguments.model_parser("evaluate", __doc__, prior="uniform")
    parser.add_argument(
        "folder",
        nargs="?",
        type=program.place,
        metavar="DIR",
        help="folder with one folder per class; with --labels, that of relative file names (default: the CSV file's)",
    )
    parser.add_argument(
        "--labels", type=program.place, metavar="FILE", help="CSV file with lines file,label[,split], as in training"
    )
    parser.add_argument(
        "--split",
        default=label_files.TEST,
        choices=label_files.SPLITS,
        help="images of --labels to evaluate on, if it has a column split (default: test)",
    )
    parser.add_argument(
        "--out",
        type=program.place,
        help=f"folder to write to (default: WORKDIR/{FOLDER}, or {FOLDER}_2 and so on, if that is there)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier evaluation in that folder")
    parser.add_argument("--skip_unknown", action="store_true", help="skip images of classes unknown to the model")
    args = parser.parse_args(argv)
    if not args.folder and not args.labels:
        parser.error("give DIR, a folder with one folder per class, or --labels=FILE")
    program.outlive_output()
    with program.bad_input_refused():
        code = _run(args)
    sys.exit(code)


if __name__ == "__main__":
    main()
