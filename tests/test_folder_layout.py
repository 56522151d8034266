"""Folders as people have them: each layout is understood as it is meant, or refused with what helps."""

import os
import socket

import pytest
from PIL import Image

from udal_tf.data import folder_listing, settings
from udal_tf.data.errors import DataError
from udal_tf.data.formats import not_read_lines

GOOD = ["labeled/cat/0.png", "labeled/dog/0.png", "labeled/dog/1.png", "unlabeled/0.png", "test/cat/0.png",
        "test/dog/0.png"]  # fmt: skip
# What `listed` gives for them.
CATS_AND_DOGS = ({"cat": 1, "dog": 2}, 1, {"cat": 1, "dog": 1})


def renamed(**names):
    """GOOD with its parts under other names."""
    return ["/".join([names.get(place.split("/")[0], place.split("/")[0]), *place.split("/")[1:]]) for place in GOOD]


def lay(root, places):
    """Files at these places, images where the suffix says so; a place that ends in a slash is an empty folder."""
    root.mkdir(exist_ok=True)
    for place in places:
        path = root / place
        if place.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            Image.new("RGB", (4, 4)).save(path)
        else:
            path.write_bytes(b"x")
    return root


def counts(by_class):
    return None if by_class is None else {name: len(paths) for name, paths in by_class.items()}


def listed(root):
    folder = folder_listing.read_folder(root)
    return counts(folder.labeled), len(folder.unlabeled), counts(folder.test)


@pytest.mark.parametrize(
    "places, notes",
    [
        (GOOD, []),
        (renamed(labeled="Labeled", unlabeled="UNLABELED", test="Test"),
         ["reading Labeled/ as labeled/, UNLABELED/ as unlabeled/, Test/ as test/"]),
        (renamed(labeled="labelled", unlabeled="unlabelled"),
         ["reading labelled/ as labeled/, unlabelled/ as unlabeled/"]),
        (renamed(unlabeled="Unlabeled"), ["reading Unlabeled/ as unlabeled/"]),
        (renamed(unlabeled="un-labeled"), ["reading un-labeled/ as unlabeled/"]),
        (renamed(unlabeled="un_labelled"), ["reading un_labelled/ as unlabeled/"]),
        (renamed(labeled="train"), ["reading train/ as labeled/"]),
        (renamed(labeled="Train", test="Test"), ["reading Train/ as labeled/, Test/ as test/"]),
        (renamed(labeled="training", test="validation"), ["reading training/ as labeled/, validation/ as test/"]),
        (renamed(test="val"), ["reading val/ as test/"]),
        (renamed(test="valid"), ["reading valid/ as test/"]),
        (renamed(test="testing"), ["reading testing/ as test/"]),
        ([*GOOD, "val/cat/0.png"],
         ["val/ chooses the best epoch; the test images are read at the end only"]),
        ([*renamed(labeled="train"), "val/cat/0.png"],
         ["reading train/ as labeled/",
          "val/ chooses the best epoch; the test images are read at the end only"]),
        ([*GOOD, "train/cat/0.png", "train/dog/0.png"],
         ["not used: train/, as labeled/ is there; move its images there to train on them"]),
        ([*GOOD, "extra/a/0.png"], ["not used: extra/, which has images"]),
        # Neither of these has images: logs and the like are nobody's data.
        ([*GOOD, "logs/run.txt", "empty/"], []),
        ([*GOOD, "0.png", "1.png", "readme.txt"], ["not used: 2 images directly in the folder (0.png, 1.png)"]),
        ([*GOOD, "unlabeled.zip"], ["not used: unlabeled.zip; unpack what belongs to the dataset"]),
        # What systems and tools leave behind is passed over without a word.
        ([*GOOD, "__MACOSX/labeled/cat/0.png", "__MACOSX/0.png", "labeled/__MACOSX/0.png"], []),
        ([*GOOD, "labeled/.ipynb_checkpoints/0.png", "labeled/cat/.ipynb_checkpoints/0-checkpoint.png"], []),
        ([*GOOD, ".git/0.png", "labeled/.hidden/0.png", "unlabeled/.trash/0.png", "test/.x/0.png"], []),
        ([*GOOD, "labeled/.DS_Store", "labeled/cat/._0.png", "labeled/dog/Thumbs.db", "test/desktop.ini"], []),
        ([*GOOD, "unlabeled/@eaDir/0.png/thumb.png", "labeled/cat/@eaDir/0.png"], []),
    ],
)  # fmt: skip
def test_a_layout_that_can_mean_one_thing_is_understood(tmp_path, places, notes):
    root = lay(tmp_path / "pets", places)
    assert listed(root) == CATS_AND_DOGS
    folder = folder_listing.read_folder(root)
    assert (list(folder.notes), dict(folder.unread), folder.loose) == (notes, {}, [])
    assert folder_listing.problems(folder) == []


