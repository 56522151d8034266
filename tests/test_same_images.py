"""The same images give the same run, whichever way they come in: arrays, files, TFDS, tf.data, Hugging Face."""

import json

import numpy as np
import prepared
import pytest
import tensorflow as tf
from PIL import Image as PillowImage
from sklearn.datasets import load_digits

import udal_tf
from udal_tf.commands import evaluate, predict, report, sweep
from udal_tf.data import memory, settings
from udal_tf.run_records import RunDirError
from udal_tf.training.experiment import train_and_evaluate

pytestmark = pytest.mark.usefixtures("undrawn", "small_network")

CLASSES = ("five", "one", "two")
DIGITS = (5, 1, 2)
# Of each class: labeled, unlabeled, tested on.
COUNTS = {"train": (12, 8, 5), "unlabelled": (20, 20, 20), "test": (10, 10, 10)}
SETTINGS = {
    "epochs": 2,
    "steps_per_epoch": 2,
    "batch_size": 4,
    "unlabeled_ratio": 2,
    "depth": 10,
    "width": 1,
    "image_size": 8,
    "threshold": 0.3,
    "learning_rate": 0.1,
    "ema_decay": 0.5,
}


def splits():
    """Split -> images [N, 8, 8, 3] uint8 and labels, class by class, from scikit-learn's digits."""
    digits = load_digits()
    images = np.repeat(np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis], 3, axis=-1)
    found, taken = {}, dict.fromkeys(DIGITS, 0)
    for split, counts in COUNTS.items():
        chosen = []
        for digit, count in zip(DIGITS, counts, strict=True):
            chosen.append(np.flatnonzero(digits.target == digit)[taken[digit] : taken[digit] + count])
            taken[digit] += count
        found[split] = images[np.concatenate(chosen)], np.repeat(np.arange(3), counts)
    return found


class Image:
    """Stands in for `datasets.Image`."""


class ClassLabel:
    """Stands in for `datasets.ClassLabel`."""

    names = CLASSES


class StandInForHuggingFace:
    """The part of `datasets.Dataset` that is used: features, column_names, rows with Pillow images."""

    features = {"image": Image(), "label": ClassLabel()}
    column_names = ["image", "label"]

    def __init__(self, images, labels):
        self._rows = [
            {"image": PillowImage.fromarray(image), "label": int(label)}
            for image, label in zip(images, labels, strict=True)
        ]

    def __iter__(self):
        return iter(self._rows)


def write_folders(root, data):
    for split, part in (("train", "labeled"), ("test", "test"), ("unlabelled", "unlabeled")):
        images, labels = data[split]
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = root / part / ("" if part == "unlabeled" else CLASSES[label])
            folder.mkdir(parents=True, exist_ok=True)
            PillowImage.fromarray(image).save(folder / f"{number:04d}.png")
    return root


