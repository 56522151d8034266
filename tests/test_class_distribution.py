"""class_distribution: distributions that a user states in a file or in the settings."""

import json

import pytest

from udal_tf import class_distribution

CLASSES = ("cat", "guinea pig", "dog")


def written(folder, text):
    path = folder / "shares"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", ["[3, 1.0, 0]", "3\n1\n\n0\n", "3.0\n1e0\n0"])
def test_shares_in_the_order_of_the_classes(tmp_path, text):
    entries = class_distribution.read(written(tmp_path, text))
    assert entries == ("3.0", "1.0", "0.0")
    assert class_distribution.as_distribution(entries, CLASSES) == [0.75, 0.25, 0.0]


@pytest.mark.parametrize("text", ['{"dog": 0, "cat": 3, "guinea pig": 1}', "cat 3\nguinea pig\t1.0\n  dog  0\n"])
def test_shares_by_the_names_of_the_classes(tmp_path, text):
    entries = class_distribution.read(written(tmp_path, text))
    assert entries == ("cat=3.0", "dog=0.0", "guinea pig=1.0")
    assert class_distribution.as_distribution(entries, CLASSES) == [0.75, 0.25, 0.0]


def test_a_class_name_may_hold_an_equals_sign(tmp_path):
    entries = class_distribution.read(written(tmp_path, json.dumps({"a=b": 1, "c": 3})))
    assert class_distribution.as_distribution(entries, ("c", "a=b")) == [0.75, 0.25]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has no proportions"),
        ("[]", "it has no proportions"),
        ("0.5\nhalf", "a proportion must be a number, got 'half'"),
        ('{"cat": null}', "a proportion must be a number, got None"),
        ("[true, 1]", "a proportion must be a number, got True"),
        ("[[1], [2]]", r"a proportion must be a number, got \[1\]"),
        ("[0.5, 0.5", "invalid JSON"),
        ("0.5\n-0.5", "at least 0 and finite, got '-0.5'"),
        ("1\nnan", "at least 0 and finite, got 'nan'"),
        ("1\ninf", "at least 0 and finite, got 'inf'"),
        ("0\n0", "positive sum"),
        ("cat 1\n2", "either every proportion needs a class name or none"),
        ("cat 1\ncat 2", "got several for cat"),
    ],
)
def test_a_file_that_says_anything_else_is_refused_by_its_name(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=said) as error:
        class_distribution.read(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path):
    with pytest.raises(ValueError, match="missing cannot be read: No such file"):
        class_distribution.read(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="binary cannot be read"):
        class_distribution.read(tmp_path / "binary")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (("1", "2"), "expected 3 proportions, one per class, got 2"),
        (("cat=1", "dog=1"), "the proportion of guinea pig is missing"),
        (("cat=1", "dog=1", "guinea pig=1", "cow=1"), "no class is called cow"),
    ],
)
def test_shares_that_are_not_one_for_each_class_are_refused(entries, said):
    with pytest.raises(ValueError, match=said):
        class_distribution.as_distribution(entries, CLASSES)
