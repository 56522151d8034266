"""The record of a run: what a killed process leaves behind is put right when the run goes on."""

import json

import pytest
import tensorflow as tf

from udal_tf.reporting.run_log import RunLog, read_rows, write_json

WEIGHTS = ("raw", "ema", "raw_la", "ema_la")


def test_lists_of_numbers_take_one_line_and_text_stays_as_it_is(tmp_path):
    value = {"counts": [[1, 2.5], [3, None]], "names": ["a [1,\n2]", "b"], "none": []}
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "[ 1, 2.5 ]" in text and "[ 3, null ]" in text


def make_row(step: int) -> dict:
    scores = {weights: step / 100 for weights in WEIGHTS}
    return {
        "step": step,
        "epoch": step // 10,
        "seconds": 1.5 * step,
        "train": {"loss": 1 / step, "alpha": 0.5},
        "test": {
            "accuracy": scores,
            "balanced_accuracy": scores,
            "per_class_recall": {weights: [0.5, None] for weights in WEIGHTS},
        },
        "p_model": [0.75, 0.25],
        "p_target": [0.5, 0.5],
    }


def events(folder) -> list[tuple[int, str]]:
    """(step, tag) of every value in the folder's event files, sorted."""
    found = []
    for path in folder.glob("events.*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            found += [(event.step, value.tag) for value in event.summary.value]
    return sorted(found)


def test_rows_come_back_as_they_were_appended(tmp_path):
    log = RunLog(tmp_path, 0)
    log.append(make_row(10))
    log.append(make_row(20))
    assert read_rows(tmp_path / "metrics.jsonl") == [make_row(10), make_row(20)]


def test_a_missing_file_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("kept", [0, 1, 40, -1])
def test_a_half_written_last_line_is_no_row(tmp_path, kept):
    last = json.dumps(make_row(20)) + "\n"
    (tmp_path / "metrics.jsonl").write_text(json.dumps(make_row(10)) + "\n" + last[:kept])
    assert read_rows(tmp_path / "metrics.jsonl") == [make_row(10)]


def test_a_row_appended_after_a_half_written_line_stands_on_its_own_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps(make_row(10)) + '\n{"step": 20, "epo')
    RunLog(tmp_path, 10).append(make_row(20))
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [10, 20]


def test_rows_after_the_restored_step_are_dropped(tmp_path):
    log = RunLog(tmp_path, 0)
    for step in (10, 20, 30):
        log.append(make_row(step))
    going_on = RunLog(tmp_path, 20)
    assert [row["step"] for row in going_on.rows] == [10, 20]
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [10, 20]


def test_seconds_count_on_from_the_last_row_that_is_kept(tmp_path):
    log = RunLog(tmp_path, 0)
    assert log.seconds == 0
    for step in (10, 20, 30):
        log.append(make_row(step))
    assert log.seconds == 45
    assert RunLog(tmp_path, 20).seconds == 30


def test_tensorboard_events_written_anew_hold_each_step_once(tmp_path):
    log = RunLog(tmp_path, 0)
    for step in (10, 20, 30):
        log.append(make_row(step))
    going_on = RunLog(tmp_path, 20)
    going_on.append(make_row(30))
    going_on.append(make_row(40))
    scalars = [f"test/{measure}/{w}" for measure in ("accuracy", "balanced_accuracy") for w in WEIGHTS]
    tags = ["train/alpha", "train/loss", "p_model", *scalars]
    assert events(tmp_path / "tensorboard") == sorted((step, tag) for step in (10, 20, 30, 40) for tag in tags)


def test_write_json_writes_what_json_reads(tmp_path):
    value = {"α": [0.1, None, "é"], "b": {"c": 1}}
    write_json(tmp_path / "result.json", value)
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == value
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_write_json_that_fails_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": 2, "bad": object()})
    assert json.loads(path.read_text()) == {"old": 1}
