"""`udal-inspect DIR`: what lies in a folder of one's custom images, what to know before training on it, and how to.

  udal-inspect DIR                                  # or: python -m udal_tf.commands.inspect DIR
  udal-inspect DIR --json --no_timing > found.json
  udal-inspect DIR -- --arch=mobilenetv2 --pretrained=weights.h5

Counts per class, sizes, files that cannot be read, duplicates, test images that training would see; warnings in plain
words; the command that trains on the folder with the recipe it stands for, and how long that takes here, from a few of
its steps. A contact sheet shows each class with its weak and strong views. After `--` come settings of `run.py`, which
then belong to the recommended command.
"""

import argparse
import dataclasses
import json
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from udal_tf import config as config_module
from udal_tf.commands.plugins import add_plugin_argument, load_plugins
from udal_tf.config import NO_WEIGHTS, Config
from udal_tf.data import data_checks, decoding, folder_listing, inspection, settings
from udal_tf.data.errors import DataError
from udal_tf.data.folder_listing import LABELED, TEST, UNLABELED, Folder
from udal_tf.data.inspection import ImageRecord
from udal_tf.folder_recipe import LARGEST, folder_recipe
from udal_tf.reporting import contact_sheet, terminal
from udal_tf.reporting.inspection_text import inspection_text

EXIT_BAD_INPUT = 2
SHEET = "contact_sheet.png"
WEAK_VIEWS, STRONG_VIEWS = 3, 4
# Below the classes a few unlabeled images are shown.
UNLABELED_ROWS = 2


def inspect(folder: Folder, given: Mapping[str, Any], sheet: pathlib.Path, timed: bool = True) -> dict[str, Any]:
    """Reads every image, draws the sheet and measures the recommended run.

    Args:
      folder: to look at. given: settings of `run.py` that belong to the recommended command.
      sheet: where the contact sheet goes. timed: whether some steps of the run are done to time them.

    Returns:
      `inspection.summary` with "folder"; "problems", for which training would refuse it; "warnings", each with "kind"
      and "text"; "recipe" with "command", the "settings" it stands for, "steps" and "epochs", None where there are
      problems; "time", as `training.timing.Timing` has it, or None; "contact_sheet".

    Raises:
      DataError: where no image to train on can be read. ValueError: for settings that do not fit.
    """
    given = {"dataset": "folder", "data_dir": str(folder.root), **given}
    if given["dataset"] != "folder":
        raise ValueError(f"only --dataset=folder is inspected, got --dataset={given['dataset']}")
    config = config_module.resolve(given)
    if config.model.pretrained != NO_WEIGHTS and not pathlib.Path(config.model.pretrained).expanduser().is_file():
        raise ValueError(f"--pretrained={config.model.pretrained} is no file")
    problems = folder_listing.problems(folder, config.data.beta)
    recipe: dict[str, Any] | None = None
    test_images = 0
    if not problems:
        listing = folder_listing.make_listing(folder, config.data.beta)
        facts = settings.facts_of(listing, folder.root, config.data)
        config, recipe = config_module.resolve(given, facts), folder_recipe(facts, given)
        test_images = len(listing.test)
    size = config.data.image_size or LARGEST
    images = _read_images(folder, size)
    found = {"folder": str(folder.root), **inspection.summary(folder, images)}
    found["problems"] = problems or _emptied(folder, found)
    from_scratch = config.model.arch != "wrn" and config.model.pretrained == NO_WEIGHTS
    found["warnings"] = data_checks.data_warnings(found, from_scratch)
    usable = recipe and not found["problems"]
    found["recipe"] = _recommendation(given, config, recipe, found) if recipe and usable else None
    _draw_sheet(folder, images, config, size, sheet)
    found["time"] = _timing(config, len(found["classes"]), test_images) if usable and timed else None
    found["contact_sheet"] = str(sheet)
    return found


def _read_images(folder: Folder, size: int) -> list[ImageRecord]:
    in_classes = [*folder.labeled.values(), *(folder.test or {}).values()]
    total = len(folder.unlabeled) + sum(map(len, in_classes))
    with terminal.Progress(total, "images") as bar:
        images = inspection.read_images(folder, size, bar.advance)
    if not any(not image.fault and image.part != TEST for image in images):
        faults = [f"; {image.path}: {image.fault}" for image in images[:1]]
        raise DataError(f"{folder.root}: no image to train on can be read{''.join(faults)}")
    return images


