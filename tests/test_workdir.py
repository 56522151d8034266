"""The work folder: every reason to refuse one, and that nothing in it is touched then."""

import json
import pathlib
import subprocess
import sys

import pytest

from udal_tf.config import resolve
from udal_tf.training.workdir import Workdir, WorkdirError

LONGEST_FILE_NAME = 255


def make_config(workdir, **settings):
    return resolve({"workdir": str(workdir), **settings})


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(tmp_path):
    """Makes and opens a Workdir that must be refused; returns the message. Nothing under tmp_path may change."""

    def call(config) -> str:
        before = contents(tmp_path)
        with pytest.raises(WorkdirError) as raised:
            Workdir(config).open()
        assert contents(tmp_path) == before
        return str(raised.value)

    return call


@pytest.fixture
def earlier(tmp_path) -> pathlib.Path:
    """The folder of an earlier run with fold 2 that has a row already."""
    folder = tmp_path / "earlier"
    workdir = Workdir(make_config(folder, fold=2))
    workdir.open()
    workdir.close()
    (folder / "metrics.jsonl").write_text('{"step": 10}\n')
    return folder


def test_a_new_folder_is_created_and_named_for_its_run(tmp_path):
    config = make_config(tmp_path / "deep" / "run")
    workdir = Workdir(config)
    assert not (tmp_path / "deep").exists()
    workdir.open()
    assert json.loads((tmp_path / "deep" / "run" / "config.json").read_text()) == config.to_dict()
    assert workdir.result() is None


def test_an_empty_folder_is_taken(tmp_path):
    Workdir(make_config(tmp_path)).open()
    assert (tmp_path / "config.json").exists()


def test_the_folder_of_the_same_run_is_taken_again(earlier):
    Workdir(make_config(earlier, fold=2)).open()
    assert (earlier / "metrics.jsonl").read_text() == '{"step": 10}\n'


def test_settings_that_are_not_the_runs_identity_may_differ(earlier):
    Workdir(make_config(earlier, fold=2, eval_batch_size=7, checkpoint_minutes=1.0)).open()


def test_the_folder_of_another_config_names_the_flags_that_differ(earlier, refused):
    message = refused(make_config(earlier, fold=3, learning_rate=0.1))
    assert "--fold: 2 there, 3 here" in message
    assert "--learning_rate: 0.03 there, 0.1 here" in message
    assert message.count(" there, ") == 2
    assert str(earlier) in message


def test_a_run_goes_on_with_the_pictures_that_it_began_with_only(tmp_path, refused):
    settings = {"dataset": "folder", "depth": 10, "pictures": "2 classes; 9 labelled"}
    workdir = Workdir(make_config(tmp_path / "run", **settings))
    assert workdir.is_new
    workdir.open()
    workdir.close()
    assert not Workdir(make_config(tmp_path / "run", **settings)).is_new
    message = refused(make_config(tmp_path / "run", **{**settings, "depth": 16, "pictures": "2 classes; 12 labelled"}))
    assert "on other pictures; some were added, removed or replaced" in message
    assert "--pictures: 2 classes; 9 labelled there, 2 classes; 12 labelled here" in message
    assert "--depth: 10 there, 16 here" in message
    assert "another --workdir" in message


def test_a_folder_of_something_else_is_refused(tmp_path, refused):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    message = refused(make_config(tmp_path))
    assert str(tmp_path) in message
    assert "thesis.tex" in message
    assert "--workdir" in message


@pytest.mark.parametrize(
    "text", ["[1, 2]", '{"model": "bert"}', '{"model": {"layers": 12}}', "{", '{"data": {"fold": 9}}']
)
def test_a_config_of_another_program_is_refused(tmp_path, refused, text):
    (tmp_path / "config.json").write_text(text)
    assert str(tmp_path / "config.json") in refused(make_config(tmp_path))


def test_a_file_is_refused(tmp_path, refused):
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    assert str(path) in refused(make_config(path))


def test_a_folder_under_a_file_is_refused(tmp_path, refused):
    (tmp_path / "notes.txt").write_text("mine")
    message = refused(make_config(tmp_path / "notes.txt" / "run"))
    assert "cannot be written" in message


def test_a_folder_where_nobody_may_write_is_refused(refused):
    assert "--workdir /proc/udal_run" in refused(make_config("/proc/udal_run"))


def test_a_name_that_no_file_system_takes_is_refused(tmp_path, refused):
    assert "--workdir" in refused(make_config(tmp_path / ("a" * (LONGEST_FILE_NAME + 1))))


def test_a_folder_that_is_in_use_is_refused(tmp_path):
    config = make_config(tmp_path)
    first = Workdir(config)
    first.open()
    before = contents(tmp_path)
    with pytest.raises(WorkdirError, match="in use by another process"):
        Workdir(config).open()
    assert contents(tmp_path) == before


def test_a_folder_that_another_process_uses_is_refused_until_it_ends(tmp_path):
    code = (
        "import sys; from udal_tf.config import resolve; from udal_tf.training.workdir import Workdir;"
        "w = Workdir(resolve({'workdir': sys.argv[1]})); w.open(); print('open', flush=True); sys.stdin.read()"
    )
    repository = pathlib.Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(WorkdirError, match="in use by another process"):
            Workdir(make_config(tmp_path)).open()
        other.kill()
    Workdir(make_config(tmp_path)).open()


def test_a_closed_folder_can_be_opened_again_in_the_same_process(tmp_path):
    first = Workdir(make_config(tmp_path))
    first.open()
    first.close()
    Workdir(make_config(tmp_path)).open()


@pytest.mark.parametrize("left", [[".lock"], [".lock", "config.json.partial"]])
def test_a_folder_left_by_a_run_killed_before_its_config_was_written_is_taken(tmp_path, left):
    for name in left:
        (tmp_path / name).write_text("")
    Workdir(make_config(tmp_path)).open()
    assert (tmp_path / "config.json").exists()


def test_a_folder_that_another_run_took_meanwhile_is_refused(tmp_path):
    # The second run found an empty folder; before it took the lock the first one came and went.
    folder = tmp_path / "contested"
    second = Workdir(make_config(folder, fold=1))
    first = Workdir(make_config(folder, fold=2))
    first.open()
    first.close()
    before = contents(folder)
    with pytest.raises(WorkdirError, match="--fold: 2 there, 1 here"):
        second.open()
    assert contents(folder) == before


def test_a_finished_runs_result_is_read(earlier):
    (earlier / "result.json").write_text('{"steps": 10}')
    assert Workdir(make_config(earlier, fold=2)).result() == {"steps": 10}
