"""The settings of the tools: what lint, the hooks and the type checker look at."""

import ast
import pathlib
import re
import runpy
import sys

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there.

ROOT = pathlib.Path(__file__).resolve().parents[1]
TENSORFLOW = ("tensorflow", "keras", "tensorflow_datasets")


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def extras(monkeypatch):
    """What setup.py gives setuptools as extras."""
    given = {}
    monkeypatch.setattr("setuptools.setup", lambda **keywords: given.update(keywords))
    runpy.run_path(str(ROOT / "setup.py"))
    return given["extras_require"]


def test_every_extra_is_installed_and_imported_by_the_benchmark(monkeypatch):
    script = runpy.run_path(str(ROOT / "benchmarks" / "install_extras.py"))
    assert script["extras"]() == list(script["IMPORTS"]) == list(extras(monkeypatch))


def test_the_tpu_extra_leaves_out_what_cannot_be_imported(monkeypatch):
    # libtpu 0.0.36 and later abort when TensorFlow 2.20 is imported; 0.0.30 was the last one that was seen to work.
    tensorflow, libtpu = (Requirement(text).specifier for text in extras(monkeypatch)["tpu"])
    assert tensorflow.contains("2.20.0") and not tensorflow.contains("2.18.0") and not tensorflow.contains("2.21.0")
    assert libtpu.contains("0.0.17") and libtpu.contains("0.0.30") and not libtpu.contains("0.0.36")


def test_the_hooks_do_what_make_lint_does():
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", text_of("Makefile"), flags=re.M)[1]
    commands = [line.strip().replace("$(VENV)", ".venv") for line in lint.splitlines()]
    assert len(commands) == 3
    assert re.findall(r"entry: (.+)", text_of(".pre-commit-config.yaml")) == commands


def test_pyproject_is_the_only_place_of_tool_settings():
    assert set(tomllib.loads(text_of("pyproject.toml"))["tool"]) == {"mypy", "pytest", "ruff"}
    assert [
        name for name in ("ruff.toml", "pytest.ini", "mypy.ini", "setup.cfg", "tox.ini") if (ROOT / name).exists()
    ] == []


def imports_at_the_top(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def without_tensorflow():
    """The modules of the package that import no TensorFlow, nor another module that does."""
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "udal_tf").rglob("*.py")}
    imported = {name.removesuffix(".__init__"): set(imports_at_the_top(path)) for name, path in files.items()}
    found = {name for name, names in imported.items() if any(one.split(".")[0] in TENSORFLOW for one in names)}
    while more := {name for name, names in imported.items() if name not in found and names & found}:
        found |= more
    return set(imported) - found


def test_every_module_without_tensorflow_has_its_types_checked_in_full():
    settings = tomllib.loads(text_of("pyproject.toml"))["tool"]["mypy"]
    assert settings["packages"] == ["udal_tf"]
    assert settings["check_untyped_defs"] and settings["disallow_untyped_defs"]
    lenient = [module.removesuffix("*") for override in settings["overrides"] for module in override["module"]]
    assert len(without_tensorflow()) > 40
    assert [name for name in sorted(without_tensorflow()) if name.startswith(tuple(lenient))] == []
