"""This repository's part of `benchmarks/crest_loop.py`, which starts this file.

data   Fashion-MNIST as a long-tailed set in the layout that the release reads, and images for the strong view
train  a run: figures of every step, accuracies
check  on the release's first batch and weights one step, on its last weights the evaluation, and the strong view
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np

LARGEST_CLASS, IMBALANCE, LABELED_FRACTION = 5000, 100.0, 0.1
DEPTH, WIDTH = 16, 1
QUARTERS = 4
# From 28 to 32 pixels.
MARGIN = 2
VIEW_IMAGES = 400
FIGURES = ("loss", "loss_labeled", "loss_unlabeled", "loss_l2", "confident", "train_accuracy")
ACCURACIES = ("raw", "ema", "raw_la", "ema_la")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("data", "train", "check"))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--seed", type=int)
    args = parser.parse_args()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # As the command sets it, before TensorFlow's import.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if args.action == "data":
        write_data(args.out, args.data_dir, args.settings["test_images"])
    elif args.action == "train":
        train(args.out, args.settings, args.seed)
    else:
        check(args.out, args.settings)


def write_data(out: pathlib.Path, data_dir: str, test_images: int) -> None:
    """The release's two files below out/data, and views.npz: images and random numbers for the strong view."""
    from udal_tf.augment import randaugment
    from udal_tf.config import resolve
    from udal_tf.data import crest_files, fashion
    from udal_tf.data.longtail import class_counts

    source = fashion.load(resolve({"dataset": "fashionlt", "data_dir": data_dir}).data)
    counts = class_counts(LARGEST_CLASS, IMBALANCE, len(source.class_names))
    chosen = np.sort(np.concatenate([np.flatnonzero(source.train_labels == c)[:n] for c, n in enumerate(counts)]))
    place = out / "data" / "cifar-lt" / crest_files.folder_name("cifar-10-data-im-", IMBALANCE)
    place.mkdir(parents=True, exist_ok=True)
    train = as_cifar(source.train.fetch(chosen).numpy())
    hashes = {
        crest_files.TRAIN_FILE: crest_files.write(place / crest_files.TRAIN_FILE, train, source.train_labels[chosen]),
        crest_files.EVAL_FILE: crest_files.write(
            place / crest_files.EVAL_FILE,
            as_cifar(source.test.fetch(np.arange(test_images)).numpy()),
            source.test_labels[:test_images],
        ),
    }
    # Fashion-MNIST is gray; half of the images for the strong view are noise, so that every value and color comes up.
    generator = np.random.default_rng(0)
    images = train[:VIEW_IMAGES].copy()
    images[::2] = generator.integers(0, 256, images[::2].shape, dtype=np.uint8)
    which = generator.integers(0, len(randaugment.OPS), (VIEW_IMAGES, 2))
    np.savez(
        out / "views.npz",
        images=images,
        top=generator.integers(0, 9, VIEW_IMAGES),
        left=generator.integers(0, 9, VIEW_IMAGES),
        flip=generator.integers(0, 2, VIEW_IMAGES),
        ops=np.array(randaugment.OPS)[which],
        applied=generator.integers(0, 2, (VIEW_IMAGES, 2)),
        level=generator.random((VIEW_IMAGES, 2), np.float32),
        sign=generator.choice(np.array([-1.0, 1.0], np.float32), (VIEW_IMAGES, 2)),
        cutout=generator.random((VIEW_IMAGES, 2), np.float32),
    )
    (out / "data.json").write_text(json.dumps(hashes))


def as_cifar(images: np.ndarray) -> np.ndarray:
    """[N, 28, 28, 1] -> [N, 32, 32, 3]: a black margin, and the one channel three times."""
    margins = ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    return np.pad(images, margins).repeat(3, axis=3)


def config_of(settings: dict, seed: int, folder: str):
    """The run's settings: the recipe of CIFAR10-LT, whose place the files take."""
    from udal_tf.config import resolve

    return resolve(
        {
            "dataset": "cifar10lt",
            "imbalance": IMBALANCE,
            "beta": LABELED_FRACTION,
            "fold": settings["fold"],
            "base": "fixmatch",
            "method": "none",
            "la_prior": "label_average",
            "depth": DEPTH,
            "width": WIDTH,
            "batch_size": settings["batch_size"],
            "unlabeled_ratio": settings["ratio"],
            "epochs": QUARTERS,
            "steps_per_epoch": settings["steps"] // QUARTERS,
            "threads": settings["threads"],
            "seed": seed,
            "workdir": folder,
        }
    )


def make_run(config, out: pathlib.Path, folder: str):
    """The objects of a training, as `run.py` makes them, on the release's files."""
    from udal_tf.data import crest_files
    from udal_tf.data.dataset import ArrayImages, Source
    from udal_tf.data.problem import make_problem
    from udal_tf.run_dir import RunDir
    from udal_tf.training import distribute, loop

    place = crest_files.find([out / "data"], crest_files.folder_name("cifar-10-data-im-", IMBALANCE))
    (train, train_labels), (test, test_labels) = (
        crest_files.read(place / name) for name in (crest_files.TRAIN_FILE, crest_files.EVAL_FILE)
    )
    source = Source(
        train=ArrayImages(train),
        train_labels=train_labels,
        test=ArrayImages(test),
        test_labels=test_labels,
        class_names=tuple(map(str, range(train_labels.max() + 1))),
        provenance={"source": f"files of crest_loop.py in {place}"},
        long_tailed=True,
    )
    strategy = distribute.make_strategy(config.device)
    with strategy.scope():
        return loop._Run(config, make_problem(source, config.data), RunDir(folder))


