"""Imports go downward only. The layers in plain words, lowest first:

shown_names    names of files and classes as people see them
buckets        objects of remote folders: put, read and removed as wholes
storage        files written whole, and read only where reading ends
mirror         the local copy of a run's folder in a bucket, and its lock
settings       what a setting is: a field that knows its help and its allowed values
class_distribution   class distributions that a user states
registry       what can be chosen by name, each a record; plugins add to it
folder_recipe  settings that follow from what lies in a folder
records        the program's own datasets, base learners, methods and backbones
sections       the settings that every run has
warm_start     the network of an earlier run
config         every setting of a run, made of what a user gave
run_records, run_dir   what a run says of itself; the folder of a run
stopping       stop signals of a process
core, data, augment, models, reporting   arithmetic; images; views; networks; what is written about runs
input, methods     batches; the training step and what methods add to it; neither imports the other
training       a run from its config to its result
keras_api      Keras's fit around the training step, batches and losses, for people who do not use the program
inference      a trained model in use
sweep          grids of runs and the engines that train them
commands       what people type; they alone read flags and the environment
__main__       python -m udal_tf
"""

import ast
import pathlib
import subprocess
import sys

from conftest import LONGEST

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "udal_tf"
RUN_DIR = {"run_dir", "run_records", "storage", "buckets", "mirror", "stopping"}
SETTINGS = {
    "shown_names",
    "settings",
    "class_distribution",
    "registry",
    "records",
    "folder_recipe",
    "sections",
    "warm_start",
    "config",
    *RUN_DIR,
    "",
}
GROUND = {"core", "data", "augment", "models", "reporting"}
MAY_IMPORT = {
    "": {"inference"},  # Inside of `load`, when it is called.
    "__main__": {"commands"},
    "shown_names": set(),
    "settings": set(),
    "class_distribution": {"shown_names", "storage"},
    "folder_recipe": {"registry", "sections"},
    "registry": {"settings", "shown_names", "storage"},
    "records": {"settings", "class_distribution", "registry", "folder_recipe"},
    # The records themselves come by way of the registry.
    "sections": {"settings", "class_distribution", "registry"},
    "warm_start": {"sections", "shown_names", "storage"},
    "config": {"settings", "class_distribution", "registry", "sections", "shown_names", "storage", "warm_start"},
    "crest_flags": {"config", "shown_names"},
    "buckets": {"shown_names"},
    "storage": {"shown_names", "buckets"},
    "mirror": {"shown_names", "buckets"},
    "stopping": set(),
    "run_records": {""},
    "run_dir": {"config", "registry", "shown_names", "storage", "buckets", "mirror", "run_records", ""},
    # Public, for training loops of the user's own: core under the names of the paper, and losses for Keras. Nothing in
    # the package uses them.
    "alignment": {"core"},
    "losses": {"core", "keras_api"},
    "core": set(),
    **{floor: SETTINGS for floor in GROUND - {"core"}},
    "input": SETTINGS | GROUND,
    "methods": SETTINGS | GROUND,
    "training": SETTINGS | GROUND | {"input", "methods"},
    # Beside inference: neither imports the other.
    "keras_api": SETTINGS | GROUND | {"input", "methods", "training"},
    "inference": SETTINGS | GROUND | {"input", "methods", "training"},
    "sweep": SETTINGS | GROUND | {"input", "methods", "training", "inference"},
    "commands": SETTINGS | GROUND | {"input", "methods", "training", "inference", "sweep", "crest_flags"},
}


def part_of(module: str) -> str:
    """The part of the package that has a module: udal_tf.core.losses -> core, udal_tf -> ""."""
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def imports(path: pathlib.Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ([f"udal_tf.{a.name}" for a in node.names] if node.module == "udal_tf" else [node.module])


def own_imports():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        here = "" if parts == ("__init__",) else parts[0]
        for module in imports(path):
            if module.split(".")[0] == "udal_tf":
                there = "" if module == "udal_tf.__version__" else part_of(module)
                yield path, here, there


def test_every_part_imports_only_what_lies_below_it():
    found = list(own_imports())
    assert len(found) > 20
    for path, here, there in found:
        assert there == here or there in MAY_IMPORT[here], f"{path} imports udal_tf.{there}"


def test_core_imports_tensorflow_alone():
    allowed = {"tensorflow", "math", "collections", "udal_tf", "dataclasses"}
    for path in (PACKAGE / "core").glob("*.py"):
        for module in imports(path):
            assert module.split(".")[0] in allowed, f"{path} imports {module}"


def test_only_the_commands_read_flags_or_the_environment():
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0]
        if part in ("commands", "config.py", "crest_flags.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("environ", "getenv", "FLAGS"), f"{path} reads {node.attr}"


def test_choosing_by_name_imports_no_tensorflow():
    code = """
import sys
from udal_tf import config, registry
assert [len(table) for table in registry.TABLES] == [12, 4, 22, 13]
config.resolve({"method": "darp", "base": "remixmatch", "arch": "wrn"})
print('tensorflow' in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_the_files_of_the_suite_that_run_first_are_there():
    assert [name for name in LONGEST if not (PACKAGE.parent / "tests" / name).is_file()] == []


def test_listing_and_inspecting_a_folder_import_no_tensorflow():
    modules = "udal_tf.commands.inspect, udal_tf.commands.train, udal_tf.commands.sweep, udal_tf.run_dir"
    code = f"import sys, {modules}; print('tensorflow' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_figures_are_drawn_without_pyplot_whose_backend_is_the_users():
    texts = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert sum("matplotlib" in text for text in texts.values()) > 3
    for path, text in texts.items():
        assert "pyplot" not in text and "matplotlib.use" not in text, path