def write_tfds(root, data):
    features = prepared.features_of(classes=CLASSES)
    hidden = {split: labels if split != "unlabelled" else -np.ones_like(labels) for split, (_, labels) in data.items()}
    return prepared.write(
        root, "some_digits", {split: prepared.examples(data[split][0], hidden[split]) for split in data}, features
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the images as files and as a prepared dataset."""
    root = tmp_path_factory.mktemp("ways")
    write_folders(root / "folder", splits())
    write_tfds(root / "tfds", splits())
    return root


@pytest.fixture(scope="module")
def given(files):
    """Way in -> the data for `udal_tf.train`."""
    import tensorflow_datasets as tfds

    (x, y), (x_u, _), (x_t, y_t) = splits().values()
    return {
        "arrays": {"labeled": (x, y), "unlabeled": x_u, "test": (x_t, y_t), "class_names": CLASSES},
        "names": udal_tf.Data((x, np.array(CLASSES)[y]), list(x_u), (x_t, np.array(CLASSES)[y_t])),
        "tf_data": {
            "labeled": tf.data.Dataset.from_tensor_slices({"image": x, "label": y}),
            "unlabeled": tf.data.Dataset.from_tensor_slices(x_u).batch(7),
            "test": tf.data.Dataset.from_tensor_slices((x_t, y_t)),
            "class_names": CLASSES,
        },
        "hugging_face": {
            "train": StandInForHuggingFace(x, y),
            "unsupervised": StandInForHuggingFace(x_u, -np.ones(len(x_u))),
            "test": StandInForHuggingFace(x_t, y_t),
        },
        "builder": tfds.builder_from_directory(str(files / "tfds/some_digits/1.0.0")),
    }


@pytest.fixture(scope="module")
def runs(files, given, undrawn, small_network):
    """Way in -> the work folder of its run."""
    root = files
    for way in ("arrays", "hugging_face"):
        udal_tf.train(given[way], root / "runs" / way, **SETTINGS)
    for way, dataset in (("folder", "folder"), ("tfds", "tfds:some_digits")):
        where = {"data_dir": str(root / way), "cache_dir": str(root / "cache"), "workdir": str(root / "runs" / way)}
        train_and_evaluate(settings.resolve({**SETTINGS, "dataset": dataset, "beta": 1.0, **where}))
    return {path.name: path for path in (root / "runs").iterdir()}


def rows_of(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.parametrize("way", ["names", "tf_data", "hugging_face", "builder"])
def test_every_way_in_gives_the_same_arrays(given, way):
    arrays, other = (memory.arrays_of(memory.as_data(given[one])) for one in ("arrays", way))
    for name in ("images", "labels", "test", "test_labels"):
        np.testing.assert_array_equal(getattr(other, name), getattr(arrays, name))
    assert other.sha256 == arrays.sha256 and other.class_names == CLASSES and other.labeled == 25


@pytest.mark.parametrize("way", ["hugging_face", "folder", "tfds"])
def test_the_same_images_give_the_same_losses_scores_and_weights_to_the_last_bit(runs, way):
    arrays, other = (json.loads((runs[one] / "result.json").read_text()) for one in ("arrays", way))
    assert rows_of(runs[way]) == rows_of(runs["arrays"]) and len(rows_of(runs[way])) == 2
    for name in ("accuracy", "balanced_accuracy", "per_class_recall", "confusion", "p_data", "p_unlabeled"):
        assert other[name] == arrays[name], name
    images = splits()["test"][0]
    model = udal_tf.load(runs["arrays"])
    np.testing.assert_array_equal(udal_tf.load(runs[way]).logits(images), model.logits(images))


def test_every_command_works_with_the_name_of_a_tfds_dataset(runs, files, tmp_path, call_command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = [f"--data_dir={files / 'tfds'}", f"--cache_dir={files / 'cache'}"]
    tested = files / "folder" / "test"
    (tmp_path / "grid.json").write_text(
        json.dumps([{"settings": {"dataset": "tfds:some_digits", "fold": [1, 2], "epochs": 1, "image_size": 8}}])
    )
    said = {}
    for command, *arguments in (
        (predict, runs["tfds"], tested / "one"),
        (evaluate, runs["tfds"], tested),
        (report, runs["tfds"]),
        (sweep, "grid.json", "--list", "--", *where),
    ):
        code, said[command], err = call_command(command.main, *arguments)
        assert (code, err) == (0, ""), command.__name__
    assert "30 images" in said[evaluate]
    assert "TFDS some_digits" in (tmp_path / "report" / "report.html").read_text()
    assert "tfds_some_digits_g1_b0.1_fixmatch_udal_fold2" in said[sweep] and "2 new" in said[sweep]
    # Resumed, a finished run gives its result; with other files, none.
    given = {**SETTINGS, "dataset": "tfds:some_digits", "beta": 1.0, "workdir": str(runs["tfds"])}
    there = {"data_dir": str(files / "tfds"), "cache_dir": str(files / "cache")}
    assert train_and_evaluate(settings.resolve({**given, **there})).steps == 4
    data = splits()
    data["train"] = (data["train"][0][::-1], data["train"][1][::-1])
    write_tfds(tmp_path / "other", data)
    with pytest.raises(RunDirError, match="belongs to a run on other images"):
        train_and_evaluate(settings.resolve({**given, **there, "data_dir": str(tmp_path / "other")}))


def test_classes_are_in_the_order_of_their_numbers_or_sorted_by_name_which_is_the_same_here(runs):
    assert {udal_tf.load(workdir).class_names for workdir in runs.values()} == {CLASSES}