@pytest.mark.parametrize(
    "places, words",
    [
        ([], "pets has no folder labeled/: it is empty"),
        (["0.png", "1.png"], "has no folder labeled/ (images directly in it, outside any class folder: 2)"),
        (["cat/0.png", "dog/0.png"],
         "has no folder labeled/, but the folders cat, dog: if these are your classes, move them into"),
        (["cat/0.png", "dog/0.png", "unlabeled/0.png", "test/cat/0.png"],
         "has no folder labeled/, but the folders cat, dog: if"),
        (["notes.txt", "labels.csv"], "has no folder labeled/, but labels.csv, notes.txt"),
        (["labled/cat/0.png", "labled/dog/0.png"], "rename labled/ to labeled/ if that is what it is."),
        (["lables/cat/0.png", "data.txt"], "has no folder labeled/, but the folders lables"),
        (["Train_Data/cat/0.png", "Train_Data/dog/0.png", "Model/weights.h5"],
         "rename Train_Data/ to labeled/ if that is what it is."),
        # A class may be one of trains.
        (["cat/0.png", "trains_of_old/0.png"], "but the folders cat, trains_of_old: if these are your classes"),
        (["pets/" + place for place in renamed(labeled="train")], "pets/pets has: give that folder"),
        (["pets/" + place for place in GOOD], "pets/pets has: give that folder"),
        (["labeled/cat/0.png", "Labeled/dog/0.png"], "labeled/ and Labeled/ could each be labeled/: rename or merge"),
        ([*GOOD, "Test/cat/0.png"], "test/ and Test/ could each be test/: rename or merge them"),
        ([*GOOD, "unlabelled/0.png"], "unlabeled/ and unlabelled/ could each be unlabeled/: rename or merge them"),
        ([*renamed(test="val"), "valid/cat/0.png"], "val/ and valid/ could each be test/"),
        ([*renamed(labeled="train"), "Train/cat/0.png", "Train/dog/0.png"], "Train/ and train/ could each be labeled/"),
        (["labeled/data/cat/0.png", "labeled/data/dog/0.png", "unlabeled/0.png"],
         "labeled/data is one folder too deep: move what is in it (cat, dog) into "),
        (["labeled/0.png", "labeled/1.png"], "class folders: 0, at least two are needed (images outside any class "
         "folder: 2)"),
        (["labeled/cat/0.png"], "class folders: 1, at least two are needed."),
        # By its name perhaps the labeled images, but without classes.
        (["train/0.png", "train/1.png"],
         "rename train/ to labeled/ if that is what it is, with a folder for each class in it."),
    ],
)  # fmt: skip
def test_a_layout_without_labeled_classes_is_refused_with_what_helps(tmp_path, places, words):
    with pytest.raises(DataError) as refused:
        folder_listing.read_folder(lay(tmp_path / "pets", places))
    message = str(refused.value)
    assert words in message and "Expected: labeled/<class>/" in message
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    "places, words",
    [
        ([*GOOD, "test/Dog/0.png"], ["test: class Dog has no images in labeled/"]),
        ([place for place in GOOD if place != "test/dog/0.png"] + ["test/Dog/0.png"],
         ["class Dog has no images in labeled/; labeled/dog differs only in spelling: give both the same name",
          "no folder for class dog, so its recall cannot be measured"]),
        # é as one code point and as two, as macOS writes it.
        (["labeled/caf\u00e9/0.png", "labeled/bar/0.png", "unlabeled/0.png", "test/cafe\u0301/0.png", "test/bar/0.png"],
         ["labeled/caf\u00e9 differs only in spelling", "no folder for class caf\u00e9"]),
        ([*GOOD[:4], "test/data/cat/0.png", "test/data/dog/0.png"],
         ["test/data is one folder too deep: move what is in it (cat, dog) into"]),
        ([*GOOD, "labeled/emu/0.heif2", "test/emu/0.png"],
         ["labeled/emu: no images of this class (looked for .jpg, .png, .webp, .gif, .bmp, .tif"]),
        (renamed(unlabeled="unlabeld"), ["no unlabeled images in unlabeled/. Add some, or lower --beta"]),
        ([*GOOD[:3], "unlabeled/0.svg", *GOOD[4:]],
         ["no unlabeled images in unlabeled/; 1 .svg in unlabeled not read: not a format that is read"]),
        # torchvision's ImageFolder has advice of its own.
        (["train/cat/0.png", "train/dog/0.png", "val/cat/0.png", "val/dog/0.png"],
         ["train/ is read as labeled/, as torchvision's ImageFolder names it, but there are no unlabeled images. Put "
          "images without labels in unlabeled/; or give --beta=0.1"]),
        (["train/cat/0.png", "train/dog/0.png", "val/cat/0.png", "test/cat/0.png", "test/dog/0.png"],
         ["or train on labels alone with --base=supervised --method=none"]),
        # A fifth cannot be held out of one image.
        (GOOD[:4], ["labeled/cat: 1 image and no test/ folder"]),
    ],
)  # fmt: skip
def test_each_reason_to_refuse_a_folder_says_what_helps(tmp_path, places, words):
    found = folder_listing.problems(folder_listing.read_folder(lay(tmp_path / "pets", places)))
    assert len(found) == len(words)
    for problem, said in zip(found, words, strict=True):
        assert said in problem


