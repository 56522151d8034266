"""A person's custom images train end to end: sizes, colors and class names as they come."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image
from run_files import read_rows
from tiny_application import tiny

from udal_tf.config import resolve
from udal_tf.data import settings, sources
from udal_tf.data.dataset import DataError
from udal_tf.registry import BACKBONES, Backbone
from udal_tf.run_dir import RunDir, RunDirError
from udal_tf.training import loop
from udal_tf.training.experiment import train_and_evaluate

pytestmark = pytest.mark.usefixtures("undrawn", "small_network")


def write_images(root, side=30):
    """Three classes, the largest last by name; unlabeled images without classes; a test set."""
    generator = np.random.RandomState(0)
    parts = {"labeled/apple": 2, "labeled/mango": 1, "labeled/zebra": 4, "unlabeled/misc": 9}
    parts.update({f"test/{name}": 3 for name in ("apple", "mango", "zebra")})
    for part, count in parts.items():
        (root / part).mkdir(parents=True)
        for i in range(count):
            pixels = generator.randint(0, 256, (side + i, side + 10, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / part / f"{i}.png")


def test_a_folder_of_images_trains_and_reports_by_class_name(tmp_path, capsys):
    write_images(tmp_path / "images", side=100)
    broken = tmp_path / "images" / "unlabeled" / 'broken, "twice".png'
    broken.write_bytes(b"")
    config = resolve(
        {
            "dataset": "folder", "data_dir": str(tmp_path / "images"), "cache_dir": str(tmp_path / "cache"),
            "workdir": str(tmp_path / "run"), "image_size": 16, "depth": 10, "epochs": 2, "steps_per_epoch": 2,
            "batch_size": 4, "unlabeled_ratio": 2, "crop": "resized", "skip_bad_images": True,
            "unlabeled_prior": ("zebra=2", "apple=1", "mango=1"),
        }
    )  # fmt: skip
    result = train_and_evaluate(config)
    assert result.class_names == ["apple", "mango", "zebra"]
    with open(tmp_path / "run" / "skipped_images.csv", newline="") as file:
        assert list(csv.reader(file)) == [["path", "reason"], [str(broken), "not recognized as an image"]]
    printed = capsys.readouterr().out
    assert f"Images skipped, with the reasons: {tmp_path / 'run' / 'skipped_images.csv'}" in printed
    assert "Warning: large images (short side 101 pixels) are reduced to 16 pixels" in " ".join(printed.split())
    assert result.data["labeled_counts"] == [2, 1, 4]
    np.testing.assert_allclose(result.p_data, [2 / 7, 1 / 7, 4 / 7], rtol=1e-5)
    assert result.p_unlabeled == [0.25, 0.25, 0.5]
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result.to_json()
    assert (tmp_path / "run" / "pseudo_labels.png").is_file()
    for row in read_rows(tmp_path / "run" / "metrics.jsonl"):
        assert "confident" in row["train"]
        assert not {"confident_correct", "p_unlabeled_error"} & set(row["train"])


def given(tmp_path, **further):
    """A short run on the folder; what is not given follows from the images."""
    return {
        "dataset": "folder",
        "data_dir": str(tmp_path / "images"),
        "cache_dir": str(tmp_path / "cache"),
        "workdir": str(tmp_path / "run"),
        "epochs": 1,
        "steps_per_epoch": 1,
        "batch_size": 2,
        "unlabeled_ratio": 1,
        **further,
    }


def test_a_run_by_the_folders_own_recipe_is_refused_once_images_were_added(tmp_path, capsys):
    write_images(tmp_path / "images")
    config = settings.resolve(given(tmp_path))
    # 16 small images of 30 rows and more, the smallest class with one label.
    assert (config.model.arch, config.own.arch.depth, config.data.image_size) == ("wrn", 10, 32)
    assert config.method.threshold == 0.8
    result = train_and_evaluate(config)
    assert result.config["data"]["images"] == config.data.images
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    place = next(row.index("labeled") for row in rows if row[:1] == ["class"])
    labeled = {row[0]: row[place] for row in rows if row[:1] in (["apple"], ["mango"], ["zebra"])}
    assert labeled == {"apple": "2", "mango": "1", "zebra": "4"}
    assert "recall of mango" not in printed  # The table at the end is the command's.
    assert train_and_evaluate(settings.resolve(given(tmp_path))) == result
    Image.new("RGB", (30, 40)).save(tmp_path / "images" / "unlabeled" / "new.png")
    with pytest.raises(RunDirError, match=r"(?s)on other images.*9 unlabeled.*there, .*10 unlabeled"):
        train_and_evaluate(settings.resolve(given(tmp_path)))


def test_pretrained_weights_are_read_when_a_run_begins_and_never_again(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.applications, "Tiny", tiny, raising=False)
    record = Backbone("tiny", "Tiny", "udal_tf.models.applications:build", keras_name="Tiny", pixels="caffe")
    monkeypatch.setitem(BACKBONES._all(), "mobilenetv3small", record)
    write_images(tmp_path / "images")
    path = tmp_path / "tiny.weights.h5"
    published = tiny(input_shape=(32, 32, 3))
    published.save_weights(path)
    network = {"arch": "mobilenetv3small", "pretrained": str(path), "image_size": 32}
    # A step so small that the weights stay what they were.
    config = settings.resolve(given(tmp_path, **network, learning_rate=1e-12, weight_decay=0.0))
    assert config.augment.crop == "resized"
    train_and_evaluate(config)
    path.unlink()
    learner = loop.trained_learner(config, sources.load(config.data), RunDir(tmp_path / "run"))
    backbone = published.trainable_variables
    assert len(learner.ema) == len(backbone) + 2  # The last layer is new.
    for ours, theirs in zip(learner.ema, backbone, strict=False):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(tmp_path):
    write_images(tmp_path / "images")
    (tmp_path / "text.h5").write_text("no weights")
    network = {"arch": "mobilenetv3small", "pretrained": str(tmp_path / "text.h5"), "image_size": 32}
    with pytest.raises(DataError, match="does not hold the weights of MobileNetV3Small"):
        train_and_evaluate(settings.resolve(given(tmp_path, **network)))
    assert not (tmp_path / "run").exists()
