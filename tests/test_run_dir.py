"""The run folder: every reason to refuse one, that nothing in it is touched then, and what a killed process left."""

import json
import pathlib
import subprocess
import sys

import pytest
from run_files import make_row, read_rows

from udal_tf import __version__
from udal_tf.config import resolve
from udal_tf.run_dir import OwnRunDir, RunDir, run_folders
from udal_tf.run_records import FORMAT, RunDirError

LONGEST_FILE_NAME = 255


def make_config(workdir, **settings):
    return resolve({"workdir": str(workdir), **settings})


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(tmp_path):
    """Makes and opens an OwnRunDir that must be refused; returns the message. Nothing under tmp_path may change."""

    def call(config) -> str:
        before = contents(tmp_path)
        with pytest.raises(RunDirError) as raised:
            OwnRunDir(config).open()
        assert contents(tmp_path) == before
        return str(raised.value)

    return call


@pytest.fixture
def earlier(tmp_path) -> pathlib.Path:
    """The folder of an earlier run with fold 2 that has a row already."""
    folder = tmp_path / "earlier"
    workdir = OwnRunDir(make_config(folder, fold=2))
    workdir.open()
    workdir.close()
    (folder / "metrics.jsonl").write_text('{"step": 10}\n')
    return folder


def test_a_new_folder_is_created_and_named_for_its_run(tmp_path):
    config = make_config(tmp_path / "deep" / "run")
    workdir = OwnRunDir(config)
    assert not (tmp_path / "deep").exists()
    workdir.open()
    saved = json.loads((tmp_path / "deep" / "run" / "config.json").read_text())
    assert (saved.pop("format"), saved.pop("udal_tf")) == (FORMAT, __version__)
    assert saved == config.to_dict()
    assert workdir.begun and not workdir.finished


def test_an_empty_folder_is_taken(tmp_path):
    OwnRunDir(make_config(tmp_path)).open()
    assert (tmp_path / "config.json").exists()


def test_the_folder_of_the_same_run_is_taken_again(earlier):
    OwnRunDir(make_config(earlier, fold=2)).open()
    assert (earlier / "metrics.jsonl").read_text() == '{"step": 10}\n'


def test_settings_that_are_not_the_runs_identity_may_differ(earlier):
    OwnRunDir(make_config(earlier, fold=2, eval_batch_size=7, checkpoint_minutes=1.0)).open()


def test_the_folder_of_another_config_names_the_flags_that_differ(earlier, refused):
    message = refused(make_config(earlier, fold=3, learning_rate=0.1))
    assert "--fold: 2 there, 3 here" in message
    assert "--learning_rate: 0.03 there, 0.1 here" in message
    assert message.count(" there, ") == 2
    assert str(earlier) in message


def test_a_run_goes_on_with_the_images_that_it_began_with_only(tmp_path, refused):
    settings = {"dataset": "folder", "depth": 10, "images": "2 classes; 9 labeled"}
    workdir = OwnRunDir(make_config(tmp_path / "run", **settings))
    assert not workdir.begun
    workdir.open()
    workdir.close()
    assert OwnRunDir(make_config(tmp_path / "run", **settings)).begun
    message = refused(make_config(tmp_path / "run", **{**settings, "depth": 16, "images": "2 classes; 12 labeled"}))
    assert "on other images; some were added, removed or replaced" in message
    assert "--images: 2 classes; 9 labeled there, 2 classes; 12 labeled here" in message
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
    first = OwnRunDir(config)
    first.open()
    before = contents(tmp_path)
    with pytest.raises(RunDirError, match="in use by another process"):
        OwnRunDir(config).open()
    assert contents(tmp_path) == before


def test_a_folder_that_another_process_uses_is_refused_until_it_ends(tmp_path):
    code = (
        "import sys; from udal_tf.config import resolve; from udal_tf.run_dir import OwnRunDir;"
        "w = OwnRunDir(resolve({'workdir': sys.argv[1]})); w.open(); print('open', flush=True); sys.stdin.read()"
    )
    repository = pathlib.Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(RunDirError, match="in use by another process"):
            OwnRunDir(make_config(tmp_path)).open()
        other.kill()
    OwnRunDir(make_config(tmp_path)).open()


def test_a_closed_folder_can_be_opened_again_in_the_same_process(tmp_path):
    first = OwnRunDir(make_config(tmp_path))
    first.open()
    first.close()
    OwnRunDir(make_config(tmp_path)).open()


@pytest.mark.parametrize("left", [[".lock"], [".lock", "config.json.71.partial"]])
def test_a_folder_left_by_a_run_killed_before_its_config_was_written_is_taken(tmp_path, left):
    for name in left:
        (tmp_path / name).write_text("")
    OwnRunDir(make_config(tmp_path)).open()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "config.json"]


