"""What `udal-inspect` prints: the figures of hand-made findings, in words."""

import copy

import pytest
from test_data_checks import GOOD

from udal_tf.reporting.inspection_text import duration, inspection_text

FOUND = {
    **GOOD,
    "folder": "pets",
    "problems": [],
    "warnings": [{"kind": "one_label", "text": "one labeled image only: dog"}],
    "recipe": {
        "command": "python run.py --dataset=folder --data_dir=pets",
        "settings": {"depth": 10, "image_size": 32},
        "steps": 3000,
        "epochs": 30,
    },
    "time": {
        "steps": 16,
        "seconds_per_step": 0.25,
        "seconds_per_evaluation": 1.5,
        "seconds_to_compile": 7.0,
        "total_seconds": 802.0,
    },
    "contact_sheet": "inspect_pets/contact_sheet.png",
    "label_issues": None,
}


def words(**changes):
    return " ".join(inspection_text({**copy.deepcopy(FOUND), **changes}).split())


def test_counts_are_said_for_all_and_for_each_class():
    text = words()
    assert "pets: 2 classes, 100 labeled images, 900 unlabeled, 100 test" in text
    assert "cat 60 60.0 % – 60 dog 40 40.0 % – 40" in text
    assert "imbalance γ = 1.5 (cat : dog), label fraction β = 0.1" in text
    assert "Short side 30 to 40 pixels (median 32), aspect ratio up to 1.40 (median 1.10); modes: RGB 1,100" in text


def test_classes_stand_from_frequent_to_rare():
    found = copy.deepcopy(GOOD["classes"])
    found[0]["labeled"], found[1]["labeled"], found[1]["unlabeled"] = 10, 90, 1234
    text = words(classes=found)
    assert text.index("dog 90 90.0 % 1,234 40") < text.index("cat 10 10.0 % – 60")


def test_the_command_its_settings_and_its_time_are_said():
    text = words()
    assert "python run.py --dataset=folder --data_dir=pets which expands to --depth=10 --image_size=32" in text
    assert "about 13 min on this machine: 3,000 steps of 0.25 s (16 were measured), 30 evaluations of 1.5 s" in text
    none = {"steps": 0, "seconds_per_step": 0.0, "seconds_per_evaluation": 0.0, "seconds_to_compile": 25.0}
    assert "It would take more than 25 s on this machine, for the first" in words(time={**none, "total_seconds": 25.0})
    assert "this machine" not in words(time=None)


def test_warnings_and_reasons_to_refuse_are_listed():
    assert "Warnings: - one labeled image only: dog" in words()
    text = words(problems=["no images of cat"], recipe=None, time=None)
    assert "This folder cannot be used for training: - no images of cat" in text
    assert "run.py" not in text


def test_faults_are_listed_and_long_lists_are_cut():
    assert "Every image file is readable; no two have equal pixels" in words()
    unreadable = [{"file": f"{i}.png", "fault": "OSError: broken"} for i in range(12)]
    duplicates = [
        {"files": ["a.png", "b.png"], "parts": [], "classes": [], "same_bytes": True},
        {"files": ["c.png", "c.webp"], "parts": [], "classes": [], "same_bytes": False},
    ]
    text = words(unreadable=unreadable, duplicates=duplicates)
    assert "Unreadable files (12): 0.png: OSError: broken" in text and "9.png" in text and "10.png" not in text
    assert "and 2 more (--json lists all)" in text
    assert "Groups of identical files (1): a.png = b.png" in text
    assert "Groups of files with identical pixels (1): c.png = c.webp" in text


def test_a_class_without_labels_is_not_in_the_imbalance_and_named_beside_it():
    assert "imbalance" not in words(imbalance=None)
    classes = [*copy.deepcopy(GOOD["classes"]), {"name": "emu", "labeled": 0, "unlabeled": None, "test": 3}]
    text = words(classes=classes)
    assert "imbalance γ = 1.5 (cat : dog), label fraction β = 0.1 no labeled images, left out of γ: emu" in text


def test_the_imbalance_is_that_of_what_is_read_where_files_are_not():
    not_read = {"not_read": [{"folder": "labeled/cat", "suffix": ".heic", "count": 100}]}
    text = words(**not_read, not_read_lines=["100 .heic in labeled/cat not read: x"])
    assert "imbalance γ = 1.5 (cat : dog) of the images that are read, label fraction" in text
    assert "Files that are not read, by folder (1): 100 .heic in labeled/cat not read: x" in text


def test_nearly_equal_images_are_listed():
    pair = {"files": ["labeled/cat/a\n.png", "test/cat/b.png"], "parts": ["labeled", "test"], "classes": ["cat", "cat"]}
    text = words(near_duplicates=[pair])
    assert r"of two parts or classes (1): labeled/cat/a\n.png ≈ test/cat/b.png" in text
    assert "no two have equal pixels" not in text


@pytest.mark.parametrize(
    "seconds, said", [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (90000, "25.0 h")]
)
def test_durations_have_the_unit_that_fits(seconds, said):
    assert duration(seconds) == said


def test_doubtful_labels_are_listed_with_what_judged_them():
    one = {"file": "labeled/cat/a\n.png", "split": "train", "label": "cat", "suggested": "dog", "confidence": 0.5}
    issues = {
        "named": [{**one, "marked": True}, {**one, "file": "b.png", "marked": False}],
        "judged": 1234, "marked": 1, "not_judged": 2, "table": "label_issues.csv", "sheet": "label_issues.png",
    }  # fmt: skip
    text = words(label_issues=issues)
    assert r"labeled/cat/a\n.png cat dog 0.50 yes b.png cat dog 0.50 Of 1,234 labels these 2 are the most" in text
    assert "confident learning marks 1 as wrong. 2 only images of their classes are not judged." in text
    assert "look at label_issues.png before you change any" in text
