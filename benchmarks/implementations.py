"""Who takes part in `speed.py`: their command lines, the measures that each has, and the images that they read."""

import argparse
import dataclasses
import json
import os
import pathlib
import sys

from timed_process import PEAK_MEMORY

HERE = pathlib.Path(__file__).resolve().parent
SIDE, CHANNELS, CLASSES = 32, 3, 10
LARGEST_CLASS, IMBALANCE, LABELED_FRACTION = 5000, 100.0, 0.1
TEST_IMAGES, EVALUATION_BATCH = 10_000, 100
DEPTH, WIDTH = 28, 2
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
OURS = "this repository"


@dataclasses.dataclass(frozen=True)
class Measure:
    """One figure: what the table calls it, its unit, and whether more of it is better."""

    title: str
    unit: str
    more_is_better: bool


MEASURES = {
    "train": Measure("training, input included", "images/s", True),
    "step": Measure("training step alone", "images/s", True),
    "input": Measure("input alone", "images/s", True),
    "evaluate": Measure("evaluation", "test images/s", True),
    "start": Measure("process start to first step", "s", False),
    PEAK_MEMORY: Measure("peak memory", "MiB", False),
}
# Taken of a fresh process; the others in rounds.
OF_A_START = ("start", PEAK_MEMORY)


@dataclasses.dataclass(frozen=True)
class Implementation:
    """A process to time.

    name: in the table. command: its command line. measures: those that it has. environment: what it adds to this one's.
    """

    name: str
    command: tuple[str, ...]
    measures: tuple[str, ...]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


def write_images(folder: pathlib.Path) -> None:
    """Random images in CReST's own files, which both it and this repository read."""
    sys.path.insert(0, str(HERE.parent))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np

    from udal_tf.data import crest_files
    from udal_tf.data.longtail import class_counts

    generator = np.random.default_rng(0)
    place = folder / "cifar-lt" / crest_files.folder_name("cifar-10-data-im-", IMBALANCE)
    place.mkdir(parents=True)
    classes = np.arange(CLASSES)
    for name, labels in (
        (crest_files.TRAIN_FILE, np.repeat(classes, class_counts(LARGEST_CLASS, IMBALANCE, CLASSES))),
        (crest_files.EVAL_FILE, np.tile(classes, TEST_IMAGES // CLASSES)),
    ):
        images = generator.integers(0, 256, (len(labels), SIDE, SIDE, CHANNELS), dtype=np.uint8)
        crest_files.write(place / name, images, labels)


def taking_part(args: argparse.Namespace, data: pathlib.Path) -> list[Implementation]:
    """Those that the options allow, with the measures that --only names; this repository is the first.

    Args:
      args: the options of `speed.py`. data: the folder that `write_images` filled.
    """
    batch = (f"--batch_size={args.batch_size}", f"--ratio={args.ratio}")
    threads, tested = f"--threads={args.threads}", f"--test_images={args.test_images}"
    settings = {
        "dataset": "cifar10lt",
        "data_dir": str(data),
        "imbalance": IMBALANCE,
        "beta": LABELED_FRACTION,
        "base": "fixmatch",
        "method": "none",
        "depth": DEPTH,
        "width": WIDTH,
        "batch_size": args.batch_size,
        "unlabeled_ratio": args.ratio,
        "threads": args.threads,
    }

    def ours(**more) -> tuple[str, ...]:
        return (sys.executable, str(HERE / "our_step.py"), f"--settings={json.dumps({**settings, **more})}", tested)

    every, of_training = tuple(MEASURES), ("train", "step", PEAK_MEMORY)
    chosen = [
        Implementation(OURS, ours(), every),
        Implementation(f"{OURS}, --joint_forward=false", ours(joint_forward=False), of_training),
    ]
    if args.crest:
        command = (args.crest_python, str(HERE / "crest_step.py"), f"--crest={args.crest}", *batch, threads, tested)
        command += (f"--imbalance={1 / IMBALANCE}", f"--labeled={LABELED_FRACTION}", f"--width={WIDTH}")
        environment = {"ML_DATA": str(data)}
        chosen.append(Implementation("CReST", command, every, environment))
        chosen.append(Implementation(f"CReST, {ONEDNN}=1", command, every, {**environment, ONEDNN: "1"}))
    if args.torch_python:
        command = (args.torch_python, str(HERE / "torch_step.py"), *batch, threads)
        command += (f"--depth={DEPTH}", f"--width={WIDTH}")
        chosen.append(Implementation("PyTorch, channels_last", command, ("step",)))
    asked = [dataclasses.replace(one, measures=tuple(m for m in one.measures if m in args.only)) for one in chosen]
    return [one for one in asked if one.measures]
