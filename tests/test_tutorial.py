"""docs/tutorial.md, followed to the end: every command of it, in order, on a small folder and for a few steps."""

import importlib
import pathlib
import runpy
import shlex
import sys

from absl import flags
from test_data_fashion import Fashion, small_parts, write  # noqa: F401 (small_parts applies to every test here)
from test_docs import DOCS, ROOT, console_commands

from udal_tf import crest_flags
from udal_tf.commands import evaluate, export, inspect, predict, train
from udal_tf.data import settings
from udal_tf.reporting.console import result_text
from udal_tf.training.experiment import train_and_evaluate

INSTALLED = {
    "udal-inspect": inspect.main,
    "udal-predict": predict.main,
    "udal-evaluate": evaluate.main,
    "udal-export": export.main,
}
# What is added to a command so that it takes seconds; the made-up Fashion-MNIST is small, too.
SMALL = {
    "docs/make_images.py": ("--data_dir=idx", "--n1=20", "--imbalance=4", "--beta=0.3", "--test=2"),
    "run.py": ("--cache_dir=cache", "--epochs=2", "--steps_per_epoch=1", "--batch_size=4", "--unlabeled_ratio=2"),
    "udal-inspect": ("--no_timing",),
}


def run(command: str) -> None:
    """A line of the tutorial, in this process."""
    words = shlex.split(command)
    if words[:2] == ["python", "-m"]:
        importlib.import_module(words[2]).main(words[3:])
        return
    program, arguments = (words[1], words[2:]) if words[0] == "python" else (words[0], words[1:])
    arguments += SMALL.get(program, ())
    if program == "run.py":
        flag_values = flags.FlagValues()
        train.define_flags(flag_values)
        assert flag_values([program, *arguments]) == [program]
        config, _ = crest_flags.resolve_command_line(flag_values, resolve=settings.resolve)
        result = train_and_evaluate(config)
        print(result_text(result))
    elif program in INSTALLED:
        ended = 0
        try:
            INSTALLED[program](arguments)
        except SystemExit as end:
            ended = end.code
        assert not ended, command
    else:
        sys.argv = [program, *arguments]
        runpy.run_path(str(ROOT / program), run_name="__main__")


def test_the_tutorial_from_its_first_command_to_its_last(undrawn, tmp_path, monkeypatch, capsys):
    write(tmp_path / "idx", Fashion())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    commands, printed = console_commands(DOCS / "tutorial.md"), {}
    for command in commands:
        run(command)
        printed[command] = capsys.readouterr().out
    for name in INSTALLED:
        assert any(command.startswith(name) for command in commands)
    assert [command for command in commands if not printed[command]] == []
    for name in ("work", "work_supervised", "work_none"):
        assert (pathlib.Path(name) / "result.json").is_file()
    made = (
        "evaluation/confusion.png",
        "evaluation/reliability.png",
        "evaluation/mistakes.png",
        "exported/MODEL_CARD.md",
    )
    assert [name for name in made if not pathlib.Path(name).is_file()] == []
