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
    real = find(udal_tf.load(tiny_run), [])
    source = digits.load(DataConfig())
    # Six of each of the ten classes, and the first four of their sevenths.
    of_class = [np.flatnonzero(source.test_labels == c) for c in range(10)]
    first = [*np.concatenate([found[:6] for found in of_class]), *sorted(found[6] for found in of_class)[:4]]
    assert {position.tobytes() for position in real.images} == {
        position.tobytes() for position in source.test.fetch(np.array(first)).numpy()
    }
    assert (real.words, real.paths) == ("64 test images of digitslt", ())


def test_named_images_without_those_that_cannot_be_read(tiny_run, tmp_path):
    for i in range(2):
        Image.new("L", (8, 8), 10 * i).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.png").write_text("no image")
    model = udal_tf.load(tiny_run)
    real = find(model, [str(tmp_path)])
    assert real.images[:, 0, 0, 0].tolist() == [0, 10]
    assert real.paths == [str(tmp_path / "0.png"), str(tmp_path / "1.png")]
    assert real.words == "2 images given by the user"
    with pytest.raises(ValueError, match="none of .*notes.png is a readable image"):
        find(model, [str(tmp_path / "notes.png")])


def test_images_below_the_folder_of_the_training(run, tmp_path):
    (tmp_path / "photos" / "labeled" / "cat").mkdir(parents=True)
    for i in range(MOST + 2):
        Image.new("L", (20, 20), i).save(tmp_path / "photos" / "labeled" / "cat" / f"{i:03}.png")
    real = find(with_data(run, dataset="folder", data_dir=str(tmp_path / "photos")), [])
    assert real.images[:, 0, 0, 0].tolist() == list(range(MOST))
    assert real.words == f"64 images below {tmp_path / 'photos'}"


def test_data_that_is_gone_is_said_to_be(run, tmp_path):
    for dataset in ("folder", "cifar10lt"):
        model = with_data(run, dataset=dataset, data_dir=str(tmp_path / "gone"))
        real = find(model, [])
        assert real.images.shape == (0, 8, 8, 1)
        assert "none, because the training data is not available" in real.words
        assert str(tmp_path / "gone") in real.words


def test_every_class_is_among_the_images_however_many_the_first_one_has(run, tmp_path):
    for name, count in (("cat", 3 * MOST), ("dog", 1), ("eel", 2)):
        (tmp_path / "photos" / "labeled" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (20, 20), i).save(tmp_path / "photos" / "labeled" / name / f"{i:03}.png")
    real = find(with_data(run, dataset="folder", data_dir=str(tmp_path / "photos")), [])
    assert len(real.paths) == MOST
    assert sum("/dog/" in path for path in real.paths) == 1 and sum("/eel/" in path for path in real.paths) == 2