def test_a_misspelled_part_is_named_with_the_rename(tmp_path):
    folder = folder_listing.read_folder(lay(tmp_path / "pets", renamed(unlabeled="unlabld", test="tests")))
    assert folder.notes == (
        "not used: tests/; rename it to test/ if that is what it is",
        "not used: unlabld/; rename it to unlabeled/ if that is what it is",
    )


def test_the_folder_of_the_labels_itself_is_answered_with_the_one_above(tmp_path):
    root = lay(tmp_path / "pets", GOOD)
    with pytest.raises(DataError, match="is itself named like it: give the folder above, .*pets"):
        folder_listing.read_folder(root / "labeled")


def test_folders_of_unlabeled_images_that_are_named_like_classes_are_mentioned(tmp_path):
    places = [*GOOD, "unlabeled/Cat/0.png", "unlabeled/horse/0.png"]
    folder = folder_listing.read_folder(lay(tmp_path / "pets", places))
    assert folder.notes == (
        "folders in unlabeled/ are named like classes (Cat): training uses no label of these images; if the names are "
        "right, move them into labeled/<class>/",
        "other folders in unlabeled/ are named like no class (horse): images of classes without labels mislead "
        "training; take them out if that is what they are",
    )
    # Folders of any other name say nothing about classes.
    assert folder_listing.read_folder(lay(tmp_path / "more", [*GOOD, "unlabeled/2024/0.png"])).notes == ()


def test_every_file_not_read_is_counted_by_folder_and_suffix(tmp_path):
    places = [*(f"labeled/cat/{i}.SVG" for i in range(3)), "labeled/cat/deeper/3.svg", "unlabeled/a.mp4"]
    folder = folder_listing.read_folder(lay(tmp_path / "pets", [*GOOD, *places, "test/dog/notes", "labeled/x.csv"]))
    assert dict(folder.unread) == {
        ("labeled/cat", ".svg"): 4, ("unlabeled", ".mp4"): 1, ("test/dog", ""): 1, ("labeled", ".csv"): 1,
    }  # fmt: skip
    assert not_read_lines(folder.unread) == [
        "4 .svg in labeled/cat not read: not a format that is read: convert them to PNG or JPEG",
        "1 .csv in labeled not read: not an image by its suffix",
        "1 files without suffix in test/dog not read: no suffix",
        "1 .mp4 in unlabeled not read: a video: extract the frames that are to be used",
    ]
    assert folder.ignored == 7
    assert folder_listing.make_listing(folder).unread == folder.unread