def _emptied(folder: Folder, found: Mapping[str, Any]) -> list[str]:
    """The classes that have no image left once those that cannot be read are left out."""
    parts = (LABELED,) if folder.test is None else (LABELED, TEST)
    return [
        f"{folder.root / part / one['name']}: none of its images can be read"
        for one in found["classes"]
        for part in parts
        if not one[part]
    ]


def _recommendation(
    given: Mapping[str, Any], config: Config, recipe: Mapping[str, Any], found: Mapping[str, Any]
) -> dict[str, Any]:
    """The command that trains on the folder, and the settings that it stands for."""
    if found["unreadable"]:
        given = {**given, "skip_bad_images": True}
    arguments = [f"--{name}={_shown(value)}" for name, value in given.items()]
    of_the_base = recipe.get("bases", {}).get(config.method.base, {})
    chosen = {name: value for name, value in {**recipe, **of_the_base}.items() if name not in ("bases", "images")}
    return {
        "command": shlex.join(["python", "run.py", *arguments]),
        "settings": {name: value for name, value in sorted(chosen.items()) if name not in given},
        "steps": config.train.total_steps * config.generations,
        "epochs": config.train.epochs * config.generations,
    }


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _draw_sheet(folder: Folder, images: Sequence[ImageRecord], config: Config, size: int, path: pathlib.Path) -> None:
    """One image of each class and a few unlabeled ones, each with some of its views."""
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
    titles = [*(f"{name}\n{labeled[name]:,} labeled" for name in names), *("unlabeled" for _ in spread)]
    pixels = np.stack([decoding.decode(folder.root / path, size) for path in paths])
    views = make_views(config.augment, *pixels.shape[1:])
    shown = view_samples(pixels, views, WEAK_VIEWS, STRONG_VIEWS)
    headings = [("image", 1), ("weak views", WEAK_VIEWS), ("strong views", STRONG_VIEWS)]
    contact_sheet.draw(
        shown, titles, headings, f"{folder.root.name}, as training sees it: {size} × {size} pixels", path
    )


def _timing(config: Config, num_classes: int, test_images: int) -> dict[str, float]:
    from udal_tf.training import timing

    return dataclasses.asdict(timing.measure(config, num_classes, test_images))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    argv = list(argv)
    cut = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        prog="udal-inspect", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path, help="folder with labeled/, unlabeled/ and, if you have it, test/")
    parser.add_argument("--out", type=pathlib.Path, help=f"the sheet's PNG (default: inspect_<folder>/{SHEET})")
    parser.add_argument("--overwrite", action="store_true", help="replace a sheet that is there already")
    parser.add_argument("--json", action="store_true", help="print everything found as JSON instead of a text")
    parser.add_argument("--no_timing", action="store_true", help="do not time any training steps")
    add_plugin_argument(parser)
    args = parser.parse_args(argv[:cut])
    args.settings = argv[cut + 1 :]
    return args


def _sheet_path(args: argparse.Namespace) -> pathlib.Path:
    path = args.out or pathlib.Path(f"inspect_{args.folder.resolve().name}") / SHEET
    if path.suffix.lower() != ".png":
        raise ValueError(f"--out must name a .png file, got {path}")
    if path.exists() and not args.overwrite:
        raise ValueError(f"{path} is there already: give --overwrite, or another --out")
    return path


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    terminal.accept_any_text()
    args = _parse(sys.argv[1:] if argv is None else argv)
    try:
        load_plugins(args.plugin)
        given = config_module.given_on_command_line(args.settings)
        given |= {"plugin": args.plugin} if args.plugin else {}
        folder = folder_listing.read_folder(args.folder)
        found = inspect(folder, given, _sheet_path(args), timed=not args.no_timing)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    print(json.dumps(found, indent=2, ensure_ascii=False) if args.json else inspection_text(found))


if __name__ == "__main__":
    main()
