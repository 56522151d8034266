"""`udal inspect DIR`: checks a custom dataset before training on it, and recommends the command to train with.

  udal inspect DIR
  udal inspect DIR --json --no_timing > found.json
  udal inspect DIR -- --arch=mobilenetv2 --pretrained=weights.h5
  udal inspect DIR --labels=labels.csv
  udal inspect --labels=labels.csv      names relative to the CSV file
  udal inspect DIR --model=runs/mine    also which labels look wrong

Prints counts per class, sizes, files that are not read or cannot be, duplicates, images that look alike across training
and test or across classes; warnings; the command that trains on the folder and the settings it resolves to; and an
estimate of its time on this machine, from a few timed steps. A contact sheet shows each class with its weak and strong
views. Settings of `run.py` after `--` become part of the recommended command.

With --model=WORKDIR, the work folder of a run, the labels that look most doubtful are listed too, the worst first; they
are written to label_issues.csv, and their images to label_issues.png, beside the contact sheet. Nothing is timed then.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from udal_tf import config as config_module
from udal_tf import storage
from udal_tf.buckets import origin
from udal_tf.commands import label_issues, outputs, program
from udal_tf.config import Config
from udal_tf.data import custom_dataset, data_checks, decoding, folder_listing, inspection, settings
from udal_tf.data.errors import DataError
from udal_tf.data.folder_layout import LABELED, TEST, UNLABELED
from udal_tf.data.folder_listing import Folder
from udal_tf.data.inspection import ImageRecord
from udal_tf.folder_recipe import LARGEST, folder_recipe, network_warnings
from udal_tf.records.datasets import FolderConfig
from udal_tf.reporting import contact_sheet, terminal
from udal_tf.reporting.inspection_text import inspection_text
from udal_tf.run_dir import RunDir
from udal_tf.sections import WEIGHT_FILE, WORK_FOLDER
from udal_tf.shown_names import command_line, shown

if TYPE_CHECKING:
    from udal_tf.inference.trained import TrainedModel

SHEET = "contact_sheet.png"
WEAK_VIEWS = 3
STRONG_VIEWS = 4
# Seconds after which no further step is timed.
TIMING_SECONDS = 20.0
# Unlabeled images on the contact sheet, below the classes.
UNLABELED_ROWS = 2


def inspect(folder: Folder, given: Mapping[str, Any], sheet: pathlib.Path, timed: bool = True) -> dict[str, Any]:
    """Reads every image, draws the contact sheet and times the recommended run.

    Args:
      folder: to inspect.
      given: settings of `run.py` that belong to the recommended command, those that name the folder among them.
      sheet: where to write the contact sheet.
      timed: whether to time some steps of the run.

    Returns:
      `inspection.summary` with "folder"; "problems", for which training would refuse it; "warnings", each with "kind"
      and "text"; "recipe" with "command", the "settings" it resolves to, "steps" and "epochs", None if there are
      problems; "time", the fields of `training.timing.Timing`, or None; "contact_sheet";
      "label_issues", None.

    Raises:
      DataError: if no image to train on can be read.
      ValueError: for settings that do not fit the folder.
    """
    program.import_tensorflow()
    config = config_module.resolve(given)
    _check_pretrained(config)
    problems = folder_listing.problems(folder, config.data.beta, settings.uses_unlabeled(config))
    recipe: dict[str, Any] | None = None
    test_images, of_network = 0, []
    if not problems:
        listing = folder_listing.make_listing(folder)
        facts = settings.facts_of(listing, folder.root, config.data)
        to_evaluate = listing.test if listing.validation is None else listing.validation
        config, recipe = config_module.resolve(given, facts), folder_recipe(facts, given)
        test_images = len(to_evaluate)
        in_training = facts.labeled + facts.unlabeled
        model, side = config.model, config.data.image_size
        texts = network_warnings(model.arch, model.pretrained, side, facts.side, in_training)
        of_network = [{"kind": kind, "text": text} for kind, text in texts.items()]
    size = config.data.image_size or LARGEST
    images = _read_images(folder, size)
    found = {"folder": origin(folder.root), **inspection.summary(folder, images)}
    found["problems"] = problems or _emptied(folder, found)
    found["warnings"] = data_checks.data_warnings(found) + of_network
    usable = recipe and not found["problems"]
    found["recipe"] = _recommendation(given, config, recipe, found) if recipe and usable else None
    _draw_sheet(folder, images, config, size, sheet)
    found["time"] = _timing(config, len(found["classes"]), test_images) if usable and timed else None
    found["contact_sheet"] = str(sheet)
    found["label_issues"] = None
    return found


def _check_pretrained(config: Config) -> None:
    """Raises ValueError if the file or work folder of --pretrained is not there; downloads nothing."""
    kind, path = config.model.pretrained_kind, pathlib.Path(config.model.pretrained).expanduser()
    if kind == WEIGHT_FILE and not path.is_file():
        raise ValueError(f"--pretrained={shown(path)} is not a file")
    if kind == WORK_FOLDER and not RunDir(path).finished:
        raise ValueError(f"--pretrained={shown(path)} is not the work folder of a finished run")


def _read_images(folder: Folder, size: int) -> list[ImageRecord]:
    in_classes = [*folder.labeled.values(), *(folder.test or {}).values()]
    total = len(folder.unlabeled) + sum(map(len, in_classes))
    with terminal.Progress(total, "images") as bar:
        images = inspection.read_images(folder, size, bar.advance)
    if not any(not image.fault and image.part != TEST for image in images):
        faults = [f"; {shown(image.path)}: {shown(image.fault)}" for image in images[:1]]
        raise DataError(f"{shown(folder.root)}: no image to train on can be read{''.join(faults)}")
    return images


def _emptied(folder: Folder, found: Mapping[str, Any]) -> list[str]:
    """The classes none of whose images can be read."""
    parts = (LABELED,) if folder.test is None else (LABELED, TEST)
    return [
        f"{folder.place(part, one['name'])}: none of its images can be read"
        for one in found["classes"]
        for part in parts
        if not one[part]
    ]


def _recommendation(
    given: Mapping[str, Any], config: Config, recipe: Mapping[str, Any], found: Mapping[str, Any]
) -> dict[str, Any]:
    """The command that trains on the folder, and the settings it resolves to."""
    if found["unreadable"]:
        given = {**given, "skip_bad_images": True}
    arguments = [f"--{name}={_shown(value)}" for name, value in given.items()]
    of_the_base = recipe.get("bases", {}).get(config.method.base, {})
    values, derived = config_module.flat(config.to_dict()), ("bases", "images", "labels_sha256")
    chosen = {name: values[name] for name in {**recipe, **of_the_base} if name in values and name not in derived}
    return {
        "command": command_line(["python", "run.py", *arguments]),
        "settings": {name: value for name, value in sorted(chosen.items()) if name not in given},
        "steps": config.train.total_steps * config.generations,
        "epochs": config.train.epochs * config.generations,
    }


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _draw_sheet(folder: Folder, images: Sequence[ImageRecord], config: Config, size: int, path: pathlib.Path) -> None:
    """Draws one image of each class and a few unlabeled ones, each with some of its views."""
    from udal_tf.augment.views import make_views
    from udal_tf.input.samples import view_samples

    first: dict[str, str] = {}
    labeled, unlabeled = {name: 0 for name in folder.labeled}, []
    for image in images:
        if image.part == LABELED and not image.fault:
            first.setdefault(image.class_name, image.path)
            labeled[image.class_name] += 1
        elif image.part == UNLABELED and not image.fault:
            unlabeled.append(image.path)
    names = contact_sheet.some_rows(sorted(first, key=lambda name: -labeled[name]))
    spread = np.unique(np.linspace(0, len(unlabeled) - 1, min(UNLABELED_ROWS, len(unlabeled))).astype(int))
    paths = [*(first[name] for name in names), *(unlabeled[i] for i in spread)]
    titles = [*(f"{shown(name)}\n{labeled[name]:,} labeled" for name in names), *("unlabeled" for _ in spread)]
    pixels = np.stack([decoding.decode(folder.root / path, size) for path in paths])
    views = make_views(config.augment, *pixels.shape[1:])
    samples = view_samples(pixels, views, WEAK_VIEWS, STRONG_VIEWS)
    headings = [("image", 1), ("weak views", WEAK_VIEWS), ("strong views", STRONG_VIEWS)]
    title = f"{shown(folder.root.resolve().name)}, as training sees it: {size} × {size} pixels"
    contact_sheet.draw(samples, titles, headings, title, path)


def _timing(config: Config, num_classes: int, test_images: int) -> dict[str, float]:
    from udal_tf.training import timing

    print(f"Timing steps of training, for about {TIMING_SECONDS:.0f} s at most …", file=sys.stderr, flush=True)
    with terminal.Progress(config.train.total_steps * config.generations, "steps") as bar:
        found = timing.measure(
            config, num_classes, test_images, limit=TIMING_SECONDS, say=lambda text: bar.advance(0, text)
        )
    return dataclasses.asdict(found)


def _dataset(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that name the dataset."""
    named = {"data_dir": args.folder, "labels": args.labels, "layout": args.layout}
    return {"dataset": "folder", **{name: str(value) for name, value in named.items() if value}}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    own, settings_given = program.split_settings(argv)
    parser = program.make_parser("inspect", __doc__)
    parser.add_argument(
        "folder",
        nargs="?",
        type=program.place,
        metavar="DIR",
        help="folder with labeled/, unlabeled/ and optionally val/ and test/; or of the files that --labels names",
    )
    parser.add_argument(
        "--labels", type=program.path, metavar="FILE", help="CSV file with lines file,label[,split], as in training"
    )
    parser.add_argument("--layout", help="which folders hold what, as in training")
    parser.add_argument(
        "--out", type=program.place, help=f"PNG file of the contact sheet (default: inspect_<folder>/{SHEET})"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing contact sheet and label issues")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON instead of text")
    parser.add_argument("--no_timing", action="store_true", help="do not time any training steps")
    parser.add_argument(
        "--model",
        type=program.text_place,
        metavar="WORKDIR",
        help="work folder of a run, to find labels that look wrong",
    )
    parser.add_argument(
        "--count",
        type=program.number(1, 100_000),
        default=20,
        help="how many labels to list with --model (default: 20)",
    )
    args = parser.parse_args(own)
    args.settings = settings_given
    return args