def train(out: pathlib.Path, settings: dict, seed: int) -> None:
    import keras
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        run = make_run(config_of(settings, seed, folder), out, folder)
        with run.strategy.scope():
            iterator = run._batches(0)
            rows = np.concatenate([run.runner(iterator, 1), run.runner(iterator, settings["steps"] - 1)])
            accuracy = run.evaluator(run.learner.la_prior().numpy())["accuracy"]
    result = {
        "steps": {name: rows[:, run.runner.names.index(name)].tolist() for name in FIGURES},
        "accuracy": accuracy,
        "facts": {"TensorFlow": tf.__version__, "Keras": keras.__version__},
    }
    (out / f"ours_{seed}.json").write_text(json.dumps(result))


def check(out: pathlib.Path, settings: dict) -> None:
    """Writes check.json: what is compared on the release's own weights, batch and random numbers."""
    read = {name: json.loads((out / f"theirs_{name}.json").read_text()) for name in ("first", "1")}
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(config_of(settings, 0, folder), out, folder)
        kernels = [v.numpy() for v in run.learner.model.trainable_variables if len(v.shape) == 4]
        metrics, differences = first_step(run, np.load(out / "theirs_first.npz"))
        correct = evaluation(run, np.load(out / "theirs_1.npz"))
    images = len(run.data.test)
    result = {
        "first_step": {"theirs": {name: read["first"]["steps"][name][0] for name in FIGURES}, "ours": metrics},
        "differences": differences,
        "correct": {
            "theirs": {name: round(images * read["1"]["accuracy"][name]) for name in ACCURACIES},
            "ours": {name: round(images * correct[name]) for name in ACCURACIES},
        },
        "views": strong_view(run, out),
        "distinct": len({kernel.tobytes() for kernel in kernels}),
    }
    (out / "check.json").write_text(json.dumps(result))


def assign(variables: list, values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def weights(model, arrays, prefix: str) -> list[np.ndarray]:
    """The release's weights in the order of our model's variables."""
    number = {name: i for i, name in enumerate(arrays["names"].tolist())}
    return [arrays[f"{prefix}{number[f'{variable.path}:0']}"] for variable in model.variables]


def first_step(run, arrays) -> tuple[dict[str, float], dict[str, float]]:
    """Our figures of the release's first step; each variable's largest difference, relative to its largest update."""
    import tensorflow as tf

    learner, model = run.learner, run.learner.model
    start, after = (weights(model, arrays, prefix) for prefix in ("start", "raw"))
    assign(model.variables, start)
    learner.begin_averages()
    batch = {key: tf.constant(arrays[key]) for key in ("x_l", "x_w", "x_s")}
    batch.update({key: tf.constant(arrays[key][:, 0].astype(np.int64)) for key in ("labels_l", "labels_u")})
    metrics = tf.function(learner.train_step)(batch)
    differences = {
        variable.path: float(np.abs(variable.numpy() - theirs).max() / np.abs(theirs - before).max())
        for variable, theirs, before in zip(model.variables, after, start, strict=True)
    }
    return {name: float(metrics[name]) for name in FIGURES}, differences


def evaluation(run, arrays) -> dict[str, float]:
    """Our four accuracies on the release's last weights and moving average of labels."""
    learner = run.learner
    names = [variable.path for variable in learner.model.variables]
    assign(learner.model.variables, weights(learner.model, arrays, "raw"))
    averaged = dict(zip(names, weights(learner.model, arrays, "ema"), strict=True))
    assign(learner.ema, [averaged[variable.path] for variable in learner.model.trainable_variables])
    learner.label_average.assign(arrays["label_average"])
    return run.evaluator(learner.la_prior().numpy())["accuracy"]


def strong_view(run, out: pathlib.Path) -> dict[str, int]:
    """How many bytes of the strong views differ from the release's, as they are and given its darkened values."""
    import tensorflow as tf

    from udal_tf.augment import randaugment

    given, theirs = np.load(out / "views.npz"), np.load(out / "theirs_views.npz")
    which = np.array([[randaugment.OPS.index(op) for op in row] for row in given["ops"].tolist()])
    # The middle of each interval that our view maps to the choice.
    columns = [(given["top"] + 0.5) / 9, (given["left"] + 0.5) / 9, np.where(given["flip"], 0.25, 0.75)]
    for layer in range(which.shape[1]):
        columns += [
            (which[:, layer] + 0.5) / len(randaugment.OPS),
            np.where(given["applied"][:, layer], 0.25, 0.75),
            given["level"][:, layer],
            np.where(given["sign"][:, layer] < 0, 0.25, 0.75),
        ]
    uniforms = tf.constant(np.stack([*columns, *given["cutout"].T], axis=1), tf.float32)

    def differing(images: np.ndarray) -> int:
        strong = run.views.strong.apply(tf.constant(images), uniforms).numpy()
        return int((as_bytes(strong) != as_bytes(theirs["strong"])).sum())

    return {
        "images": len(given["images"]),
        "bytes": given["images"].size,
        "darkened": int((theirs["values"] == np.arange(256) - 1).sum()),
        "differing": differing(given["images"]),
        "differing_darkened": differing(theirs["values"][given["images"]].astype(np.uint8)),
    }


def as_bytes(view: np.ndarray) -> np.ndarray:
    """[−1, 1] back to whole numbers, twice as fine, so that cutout's 0 stays apart from 127 and 128."""
    return np.round((view + 1.0) * 255.0).astype(np.int64)


if __name__ == "__main__":
    main()
