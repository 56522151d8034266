"""Names on one line wherever people see them, and those that no class can have."""

import ast
import collections
import csv
import io
import json
import os
import pathlib
import re
import subprocess
import types

import numpy as np
import pytest

from udal_tf import shown_names
from udal_tf.commands import evaluate, inspect, model_arguments, predict, report, sweep
from udal_tf.config import resolve
from udal_tf.data import formats
from udal_tf.inference import assessment, image_files
from udal_tf.reporting import assessment_plots, console, plotting
from udal_tf.reporting.terminal import table_text
from udal_tf.shown_names import command_line, shown, unfit


@pytest.mark.parametrize(
    "name, text",
    [
        ("cat 1.png", "cat 1.png"),
        ("ネコ/naïve – №5.png", "ネコ/naïve – №5.png"),
        # Joiners and variation selectors are part of words and of emoji.
        ("می\u200cخواهم 👩\u200d🔬", "می\u200cخواهم 👩\u200d🔬"),
        ("a\nb\r\tc\x00", r"a\nb\r\tc\x00"),
        ("\x1b]0;title\x07\x9b", r"\x1b]0;title\x07\x9b"),
        ("line\u2028paragraph\u2029next\x85", r"line\u2028paragraph\u2029next\x85"),
        ("exe\u202egnp.x", r"exe\u202egnp.x"),
        (os.fsdecode(b"\xff\xfe/caf\xe9.png"), r"\xff\xfe/caf\xe9.png"),
        ("\ud800half", r"\ud800half"),
    ],
)
def test_what_breaks_a_line_is_escaped_and_nothing_else(name, text):
    assert shown(name) == text
    assert len(shown(name).splitlines()) == 1 and shown(name).encode("utf-8")
    assert shown(shown(name)) == text


def test_a_class_may_have_any_name_that_stays_on_a_line():
    assert [unfit(name) for name in ("cat", "ネコ", "می\u200cخواهم", "a b/c")] == [""] * 4
    assert unfit("a\nb") == unfit("a\u2028b") == "has a line break or another control character"
    assert unfit(os.fsdecode(b"\xff")) == unfit("\ud800") == "is not UTF-8"
    # As an ASCII locale without Python's UTF-8 mode gives it.
    assert unfit("ä".encode().decode("ascii", "surrogateescape")) == "cannot be read in this locale (set PYTHONUTF8=1)"


# A line break, a terminal's command, and a byte that is not UTF-8.
AWKWARD = "a\n\x1b[2J" + os.fsdecode(b"\xff") + ".png"
ON_ONE_LINE = r"a\n\x1b[2J\xff.png"


def test_predictions_have_a_line_for_each_file_whatever_its_name():
    ranked = [("cat", 0.75)]
    _, table = predict.FORMATS["table"](["cat"], 1)
    assert table(AWKWARD, ranked) == f"cat     0.750  {ON_ONE_LINE}"
    # What programs read has the name itself, quoted.
    _, row = predict.FORMATS["csv"](["cat"], 1)
    for name in (AWKWARD, "a\rb", 'a"\r\n,b'):
        assert list(csv.reader(io.StringIO(row(name, ranked), newline=""))) == [[name, "cat", "0.75"]]
    _, line = predict.FORMATS["jsonl"](["cat"], 1)
    assert json.loads(line(AWKWARD, ranked))["file"] == AWKWARD and len(line(AWKWARD, ranked).splitlines()) == 1


