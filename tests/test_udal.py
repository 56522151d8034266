"""`udal COMMAND`: the same commands under one name, quick help, and nothing wider than a terminal of 80 columns."""

import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len
from run_files import make_result, make_row
from test_docs import ROOT, installed_commands

from udal_tf import __version__
from udal_tf.commands import doctor, evaluate, export, inspect, predict, program, report, suggest, sweep, udal
from udal_tf.commands.quiet import LEVEL, quiet
from udal_tf.data import settings
from udal_tf.reporting import console, contact_sheet, plotting
from udal_tf.run_records import ByWeights, ClassesByWeights, PseudoLabelCounts, Scores
from udal_tf.training import checkup
from udal_tf.training.experiment import train_and_evaluate

COLUMNS = 80
CLASSES = ("日本語の花の名前はとても長いですね", "a rather long name of a class, as of a plant in a field", "cat")


def too_wide(text):
    """The lines that a terminal of 80 columns would break, as it shows them at last; a single word, such as a path, may
    be longer, also where a backslash after it says that its command goes on."""
    lines = [line.split("\r")[-1] for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).split("\n")]
    return [line for line in lines if cell_len(line) > COLUMNS and len(line.removesuffix(" \\").split()) > 1]


@pytest.fixture(autouse=True)
def called_as_udal(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["udal"])


def test_help_has_a_line_for_each_command_and_each_is_installed_under_its_own_name_too(call_command):
    code, out, err = call_command(udal.main, "--help")
    assert (code, err) == (0, "")
    listed = [line.split()[0] for line in out.partition("commands:\n")[2].splitlines()]
    assert listed == list(udal.COMMANDS)
    assert {"udal", *(f"udal-{name}" for name in listed)} == installed_commands()
    assert call_command(udal.main) == (2, "", out)


def test_an_unknown_command_names_the_nearest(call_command):
    assert call_command(udal.main, "trian") == (
        2, "", "error: unknown command 'trian': did you mean train? (udal --help lists all)\n"
    )  # fmt: skip
    assert "expected one of train, inspect, " in call_command(udal.main, "xyz")[2]


def test_a_command_says_the_same_under_either_name(call_command):
    for name, module in (("predict", predict), ("evaluate", evaluate), ("sweep", sweep), ("inspect", inspect)):
        for arguments in (["--nope"], ["--help"], ["--version"], [""]):
            assert call_command(udal.main, name, *arguments) == call_command(module.main, *arguments)


@pytest.mark.parametrize(
    ("started", "name", "called"),
    [
        ("/usr/bin/udal", "inspect", "udal inspect"),
        ("/usr/bin/udal", "", "udal"),
        ("/usr/bin/udal-inspect", "inspect", "udal-inspect"),
        ("/usr/bin/udal-sweep", "report", "udal-report"),
        ("/x/udal_tf/__main__.py", "train", "python -m udal_tf train"),
        ("/x/udal_tf/commands/sweep.py", "report", "python -m udal_tf.commands.report"),
        ("run.py", "train", "python run.py"),
        ("a_notebook", "predict", "udal predict"),
    ],
)
def test_usage_names_the_command_as_it_was_called(monkeypatch, started, name, called):
    monkeypatch.setattr(sys, "argv", [started])
    assert program.as_called(name) == called
    if name not in ("", "train"):
        assert f"usage: {called}" in program.make_parser(name, "").format_help()


