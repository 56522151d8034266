"""Settings that follow from a folder: the facts about it, and that the same images give the same settings."""

import json
import os
import shutil

import pytest
from PIL import Image
from test_data_folder import RED, make, save

from udal_tf.config import resolve as resolve_settings
from udal_tf.data import settings, sources
from udal_tf.data.errors import DataError
from udal_tf.folder_recipe import FolderFacts


def resolve(root, **given):
    return settings.resolve({"dataset": "folder", "data_dir": str(root), **given})


def facts(root, **given):
    return settings.folder_facts(resolve_settings({"dataset": "folder", "data_dir": str(root), **given}).data)


def test_other_data_sets_resolve_as_ever():
    assert settings.resolve({"dataset": "cifar10lt"}) == resolve_settings({"dataset": "cifar10lt"})


def test_facts_count_what_training_sees(tmp_path):
    """Three classes of 6, 2 and 3 images of 40×32, 5 unlabeled, 6 to test on."""
    found = facts(make(tmp_path / "data"))
    assert (found.classes, found.labeled, found.smallest, found.unlabeled) == (3, 11, 2, 5)
    assert (found.side, found.one_size) == (32, False)
    assert found.images.startswith("3 classes; 11 labeled; 5 unlabeled; 6 to test; names and sizes ")


def test_a_run_notes_the_facts_that_its_settings_follow_from(tmp_path):
    given = {"data_dir": str(make(tmp_path / "data")), "cache_dir": str(tmp_path / "cache"), "beta": 0.5, "fold": 2}
    config = resolve(given.pop("data_dir"), **given)
    noted = json.loads(json.dumps(sources.load(config.data).provenance["recipe_facts"]))
    given = {"dataset": "folder", "data_dir": config.data.data_dir, **given}
    assert resolve_settings(given, FolderFacts(**noted)) == config


def test_hidden_labels_count_as_unlabeled(tmp_path):
    # Of 6, 2 and 3 images half are labeled, rounded up: 3, 1 and 2.
    found = facts(make(tmp_path / "data"), beta=0.5)
    assert (found.labeled, found.smallest, found.unlabeled) == (6, 1, 10)
    assert "11 labeled" in found.images


def test_held_out_images_do_not_train(tmp_path):
    found = facts(make(tmp_path / "data", test=False))
    assert (found.labeled, found.smallest) == (8, 1)
    assert "8 labeled; 5 unlabeled; 3 to test" in found.images


def test_squares_of_one_size_are_seen_as_such(tmp_path):
    root = make(tmp_path / "data")
    for path in root.rglob("*.*"):
        Image.new("RGB", (24, 24), RED).save(path)
    assert (facts(root).side, facts(root).one_size) == (24, True)


def test_damaged_images_have_no_say_in_the_size(tmp_path):
    root = make(tmp_path / "data")
    (root / "unlabeled" / "0.webp").write_bytes(b"no image")
    assert facts(root).side == 32


def test_a_copy_of_the_folder_gives_the_same_settings(tmp_path):
    root = make(tmp_path / "data")
    shutil.copytree(root, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.*"):
        os.utime(path, (0, 0))
    ours, theirs = (resolve(folder, workdir="run") for folder in (root, tmp_path / "copy"))
    assert ours.data.images == theirs.data.images
    assert (ours.model, ours.train, ours.augment) == (theirs.model, theirs.train, theirs.augment)


@pytest.mark.parametrize("change", ["added", "renamed", "other"])
def test_other_images_are_said_to_be_others(tmp_path, change):
    root = make(tmp_path / "data")
    before = resolve(root).data.images
    path = root / "labeled" / "rare" / "0.png"
    if change == "added":
        save(root / "unlabeled" / "new.png", RED)
    elif change == "renamed":
        path.rename(path.with_name("9.png"))
    else:
        save(path, (1, 2, 3), (50, 50))
    assert resolve(root).data.images != before


@pytest.mark.parametrize("place, said", [("", "must name your folder"), ("empty", "has no folder labeled/")])
def test_a_folder_that_cannot_train_does_not_resolve(tmp_path, place, said):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=said):
        resolve(tmp_path / place if place else "")
