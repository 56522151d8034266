"""`udal suggest WORKDIR [IMAGES…]`: which images to label next.

  udal suggest runs/mine       20 of the run's own unlabeled images
  udal suggest runs/mine new_photos/ --count=50 --by=rare
  udal suggest runs/mine --labels=labels.csv --out=second

labels.csv of the last line has the labels added since the training.

IMAGES are files, folders and patterns, as for udal predict. Suggested are images that the model is unsure of
(--by=margin or entropy), or that it takes for one of the rarest third of the classes (--by=rare); spread over the
classes, more of them of rare ones, none like another or like a labeled one. The folder of --out, by default
suggestions/ in the work folder, gets

  suggestions.png      the images with the predicted class and its confidence
  labels.csv           to fill in, for --labels of run.py and of this command
  label_studio.json    the images as tasks of Label Studio, with the predictions
  label_studio.xml     its labeling interface
  suggestions.json     all of it for programs

labels.csv has the suggestions first, with an empty column label, then the other IMAGES and those of the run. Lines
whose label stays empty are unlabeled images.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import os
import pathlib
import sys
import urllib.parse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

from udal_tf import storage
from udal_tf.commands import model_arguments, outputs, program
from udal_tf.data import formats, label_files, reading
from udal_tf.reporting import terminal
from udal_tf.shown_names import command_line, shown
from udal_tf.storage import csv_row, write_json, write_text

if TYPE_CHECKING:
    from udal_tf.inference.run_images import Labels
    from udal_tf.inference.trained import TrainedModel

RESULT, LABELS, SHEET, TASKS, INTERFACE = (
    "suggestions.json", "labels.csv", "suggestions.png", "label_studio.json", "label_studio.xml",
)  # fmt: skip
DEFAULT_OUT = "suggestions"
# Side of the images on the sheet, in pixels.
SHEET_SIDE = 256
# Where Label Studio serves files of its machine, and the names in its labeling interface. It exports a CSV file with a
# column for each field of a task's data and one for LABEL: with these names, one that --labels takes.
LOCAL_FILES = "/data/local-files/?d="
IMAGE = "image"


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """An image to label: its absolute path, the predicted class and its probability, and its score, from 0 to 1."""

    file: str
    predicted: str
    confidence: float
    score: float


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
      suggestions: the most informative first.
      labels: of all readable images: the candidates, those that the run has, and those of --labels.
      candidates: how many images could be read.
      unreadable: paths of those that could not.
      notes: for people, a sentence each.
    """

    suggestions: list[Suggestion]
    labels: Labels
    candidates: int
    unreadable: list[str]
    notes: list[str]

    @property
    def folder(self) -> str:
        """The innermost folder that has all suggestions."""
        return os.path.commonpath([os.path.dirname(one.file) for one in self.suggestions])