def test_help_and_version_are_quick_and_fit_80_columns():
    """In one process, in which nothing has imported TensorFlow yet."""
    code = """
import contextlib, io, sys
from udal_tf.commands import udal
def said(*arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        udal.main(arguments)
    return out.getvalue()
for name in udal.COMMANDS:
    assert said(name, "--version") == said("--version"), name
    print(said(name, "--helpfull" if name == "train" else "--help"))
print(said("--help"), said("--version"), 'tensorflow' in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.endswith(f"udal-tf {__version__}\n False\n")
    assert too_wide(ended.stdout) == []
    words = " ".join(ended.stdout.split())
    # Of each group, of a record's own settings, and of absl.
    for flag in ("--dataset", "--crop", "--arch", "--base", "--optimizer", "--workdir", "--strategy", "--plugin"):
        assert f"{flag}: " in words
    assert "--epochs: Number of epochs; α_t changes once per epoch. (at least 1 and at most 10,000,000)" in words
    assert "(default: 64)" in words and "--depth: Depth of the Wide ResNet" in words and "--flagfile: " in words


def test_notes_of_tensorflow_are_dropped_and_its_errors_are_not(capfd, monkeypatch):
    notes = (
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
        "I0000 00:00:1795654418.099544    1549 port.cc:153] oneDNN custom operations are on.\n"
        "2024-01-01 00:00:00.000001: I tensorflow/core/util/port.cc:113] oneDNN custom operations are on.\n"
        "E0000 00:00:1.2 1 cuda_platform.cc:52] failed call to cuInit: INTERNAL: UNKNOWN ERROR (303)\n"
    )
    errors = (
        "E0000 00:00:1.2 1 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_UNKNOWN: unknown error (999)\n"
        "W0000 00:00:1.2 1 gpu_device.cc:1] Cannot dlopen some GPU libraries.\nImportError: ä\n"
    )
    monkeypatch.setenv(LEVEL, "2")
    with pytest.raises(KeyError), quiet():
        os.write(2, (notes + errors).encode())
        raise KeyError
    assert capfd.readouterr().err == errors
    monkeypatch.setenv(LEVEL, "0")
    with quiet():
        os.write(2, notes.encode())
    assert capfd.readouterr().err == notes


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(scope="module")
def screens(undrawn, small_network, tmp_path_factory):
    """What a run on a folder of long class names and the commands that use it print on a terminal, by command."""
    root = tmp_path_factory.mktemp("wide")
    draw = np.random.RandomState(0)
    for part in (*(f"{part}/{name}" for part in ("labeled", "test") for name in CLASSES), "unlabeled"):
        (root / "images" / part).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(draw.randint(0, 256, (16, 16, 3), np.uint8)).save(root / "images" / part / f"{number}.png")
    (root / "images" / "labeled" / "cat" / "bad.png").touch()
    printed = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("COLUMNS", str(COLUMNS))
        patch.setenv("TERM", "xterm-256color")
        patch.setattr(sys, "argv", ["udal"])
        patch.setattr(plotting, "drawn", lambda sketches, place, processes=1: list)
        for drawn in ("confusion_matrices", "reliability", "mistakes"):
            patch.setattr(f"udal_tf.reporting.assessment_plots.{drawn}", lambda *given: None)
        patch.setattr(contact_sheet, "draw", lambda *given: None)

        def shown(name, function, *arguments):
            screen = Screen()
            patch.setattr(sys, "stdout", screen)
            patch.setattr(sys, "stderr", screen)
            try:
                function(*arguments)
            except SystemExit as ended:
                # 3: an image cannot be read; 1: what the doctor is made to find.
                assert ended.code in (None, 0, 1 if name == "doctor" else 3), screen.getvalue()
            printed[name] = screen.getvalue()

        tiny = {"epochs": 3, "steps_per_epoch": 1, "batch_size": 2, "unlabeled_ratio": 1, "depth": 10, "width": 1}
        given = {"dataset": "folder", "data_dir": "images", "cache_dir": "cache", "workdir": "run", **tiny}
        config = settings.resolve({**given, "skip_bad_images": True})
        shown("train", lambda: print(console.result_text(train_and_evaluate(config))))
        shown("inspect", inspect.main, ["images", "--no_timing"])
        shown("evaluate", evaluate.main, ["run", "images/test"])
        shown("predict", predict.main, ["run", "images/unlabeled", "--top_k=3"])
        shown("suggest", suggest.main, ["run", "--count=2"])
        shown("export", export.main, ["run", "exported", "--format=keras"])
        shown("sweep", sweep.main, ["digits", "--list"])
        shown("report", report.main, ["run"])
        lacking = ["GatherV2 Taxis=int32 Tindices=int32 Tparams=uint8"]
        checked = checkup.Check(lacking, "XLA_GPU_JIT", 1, 20, 1234.5, 60.0, 12_345, 0.5, float("nan"), checkup.EXACT)
        patch.setattr(checkup, "check", lambda *given: checked)
        shown("doctor", doctor.main)
    return printed


@pytest.mark.parametrize("name", udal.COMMANDS)
def test_a_command_fits_a_terminal_of_80_columns(screens, name):
    assert len(screens[name].splitlines()) >= 1
    assert too_wide(screens[name]) == []


def test_what_a_terminal_shows_of_a_run(screens):
    words = " ".join(screens["train"].split())
    assert (
        "Settings: dataset=folder base=fixmatch method=udal arch=wrn changed from the recipe: data_dir=images" in words
    )
    assert words.count("test accuracy (balanced)") == 3
    # A command is broken so that a shell still takes it; a prediction that needs several lines has all its columns.
    assert "run.py \\\n    --flagfile=" in screens["sweep"] or "--fold=1 \\\n    --workdir=" in screens["sweep"]
    assert re.search(r"\n  \S.*0\.\d{3}\n  images/unlabeled/0\.png\n", screens["predict"])


def test_127_classes_fit_80_columns():
    names = [*CLASSES, *(f"class number {c} 類" for c in range(124))]
    accuracy = ByWeights(1.0, 1.0, 1.0, 1.0)
    scores = Scores(
        accuracy, accuracy, ClassesByWeights(**dict.fromkeys(("raw", "ema", "raw_la", "ema_la"), [1.0] * 127))
    )
    counts = PseudoLabelCounts([100.0, 900.0] + [0.0] * 125, [0.0] * 127)
    row = make_row(10, train={"loss": 1234.5, "alpha": 1.0, "confident": 1.0, "darp_residual": 0.5}, test=scores)
    row = type(row)(**{**vars(row), "pseudo_labels": counts, "p_target": [1 / 127] * 127})
    facts = {
        "labeled_counts": [5] * 127,
        "labeled_sha256": "0" * 64,
        "of_each": {"classes": 127, "images": "x " * 60},
        "recipe_facts": {"classes": 127},
    }
    texts = [
        console.epoch_text(row, 2000, names),
        console.result_text(make_result(scores, class_names=names)),
        console.provenance_text(facts, names),
    ]
    assert [too_wide(text) for text in texts] == [[], [], []]
    assert "recipe_facts" not in texts[2] and "of_each: classes=127" in texts[2]
    assert "no confident pseudo-labels for class cat, class number 0 類" in " ".join(texts[0].split())