def test_an_evaluation_of_files_of_any_name_is_a_table(tmp_path, monkeypatch):
    """Without figures: predictions.csv has a row for each file, and gives the name back."""
    names = ["a\nb.png", "a\rb.png", "plain.png", 'a",b.png', "\udcff.png"]
    probs = np.array([[0.75, 0.25]] * len(names))
    predicted = types.SimpleNamespace(
        paths=names, labels=np.zeros(len(names), int), probs={"plain": probs, "adjusted": probs}
    )
    model = types.SimpleNamespace(class_names=("cat", "dog"))
    for drawn in ("confusion_matrices", "reliability", "mistakes"):
        monkeypatch.setattr(assessment_plots, drawn, lambda *given: None)
    scores = assessment.assess(probs, predicted.labels)
    found = {"class_names": ["cat", "dog"], "target_prior": {"stated": "uniform"}, "plain": scores, "adjusted": scores}
    evaluate.write(tmp_path, found, predicted, model)
    with open(tmp_path / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    # A byte that is not UTF-8 is written as an escape.
    assert [row[0] for row in rows] == ["file", *names[:-1], r"\udcff.png"]
    assert rows[1][1:] == ["cat", "cat", "0.75", "cat", "0.75"]


def test_unreadable_files_are_named_on_one_line(capsys):
    with model_arguments.ImageProgress(1) as bar:
        bar.image(AWKWARD, "broken\nfile")
    assert capsys.readouterr().err == f"not read: {ON_ONE_LINE}: broken\\nfile\n"


def test_tables_settings_and_sources_stay_on_their_lines():
    first, second = table_text(["class", "images"], [[AWKWARD, "1"]]).splitlines()
    assert second == f"{ON_ONE_LINE:<{len(first) - 8}}       1"
    assert f"    data_dir={ON_ONE_LINE}" in console.settings_text(resolve({"data_dir": AWKWARD})).splitlines()
    assert console.provenance_text({"source": AWKWARD, "layout": ["a\nb", "c"]}).splitlines()[1:] == [
        f"  source: {ON_ONE_LINE}", r"  layout: a\nb", "  layout: c",
    ]  # fmt: skip


def test_files_that_are_not_read_are_counted_on_one_line():
    (line,) = formats.not_read_lines({(AWKWARD, ".b\nc"): 1234})
    assert line == rf"1,234 .b\nc in {ON_ONE_LINE} not read: not an image by its suffix"


@pytest.mark.parametrize("argument", ["plain", "two words", "it's", AWKWARD, "\\n'\n", "$HOME\t", "ネコ\u2028"])
def test_a_command_has_one_line_and_gives_a_shell_the_arguments_back(argument):
    line = command_line(["printf", "%s", argument])
    assert len(line.splitlines()) == 1
    told = subprocess.run(["bash", "-c", line], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert told.stdout == os.fsencode(argument)


@pytest.mark.parametrize(
    "main, arguments",
    [
        (evaluate.main, ["no\nrun", "."]),
        (inspect.main, ["{}"]),
        (inspect.main, [".", "--", "--flagfile={}"]),
        (predict.main, ["run", "*{}"]),
        (predict.main, ["run", ".", "--out=there/{}"]),
        (predict.main, ["run", "a", "--plugin={}"]),
        (report.main, ["{}"]),
        (sweep.main, ["there/{}", "--list"]),
        (sweep.main, ["digits", "--list", "--plugin={}"]),
    ],
)
def test_errors_name_a_path_on_one_line(call_command, tmp_path, monkeypatch, main, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / AWKWARD).touch()
    code, out, err = call_command(main, *(argument.replace("{}", AWKWARD) for argument in arguments))
    assert (code, out) == (2, "")
    assert "error: " in err.splitlines()[0] and err.encode("ascii") and "\x1b" not in err
    assert r"a\n\x1b[2J" in err or r"no\nrun" in err


# That of a variable, as Keras names it.
NO_FILE = ("kernel.path",)
# Expressions that have a path which a user names, or which lies below one.
PATH = re.compile(r"(\w+\.)*_?(path|folder|root|roots|shard|workdir|location|parent|latest|split_manifest|pretrained)")


def test_every_message_shows_its_paths():
    package, unshown = pathlib.Path(shown_names.__file__).parent, []
    for file in sorted(package.rglob("*.py")):
        for statement in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.Raise):
                parts = (part for part in ast.walk(statement) if isinstance(part, ast.FormattedValue))
                texts = [ast.unparse(part.value) for part in parts if part.conversion != ord("r")]
                unshown += [
                    f"{file.name}:{statement.lineno}: {text}"
                    for text in texts
                    if PATH.fullmatch(text) and text not in NO_FILE
                ]
    assert unshown == []


def test_figures_have_the_name_on_one_line():
    assert plotting.shortened(AWKWARD) == ON_ONE_LINE
    assert plotting.shortened("\n" * 20, 8) == r"\n\n\n" + "\\…"


def test_what_systems_leave_in_folders_is_no_image(tmp_path):
    for place in ("cat/0.png", "__MACOSX/cat/0.png", ".ipynb_checkpoints/0.png", "cat/@eaDir/0.png", "cat/Thumbs.db"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    unread = collections.Counter()
    assert list(image_files.below(str(tmp_path), unread)) == [str(tmp_path / "cat" / "0.png")]
    assert image_files.by_class(tmp_path, ["cat"], unread=unread)[0] == [str(tmp_path / "cat" / "0.png")]
    assert not unread
