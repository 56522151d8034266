"""From a CSV file of labels to a trained model: nothing is moved, nothing else is written than the work folder.

    python examples/csv_labels.py

Saves scikit-learn's handwritten digits as PNG files in one folder, and beside it labels.csv with the columns
file,label,split: few of the images have a label, most have none, and some are to validate or to test on. The run is
what `python run.py --dataset=folder --labels=labels.csv` does; the validation images choose the best epoch, and the
test images are read at the end. Less than a minute on two cores; docs/own_data.md describes the file.
"""

import argparse
import csv
import pathlib
import tempfile

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import udal_tf
from udal_tf.data import settings
from udal_tf.training.experiment import train_and_evaluate

# Images of each class: labeled ones from 30 of digit 0 down to 3 of digit 9; the others are the same for all classes.
LABELED = np.geomspace(30, 3, 10).round().astype(int)
VALIDATION = 15
TEST = 40


def write_digits(root: pathlib.Path) -> pathlib.Path:
    """Writes the images and the CSV file below `root`; returns the latter."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))  # The dataset is sorted by writer.
    pixels, labels = np.uint8(images.reshape(-1, 8, 8) * 255 / 16)[order], labels[order]
    (root / "images").mkdir(parents=True)
    rows = [("file", "label", "split")]
    seen = [0] * 10
    for i, (image, digit) in enumerate(zip(pixels, labels, strict=True)):
        name = f"images/{i:04}.png"
        Image.fromarray(image).resize((16, 16), Image.Resampling.BICUBIC).save(root / name)
        test, validation, labeled = np.cumsum([TEST, VALIDATION, LABELED[digit]])
        if seen[digit] < test:
            rows.append((name, digit, "test"))
        elif seen[digit] < validation:
            rows.append((name, digit, "val"))
        else:
            rows.append((name, digit if seen[digit] < labeled else "", "train"))
        seen[digit] += 1
    with open(root / "labels.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return root / "labels.csv"


def main(folder: pathlib.Path, epochs: int = 10, steps_per_epoch: int = 25):
    """Trains on the digits in `folder`; returns the result."""
    labels = write_digits(folder)
    config = settings.resolve(
        {
            "dataset": "folder", "labels": str(labels), "workdir": str(folder / "work"), "patience": 4,
            "cache_dir": str(folder / "cache"), "epochs": epochs, "steps_per_epoch": steps_per_epoch,
            "flip": False, "cutout": 0.25, "ema_warmup": True,
        }
    )  # fmt: skip
    result = train_and_evaluate(config)
    best = result.best
    print(f"test, last epoch: balanced accuracy {100 * result.balanced_accuracy.ema:.1f} %")
    print(f"test, epoch {best.epoch}, the best on the validation images: {100 * best.test.balanced_accuracy.ema:.1f} %")
    model = udal_tf.load(folder / "work", weights="best")
    unlabeled = next(line.split(",")[0] for line in labels.read_text().splitlines() if line.endswith(",,train"))
    print(f"{unlabeled}, which has no label, is predicted as {model.predict([folder / unlabeled]).names[0]}")
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, help="where to write (default: a folder of its own)")
    main(parser.parse_args().folder or pathlib.Path(tempfile.mkdtemp(prefix="csv_labels_")))
