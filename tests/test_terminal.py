"""What is printed on a terminal and elsewhere: tables of the right width, a bar or lines, in any encoding."""

import io
import os
import re
import shlex
import subprocess
import sys

import pytest

from udal_tf.reporting.terminal import Progress, command_text, filled, table_text, wrapped


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def on_terminal(monkeypatch):
    """Makes standard output and standard error one terminal of 60 columns, when a test calls it."""

    def make(kind="xterm-256color"):
        screen = Screen()
        for name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", kind)
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return make


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


ROWS = [["cat", "12", "3"], ["a class with a long name, " * 4, "7", "1,234"]]


def test_a_table_aligns_numbers_on_the_right_and_folds_names_within_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # A file has no width.
    lines = table_text(["class", "labeled", "test"], ROWS).splitlines()
    assert {len(line) for line in lines} == {80}
    assert lines[0].split() == ["class", "labeled", "test"]
    assert lines[1].endswith(" 12      3")
    assert lines[2].endswith("  7  1,234")
    assert lines[3].strip() == ("a class with a long name, " * 4)[-len(lines[3].strip()) - 1 :].strip()
    assert "\x1b" not in "".join(lines)


def test_a_table_on_a_terminal_is_as_wide_as_that_and_has_a_bold_heading(on_terminal):
    on_terminal()
    text = table_text(["class", "labeled", "test"], ROWS)
    assert {len(line) for line in plain(text).splitlines()} == {60}
    assert "\x1b[1m" in text.splitlines()[0]
    assert "\x1b[1m" not in "".join(text.splitlines()[1:])


def test_parts_fill_lines_and_are_never_broken(on_terminal):
    assert filled(["one", "two", "three"], columns=8) == "one  two\n  three"
    assert filled(["one", "a-word-too-long", "2"], columns=8) == "one\n  a-word-too-long\n  2"
    assert filled([], first="Settings:") == "Settings:"
    on_terminal()
    lines = wrapped("日本語 " * 20, "  ", "    ").splitlines()
    # Two cells each: eight words of six cells and their blanks on 60 columns.
    assert lines[0] == "  " + " ".join(["日本語"] * 8) and lines[1].startswith("    日本語")


def test_a_command_is_broken_before_its_flags_so_that_a_shell_still_takes_it(on_terminal):
    on_terminal()
    command = "python run.py --dataset=folder --data_dir=images --workdir=work/of/mine --beta=0.5"
    text = command_text(command)
    assert text.splitlines()[0] == "  python run.py --dataset=folder --data_dir=images \\"
    assert max(map(len, text.splitlines())) <= 60
    assert shlex.split(text.replace("\\\n", "")) == shlex.split(command)
    quoted = "python run.py --data_dir='my images --all' --workdir=work/of/mine --beta=0.5"
    assert command_text(quoted) == "  " + quoted


def test_names_are_printed_as_they_are():
    assert ":cat: [bold]x[/bold]" in table_text(["class", "n"], [[":cat: [bold]x[/bold]", "1"]])


def test_a_bar_on_a_terminal_shows_counts_and_note_lines_stand_above_it_and_it_goes(on_terminal):
    screen = on_terminal()
    with Progress(10, "steps", done=4) as bar:
        bar.advance(2, "loss=0.500")
        bar.line("epoch 1")
        bar.advance(4, "loss=0.125")
    text = plain(screen.getvalue())
    assert text.index("4/10") < text.index("epoch 1") < text.index("10/10")
    assert re.search("10/10 .* loss=0.125", text)
    assert "\nepoch 1\n" in text.replace("\r", "\n")
    assert text.split("\r")[-1] == ""


def test_without_a_terminal_there_is_a_line_now_and_then_and_no_bar(capsys):
    with Progress(10, "steps", done=4, line_every=0.0) as bar:
        bar.advance(2, "loss=0.500")
        bar.line("epoch 1")
        bar.advance(4)
    printed = capsys.readouterr()
    assert printed.out == "epoch 1\n"
    assert printed.err == "6/10 steps in 0 s, 0 s left, loss=0.500\n10/10 steps in 0 s, 0 s left\n"


def test_short_work_without_a_terminal_prints_nothing_of_its_own(capsys):
    with Progress(10, "steps") as bar:
        bar.advance(10, "loss=0.500")
        bar.line("bad file", sys.stderr)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "bad file\n")


def test_a_hidden_bar_prints_its_lines_alone(on_terminal):
    screen = on_terminal()
    with Progress(10, "steps", shown=False, line_every=0.0) as bar:
        bar.advance(10)
        bar.line("bad file")
    assert screen.getvalue() == "bad file\n"


def test_a_dumb_terminal_gets_lines(on_terminal):
    screen = on_terminal("dumb")
    with Progress(10, "steps", line_every=0.0) as bar:
        bar.advance(10)
    assert screen.getvalue() == "10/10 steps in 0 s, 0 s left\n"


@pytest.mark.parametrize("columns", ["1", "0", "-5", "x"])
def test_a_terminal_of_an_odd_width_still_shows_every_character(on_terminal, monkeypatch, columns):
    screen = on_terminal()
    monkeypatch.setenv("COLUMNS", columns)
    with Progress(10, "steps") as bar:
        bar.advance(5, "loss=0.500")
        bar.line("epoch 1")
    assert "epoch1" in "".join(plain(screen.getvalue()).split())
    assert "cat" in "".join(plain(table_text(["class"], [["cat"]])).split())


@pytest.mark.parametrize("arguments", (["run.py", "--help"], ["-m", "udal_tf.commands.sweep", "digits", "--list"]))
def test_commands_print_in_ascii(arguments, tmp_path):
    # The C locale without Python's own remedies for it.
    c_locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", **c_locale}
    ended = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    assert "Traceback" not in ended.stderr
    assert len(ended.stdout) > 5000
    assert ended.stdout.isascii()
