"""`udal-inspect DIR --model=WORKDIR`: labels that look wrong, as findings, a CSV file and a sheet of images."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from udal_tf import storage
from udal_tf.commands import model_arguments, outputs
from udal_tf.data import label_files, reading
from udal_tf.data.folder_listing import name_below
from udal_tf.storage import csv_row

if TYPE_CHECKING:  # At run time TensorFlow is imported only after the arguments have been checked.
    from udal_tf.data.folder_listing import Folder
    from udal_tf.inference.trained import TrainedModel

TABLE, SHEET = "label_issues.csv", "label_issues.png"
# Side of the images on the sheet, in pixels.
SHEET_SIDE = 256


def check_new(place: pathlib.Path, overwrite: bool) -> None:
    """Raises ValueError if TABLE or SHEET exists in this folder and may not be replaced."""
    for path in (place / TABLE, place / SHEET):
        outputs.check_new(path, overwrite, storage.exists(path) and not storage.is_dir(path))


def find(folder: Folder, model: TrainedModel, count: int, place: pathlib.Path) -> dict[str, Any]:
    """Judges all labels of a folder by a trained model's features, and writes TABLE and SHEET.

    Args:
      folder: whose labeled, validation and test images are judged.
      model: the model.
      count: how many labels are named, at most.
      place: the folder of TABLE and SHEET, which are replaced.

    Returns:
      "named", the worst first, each with "file", "split", "label", "suggested", "confidence", and "marked", whether
      confident learning takes the label for wrong; "judged" and "marked", numbers of labels; "not_judged", those of
      classes with one image; "table" and "sheet", the files.

    Raises:
      ValueError: if no label can be judged.
    """
    from udal_tf.inference import embedding, label_issues
    from udal_tf.reporting import image_sheet

    parts = {label_files.TRAIN: folder.labeled, label_files.VAL: folder.validation, label_files.TEST: folder.test}
    images = {
        str(path): (split, name)
        for split, by_class in parts.items()
        for name, paths in (by_class or {}).items()
        for path in paths
    }
    names = sorted({name for _, name in images.values()})
    with model_arguments.ImageProgress(len(images)) as bar:
        # Those that cannot be read are among the other findings.
        seen = embedding.of_files(model, images, told=lambda path, fault: bar.advance())
    labels = [names.index(images[path][1]) for path in seen.paths]
    trained_on = np.array([images[path][0] == label_files.TRAIN for path in seen.paths])
    issues = label_issues.find(seen.features, np.array(labels, int), len(names), trained_on)
    named: list[dict[str, Any]] = []
    tiles: list[image_sheet.Tile] = []
    for i in issues.order[:count]:
        path, (split, name) = seen.paths[i], images[seen.paths[i]]
        suggested, confidence = names[issues.suggested[i]], round(float(issues.confidence[i]), 6)
        line = {"file": name_below(pathlib.Path(path), folder.root), "split": split, "label": name}
        named.append(line | {"suggested": suggested, "confidence": confidence, "marked": bool(issues.marked[i])})
        pixels = reading.pixels_or_fault(path, SHEET_SIDE)
        if len(tiles) < image_sheet.MOST_IMAGES and not isinstance(pixels, str):
            tiles.append(image_sheet.Tile(pixels, (name, suggested), confidence, path))
    if not storage.is_remote(place):
        place.mkdir(parents=True, exist_ok=True)
    with outputs.new_file(place / TABLE, True) as file:
        for row in (named[0], *(line.values() for line in named)):
            print(csv_row(row), file=file)
    image_sheet.draw(tiles, "Are these labels wrong? Label → suggested class, confidence", place / SHEET)
    return {
        "named": named,
        "judged": len(issues.order),
        "marked": int(issues.marked.sum()),
        "not_judged": len(issues.alone),
        "table": str(place / TABLE),
        "sheet": str(place / SHEET),
    }
