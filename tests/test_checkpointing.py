"""Checkpoints: kept, restored, and passed over where they cannot be read."""

import logging
import pathlib

import pytest
import tensorflow as tf

from udal_tf.training.checkpointing import CheckpointError, Checkpoints


class State(tf.Module):
    """Two variables large enough that half of a data file is less than all of either."""

    def __init__(self):
        super().__init__()
        self.first, self.second = tf.Variable(tf.zeros([1000])), tf.Variable(tf.zeros([1000]))

    def fill(self, value: float) -> None:
        self.first.assign(tf.fill([1000], value))
        self.second.assign(tf.fill([1000], -value))

    def holds(self, value: float) -> bool:
        return bool(tf.reduce_all(self.first == value) and tf.reduce_all(self.second == -value))


def make(folder) -> tuple[State, Checkpoints, tf.Variable]:
    state, totals = State(), tf.Variable([], shape=[None], dtype=tf.float64)
    return state, Checkpoints(folder, state=state, totals=totals), totals


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """Holds the checkpoints of steps 10, 20 and 30, filled with their step's number."""
    folder = tmp_path / "checkpoints"
    state, checkpoints, _ = make(folder)
    for step in (10, 20, 30):
        state.fill(float(step))
        checkpoints.save(step)
    return folder


def cut(path: pathlib.Path) -> None:
    """Leaves the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: pathlib.Path) -> None:
    """Changes one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def empty(path: pathlib.Path) -> None:
    path.write_bytes(b"")


def data_file(folder, step: int) -> pathlib.Path:
    return folder / f"ckpt-{step}.data-00000-of-00001"


def index_file(folder, step: int) -> pathlib.Path:
    return folder / f"ckpt-{step}.index"


def test_nothing_to_restore_in_a_new_folder(tmp_path):
    state, checkpoints, _ = make(tmp_path / "checkpoints")
    assert checkpoints.restore() is None
    assert checkpoints.latest is None
    assert state.holds(0.0)
    assert not (tmp_path / "checkpoints").exists()


def test_the_newest_checkpoint_is_restored(folder):
    state, checkpoints, _ = make(folder)
    assert checkpoints.restore() == str(folder / "ckpt-30")
    assert checkpoints.latest == str(folder / "ckpt-30")
    assert state.holds(30.0)


def test_a_vector_of_any_length_comes_back(tmp_path):
    _, checkpoints, totals = make(tmp_path)
    totals.assign([0.1, 1e-300, 3.0])
    checkpoints.save(1)
    _, checkpoints, restored = make(tmp_path)
    checkpoints.restore()
    assert restored.numpy().tolist() == [0.1, 1e-300, 3.0]


def test_three_checkpoints_are_kept(folder):
    _, checkpoints, _ = make(folder)
    checkpoints.restore()
    checkpoints.save(40)
    checkpoints.save(50)
    assert sorted(path.name for path in folder.glob("*.index")) == [f"ckpt-{step}.index" for step in (30, 40, 50)]
    assert sorted(path.name for path in folder.glob("*.data*")) == [data_file(folder, s).name for s in (30, 40, 50)]


@pytest.mark.parametrize("damage", [cut, flip, empty, pathlib.Path.unlink])
@pytest.mark.parametrize("file_of", [data_file, index_file])
def test_an_unreadable_newest_checkpoint_falls_back_to_the_one_before(folder, caplog, file_of, damage):
    damage(file_of(folder, 30))
    state, checkpoints, _ = make(folder)
    with caplog.at_level(logging.WARNING):
        restored = checkpoints.restore()
    assert restored == str(folder / "ckpt-20")
    assert state.holds(20.0)
    assert [str(folder / "ckpt-30") in record.getMessage() for record in caplog.records] == [True]


def test_after_a_fall_back_the_latest_is_the_one_that_was_restored(folder):
    cut(data_file(folder, 30))
    _, checkpoints, _ = make(folder)
    checkpoints.restore()
    assert checkpoints.latest == str(folder / "ckpt-20")


def test_a_damaged_checkpoint_is_written_anew_under_its_name(folder):
    cut(data_file(folder, 30))
    state, checkpoints, _ = make(folder)
    checkpoints.restore()
    state.fill(31.0)
    assert checkpoints.save(30) == str(folder / "ckpt-30")
    state, checkpoints, _ = make(folder)
    assert checkpoints.restore() == str(folder / "ckpt-30")
    assert state.holds(31.0)


def test_a_checkpoint_of_another_structure_is_no_checkpoint_of_this_run(tmp_path):
    tf.train.CheckpointManager(tf.train.Checkpoint(other=tf.Variable(1.0)), str(tmp_path), max_to_keep=3).save()
    _, checkpoints, _ = make(tmp_path)
    with pytest.raises(CheckpointError, match="None of the checkpoints can be read"):
        checkpoints.restore()


def test_all_unreadable_is_an_error_that_names_them(folder):
    cut(data_file(folder, 10))
    cut(index_file(folder, 20))
    data_file(folder, 30).unlink()
    _, checkpoints, _ = make(folder)
    with pytest.raises(RuntimeError) as raised:
        checkpoints.restore()
    assert all(f"ckpt-{step}" in str(raised.value) for step in (10, 20, 30))


def test_checkpoints_that_are_listed_but_gone_are_an_error(tmp_path):
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "ckpt-50"\n')
    _, checkpoints, _ = make(tmp_path)
    with pytest.raises(CheckpointError, match="remove .* to train from the start"):
        checkpoints.restore()


def test_a_lost_list_of_checkpoints_does_not_lose_the_checkpoints(folder):
    (folder / "checkpoint").write_text("all_model_che")
    state, checkpoints, _ = make(folder)
    assert checkpoints.restore() == str(folder / "ckpt-30")
    assert state.holds(30.0)
