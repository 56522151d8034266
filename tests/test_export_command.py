"""`udal-export`: what it writes and says, and what it refuses without leaving anything behind."""

import functools
import json
import pathlib
import re
import shutil

import pytest
from PIL import Image

from udal_tf.commands import export
from udal_tf.inference import exporting


@pytest.fixture
def command(call_command, tmp_path, monkeypatch):
    """Runs the command in a folder of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(call_command, export.main)


def test_the_formats_are_those_that_can_be_written():
    assert tuple(exporting.FORMATS) == export.FORMATS


def test_an_export_has_its_model_its_classes_and_its_card(command, tiny_run, tmp_path):
    code, out, _ = command(tiny_run, "mine", "--format=keras", "--target_prior=uniform", "--tau_norm=0.7")
    assert code == 0
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "model.keras",
        "classes.json",
        "MODEL_CARD.md",
        "read_image.py",
    }
    assert "Real images to compare on: 64 test images of digitslt" in out
    assert "Largest difference in a probability on random images: " in out
    assert "Written and checked: mine/model.keras; how to use it: mine/MODEL_CARD.md" in out
    assert json.loads((tmp_path / "mine" / "classes.json").read_text())["la_inf"]["target"] == pytest.approx([0.1] * 10)
    card = (tmp_path / "mine" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "LA (Inf) is built in" in card
    assert "the last layer τ-normalized with τ = 0.7, unlike in the test results below" in card


def test_bad_input_is_refused_in_a_sentence_and_nothing_is_written(command, tiny_run, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.png").write_text("no image")
    for arguments, said in (
        ([tmp_path, "out", "--format=keras"], "is not the work folder of a run"),
        ([tiny_run, "photos", "--format=keras"], "was not written by this command"),
        ([tiny_run, "out", "--format=caffe"], "invalid choice"),
        ([tiny_run, "out", "--format=keras", "--target_prior=even"], "got 'even'"),
        (
            [tiny_run, "out", "--format=keras", "--quantize=int8"],
            "--quantize=int8 needs --format=tflite, got --format=ke",
        ),
        ([tiny_run, "out", "--format=tflite", "--quantize=int4"], "invalid choice"),
        ([tiny_run, "out", "--format=keras", "--images", "photos"], "none of photos is a readable image"),
    ):
        code, _, err = command(*arguments)
        assert code == 2, arguments
        assert "error: " in err
        assert said in err
        assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_an_earlier_export_is_replaced_on_demand_alone(command, tiny_run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "MODEL_CARD.md").write_text("old")
    code, _, err = command(tiny_run, "out", "--format=keras")
    assert code == 2
    assert "--overwrite" in err
    assert command(tiny_run, "out", "--format=keras", "--overwrite")[0] == 0
    assert (tmp_path / "out" / "MODEL_CARD.md").read_text(encoding="utf-8") != "old"


def test_a_format_without_its_packages_is_refused(command, tiny_run, tmp_path, monkeypatch):
    needs = exporting.Format("model.onnx", None, None, packages=("a_package_that_is_not_there",))
    monkeypatch.setitem(exporting.FORMATS, "onnx", needs)
    code, _, err = command(tiny_run, "out", "--format=onnx")
    assert code == 2
    assert "needs the packages a_package_that_is_not_there" in err
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_agree_is_not_left_behind(command, tiny_run, tmp_path, monkeypatch):
    def wrong(path: pathlib.Path):
        run = exporting.FORMATS["tflite"].load(path)["fixed"]
        return {"fixed": lambda images: run(images)[:, ::-1]}

    changed = exporting.Format("model.tflite", exporting.FORMATS["tflite"].write, wrong)
    monkeypatch.setitem(exporting.FORMATS, "onnx", changed)
    code, _, err = command(tiny_run, "out", "--format=onnx")
    assert code == 1
    assert "error: the exported model's probabilities differ from the original's by" in err
    assert list(tmp_path.iterdir()) == []


def test_int8_is_calibrated_on_the_images_that_are_named_and_its_loss_is_in_the_card(command, tiny_run, tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(6):
        Image.effect_noise((20, 30), 40 * i + 10).save(tmp_path / "photos" / f"{i}.png")
    code, out, _ = command(tiny_run, "out", "--format=tflite", "--quantize=int8", "--images", "photos")
    assert code == 0
    pattern = r"int8 and the float model predict the same class for .* % of 6 images \(given by the user[^)]*\)"
    said = re.search(pattern, " ".join(out.split()))
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"Weights and activations are int8. {said.group()}" in card
    assert json.loads((tmp_path / "out" / "classes.json").read_text())["quantized"] == "int8"


def test_int8_without_any_images_says_what_helps(command, tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["data"].update(dataset="folder", data_dir=str(tmp_path / "gone"))
    (run / "config.json").write_text(json.dumps(config))
    code, _, err = command(run, "out", "--format=tflite", "--quantize=int8")
    assert code == 2
    assert "--quantize=int8 needs images to calibrate on" in err and "give --images" in err
    assert not (tmp_path / "out").exists()
