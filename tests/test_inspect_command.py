"""`udal-inspect`: a whole look at a small folder, what it refuses, and that it recommends what `run.py` does."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image
from test_data_folder import RED, make, save, spoil
from test_inspection import write
from test_layering import PACKAGE
from test_near_duplicates import photo

from udal_tf import config as config_module
from udal_tf.commands import inspect as command
from udal_tf.data import settings
from udal_tf.training import timing

TINY = ("--", "--image_size=16", "--width=1", "--batch_size=2", "--unlabeled_ratio=1", "--crop_padding=2")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def root(tmp_path):
    """Images of one color per class: many of them are the same."""
    return make(tmp_path / "pets")


def inspected(capsys, *arguments):
    command.main([str(argument) for argument in arguments])
    return capsys.readouterr().out


def test_everything_found_is_printed_as_json(capsys, root, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    spoil(root)
    found = json.loads(inspected(capsys, root, "--json", *TINY))
    assert found["counts"] == {"labeled": 10, "unlabeled": 5, "test": 6}
    assert [one["file"] for one in found["unreadable"]] == [
        "labeled/common/3.png",
        "unlabeled/broken.jpg",
        "test/rare/empty.webp",
    ]
    assert {"unreadable", "few_labels", "few_to_test"} <= {warning["kind"] for warning in found["warnings"]}
    assert found["recipe"]["command"].startswith(f"python run.py --dataset=folder --data_dir={root} --image_size=16")
    assert found["recipe"]["command"].endswith("--skip_bad_images=True")
    assert found["time"]["total_seconds"] > 0
    with Image.open(tmp_path / "here" / "inspect_pets" / "contact_sheet.png") as sheet:
        assert sheet.width > 500


def test_the_text_recommends_the_very_settings_that_the_command_resolves_to(capsys, root, monkeypatch):
    text = inspected(capsys, root, "--no_timing", "--out", "made/sheet.png")
    assert "this machine" not in text and "made/sheet.png" in text
    line = next(line for line in text.splitlines() if "python run.py" in line)
    flag_values = flags.FlagValues()
    config_module.define_flags(flag_values)
    flag_values(line.split()[1:])
    config = settings.resolve(config_module.given_in(flag_values)).to_dict()
    values = {name: value for section in config.values() for name, value in section.items()}
    stated = dict(word[2:].split("=") for word in " ".join(text.split()).split("which expands to ")[1].split()[:14]
                  if word.startswith("--"))  # fmt: skip
    assert len(stated) > 8
    assert {name: str(values[name]) for name in stated} == stated


def test_a_folder_that_training_would_refuse_is_looked_at_all_the_same(capsys, root):
    for path in (root / "test" / "seldom").iterdir():
        path.unlink()
    found = json.loads(inspected(capsys, root, "--json", "--no_timing"))
    assert len(found["problems"]) == 1 and "seldom: no images of this class" in found["problems"][0]
    assert (found["recipe"], found["time"]) == (None, None)
    assert "missing_in_test" in {warning["kind"] for warning in found["warnings"]}


def test_copies_across_the_parts_are_warned_of(capsys, root):
    original, other = np.asarray(photo(1)), np.asarray(photo(2))
    for place in ("labeled/rare/new.png", "test/rare/again.png", "labeled/common/again.png"):
        write(root, place, original)
    write(root, "test/common/saved_again.jpg", original, quality=60)
    write(root, "unlabeled/seen.png", other)
    write(root, "test/seldom/darker.png", (other * 0.8).astype(np.uint8))
    text = " ".join(inspected(capsys, root, "--no_timing").split())
    for words in (
        "images of labeled/ also in test/",
        "1 image with two labels, one of them wrong (labeled/common/again.png = labeled/rare/new.png = test/rare/again",
        "1 image of test/ nearly equal to one of labeled/: if they show the same, test scores are too high",
        "1 image of test/ nearly equal to one of unlabeled/: if they show the same, test scores may be too high",
        " of nearly equal images in different classes: is a label wrong?",
        # The fixture's images.
        "nearly of one color, with little to learn from",
    ):
        assert words in text, words


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        command.main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    _, found, message = capsys.readouterr().err.partition("error: ")
    assert found
    return message


def test_a_folder_of_another_layout_is_refused_with_the_one_expected(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    save(tmp_path / "loose" / "1.png", RED)
    for place, words in (
        ("nowhere", "does not exist"),
        ("file", "is not a folder"),
        ("empty", "it is empty"),
        ("loose", "images directly in it, outside any class folder: 1"),
    ):
        message = refused(capsys, tmp_path / place)
        assert words in message and "Expected: labeled/<class>/" in message
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    "out, words",
    [
        ("file/sheet.png", "cannot write in file (Not a directory): choose another --out"),
        ("/proc/nowhere/sheet.png", "cannot write in /proc/nowhere"),
        ("folder.png", "--out: folder.png is a folder: name a .png file"),
        ("two\nlines/file/../sheet.jpg", r"must name a .png file, got two\nlines"),
    ],
)
def test_a_sheet_that_cannot_be_written_is_refused_before_the_work(capsys, root, tmp_path, monkeypatch, out, words):
    monkeypatch.setattr(command, "inspect", lambda *args, **options: pytest.fail("the work has begun"))
    (tmp_path / "here" / "file").write_text("x")
    (tmp_path / "here" / "folder.png").mkdir()
    assert words in refused(capsys, root, "--overwrite", "--out", out)
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["file", "folder.png"]


def test_names_of_any_bytes_break_no_line(capsys, root, tmp_path):
    for name in (
        b"labeled/rare/\xff\xfe.png",
        b"labeled/rare/a\nb.png",
        b"unlabeled/\x1b[2J.png",
        b"test/common/c.\xe9",
    ):
        with open(os.fsencode(root) + b"/" + name, "wb") as file:
            file.write(b"no image")
    text = inspected(capsys, root, "--no_timing")
    for line in (
        r"  labeled/rare/\xff\xfe.png: not recognized as an image",
        r"  labeled/rare/a\nb.png: not recognized as an image",
        r"  unlabeled/\x1b[2J.png: not recognized as an image",
        r"  1 .\xe9 in test/common not read: not an image by its suffix",
    ):
        assert line in text.splitlines()
    text.encode("utf-8")
    found = json.loads(inspected(capsys, root, "--no_timing", "--json", "--overwrite"))
    assert os.fsencode(found["unreadable"][1]["file"]) == b"labeled/rare/\xff\xfe.png"


def test_the_recommended_command_names_a_folder_of_any_bytes(capsys, root, tmp_path):
    other = os.fsdecode(os.fsencode(tmp_path) + b"/it's\xff\n\\here")
    root.rename(other)
    text = inspected(capsys, other, "--no_timing", "--out", "a\nb.png")
    command_line = next(line for line in text.splitlines() if "python run.py" in line)
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command_line.strip()}"], capture_output=True, check=True
    ).stdout.split(b"\0")  # fmt: skip
    assert b"--data_dir=" + os.fsencode(other) in words
    assert r"Look at a\nb.png first" in text


def test_the_folder_one_is_in_has_its_name_on_the_sheet(capsys, root, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(command.contact_sheet, "draw", lambda *given: titles.append(given[3]))
    monkeypatch.chdir(root)
    inspected(capsys, ".", "--no_timing")
    assert titles[0].startswith("pets, as training sees it")


def test_a_folder_of_labels_alone_fits_supervised_training(capsys, root):
    for path in (root / "unlabeled").rglob("*.webp"):
        path.unlink()
    assert "no unlabeled images" in json.loads(inspected(capsys, root, "--no_timing", "--json"))["problems"][0]
    supervised = ("--no_timing", "--json", "--overwrite", "--", "--base=supervised", "--method=none")
    found = json.loads(inspected(capsys, root, *supervised))
    assert found["problems"] == [] and "--base=supervised" in found["recipe"]["command"]


def test_a_sheet_that_exists_is_not_overwritten_unasked(capsys, root, tmp_path):
    path = tmp_path / "sheet.png"
    path.write_text("mine")
    assert "exists already: give --overwrite" in refused(capsys, root, "--out", path)
    assert path.read_text() == "mine"
    inspected(capsys, root, "--no_timing", "--out", path, "--overwrite")
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--out", "sheet.jpg"], "must name a .png file"),
        (["--", "--epohcs=3"], "epohcs"),
        (["--", "cats"], "unexpected argument 'cats'"),
        (["--", "--dataset=digitslt"], "only --dataset=folder is inspected"),
        (["--", "--beta=2"], "--beta must be above 0 and at most 1"),
        (["--", "--arch=keras_resnet50", "--pretrained=gone.h5"], "--pretrained=gone.h5 is not a file"),
        (["--", "--pretrained=gone"], "--pretrained=gone is not the work folder of a finished run"),
    ],
)
def test_bad_settings_are_refused(capsys, root, arguments, words):
    assert words in refused(capsys, root, *arguments)


def test_a_folder_of_damaged_or_no_images_is_refused(capsys, root, tmp_path):
    for path in root.rglob("*.*"):
        path.write_bytes(b"no image")
    message = refused(capsys, root)
    assert "no image to train on can be read; labeled/common/0.png: not recognized as an image" in message
    for name in ("cat", "dog"):
        (tmp_path / "bare" / "labeled" / name).mkdir(parents=True)
    assert "no image to train on can be read" in refused(capsys, tmp_path / "bare")


def test_a_class_of_damaged_images_alone_keeps_the_folder_from_training(capsys, root):
    for path in (root / "labeled" / "rare").iterdir():
        path.write_bytes(b"no image")
    found = json.loads(inspected(capsys, root, "--json"))
    assert found["problems"] == [f"{root}/labeled/rare: none of its images can be read"]
    assert (found["recipe"], found["time"]) == (None, None)


def test_the_module_is_a_command(tmp_path):
    told = subprocess.run(
        [sys.executable, "-m", "udal_tf.commands.inspect", str(tmp_path / "nowhere")],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 2
    assert told.stderr.startswith("error: ") and "Traceback" not in told.stderr
