"""The ways into a custom dataset: folders, a CSV file, Hugging Face's and torchvision's layouts give the same run."""

import csv
import os
import pathlib

import numpy as np
import pytest
from PIL import Image
from run_files import read_rows
from sklearn.datasets import load_digits
from test_folder_layout import lay

from udal_tf.config import resolve as resolve_settings
from udal_tf.data import custom_dataset, folder_listing, settings
from udal_tf.data.errors import DataError
from udal_tf.records.datasets import FolderConfig
from udal_tf.run_dir import RunDirError
from udal_tf.training.experiment import train_and_evaluate

SPLITS = {"labeled": "train", "val": "val", "test": "test"}
# What names the files and what takes time is not the result.
NAMES = ("config", "data", "seconds", "hardware")
PARTS = {"labeled": 4, "unlabeled": 12, "val": 3, "test": 3}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Four classes of digits as PNG files in folders, named by their position."""
    root = tmp_path_factory.mktemp("ways") / "folders"
    images, labels = load_digits(return_X_y=True)
    pixels = (images.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    for c in range(4):
        positions = iter(np.flatnonzero(labels == c))
        for part, count in PARTS.items():
            folder = root / part if part == "unlabeled" else root / part / f"digit {c}"
            folder.mkdir(parents=True, exist_ok=True)
            for position in [next(positions) for _ in range(count + (c if part == "labeled" else 0))]:
                Image.fromarray(pixels[position]).save(folder / f"{position:04}.png")
    return root


def table_of(digits, flat, file):
    """The same images in one folder, and a CSV file, in an order of its own, that says what they are."""
    flat.mkdir()
    rows = []
    for path in sorted(digits.rglob("*.png"), key=lambda path: path.name[::-1]):
        part, *above = path.relative_to(digits).parts[:-1]
        os.link(path, flat / path.name)
        rows.append((path.name, *above, SPLITS[part]) if above else (path.name, "", "train"))
    with open(file, "w", newline="") as opened:
        csv.writer(opened).writerows([("file", "label", "split"), *rows])


def huggingface_of(digits, root):
    for part, name in (("labeled", "train"), ("val", "validation"), ("test", "test")):
        (root / name).mkdir(parents=True)
        lines = ["file_name,label"]
        for path in sorted((digits / part).rglob("*.png"), reverse=True):
            os.link(path, root / name / path.name)
            lines.append(f"{path.name},{path.parent.name}")
        (root / name / "metadata.csv").write_text("\n".join(lines))
    os.symlink(digits / "unlabeled", root / "unlabeled")


def torchvision_of(digits, root):
    root.mkdir()
    for part, name in (("labeled", "train"), ("val", "val"), ("test", "test"), ("unlabeled", "unlabeled")):
        os.symlink(digits / part, root / name)


def given(tmp_path, **further):
    """The settings of a very short run."""
    return {
        "dataset": "folder", "cache_dir": str(tmp_path / "cache"), "workdir": str(tmp_path / "run"), "epochs": 2,
        "steps_per_epoch": 2, "batch_size": 4, "unlabeled_ratio": 2, "learning_rate": 0.3, "ema_decay": 0.5, **further,
    }  # fmt: skip


def trained(tmp_path, **further):
    """Everything that a run measured: its rows and its result, without the names of files, and times."""
    folder = tmp_path / "run"
    result = train_and_evaluate(settings.resolve(given(tmp_path, **further))).to_json()
    rows = [
        {name: value for name, value in row.items() if name != "seconds"} for row in read_rows(folder / "metrics.jsonl")
    ]
    split = {name: value for name, value in result["data"].items() if name.endswith(("sha256", "counts"))}
    assert len(split) > 4
    return rows, split, {name: value for name, value in result.items() if name not in NAMES}


@pytest.fixture(scope="module")
def by_folders(undrawn, small_network, digits, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("by_folders"), data_dir=str(digits))


@pytest.mark.usefixtures("undrawn", "small_network")
def test_the_same_images_through_a_csv_file_give_the_same_result_to_the_last_bit(digits, by_folders, tmp_path):
    table_of(digits, tmp_path / "flat", tmp_path / "labels.csv")
    found = trained(tmp_path, data_dir=str(tmp_path / "flat"), labels=str(tmp_path / "labels.csv"))
    assert found == by_folders
    assert found[2]["class_names"] == ["digit 0", "digit 1", "digit 2", "digit 3"]
    # Not one class for all: the run has learned and measured something.
    assert len(set(found[0][1]["validation"]["per_class_recall"]["raw"])) > 1
    with open(tmp_path / "labels.csv", "a") as file:
        file.write("\n")
    with pytest.raises(RunDirError, match=r"(?s)on other labels.*labels\.csv.*--labels_sha256: \w+ there, \w+ here"):
        settings_given = given(tmp_path, data_dir=str(tmp_path / "flat"), labels=str(tmp_path / "labels.csv"))
        train_and_evaluate(settings.resolve(settings_given))


@pytest.mark.usefixtures("undrawn", "small_network")
@pytest.mark.parametrize("layout, made", [("huggingface", huggingface_of), ("torchvision", torchvision_of)])
def test_the_layouts_of_others_give_the_same_result_to_the_last_bit(digits, by_folders, tmp_path, layout, made):
    made(digits, tmp_path / "data")
    assert trained(tmp_path, data_dir=str(tmp_path / "data"), layout=layout) == by_folders


def read(root=None, labels="", layout="auto"):
    config = resolve_settings({"dataset": "folder", "data_dir": str(root or "")}).data
    return custom_dataset.read(config, FolderConfig(labels=str(labels), layout=layout))


def counted(folder):
    """Images of each class to train on, to validate on and to test on, and the unlabeled ones."""
    parts = (folder.labeled, folder.validation, folder.test)
    counts = [part and {name: len(paths) for name, paths in part.items()} for part in parts]
    return *counts, len(folder.unlabeled)


def save(file, text):
    file.write_text(text)
    return file


ROWS = "cat0.png,cat\ncat1.png,cat\ndog0.png,dog\ndog1.png,dog\nx.png,\n"


def test_file_names_are_relative_to_data_dir_or_to_the_csv_file(tmp_path):
    root = lay(tmp_path / "pets", ["cat0.png", "cat1.png", "dog0.png", "dog1.png", "x.png", "more/y.png"])
    beside, elsewhere = (
        save(root / "labels.csv", f"file,label\n{ROWS}"),
        save(tmp_path / "l.csv", f"file,label\n{ROWS}"),
    )
    for folder in (read(labels=beside), read(root, elsewhere)):
        assert counted(folder) == ({"cat": 2, "dog": 2}, None, None, 1)
        listing = folder_listing.make_listing(folder)
        # One image of each class is held out to test on.
        assert sorted(path.name for path in listing.paths) == ["cat0.png", "cat1.png", "dog0.png", "dog1.png", "x.png"]
        assert (listing.train_labels.tolist(), listing.test_labels.tolist()) == ([0, 1, -1], [0, 1])
    with pytest.raises(DataError, match=r"l\.csv, line 2: .*cat0\.png: does not exist \(and 4 more files\)"):
        read(labels=elsewhere)


@pytest.mark.parametrize(
    "lines, words",
    [
        ("cat0.png,cat,\nx.png,,\n", "labels.csv: classes: 1 (cat), at least two are needed"),
        ("x.png,,\n", "labels.csv: classes: 0, at least two are needed"),
        ("cat0.png,cat,\ndog0.png,dog,\nx.png,owl,test\n",
         "labels.csv, line 4: class owl is in split test, but no image of split train has that label"),
        ("cat0.png,cat,\ndog0.png,dog,\nx.png,Dog,val\n", "Dog is in split val, but no image of split train has that "
         "label; did you mean dog?"),
        ("cat0.png,cat,\ndog0.png,dog,\ncat1.png,cat,test\nx.png,,\n",
         "labels.csv: class dog, split test: no images, so its recall cannot be measured"),
        ("cat0.png,cat,\ndog0.png,dog,\nx.png,,\n",
         "labels.csv: class cat: 1 image and no test images: it cannot be used for both training and test. Add images"),
        ("cat0.png,cat,\ncat1.png,cat,test\ndog0.png,dog,\ndog1.png,dog,test\n",
         "labels.csv: no unlabeled images. Add lines with an empty label, or lower --beta"),
        ("cat0.png,cat,\nnone.png,dog,\n", "labels.csv, line 3: "),
    ],
)  # fmt: skip
def test_csv_files_that_training_refuses_are_named_and_nothing_is_written(tmp_path, lines, words):
    root = lay(tmp_path / "pets", ["cat0.png", "cat1.png", "dog0.png", "dog1.png", "x.png"])
    file = save(tmp_path / "labels.csv", f"file,label,split\n{lines}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as raised:
        settings.resolve(given(tmp_path, data_dir=str(root), labels=str(file)))
    assert words in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_csv_file_and_a_layout_exclude_each_other():
    with pytest.raises(ValueError, match=r"--labels=a\.csv says the class of each file, and --layout=udal"):
        FolderConfig(labels="a.csv", layout="udal")
    with pytest.raises(DataError, match="--data_dir must name your folder, or --labels a CSV file"):
        read()


TRAIN = [f"train/{name}/{i}.png" for name in ("cat", "dog") for i in range(2)]
VAL = ["val/cat/0.png", "val/dog/0.png"]
TEST = ["test/cat/0.png", "test/dog/0.png"]
TWO, ONE = {"cat": 2, "dog": 2}, {"cat": 1, "dog": 1}


@pytest.mark.parametrize(
    "layout, places, expected",
    [
        ("torchvision", [*TRAIN, *VAL, *TEST, "unlabeled/0.png"], (TWO, ONE, ONE, 1)),
        # ImageNet's own validation images are what everybody tests on.
        ("torchvision", [*TRAIN, *VAL], (TWO, None, ONE, 0)),
        ("torchvision", [*TRAIN, *TEST, "labeled/owl/0.png"], (TWO, None, ONE, 0)),
        ("udal", [*(p.replace("train", "labeled") for p in TRAIN), *VAL], (TWO, ONE, None, 0)),
        ("udal", [*(p.replace("train", "labeled") for p in TRAIN), *VAL, *TEST], (TWO, ONE, ONE, 0)),
        ("auto", [*TRAIN, *VAL, *TEST], (TWO, ONE, ONE, 0)),
        ("auto", [*TRAIN, *VAL], (TWO, None, ONE, 0)),
    ],
)
def test_each_layout_has_its_names(tmp_path, layout, places, expected):
    assert counted(read(lay(tmp_path / "pets", places), layout=layout)) == expected


def test_hugging_faces_metadata_may_be_one_for_all_with_the_split_in_the_folder_or_in_a_column(tmp_path):
    root = lay(tmp_path / "pets", [*TRAIN, "validation/0.png", *TEST, "more/x.png"])
    lines = [f"{place},{place.split('/')[1]}" for place in (*TRAIN, *TEST)]
    save(root / "metadata.csv", "\n".join(["file_name,label", *lines, "validation/0.png,cat", "more/x.png,"]))
    assert counted(read(root, layout="huggingface")) == (TWO, {"cat": 1}, ONE, 1)
    save(root / "metadata.csv", "\n".join(["file_name,label,split", *(f"{line},train" for line in lines)]))
    assert counted(read(root, layout="huggingface")) == ({"cat": 3, "dog": 3}, None, None, 0)


@pytest.mark.parametrize(
    "layout, places, words",
    [
        ("auto", ["train/0.png", "train/metadata.csv"], "labeled/, but train/metadata.csv: give --layout=hugg"),
        ("huggingface", TRAIN, "needs metadata.csv with the columns file_name,label, in the folder or in its train/"),
        ("huggingface", [*TRAIN, "train/metadata.jsonl"], "train/metadata.jsonl is not read: save it as metadata.csv"),
        ("huggingface", ["train/0.png", "train/metadata.csv"], "metadata.csv, line 1: no column file and no col"),
        ("torchvision", ["labeled/cat/0.png", "labeled/dog/0.png"], "has no folder train/ (--layout=torchvision)"),
        ("udal", TRAIN, "has no folder labeled/ (--layout=udal)"),
        ("udal", [*(p.replace("train", "labeled") for p in TRAIN), "val/owl/0.png"],
         "val: class owl has no images in labeled/"),
        ("torchvision", [*TRAIN, *TEST, "val/cat/"], "val: no images (looked for"),
    ],
)  # fmt: skip
def test_folders_of_another_layout_are_refused_with_what_helps(tmp_path, layout, places, words):
    root = lay(tmp_path / "pets", places)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as raised:
        settings.resolve(given(tmp_path, data_dir=str(root), layout=layout, beta=0.5))
    assert words in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_unreadable_validation_images_are_left_out_and_the_other_images_keep_their_labels(tmp_path):
    places = [p.replace("train", "labeled") for p in TRAIN]
    root = lay(tmp_path / "pets", [*places, *VAL, *TEST, "unlabeled/0.png"])
    Image.new("RGB", (4, 4), "red").save(root / "test" / "cat" / "0.png")
    (root / "val" / "cat" / "0.png").write_bytes(b"")
    from udal_tf.data import sources

    config = resolve_settings(given(tmp_path, data_dir=str(root), image_size=4, skip_bad_images=True))
    source = sources.load_source(config.data, config.own.dataset)
    assert source.validation.labels.tolist() == [1] and len(source.validation.images) == 1
    assert source.test_labels.tolist() == [0, 1]
    assert source.test.fetch(np.array([0])).numpy()[0, 0, 0].tolist() == [255, 0, 0]
    assert source.train_labels.tolist() == [0, 0, 1, 1, -1]
    (root / "val" / "dog" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="no readable images in val"):
        sources.load_source(config.data, config.own.dataset)


def test_a_run_without_work_folder_is_named_after_its_csv_file():
    config = resolve_settings({"dataset": "folder", "labels": str(pathlib.Path("some") / "birds.v2.csv")})
    assert config.train.workdir == "runs/folder_birds.v2_b1_fixmatch_udal_fold1"
