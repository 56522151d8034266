"""Warnings about a folder: each comes where it should, and a good folder has none."""

import copy

import pytest

from udal_tf.data.data_checks import data_warnings

GOOD = {
    "classes": [
        {"name": "cat", "labeled": 60, "unlabeled": None, "test": 60},
        {"name": "dog", "labeled": 40, "unlabeled": None, "test": 40},
    ],
    "counts": {"labeled": 100, "unlabeled": 900, "test": 100},
    "imbalance": 1.5,
    "beta": 0.1,
    "held_out": False,
    "short_side": {"min": 30, "median": 32.0, "max": 40},
    "long_by_short": {"min": 1.0, "median": 1.1, "max": 1.4},
    "modes": {"RGB": 1100},
    "gray": {"labeled": 0, "unlabeled": 0, "test": 0},
    "blank": [],
    "sixteen_bit": {"count": 0, "dark": []},
    "layout": [],
    "loose": [],
    "ignored_files": 0,
    "not_read": [],
    "not_read_lines": [],
    "unreadable": [],
    "duplicates": [],
    "near_duplicates": [],
}


def group(*files, blank=False):
    """A group of the same image at paths like labeled/cat/1.png."""
    parts = [file.split("/")[0] for file in files]
    classes = [file.split("/")[1] if part != "unlabeled" else "" for file, part in zip(files, parts, strict=True)]
    return {"files": list(files), "parts": parts, "classes": classes, "same_bytes": True, "blank": blank}


def said(change, **options):
    """The kinds and texts for a good folder that `change` has spoilt."""
    found = copy.deepcopy(GOOD)
    change(found)
    return {warning["kind"]: warning["text"] for warning in data_warnings(found, **options)}


def test_nothing_is_said_of_a_good_folder():
    assert data_warnings(GOOD) == []


def set_counts(kind, *counts):
    def change(found):
        for one, count in zip(found["classes"], counts, strict=True):
            one[kind] = count

    return change


def put(**values):
    return lambda found: found.update(values)


