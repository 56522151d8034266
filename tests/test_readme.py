"""The README's commands: each resolves, each file and target that it names exists."""

import importlib.util
import pathlib
import re
import shlex

from absl import flags

from udal_tf import config as config_module
from udal_tf import crest_flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def run_commands():
    """Every `python run.py …` of the README, in blocks and inline, with continued lines joined."""
    joined = TEXT.replace("\\\n", " ")
    blocks = re.findall(r"```\n(.*?)```", joined, flags=re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", joined, flags=re.S))
    return [
        c for c in lines + inline if re.match(r"(\S*/)?python run\.py\b", c) or c.startswith(".venv/bin/python run")
    ]


def resolved(command):
    flag_values = flags.FlagValues()
    config_module.define_flags(flag_values)
    crest_flags.define_flags(flag_values)
    flag_values(["run.py", *shlex.split(command)[2:]])
    return crest_flags.resolve_command_line(flag_values)[0]


def test_every_run_command_resolves(monkeypatch):
    monkeypatch.chdir(ROOT)
    commands = [c for c in run_commands() if "--help" not in c]
    assert len(commands) >= 4
    for command in commands:
        resolved(command)


def test_crests_command_is_our_own():
    theirs = next(c for c in run_commands() if "--class_im_ratio" in c)
    ours = next(c for c in run_commands() if "--method=crest+" in c)
    assert config_module.differences(resolved(theirs), resolved(ours)) == []


def test_make_targets_exist():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    named = set(re.findall(r"^make (\w+)", TEXT, flags=re.M))
    assert named and named <= set(targets)


def test_files_and_modules_that_it_names_exist():
    files = set(re.findall(r"\b((?:benchmarks|examples|flags|tests)/[\w.+-]+)", TEXT))
    assert files
    for name in files:
        assert (ROOT / name).exists(), name
    for module in set(re.findall(r"python -m (udal_tf[\w.]+)", TEXT)):
        assert importlib.util.find_spec(module), module
