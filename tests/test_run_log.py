"""The log of a run in training goes on where the run does; TensorBoard's events are those of its rows."""

import tensorflow as tf
from run_files import make_row

from udal_tf.run_dir import RunDir
from udal_tf.training.run_log import RunLog

WEIGHTS = ("raw", "ema", "raw_la", "ema_la")


def events(folder) -> list[tuple[int, str]]:
    """(step, tag) of every value in the folder's event files, sorted."""
    found = []
    for path in folder.glob("events.*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            found += [(event.step, value.tag) for value in event.summary.value]
    return sorted(found)


def test_seconds_count_on_from_the_last_row_that_is_kept(tmp_path):
    log = RunLog(RunDir(tmp_path), 0)
    assert log.seconds == 0
    for epoch in (1, 2, 3):
        log.append(make_row(epoch))
    assert log.seconds == 45
    assert RunLog(RunDir(tmp_path), 20).seconds == 30


def test_tensorboard_events_written_anew_hold_each_step_once(tmp_path):
    log = RunLog(RunDir(tmp_path), 0)
    for epoch in (1, 2, 3):
        log.append(make_row(epoch))
    going_on = RunLog(RunDir(tmp_path), 20)
    going_on.append(make_row(3))
    going_on.append(make_row(4))
    scalars = [f"test/{measure}/{w}" for measure in ("accuracy", "balanced_accuracy") for w in WEIGHTS]
    tags = ["train/alpha", "train/loss", "p_model", *scalars]
    assert events(tmp_path / "tensorboard") == sorted((step, tag) for step in (10, 20, 30, 40) for tag in tags)