def suggest(model: TrainedModel, args: argparse.Namespace) -> Found:
    """Reads all images that are not labeled and chooses among them.

    Raises:
      ValueError: if there is nothing to choose from, or for priors and files that do not fit.
    """
    from udal_tf.inference import embedding, image_files, run_images, suggesting

    shift = model.shift(args.target_prior, args.source_prior)
    labels, reason = run_images.labels_of(model)
    notes = [f"Labeled images of the run are not known and may be suggested: {reason}"] if reason else []
    beta = model.folder.config.data.beta
    if labels and beta < 1:
        notes.append(f"{LABELS} has all labels, of which the run used a part: train without --beta={beta:g}")
    if args.labels:
        table = label_files.read(args.labels, args.labels.parent)
        labels |= {os.path.abspath(row.path): (row.label, row.split) for row in table.rows}
    unread: image_files.Unread = collections.Counter()
    if args.images:
        named = map(os.path.abspath, image_files.named(args.images, unread))
        paths = [path for path in dict.fromkeys(named) if not labels.get(path, ("",))[0]]
    else:
        paths = [path for path, (label, _) in labels.items() if not label]
        if not paths:
            raise ValueError(f"no unlabeled images of the run to choose from{_because(reason)}: name images or folders")
    if not paths:
        raise ValueError("all of these images are labeled already")
    _check_root(args.image_root, paths)
    labeled = [path for path, (label, _) in labels.items() if label]
    with model_arguments.ImageProgress(len(paths) + len(labeled)) as bar:
        faults = {path: fault for path in paths if (fault := label_files.unfit_file(path))}
        for path, fault in faults.items():
            bar.image(path, fault)
        usable = (path for path in paths if path not in faults)
        images = embedding.of_files(model, usable, shift, bar.image)
        known = embedding.looks_of_files(model, labeled, bar.image)
    unreadable = [*faults, *images.unreadable, *known.unreadable]
    if not images.paths:
        raise ValueError(f"none of the {len(unreadable)} unlabeled files is an image that can be used")
    chosen = suggesting.choose(images, known.looks, model.p_data, args.by, args.count)
    if not len(chosen):
        raise ValueError(f"all {len(images.paths):,} images look like one that is labeled already")
    if len(chosen) < args.count:
        notes.append(
            f"Only {len(chosen):,} of {args.count:,}: no other images are left that are not labeled and look like none "
            "of these or of the labeled ones"
        )
    informative, _ = suggesting.scores(images.probs, args.by, model.p_data)
    predicted = images.probs.argmax(axis=1)
    suggestions = [
        Suggestion(
            images.paths[i],
            model.class_names[predicted[i]],
            round(float(images.probs[i].max()), 6),
            round(float(informative[i]), 6),
        )
        for i in chosen
    ]
    left_out = set(unreadable)
    labels = {path: labels.get(path, ("", label_files.TRAIN)) for path in [*labels, *images.paths]}
    labels = {path: of for path, of in labels.items() if path not in left_out}
    return Found(suggestions, labels, len(images.paths), unreadable, notes + formats.not_read_lines(unread))


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _check_root(root: pathlib.Path | None, paths: Sequence[str]) -> None:
    if root is None:
        return
    for path in paths:
        if not pathlib.Path(path).is_relative_to(os.path.abspath(root)):
            raise ValueError(f"--image_root={shown(root)}: {shown(path)} is not below it")


def write(folder: pathlib.Path, found: Found, model: TrainedModel, args: argparse.Namespace) -> None:
    """Writes all files into an empty folder."""
    from udal_tf.reporting import image_sheet

    some = found.suggestions[: image_sheet.MOST_IMAGES]
    of_all = f" (the first {len(some)} of {len(found.suggestions):,})" if len(some) < len(found.suggestions) else ""
    tiles = []
    for one in some:
        pixels = reading.pixels_or_fault(one.file, SHEET_SIDE)
        if isinstance(pixels, str):
            raise ValueError(f"{shown(one.file)} has changed meanwhile: {pixels}")
        tiles.append(image_sheet.Tile(pixels, (one.predicted,), one.confidence, one.file))
    image_sheet.draw(tiles, f"Label these next: predicted class, confidence{of_all}", folder / SHEET)
    write_text(folder / LABELS, "".join(csv_row(row) + "\n" for row in _label_rows(found)))
    # Its storages must be folders below the document root, not the root itself.
    root = os.path.abspath(args.image_root or os.path.dirname(found.folder))
    write_json(folder / TASKS, [_task(one, args, root, f"{args.workdir}, step {model.folder.step}")
                                for one in found.suggestions])  # fmt: skip
    write_text(folder / INTERFACE, _interface(model.class_names))
    result: dict[str, Any] = {
        "workdir": str(args.workdir),
        "weights": model.weights,
        "step": model.folder.step,
        "by": args.by,
        "count": args.count,
        "candidates": found.candidates,
        "unreadable": found.unreadable,
        "notes": found.notes,
        "image_root": root,
        "suggestions": [dataclasses.asdict(one) for one in found.suggestions],
    }
    write_json(folder / RESULT, result)


def _label_rows(found: Found) -> list[list[object]]:
    """The heading and lines of LABELS."""
    rows: list[list[object]] = [[label_files.FILE, label_files.LABEL, label_files.SPLIT, "predicted", "confidence"]]
    rows += [[one.file, "", label_files.TRAIN, one.predicted, one.confidence] for one in found.suggestions]
    suggested = {one.file for one in found.suggestions}
    others = [(path, *of) for path, of in found.labels.items() if path not in suggested]
    return rows + [[*row, "", ""] for row in others if not label_files.unfit_file(row[0])]


def _task(one: Suggestion, args: argparse.Namespace, root: str, version: str) -> dict[str, Any]:
    """A task of Label Studio with the model's prediction."""
    place = urllib.parse.quote(os.path.relpath(one.file, root).replace(os.sep, "/"))
    choice = {"from_name": label_files.LABEL, "to_name": IMAGE, "type": "choices"}
    return {
        "data": {IMAGE: args.image_url + place, label_files.FILE: one.file},
        "predictions": [
            {
                "model_version": version,
                "score": one.confidence,
                "result": [{**choice, "value": {"choices": [one.predicted]}}],
            }
        ],
    }