def test_a_folder_that_another_run_took_meanwhile_is_refused(tmp_path):
    # The second run found an empty folder; before it took the lock the first one came and went.
    folder = tmp_path / "contested"
    second = OwnRunDir(make_config(folder, fold=1))
    first = OwnRunDir(make_config(folder, fold=2))
    first.open()
    first.close()
    before = contents(folder)
    with pytest.raises(RunDirError, match="--fold: 2 there, 1 here"):
        second.open()
    assert contents(folder) == before


def test_an_unknown_scheme_is_refused_and_no_local_folder_made_for_it(tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    assert "nowhere:// is not known, got nowhere://bucket/run" in refused(make_config("nowhere://bucket/run"))
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_another_version_is_refused_by_name(earlier, refused):
    saved = json.loads((earlier / "config.json").read_text())
    for number, advice in ((FORMAT + 1, "install a later version"), (FORMAT - 1, "train it again")):
        (earlier / "config.json").write_text(json.dumps({**saved, "format": number, "udal_tf": "9.9"}))
        message = refused(make_config(earlier, fold=2))
        assert f"has format {number}, written by udal-tf 9.9" in message and advice in message


def test_in_use_while_the_lock_is_held(tmp_path):
    run_dir = RunDir(tmp_path)
    assert not run_dir.in_use
    lock = run_dir.lock()
    assert run_dir.in_use
    with pytest.raises(BlockingIOError):
        run_dir.lock()
    lock.close()
    assert not run_dir.in_use


def test_rows_come_back_as_they_were_appended(tmp_path):
    run_dir = RunDir(tmp_path)
    assert run_dir.rows() == [] and run_dir.epochs == 0
    for epoch in (1, 2):
        run_dir.append_row(make_row(epoch))
    assert run_dir.rows() == [make_row(1), make_row(2)] and run_dir.epochs == 2
    assert read_rows(tmp_path / "metrics.jsonl")[1]["train"] == {"loss": 0.5, "alpha": 0.5}


@pytest.mark.parametrize("kept", [0, 1, 40, -1])
def test_a_half_written_last_line_is_no_row(tmp_path, kept):
    lines = [json.dumps(make_row(epoch).to_json()) + "\n" for epoch in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text(lines[0] + lines[1][:kept])
    assert RunDir(tmp_path).rows() == [make_row(1)]


def test_a_row_appended_after_a_half_written_line_stands_on_its_own_line(tmp_path):
    run_dir = RunDir(tmp_path)
    run_dir.append_row(make_row(1))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 20, "epo')
    assert run_dir.rows_until(10) == [make_row(1)]
    run_dir.append_row(make_row(2))
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [10, 20]


def test_rows_after_the_step_are_dropped(tmp_path):
    run_dir = RunDir(tmp_path)
    for epoch in (1, 2, 3):
        run_dir.append_row(make_row(epoch))
    assert run_dir.rows_until(20) == [make_row(1), make_row(2)] == run_dir.rows()


def test_a_line_that_is_no_row_is_named(tmp_path):
    run_dir = RunDir(tmp_path)
    run_dir.append_row(make_row(1))
    for line, said in (
        ('{"epoch": 1}', "step is missing"), ("[]", "must hold an object, got list"), ("{", "Expecting"),
        (json.dumps({**make_row(2).to_json(), "seconds": "long"}), "seconds must be a finite number, got 'long'"),
    ):  # fmt: skip
        (tmp_path / "metrics.jsonl").write_text(json.dumps(make_row(1).to_json()) + "\n" + line + "\n")
        with pytest.raises(RunDirError, match=f"metrics.jsonl, line 2 is not a row of a run .*{said}"):
            run_dir.rows()


def test_rows_of_generations_follow_each_other_in_the_order_of_their_numbers(tmp_path):
    run_dir = RunDir(tmp_path)
    for number in (10, 9):
        run_dir.generation(number).path.mkdir()
        for epoch in (1, 2):
            run_dir.generation(number).append_row(make_row(epoch, seconds=float(number)))
    (tmp_path / "generation_x").mkdir()
    assert list(run_dir.generations()) == [9, 10]
    rows = run_dir.rows_of_all_generations()
    assert [(row.epoch, row.seconds) for row in rows] == [(1, 9.0), (2, 9.0), (3, 10.0), (4, 10.0)]
    assert run_dir.epochs == 4


def test_runs_are_found_at_any_depth_and_generations_belong_to_theirs(tmp_path):
    for name in ("a/b/config.json", "a/b/generation_0/result.json", "a/result.json", "generation_1/result.json", "c/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert [str(path) for path in run_folders(tmp_path)] == [f"{tmp_path}/{n}" for n in ("a", "a/b", "generation_1")]
