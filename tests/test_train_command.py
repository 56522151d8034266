"""`python run.py`: what it refuses, in which words, and that it leaves nothing behind then."""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags, logging
from absl.testing import flagsaver

from udal_tf.commands import train
from udal_tf.config import resolve
from udal_tf.run_dir import RunDir

REPOSITORY = pathlib.Path(__file__).parents[1]
SECONDS_ALLOWED = 300
# What a refusal may take on the screen, beside TensorFlow's own lines.
FEW_LINES = 15


def start(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
    """The command, started in `folder`."""
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "run.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS_ALLOWED,
    )


def error_text(stderr: str) -> str:
    """What follows `error: ` at the start of a line of standard error; TensorFlow's own lines begin otherwise."""
    assert "Traceback" not in stderr
    parts = re.split("^error: ", stderr, flags=re.M)
    assert len(parts) == 2, stderr
    return parts[1]


REFUSED = {
    "--beta=0": ["--beta", "got 0.0", "above 0 and at most 1"],
    "--beta=1.5": ["--beta", "got 1.5", "above 0 and at most 1"],
    "--imbalance=0.5": ["--imbalance", "got 0.5", "at least 1"],
    "--method=magic": ["--method", "got 'magic'", "one of none, udal, da, da_la, la, hybrid"],
    "--base=magic": ["--base", "got 'magic'", "one of", "fixmatch", "supervised"],
    "--dataset=mnist": ["--dataset", "got 'mnist'", "one of digitslt, cifar10lt, cifar100lt"],
    "--alpha_min=2": ["--alpha_min", "got 2.0", "at least 0 and at most 1"],
    "--learning_rate=-1": ["--learning_rate", "got -1.0", "above 0"],
    "--learning_rate=nan": ["--learning_rate", "got nan", "above 0"],
    "--seed=5000000": ["--seed", "got 5000000", "at most 4,000,000"],
    "--fold=0": ["--fold", "got 0", "at least 1 and at most 5"],
    "--fold=6": ["--fold", "got 6", "at least 1 and at most 5"],
    "--depth=11": ["--depth", "got 11", "6n + 4"],
    "--epochs=0": ["--epochs", "got 0", "at least 1"],
    "--epochs=many": ["--epochs=many", "int()", "--help"],
    "--epochs=1.5": ["--epochs=1.5", "int()", "--help"],
    "--beta=half": ["--beta=half", "float", "--help"],
    "--flip=perhaps": ["--flip=perhaps", "boolean", "--help"],
    "--lerning_rate=1": ["lerning_rate", "learning_rate"],
    "--base=supervised --method=da": ["--method=da", "--base=supervised", "--base=fixmatch", "none, udal, la"],
    "--dataset=folder": ["--data_dir must name your folder", "labeled/<class>/", "unlabeled/", "test/<class>/"],
    "--dataset=folder --data_dir=nowhere": ["cannot read the folder nowhere"],
    "--dataset=folder --data_dir=.": ["has no folder labeled/: it is empty", "labeled/<class>/"],
    "--arch=wrn --pretrained=weights.h5": ["--pretrained needs --arch=", "got --arch=wrn"],
    "digits": ["'digits'", "--name=value"],
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_a_bad_setting_is_named_with_what_came_and_what_is_allowed(tmp_path, arguments):
    process = start(tmp_path, *arguments.split())
    assert process.returncode == 2
    message = error_text(process.stderr)
    for words in REFUSED[arguments]:
        assert words in message
    assert len(process.stderr.splitlines()) <= FEW_LINES
    assert list(tmp_path.iterdir()) == []


def test_help_lists_every_setting_with_its_bounds(tmp_path):
    text = " ".join(start(tmp_path, "--help").stdout.split())
    assert "--alpha_min: α_min of Eq. 10" in text
    assert "(at least 0 and at most 1)" in text
    assert "--beta" in text
    assert "--workdir" in text


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Two commands that come as far as TensorFlow, at the same time: by name, the finished process and its folder."""
    commands = {
        "no data": ["--dataset=cifar10lt", "--imbalance=100", "--beta=0.1", "--data_dir=data"],
        "diverges": ["--workdir=run", "--learning_rate=1e30", "--steps_per_epoch=5", "--batch_size=4"],
    }
    folders = {name: tmp_path_factory.mktemp("command") for name in commands}
    (folders["no data"] / "data").mkdir()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        started = {name: pool.submit(start, folders[name], *commands[name]) for name in commands}
        return {name: (process.result(), folders[name]) for name, process in started.items()}


def test_missing_data_says_in_a_few_lines_how_to_provide_it(processes):
    process, folder = processes["no data"]
    assert process.returncode == 2
    assert process.stderr.startswith("error: ")  # And no line of TensorFlow's before it.
    message = error_text(process.stderr)
    assert "cifar10lt" in message
    assert "--data_dir" in message
    assert "cifar-10-binary.tar.gz" in message
    assert len(message.splitlines()) <= FEW_LINES
    assert list(folder.rglob("*")) == [folder / "data"]


def test_a_run_that_diverges_fails_without_a_traceback_or_a_bad_checkpoint(processes):
    process, folder = processes["diverges"]
    assert process.returncode == 1
    message = error_text(process.stderr)
    assert "The loss of step 1 is" in message
    assert "none: no epoch was completed" in message
    assert "--learning_rate" in message
    assert not (folder / "run" / "checkpoints").exists()
    assert not (folder / "run" / "result.json").exists()
    assert (folder / "run" / "metrics.jsonl").read_text() == ""


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs the command in this process, in a folder with things of others in it: exit code, text of the error."""
    if "dataset" not in flags.FLAGS:
        train.define_flags()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("It was a dark and stormy night.")
    (tmp_path / "earlier").mkdir()
    RunDir("earlier").write_config(resolve({"fold": 2, "workdir": "earlier"}))
    verbosity = logging.get_verbosity()

    def call(*arguments: str) -> tuple[int, str]:
        with flagsaver.flagsaver(), pytest.raises(SystemExit) as ended:
            train._main(flags.FLAGS(["run.py", *arguments]))
        return ended.value.code, error_text(capsys.readouterr().err)

    yield call
    logging.set_verbosity(verbosity)


def assert_untouched(folder: pathlib.Path) -> None:
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == ["earlier/config.json", "notes.txt", "thesis/chapter1.tex"]
    assert sorted(path.name for path in folder.iterdir()) == ["earlier", "notes.txt", "thesis"]
    assert (folder / "notes.txt").read_text() == "mine"
    assert '"fold": 2' in (folder / "earlier" / "config.json").read_text()


def test_a_work_folder_of_an_unknown_scheme_is_refused(command, tmp_path):
    code, message = command("--workdir=nowhere://bucket/run")
    assert code == 2
    assert "nowhere:// is not known, got nowhere://bucket/run" in message
    assert_untouched(tmp_path)


def test_the_work_folder_of_another_config_names_the_flags_that_differ(command, tmp_path):
    code, message = command("--workdir=earlier", "--fold=3", "--epochs=7")
    assert code == 2
    assert "--workdir earlier" in message
    assert "--fold: 2 there, 3 here" in message
    assert "--epochs: 20 there, 7 here" in message
    assert_untouched(tmp_path)


def test_the_work_folder_of_something_else_is_refused(command, tmp_path):
    code, message = command("--workdir=thesis")
    assert code == 2
    for words in ("--workdir", "thesis", "chapter1.tex"):
        assert words in message
    assert_untouched(tmp_path)


@pytest.mark.parametrize("workdir", ["notes.txt", "notes.txt/run", "/proc/udal_run"])
def test_a_work_folder_that_cannot_be_written_is_refused(command, tmp_path, workdir):
    code, message = command(f"--workdir={workdir}")
    assert code == 2
    assert "--workdir" in message
    assert workdir in message
    assert_untouched(tmp_path)


def test_a_run_whose_checkpoints_are_all_broken_is_not_started_anew(command, tmp_path):
    checkpoints = tmp_path / "earlier" / "checkpoints"
    checkpoints.mkdir()
    listed = ['model_checkpoint_path: "ckpt-50"', 'all_model_checkpoint_paths: "ckpt-50"']
    listed += ["all_model_checkpoint_timestamps: 2.0", "last_preserved_timestamp: 1.0"]
    (checkpoints / "checkpoint").write_text("\n".join(listed))
    code, message = command("--workdir=earlier", "--fold=2")
    assert code == 1
    assert "earlier/checkpoints/ckpt-50" in message
    assert "remove earlier/checkpoints to train from the start" in message
    assert not (tmp_path / "earlier" / "metrics.jsonl").exists()