@pytest.mark.parametrize(
    "change, kind, words",
    [
        (set_counts("labeled", 60, 1), "one_label", "only one labeled image: dog"),
        (set_counts("labeled", 60, 4), "few_labels", "fewer than 5 labeled images: dog 4"),
        (put(counts={"labeled": 100, "unlabeled": 99, "test": 100}), "few_unlabeled", "(99) than labeled ones (100)"),
        (put(held_out=True), "no_test", "a fifth of each class is held out"),
        (set_counts("test", 60, 0), "missing_in_test", "no test images: dog"),
        (set_counts("test", 60, 9), "few_to_test", "fewer than 10 test images: dog 9"),
        # Class distribution 60 : 40 against 30 : 70.
        (set_counts("test", 30, 70), "test_prior", "30 % of the images would have to change class"),
        (set_counts("unlabeled", 100, 800), "unlabeled_prior", "UDAL assumes them equal"),
        (put(unreadable=[{"file": "a", "fault": "b"}]), "unreadable", "1 file cannot be read: --skip_bad_images"),
        (
            put(loose=["labeled/x.png", "labeled/y.png"]),
            "loose",
            "2 images outside any class folder, left out (labeled/x",
        ),
        (put(short_side={"min": 15, "median": 20, "max": 30}), "very_small", "15 pixels"),
        (put(short_side={"min": 20, "median": 32, "max": 80}), "mixed_sizes", "from 20 to 80 pixels"),
        (put(long_by_short={"min": 1, "median": 1, "max": 1.6}), "not_square", "up to 1.6 times as long as wide"),
        (put(gray={"labeled": 50, "unlabeled": 450, "test": 50}), "mixed_gray", "550 gray images"),
        (put(gray={"labeled": 100, "unlabeled": 0, "test": 0}), "gray_differs", "100 % of labeled/, 0 % of unlabeled/"),
        (
            put(duplicates=[group("labeled/cat/1.png", "test/cat/2.png")]),
            "labeled_in_test",
            "1 image of labeled/ also in test/: the model has seen them in training, so test scores are too high "
            "(labeled/cat/1.png = test/cat/2.png)",
        ),
        (
            put(duplicates=[group("unlabeled/1.png", "test/cat/2.png")]),
            "unlabeled_in_test",
            "test scores may be too high",
        ),
        (put(duplicates=[group("labeled/cat/1.png", "unlabeled/2.png")]), "labeled_in_unlabeled", "harmless"),
        (put(duplicates=[group("labeled/cat/1.png", "labeled/dog/2.png")]), "two_labels", "1 image with two labels"),
        (
            put(duplicates=[group("labeled/cat/1.png", "labeled/dog/2.png", blank=True)]),
            "blank_in_classes",
            "1 blank image in several classes (labeled/cat/1.png = labeled/dog/2.png)",
        ),
        (
            put(blank=["unlabeled/1.png"]),
            "blank",
            "1 image nearly of one color, with little to learn from (unlabeled/1",
        ),
        (
            put(near_duplicates=[group("labeled/cat/1.png", "test/cat/2.png")]),
            "near_labeled_in_test",
            "1 image of test/ nearly equal to one of labeled/: if they show the same, test scores are too high "
            "(labeled/cat/1.png ≈ test/cat/2.png)",
        ),
        (
            put(near_duplicates=[group("unlabeled/1.png", "test/cat/2.png")]),
            "near_unlabeled_in_test",
            "1 image of test/ nearly equal to one of unlabeled/: if they show the same, test scores may be too high",
        ),
        (
            put(near_duplicates=[group("labeled/cat/1.png", "labeled/dog/2.png")]),
            "near_two_labels",
            "1 pair of nearly equal images in different classes: is a label wrong?",
        ),
        (
            put(sixteen_bit={"count": 3, "dark": ["test/cat/1.png", "test/cat/2.png"]}),
            "twelve_bit",
            "2 of 3 16-bit images with no value above 4095, as in 12-bit data: read as 16-bit they are nearly black",
        ),
        (
            put(duplicates=[group("labeled/cat/1.png", "labeled/cat/2.png")], held_out=True),
            "copies_held_out",
            "1 image more than once in labeled/, of which a fifth is held out: copies on both sides make test scores",
        ),
        (
            put(near_duplicates=[group("labeled/cat/1.png", "labeled/cat/2.png")], held_out=True),
            "copies_held_out",
            "(labeled/cat/1.png ≈ labeled/cat/2.png)",
        ),
        (set_counts("labeled", 60, 0), "no_labels", "no labeled images: dog"),
        (put(not_read_lines=["100 .heic in cat not read: x"]), "not_read", "100 .heic in cat not read: x"),
        (put(layout=["reading Test/ as test/"]), "layout", "reading Test/ as test/"),
    ],
)
def test_each_data_check_warns_in_words_and_alone(change, kind, words):
    found = said(change)
    assert words in found[kind]
    # Other counts also change the class distribution.
    assert set(found) <= {kind, "test_prior", *(["no_test"] if kind == "copies_held_out" else [])}


def test_names_that_differ_in_spelling_only_are_named():
    def rename(found):
        found["classes"][0]["name"], found["classes"][1]["name"] = "Fire truck", "fire_truck"

    assert "Fire truck, fire_truck" in said(rename)["alike_names"]


def test_just_within_bounds_nothing_is_said():
    for change in (
        set_counts("labeled", 8, 5),
        set_counts("test", 40, 60),
        put(short_side={"min": 16, "median": 32, "max": 63}),
        put(gray={"labeled": 2, "unlabeled": 18, "test": 2}),
        put(gray={"labeled": 100, "unlabeled": 900, "test": 100}),
        # The test images are others: copies among the labeled ones count twice, that is all.
        put(duplicates=[group("labeled/cat/1.png", "labeled/cat/2.png")]),
        put(duplicates=[group("unlabeled/1.png", "unlabeled/2.png"), group("test/cat/1.png", "test/cat/2.png")]),
    ):
        assert said(change) == {}


def test_names_of_any_bytes_stay_on_one_line():
    text = said(put(duplicates=[group("labeled/cat/a\n.png", "test/cat/\udcff.png")]))["labeled_in_test"]
    assert text.endswith(r"(labeled/cat/a\n.png = test/cat/\xff.png)")


def test_a_long_list_names_its_first_entries():
    groups = [group(f"labeled/cat/{i}.png", f"test/cat/{i}.png") for i in range(7)]
    text = said(put(duplicates=groups))["labeled_in_test"]
    assert text.startswith("7 images of labeled/ also in test/") and text.endswith("and 2 more)")
    assert text.count(" = ") == 5