def _model(args: argparse.Namespace, place: pathlib.Path) -> TrainedModel | None:
    """The model of --model, if any. Raises ValueError if it cannot be used or what it says cannot be written."""
    if not args.model:
        return None
    label_issues.check_new(place, args.overwrite)
    from udal_tf.inference import trained

    return trained.load(args.model)


def _sheet_path(args: argparse.Namespace, root: pathlib.Path) -> pathlib.Path:
    path: pathlib.Path = args.out or pathlib.Path(f"inspect_{root.resolve().name}") / SHEET
    if path.suffix.lower() != ".png":
        raise ValueError(f"--out must name a .png file, got {shown(path)}")
    if path.is_dir():
        raise ValueError(f"--out: {shown(path)} is a folder: name a .png file")
    if storage.exists(path) and not args.overwrite:
        raise ValueError(f"{shown(path)} exists already: give --overwrite, or another --out")
    outputs.check_writable(path.parent)
    return path


@program.command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = _parse(argv)
    with program.bad_input_refused():
        program.placed(args, "folder", "out", "model")
        given = config_module.given_on_command_line(args.settings)
        given |= {"plugin": args.plugin} if args.plugin else {}
        given = _dataset(args) | given
        config = config_module.resolve(given)
        if config.data.dataset != "folder":
            raise ValueError(f"only --dataset=folder is inspected, got --dataset={config.data.dataset}")
        in_bucket = storage.is_remote(config.data.data_dir)
        local = config.data.data_dir and not in_bucket
        root = pathlib.Path(config.data.data_dir).expanduser() if local else None
        folder = custom_dataset.read(config.data, config.own_section(FolderConfig), root)
        sheet = _sheet_path(args, folder.root)
        model = _model(args, sheet.parent)
        found = inspect(folder, given, sheet, timed=not args.no_timing and not model)
        if model:
            found["label_issues"] = label_issues.find(folder, model, args.count, sheet.parent)
    print(json.dumps(found, indent=2, ensure_ascii=False) if args.json else inspection_text(found))


if __name__ == "__main__":
    main()
