"""Real images for the check of an export: named ones, or the training's own where it still is."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import udal_tf
from udal_tf.config import DataConfig
from udal_tf.data import digits
from udal_tf.inference.real_images import MOST, find


def with_data(run, **data):
    config = json.loads((run / "config.json").read_text())
    config["data"].update(data)
    (run / "config.json").write_text(json.dumps(config))
    return udal_tf.load(run)


@pytest.fixture
def run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


def test_the_trainings_own_test_images(tiny_run):
    images, words = find(udal_tf.load(tiny_run), [])
    assert np.array_equal(images, digits.load(DataConfig()).test.fetch(np.arange(MOST)))
    assert words == "64 test images of digitslt"


def test_named_images_without_those_that_cannot_be_read(tiny_run, tmp_path):
    for i in range(2):
        Image.new("L", (8, 8), 10 * i).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.png").write_text("no image")
    model = udal_tf.load(tiny_run)
    images, words = find(model, [str(tmp_path)])
    assert images[:, 0, 0, 0].tolist() == [0, 10]
    assert words == "2 images given by the user"
    with pytest.raises(ValueError, match="none of .*notes.png is a readable image"):
        find(model, [str(tmp_path / "notes.png")])


def test_images_below_the_folder_of_the_training(run, tmp_path):
    (tmp_path / "photos" / "labeled" / "cat").mkdir(parents=True)
    for i in range(MOST + 2):
        Image.new("L", (20, 20), i).save(tmp_path / "photos" / "labeled" / "cat" / f"{i:03}.png")
    images, words = find(with_data(run, dataset="folder", data_dir=str(tmp_path / "photos")), [])
    assert images[:, 0, 0, 0].tolist() == list(range(MOST))
    assert words == f"64 images below {tmp_path / 'photos'}"


def test_data_that_is_gone_is_said_to_be(run, tmp_path):
    for dataset in ("folder", "cifar10lt"):
        model = with_data(run, dataset=dataset, data_dir=str(tmp_path / "gone"))
        images, words = find(model, [])
        assert images.shape == (0, 8, 8, 1)
        assert "none, because the training data is not available" in words
        assert str(tmp_path / "gone") in words
