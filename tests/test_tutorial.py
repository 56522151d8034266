"""docs/tutorial.md, followed to the end: every command of it, in order, on a small folder and for a few steps."""

import pathlib
import runpy
import shlex
import sys

from absl import flags
from test_docs import DOCS, ROOT, console_commands

from udal_tf import crest_flags
from udal_tf.commands import train, udal
from udal_tf.data import settings
from udal_tf.reporting.console import result_text
from udal_tf.training.experiment import train_and_evaluate

# The commands that it must show.
SHOWN = ("inspect", "train", "evaluate", "predict", "export", "report")
# What is added to a command so that it takes seconds.
SMALL = {
    "docs/make_photos.py": ("--photos=60", "--labels=24", "--test=2"),
    "train": ("--cache_dir=cache", "--epochs=2", "--steps_per_epoch=1", "--batch_size=4", "--unlabeled_ratio=2"),
    "inspect": ("--no_timing",),
}


def run(command: str) -> None:
    """A line of the tutorial, in this process."""
    words = shlex.split(command)
    program, arguments = words[1], words[2:]
    arguments += SMALL.get(program, ())
    if words[0] == "python":
        sys.argv = [program, *arguments]
        runpy.run_path(str(ROOT / program), run_name="__main__")
    elif program == "train":  # Without what belongs to a process of its own.
        flag_values = flags.FlagValues()
        train.define_flags(flag_values)
        assert flag_values([program, *arguments]) == [program]
        config, _ = crest_flags.resolve_command_line(flag_values, resolve=settings.resolve)
        print(result_text(train_and_evaluate(config)))
    else:
        ended = 0
        try:
            udal.main([program, *arguments])
        except SystemExit as end:
            ended = end.code
        assert not ended, command


def test_the_tutorial_from_its_first_command_to_its_last(undrawn, small_network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    commands, printed = console_commands(DOCS / "tutorial.md"), {}
    for command in commands:
        run(command)
        printed[command] = capsys.readouterr().out
    for name in SHOWN:
        assert any(command.startswith(f"udal {name} ") for command in commands)
    assert [command for command in commands if not printed[command]] == []
    for name in ("work", "work_supervised", "work_none"):
        assert (pathlib.Path(name) / "result.json").is_file()
    made = (
        "work/evaluation/confusion.png",
        "work/evaluation/reliability.png",
        "work/evaluation/mistakes.png",
        "exported/MODEL_CARD.md",
    )
    assert [name for name in made if not pathlib.Path(name).is_file()] == []
