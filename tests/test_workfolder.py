"""Work folders of trainings: finished, unfinished, of generations, damaged, and what is none."""

import json
import shutil

import pytest
import tensorflow as tf

from udal_tf.config import Config, resolve
from udal_tf.inference.workfolder import ModelError, read
from udal_tf.run_dir import RunDir


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of the tiny run, at another place than it was trained at, to do damage to."""
    return shutil.copytree(tiny_run, tmp_path / "moved")


def change(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def set_config(folder, **train):
    config = json.loads((folder / "config.json").read_text())
    config["train"].update(train)
    (folder / "config.json").write_text(json.dumps(config))


def refusal(folder, **options) -> str:
    with pytest.raises(ModelError) as raised:
        read(folder, **options)
    return str(raised.value)


def test_a_finished_run_has_its_last_step_its_row_and_its_result(run):
    found = read(run)
    assert found.checkpoint == str(run / "checkpoints" / "ckpt-4")
    assert (found.step, found.row.step, found.row.epoch) == (4, 4, 2)
    assert found.facts.input_shape == [8, 8, 1]
    assert found.result.steps == 4
    assert found.config == Config.from_dict(found.result.config)


def test_the_best_weights_are_those_of_the_best_epoch(run):
    found = read(run, weights="best")
    assert found.step == found.result.best.step == found.row.step
    assert found.checkpoint == str(run / "best" / f"ckpt-{found.step}")


def test_raw_weights_lie_in_the_last_checkpoint(run):
    assert read(run, weights="raw").checkpoint == read(run).checkpoint


def test_an_unfinished_run_says_how_far_it_is_and_is_used_on_demand(run):
    (run / "result.json").unlink()
    set_config(run, epochs=5)
    message = refusal(run)
    assert f"{run} is not finished: step 4 of 10 (epoch 2 of 5)" in message
    assert "--unfinished" in message
    assert "unfinished=True" in message
    found = read(run, unfinished=True)
    assert found.step == 4
    assert found.result is None


def test_a_run_without_a_checkpoint_has_no_model_yet(run):
    (run / "result.json").unlink()
    shutil.rmtree(run / "checkpoints")
    assert "has no model yet" in refusal(run)
    assert "has no model yet" in refusal(run, unfinished=True)


@pytest.fixture
def generations(run, tmp_path):
    """A CReST run of three generations, cut in the second; its first one is finished."""
    folder = tmp_path / "crest"
    shutil.copytree(run, folder / "generation_0")
    shutil.copytree(run, folder / "generation_1")
    (folder / "generation_1" / "result.json").unlink()
    for path in folder.glob("generation_*/config.json"):
        path.unlink()
    settings = {"method": "crest", "generations": 3, "epochs": 2, "steps_per_epoch": 2, "workdir": str(folder)}
    RunDir(folder).write_config(resolve(settings))
    return folder


def test_of_generations_the_last_one_with_a_checkpoint_is_taken(generations):
    assert "generation 2 of 3, step 4 of 4" in refusal(generations)
    assert read(generations, unfinished=True).checkpoint.startswith(str(generations / "generation_1"))
    (generations / "generation_2").mkdir()
    shutil.copy(generations / "generation_0" / "model.json", generations / "generation_2")
    assert read(generations, unfinished=True).checkpoint.startswith(str(generations / "generation_1"))


def test_finished_generations_have_the_last_ones_model(generations):
    shutil.copytree(generations / "generation_0", generations / "generation_2")
    shutil.copy(generations / "generation_0" / "result.json", generations / "result.json")
    found = read(generations)
    assert found.checkpoint.startswith(str(generations / "generation_2"))
    assert found.result is not None


def test_one_generation_points_to_the_folder_above(generations):
    assert f"give its parent folder, {generations}" in refusal(generations / "generation_0")


def test_what_is_no_work_folder_is_refused(run, tmp_path):
    assert "does not exist" in refusal(tmp_path / "nothing")
    assert "is a file" in refusal(run / "config.json")
    (tmp_path / "photos").mkdir()
    message = refusal(tmp_path / "photos")
    assert "is not the work folder of a run: it has no config.json" in message
    assert "--workdir" in message


def test_a_model_of_a_newer_version_is_refused_before_its_settings_are_read(run):
    change(run / "config.json", format=99, udal_tf="9.9")
    set_config(run, setting_of_the_future=1)
    message = refusal(run)
    assert "format 99" in message
    assert "udal-tf 9.9" in message
    assert "install a later version" in message


def test_damaged_files_are_named(run):
    set_config(run, setting_of_the_future=1)
    assert "setting_of_the_future" in refusal(run)
    (run / "config.json").write_text("{")
    assert f"{run / 'config.json'} cannot be read" in refusal(run)


def test_a_damaged_model_is_named(run):
    change(run / "model.json", input_shape="8x8")
    assert f"{run / 'model.json'}: input_shape must be a list, each a whole number, got '8x8'" in refusal(run)
    (run / "model.json").write_text("[]")
    assert f"{run / 'model.json'} must hold an object, got list" in refusal(run)
    (run / "model.json").unlink()
    assert f"{run / 'model.json'} cannot be read: No such file" in refusal(run)


def test_a_folder_elsewhere_is_refused_by_its_scheme():
    assert "nowhere:// is not known" in refusal("nowhere://bucket/run")


def test_a_run_of_an_earlier_version_is_refused_by_its_format(run):
    config = json.loads((run / "config.json").read_text())
    del config["format"]
    (run / "config.json").write_text(json.dumps(config))
    assert f"{run / 'config.json'} is not a config of this program: its format is missing" in refusal(run)
    change(run / "config.json", format=1, udal_tf="0.0.9")
    assert "has format 1, written by udal-tf 0.0.9" in refusal(run)


def test_missing_best_weights_and_unknown_ones_are_refused(run):
    shutil.rmtree(run / "best")
    assert "has no best/" in refusal(run, weights="best")
    assert "last, best, raw, got 'worst'" in refusal(run, weights="worst")


def test_the_first_step_of_a_rollback_has_no_row(run):
    # Saved within an epoch: the checkpoint's step is not an epoch's end.
    for path in (run / "checkpoints").glob("ckpt-4*"):
        path.rename(path.with_name(path.name.replace("ckpt-4", "ckpt-3")))
    text = (run / "checkpoints" / "checkpoint").read_text().replace("ckpt-4", "ckpt-3")
    (run / "checkpoints" / "checkpoint").write_text(text)
    assert tf.train.latest_checkpoint(str(run / "checkpoints")).endswith("ckpt-3")
    assert read(run).row is None
