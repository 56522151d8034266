"""The JSON files of a run, damaged by copies, editors and other versions: named, with exit code 2, in every command."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image
from test_train_command import error_text

from udal_tf.commands import predict, report, train
from udal_tf.config import resolve
from udal_tf.data import manifest
from udal_tf.data.dataset import DataError
from udal_tf.data.manifest import positions_sha256
from udal_tf.run_dir import RunDir
from udal_tf.run_records import ModelFacts, RunDirError
from udal_tf.storage import read_json
from udal_tf.sweep import grids
from udal_tf.training import crest

DAMAGE = {
    "empty": lambda text: b"",
    "half": lambda text: text[: len(text) // 2],
    "NUL bytes": lambda text: text[:20] + b"\0" * 100 + text[120:],
    "a trailing NUL byte": lambda text: text + b"\0",
    "not UTF-8": lambda text: text[:20] + b"\xff\xfe" + text[20:],
    "nested too deeply": lambda text: b"[" * 100_000,
    "a list": lambda text: b"[]",
    "a number": lambda text: b"17",
}


@pytest.fixture(params=DAMAGE)
def damaged(request, tiny_run, tmp_path):
    """Copies a run, and damages a file of the copy."""

    def damage(name: str) -> pathlib.Path:
        folder = tmp_path / "run"
        shutil.copytree(tiny_run, folder)
        path = folder / name
        path.write_bytes(DAMAGE[request.param](path.read_bytes()))
        return folder

    return damage


def predicted(call_command, folder: pathlib.Path) -> tuple[int, str, str]:
    image = folder.parent / "a.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(image)
    return call_command(predict.main, folder, image)


@pytest.mark.parametrize("name", ["config.json", "result.json", "model.json"])
def test_predict_names_the_damaged_file(call_command, damaged, name):
    folder = damaged(name)
    code, out, err = predicted(call_command, folder)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {folder / name}")
    assert len(err) < 500


def test_a_report_names_the_damaged_result(call_command, damaged, tmp_path):
    folder = damaged("result.json")
    code, out, err = call_command(report.main, folder, f"--out={tmp_path / 'report'}")
    assert code == 2
    assert "\n  run: " in err and "result.json" in err.split("\n  run: ")[1]
    assert not (tmp_path / "report").exists()


def test_training_names_the_damaged_settings_and_changes_nothing(damaged, capsys):
    from absl import flags

    folder = damaged("config.json")
    own = flags.FlagValues()
    train.define_flags(own)
    for flag in set(own) & set(flags.FLAGS):  # What other tests have left of them.
        delattr(flags.FLAGS, flag)
    train.define_flags()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as ended:
        train._main(flags.FLAGS(["run.py", f"--workdir={folder}"]))
    assert ended.value.code == 2
    message = error_text(capsys.readouterr().err)
    assert message.startswith(f"{folder / 'config.json'}") and "choose another --workdir" in message
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


CHANGED = [
    ("config.json", ["train", "epochs"], 10**400),
    ("config.json", ["train", "epochs"], "2"),
    ("config.json", ["train", "epochs"], None),
    ("config.json", ["optimizer", "learning_rate"], float("nan")),
    ("config.json", ["method", "base"], ["fixmatch"]),
    ("config.json", ["method"], []),
    ("config.json", ["data", "data_dir"], "\0"),
    ("config.json", ["augment", "strong_ops"], [{}]),
    ("config.json", ["no such section"], {}),
    ("config.json", ["format"], 99),
    ("config.json", ["format"], None),
    ("result.json", ["accuracy", "ema"], 2.0),
    ("result.json", ["class_names"], ["a"]),
    ("result.json", ["steps"], 10**30),
    ("model.json", ["p_data"], [0.5, 0.5]),
    ("model.json", ["labeled_counts"], []),
    ("model.json", ["input_shape"], [8, 8]),
    ("model.json", ["input_shape"], [8, 0, 1]),
]


@pytest.mark.parametrize(("name", "keys", "value"), CHANGED)
def test_a_value_of_another_kind_is_named_with_its_file(call_command, tiny_run, tmp_path, name, keys, value):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    code, out, err = predicted(call_command, folder)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {folder / name}")
    assert keys[-1] in err or "format" in err or keys[0] == "method"


def test_a_newer_version_is_named_with_what_to_do(call_command, tiny_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    future = {**content, "format": 4, "udal_tf": "9.9", "section_of_the_future": {}}
    (folder / "config.json").write_text(json.dumps(future), encoding="utf-8")
    code, _, err = predicted(call_command, folder)
    assert code == 2
    assert "config.json has format 4, written by udal-tf 9.9" in err and "install a later version" in err


def test_half_a_last_line_is_no_row_but_a_damaged_line_before_it_is_named(tiny_run, tmp_path):
    text = (tiny_run / "metrics.jsonl").read_text(encoding="utf-8")
    path = tmp_path / "metrics.jsonl"
    path.write_text(text + '{"step": 6, "ep', encoding="utf-8")
    assert [row.step for row in RunDir(tmp_path).rows()] == [2, 4]
    path.write_bytes(text.encode() + b"\0" * 40)  # As some file systems fill a file after a power cut.
    assert [row.step for row in RunDir(tmp_path).rows()] == [2, 4]
    path.write_bytes(b"\0" * 40 + b"\n" + text.encode())
    with pytest.raises(RunDirError, match="metrics.jsonl, line 1 is not a row of a run"):
        RunDir(tmp_path).rows()


def test_a_reader_of_json_names_file_and_reason(tmp_path):
    with pytest.raises(ValueError, match="none.json cannot be read: No such file or directory"):
        read_json(tmp_path / "none.json")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_json(tmp_path)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="deep.json cannot be read: its JSON is nested too deeply"):
        read_json(tmp_path / "deep.json")


def test_a_pipe_instead_of_json_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ValueError, match="config.json cannot be read: not a regular file"):
        read_json(tmp_path / "config.json")


ADDED = {
    "positions": [3, 1], "labels": [0, 1], "added": [1, 1], "precision": [None, 0.5], "recall": [None, 0.5],
    "positions_sha256": positions_sha256(np.array([3, 1])), "labels_sha256": positions_sha256(np.array([0, 1])),
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"positions": None}, "labeled.json: positions must be a list, each a whole number, got None"),
        ({"positions": [10**30]}, "labeled.json: positions must be a list"),
        ({"positions": [3, 2]}, "labeled.json: positions do not match their hash"),
        ({"labels": [1, 1]}, "labeled.json: labels do not match their hash"),
        ({"added": "x"}, "labeled.json: added must be a list"),
    ],
)
def test_the_added_images_of_a_generation_are_checked(tmp_path, change, words):
    path = RunDir(tmp_path) / "labeled.json"
    path.write_text(json.dumps(ADDED))
    assert crest._read_added(path) == ADDED
    path.write_text(json.dumps({**ADDED, **change}))
    with pytest.raises(RunDirError) as raised:
        crest._read_added(path)
    assert words in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\0", "[" * 100_000, '{"format": "udal_tf split manifest 1"}'])
def test_a_damaged_split_manifest_is_named(tmp_path, text):
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(DataError, match="^--split_manifest: .*split.json"):
        manifest.read(path)


def test_a_manifest_with_positions_of_another_kind_is_named(tmp_path):
    content = {"format": manifest.FORMAT, "subset": {"positions": ["x"], "sha256": ""}, "folds": {}}
    for positions in (["x"], [10**30], [[1], [1, 2]], None):
        content["subset"]["positions"] = positions
        (tmp_path / "split.json").write_text(json.dumps(content))
        with pytest.raises(DataError, match="split.json"):
            manifest.read(tmp_path / "split.json")


@pytest.mark.parametrize(
    "text",
    ["", "\0", "{}", "[]", "[1]", '[{"flagfile": 1}]', '[{"settings": []}]', '[{"settings": {"fold": null}}]',
     '[{"settings": {"fold": [null]}}]', '[{"settings": {"fold": {}}}]', '[{"flagfile": "\\u0000"}]', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_grid_is_named(tmp_path, text):
    path = tmp_path / "grid.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="grid.json"):
        grids.read_grid(path)


def test_model_facts_are_whole():
    facts = {
        "udal_tf": "1", "input_shape": [8, 8, 1], "class_names": ["a", "b"], "p_data": [0.5, 0.5],
        "p_unlabeled": [0.5, 0.5], "labeled_counts": [1, 1], "pool_size": 2,
    }  # fmt: skip
    assert ModelFacts.from_json(facts, "model ").to_json() == facts
    with pytest.raises(RunDirError, match="class_names must name each class of p_unlabeled, got 2 for 1"):
        ModelFacts.from_json({**facts, "p_unlabeled": [1.0]}, "model ")


def test_a_proportion_too_large_for_a_number_is_named(tmp_path):
    path = tmp_path / "prior.json"
    path.write_text(f"[{10**400}, 1]")
    with pytest.raises(ValueError, match="--unlabeled_prior .*prior.json: a proportion must be a number, got 1000"):
        resolve({"unlabeled_prior": (str(path),)})