def test_a_run_says_what_it_leaves_out(tmp_path):
    places = [*renamed(test="Test"), *(f"labeled/cat/x.{i:02}z" for i in range(12))]
    said = folder_listing.left_out(
        folder_listing.make_listing(folder_listing.read_folder(lay(tmp_path / "pets", places)))
    )
    assert said["layout"] == ["reading Test/ as test/"]
    assert len(said["not_read"]) == 11 and said["not_read"][-1] == "and 2 more kinds of files"
    whole = folder_listing.make_listing(folder_listing.read_folder(lay(tmp_path / "whole", GOOD)))
    assert folder_listing.left_out(whole) == {}


def test_pipes_and_sockets_are_counted_and_never_opened(tmp_path):
    root = lay(tmp_path / "pets", GOOD)
    os.mkfifo(root / "labeled" / "cat" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(root / "unlabeled" / "s.png"))
    assert listed(root) == CATS_AND_DOGS
    assert dict(folder_listing.read_folder(root).unread) == {
        ("labeled/cat", "pipes or devices"): 1, ("unlabeled", "pipes or devices"): 1,
    }  # fmt: skip


def test_a_closed_folder_that_is_no_part_is_nobodys_concern(tmp_path, monkeypatch):
    root = lay(tmp_path / "pets", [*GOOD, "private/0.png"])
    # The rights of a folder do not bind the superuser, as whom tests may run.
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "private" and real(path, mode))
    real_listing = type(root).iterdir

    def iterdir(path):
        if path.name == "private":
            raise PermissionError(13, "Permission denied")
        return real_listing(path)

    monkeypatch.setattr(type(root), "iterdir", iterdir)
    assert listed(root) == CATS_AND_DOGS
    os.rename(root / "labeled", root / "private" / "labeled")
    with pytest.raises(DataError, match="has no folder labeled/, but the folders private: if these"):
        folder_listing.read_folder(root)


def test_links_that_lead_up_or_to_themselves_end(tmp_path):
    root = lay(tmp_path / "pets", GOOD)
    for place, target in (
        ("labeled/cat/up", root / "labeled"),
        ("labeled/cat/top", root),
        ("labeled/cat/self", root / "labeled" / "cat"),
        ("unlabeled/loop", root / "unlabeled"),
        ("labeled/dog/nowhere", root / "labeled" / "dog" / "nowhere"),
    ):
        os.symlink(target, root / place)
    # The images of dog are not those of cat, although a link in cat leads to them.
    assert listed(root) == CATS_AND_DOGS


def test_a_link_to_a_part_is_the_part(tmp_path):
    root = lay(tmp_path / "pets", GOOD)
    os.symlink(root / "test", root / "Test")
    os.symlink(root / "unlabeled", root / "unlabelled")
    assert listed(root) == CATS_AND_DOGS and folder_listing.read_folder(root).notes == ()


@pytest.mark.parametrize(
    "name, words",
    [
        (b"caf\xe9", r"labeled/caf\xe9: the name of a class folder is not UTF-8: rename it"),
        (b"two\nlines", r"labeled/two\nlines: the name of a class folder has a line break or another control"),
        (b"\x1b[31mred", r"labeled/\x1b[31mred: the name of a class folder has"),
    ],
)
def test_a_class_whose_name_no_table_can_show_is_refused_by_name(tmp_path, name, words):
    root = lay(tmp_path / "pets", GOOD)
    os.mkdir(os.fsencode(root / "labeled") + b"/" + name)
    with pytest.raises(DataError) as refused:
        folder_listing.read_folder(root)
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_training_on_labels_alone_needs_no_unlabeled_images(tmp_path):
    root = lay(tmp_path / "pets", [place for place in GOOD if not place.startswith("unlabeled")])
    given = {"dataset": "folder", "data_dir": str(root)}
    with pytest.raises(DataError, match="no unlabeled images in unlabeled/"):
        settings.resolve(given)
    config = settings.resolve({**given, "base": "supervised", "method": "none"})
    assert config.data.images.startswith("2 classes; 3 labeled; 0 unlabeled; 2 to test")
    # Part of the labels unused: there is something to learn from.
    settings.resolve({**given, "beta": 0.5})
