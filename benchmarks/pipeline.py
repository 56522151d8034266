"""How many augmented CIFAR images a second reach the training step, ours and, if it is at hand, CReST's.

    python benchmarks/pipeline.py
    python benchmarks/pipeline.py --crest=DIR --crest_python=BIN

A batch is FixMatch's: 64 labeled weak, 448 unlabeled weak, 448 unlabeled strong views of 32 x 32 images. Both
loaders read the same random images, in turn, in one run. DIR is a checkout of google-research/crest, BIN a Python
with TensorFlow 2.15 and tensorflow-addons.
"""

import argparse
import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import crest_loader
import numpy as np
import tensorflow as tf

from udal_tf.augment.views import make_views
from udal_tf.config import AugmentConfig
from udal_tf.data.dataset import ArrayImages
from udal_tf.data.longtail import class_counts
from udal_tf.input import pipeline

BATCH_SIZE = 64
UNLABELED_RATIO = 7
AUGMENTED_PER_BATCH = BATCH_SIZE * (1 + 2 * UNLABELED_RATIO)
LARGEST_CLASS, IMBALANCE, CLASSES = 5000, 100.0, 10
LABELED_FRACTION = 0.1
SIZE, CHANNELS = 32, 3
WARMUP_BATCHES = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="Timings of each loader; the median counts.")
    parser.add_argument("--batches", type=int, default=200, help="Batches in one of our timings.")
    parser.add_argument("--crest_batches", type=int, default=40, help="Batches in one of CReST's timings.")
    parser.add_argument("--crest", help="Checkout of google-research/crest.")
    parser.add_argument("--crest_python", help="Python that can import it.")
    args = parser.parse_args()
    if (args.crest is None) != (args.crest_python is None):
        parser.error("--crest and --crest_python go together: give both or neither")

    images, labels = random_images()
    rates = {"this repository": []}
    with contextlib.ExitStack() as stack:
        crest_seconds = None
        if args.crest:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            write_crest_records(pathlib.Path(folder), images, labels)
            crest_seconds = stack.enter_context(crest_process(args.crest, args.crest_python, folder))
            rates["CReST"] = []
        our_seconds = our_loader(images, labels)
        for _ in range(args.rounds):
            rates["this repository"].append(AUGMENTED_PER_BATCH * args.batches / our_seconds(args.batches))
            if crest_seconds:
                rates["CReST"].append(AUGMENTED_PER_BATCH * args.crest_batches / crest_seconds(args.crest_batches))
    print(table(rates, os.cpu_count()))


def random_images() -> tuple[np.ndarray, np.ndarray]:
    """A long-tailed set of CIFAR-10's size: [N, 32, 32, 3] uint8 smooth random images and [N] int64 labels."""
    counts = class_counts(LARGEST_CLASS, IMBALANCE, CLASSES)
    labels = np.repeat(np.arange(CLASSES, dtype=np.int64), counts)
    coarse = np.random.default_rng(0).integers(0, 256, (len(labels), SIZE // 4, SIZE // 4, CHANNELS), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2), labels


def our_loader(images: np.ndarray, labels: np.ndarray):
    """A function from a number of batches to the seconds that they take."""
    store, everything = ArrayImages(images), np.arange(len(labels))
    labeled = everything[:: round(1 / LABELED_FRACTION)]
    sets = {
        pipeline.LABELED: pipeline.ImageSet(store, labeled, labels, BATCH_SIZE),
        pipeline.UNLABELED: pipeline.ImageSet(store, everything, labels, BATCH_SIZE * UNLABELED_RATIO),
    }
    requests = (
        ("x_l", pipeline.LABELED, "weak"),
        ("x_w", pipeline.UNLABELED, "weak"),
        ("x_s", pipeline.UNLABELED, "strong"),
    )
    views = make_views(AugmentConfig(), SIZE, SIZE, CHANNELS)
    endless = np.iinfo(np.int64).max
    batches = pipeline.training_batches(pipeline.BatchMaker(sets, requests, views, 0), 0, endless)

    def seconds(count: int) -> float:
        iterator = iter(batches)
        for _ in range(WARMUP_BATCHES):
            next(iterator)
        start = time.perf_counter()
        for _ in range(count):
            next(iterator)
        return time.perf_counter() - start

    return seconds


def write_crest_records(folder: pathlib.Path, images: np.ndarray, labels: np.ndarray) -> None:
    """The files that CReST's CIFAR10LT reads: channel planes as bytes, and an int64 label."""
    target = folder / "cifar-lt" / f"cifar-10-data-im-{1 / IMBALANCE}"
    target.mkdir(parents=True)
    planes = images.transpose(0, 3, 1, 2)
    for name, few in (("train", len(labels)), ("eval", 1)):
        with tf.io.TFRecordWriter(str(target / f"{name}.tfrecords")) as writer:
            for image, label in zip(planes[:few], labels[:few], strict=True):
                features = {
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())


@contextlib.contextmanager
def crest_process(crest: str, python: str, ml_data: str):
    """Starts CReST's loader; gives a function from a number of batches to the seconds that they take."""
    command = [python, crest_loader.__file__, f"--crest={crest}", f"--imbalance={1 / IMBALANCE}"]
    command += [f"--batch_size={BATCH_SIZE}", f"--unlabeled_ratio={UNLABELED_RATIO}", f"--warmup={WARMUP_BATCHES}"]
    environment = {**os.environ, "ML_DATA": ml_data}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:

        def answer() -> str:
            for line in process.stdout:
                if line.startswith(crest_loader.PREFIX):
                    return line.removeprefix(crest_loader.PREFIX)
            raise RuntimeError(f"CReST's loader ended with status {process.wait()}; its messages are above")

        def seconds(count: int) -> float:
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
            return float(answer())

        answer()
        yield seconds
        process.stdin.close()


def table(rates: dict[str, list[float]], cores: int) -> str:
    """Markdown: one row per loader, then the ratio of the medians."""
    rounds = len(rates["this repository"])
    lines = [
        f"Augmented {SIZE} x {SIZE} images per second on {cores} cores, median of {rounds} rounds",
        "",
        "| loader | median | lowest | highest |",
        "|---|---|---|---|",
    ]
    for name, values in rates.items():
        lines.append(f"| {name} | {statistics.median(values):,.0f} | {min(values):,.0f} | {max(values):,.0f} |")
    if "CReST" in rates:
        ratio = statistics.median(rates["this repository"]) / statistics.median(rates["CReST"])
        lines.append(f"| ratio | {ratio:.1f} | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