def _interface(class_names: Sequence[str]) -> str:
    """Label Studio's labeling interface for these tasks."""
    choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in class_names)
    return (
        f'<View>\n  <Image name="{IMAGE}" value="${IMAGE}"/>\n'
        f'  <Choices name="{label_files.LABEL}" toName="{IMAGE}" choice="single">\n{choices}  </Choices>\n</View>\n'
    )


def _print(found: Found, args: argparse.Namespace) -> None:
    names = [os.path.relpath(one.file, found.folder) for one in found.suggestions]
    rows = [[name, one.predicted, f"{one.confidence:.3f}"] for name, one in zip(names, found.suggestions, strict=True)]
    print(f"In {shown(found.folder)}:")
    print(terminal.table_text(["file", "predicted", "conf."], rows))
    for note in found.notes:
        print(terminal.wrapped(note))
    table = os.path.abspath(args.out / LABELS)
    print(
        f"\nLook at {shown(args.out / SHEET)},\n"
        f"fill in the column {label_files.LABEL} in the first {len(rows):,} lines of {LABELS} beside it,\n"
        "and train with the settings of the run and\n"
        f"{terminal.command_text(command_line(['--dataset=folder', f'--labels={table}']))}"
    )


def _check_local(images: Sequence[str]) -> None:
    """Raises ValueError for images in a bucket: LABELS has the paths by which they are trained on."""
    for image in images:
        if storage.is_remote(image):
            raise ValueError(f"IMAGES must be local files or folders, got {shown(image)}: copy them first")


def _run(args: argparse.Namespace) -> int:
    """Suggests as the arguments say; returns the exit code."""
    program.placed(args, "workdir")
    program.import_tensorflow()
    from udal_tf.inference import image_files

    _check_local(args.images)
    image_files.check_named(args.images)
    # LABELS is trained on, which a file in a bucket is not.
    args.out = args.out or (pathlib.Path() if storage.is_remote(args.workdir) else args.workdir) / DEFAULT_OUT
    model = model_arguments.load_model(args)
    with outputs.new_folder(args.out, args.overwrite, RESULT) as folder:
        found = suggest(model, args)
        write(folder, found, model, args)
    _print(found, args)
    if not found.unreadable:
        return 0
    print(f"{found.candidates} images looked at, {len(found.unreadable)} could not be used", file=sys.stderr)
    return program.EXIT_SOME_UNREADABLE


@program.command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = model_arguments.model_parser("suggest", __doc__)
    parser.add_argument(
        "images",
        nargs="*",
        type=program.word,
        metavar="IMAGES",
        help="files, folders, patterns (default: the run's unlabeled images)",
    )
    parser.add_argument(
        "--count", type=program.number(1, 100_000), default=20, help="how many images to suggest (default: 20)"
    )
    parser.add_argument(
        "--by",
        default="margin",
        choices=("margin", "entropy", "rare"),
        help="suggest images with a small margin between the two most likely classes, with a high entropy, or that are "
        "likely of one of the rarest third of the classes (default: margin)",
    )
    parser.add_argument(
        "--labels",
        type=program.path,
        metavar="FILE",
        help="CSV file with lines file,label[,split]: labels that have been added since the training",
    )
    parser.add_argument(
        "--out",
        type=program.path,
        help=f"folder to write to (default: {DEFAULT_OUT}/ in the work folder; for one in a bucket, here)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier suggestions in the folder of --out")
    parser.add_argument(
        "--image_root",
        type=program.path,
        metavar="DIR",
        help="folder that the URLs for Label Studio are relative to, its LOCAL_FILES_DOCUMENT_ROOT (default: the "
        "folder above the one that has all suggested images)",
    )
    parser.add_argument(
        "--image_url",
        default=LOCAL_FILES,
        type=program.word,
        metavar="PREFIX",
        help=f"what these URLs begin with (default: {LOCAL_FILES}, its local files)",
    )
    args = parser.parse_args(argv)
    program.outlive_output()
    with program.bad_input_refused():
        code = _run(args)
    sys.exit(code)


if __name__ == "__main__":
    main()
