"""docs/: what the pages name is there: flags, commands, files, tests, links, names and lines of code, figures."""

import ast
import functools
import pathlib
import re
import shlex

import pytest
from absl import flags

import udal_tf
from udal_tf import config as config_module
from udal_tf import crest_flags
from udal_tf.commands.udal import COMMANDS
from udal_tf.registry import BASE_LEARNERS, DATASETS, METHODS

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Sphinx writes these when the site is built.
GENERATED = DOCS / "api" / "generated"
PAGES = sorted(path for path in DOCS.rglob("*.md") if GENERATED not in path.parents)
OTHER_PAGES = (GENERATED / "settings.md", DOCS / "notebook.ipynb")
# Flags of absl, argparse, TensorBoard and Slurm, and those that benchmarks/scaling.py defines in a loop.
OTHER_FLAGS = {"help", "flagfile", "logdir", "array", "requeue", "classes", "batch_sizes", "widths"}


def text_of(page: pathlib.Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: pathlib.Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.S | re.M)


def console_commands(page: pathlib.Path) -> list[str]:
    """The commands of a page's console blocks, one a line, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", text_of(page), flags=re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines), page
    return [line.removeprefix("$ ") for line in lines]


def installed_commands() -> set[str]:
    return set(re.findall(r'"(udal(?:-[\w-]+)?)=', text_of(ROOT / "setup.py")))


@functools.cache
def parsed(path: pathlib.Path) -> ast.Module:
    return ast.parse(text_of(path))


def flags_written_in(path: pathlib.Path) -> set[str]:
    """The names of the flags that a file defines by argparse or absl."""
    names = set()
    for call in ast.walk(parsed(path)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        first = [a.value for a in call.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if call.func.attr == "add_argument":
            names.update(value.removeprefix("--") for value in first if value.startswith("--"))
        elif call.func.attr.startswith("DEFINE_"):
            names.update(first)
    return names


def run_flags() -> flags.FlagValues:
    """All flags of run.py, ours and CReST's, not parsed yet."""
    flag_values = flags.FlagValues()
    config_module.define_flags(flag_values)
    crest_flags.define_flags(flag_values)
    return flag_values


@functools.cache
def known_flags() -> set[str]:
    """Every flag of every command, benchmark and script."""
    files = [*(ROOT / "udal_tf/commands").glob("*.py"), *(ROOT / "benchmarks").glob("*.py"), DOCS / "make_images.py"]
    return set(run_flags()) | OTHER_FLAGS | set().union(*map(flags_written_in, files))


def names_of(statement: ast.ImportFrom) -> list[str]:
    return [alias.name for alias in statement.names]


def documented(name: str) -> bool:
    """Whether a dotted name of ours is a module, or a function, class or method with a docstring: on the API pages."""
    parts = name.split(".")
    if len(parts) > 1 and parts[1] in udal_tf._OBJECTS:
        parts = [*udal_tf._OBJECTS[parts[1]].split("."), *parts[1:]]
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        path = next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)
        if path:
            node, rest = parsed(path), parts[length:]
            for part in rest:
                inside = [n for n in node.body if getattr(n, "name", None) == part]
                if not inside:
                    sources = [n.module for n in node.body if isinstance(n, ast.ImportFrom) and part in names_of(n)]
                    return bool(sources) and documented(f"{sources[0]}.{part}")
                node = inside[0]
            return bool(ast.get_docstring(node))
    return False


def anchors(page: pathlib.Path) -> set[str]:
    """The headings of a page as GitHub and MyST name them."""
    headings = re.findall(r"^#{1,3} (.+)$", prose_of(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_flag_exists():
    for page in PAGES:
        named = set(re.findall(r"(?<![\w-])--([a-z]\w*)", text_of(page)))
        of_its_example = set(re.findall(r"^    (\w+): \w+ = setting\(", text_of(page), flags=re.M))
        assert named <= known_flags() | of_its_example, page


def test_every_run_command_resolves(monkeypatch):
    monkeypatch.chdir(ROOT)
    commands = [c for page in PAGES for c in console_commands(page) if c.startswith("python run.py")]
    assert len(commands) > 40
    for command in commands:
        flag_values = run_flags()
        assert flag_values(shlex.split(command)[1:])[1:] == [], command
        crest_flags.resolve_command_line(flag_values)


def test_crests_command_is_our_own():
    theirs, ours = console_commands(DOCS / "from_crest.md")[:2]
    configs = []
    for command in (theirs, ours):
        flag_values = run_flags()
        flag_values(shlex.split(command)[1:])
        configs.append(crest_flags.resolve_command_line(flag_values)[0])
    assert config_module.differences(*configs) == []


def test_other_commands_exist_and_take_their_flags():
    for page in PAGES:
        for command in console_commands(page):
            words = shlex.split(command)
            given = set(re.findall(r"(?<= --)\w+", command))
            if words[:2] == ["python", "-m"]:
                path = ROOT.joinpath(*words[2].split(".")).with_suffix(".py")
                assert given <= flags_written_in(path) | set(run_flags()), command
            elif words[0] == "python":
                path = ROOT / words[1]
                assert path.is_file() and (words[1] == "run.py" or given <= flags_written_in(path)), command
            else:
                assert words[0] in installed_commands(), command
                assert words[0] != "udal" or words[1] in (*COMMANDS, "--help", "--version"), command


def test_files_and_tests_exist():
    folders = "tests|flags|benchmarks|examples|scripts|docs|udal_tf"
    named = re.compile(rf"(?<!generated/)\b((?:{folders})/[\w./+-]*\w)(?:::(\w+))?")
    found = [match for page in PAGES for match in named.findall(text_of(page)) if match[0] != "flags/x.flags"]
    assert len(found) > 100
    for path, test in found:
        assert (ROOT / path).exists(), path
        if test:
            assert re.search(rf"^def {test}\(", text_of(ROOT / path), flags=re.M), f"{path}::{test}"


def test_tests_that_pin_decisions_exist():
    notes = text_of(ROOT / "BUILD_NOTES.md")
    texts = {path.name: text_of(path) for path in ROOT.glob("tests/*.py")}
    tests = [f"{name}::{test}" for name, text in texts.items() for test in re.findall(r"def (test_\w+)", text)]
    named = re.findall(r"`(test_\w+\.py(?:::\w+)?)`", notes)
    assert len(named) > 50
    assert [name for name in named if not any(f"{test}::".startswith(f"{name}::") for test in tests)] == []
    endings = re.findall(r"`…(\w+)`", notes)
    assert [ending for ending in endings if not any(test.endswith(ending) for test in tests)] == []


def test_internal_links_resolve():
    count = 0
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
            if target.startswith("https://"):
                continue
            count += 1
            path, _, anchor = target.partition("#")
            if not path and anchor.startswith("udal_tf"):
                assert documented(anchor), f"{page}: {target}"
                continue
            linked = (page.parent / path).resolve() if path else page
            assert linked in (*PAGES, *OTHER_PAGES), f"{page}: {target}"
            assert not anchor or anchor in anchors(linked), f"{page}: {target}"
    assert count > 150


def test_every_page_is_in_a_table_of_contents():
    listed = {DOCS / "index.md"}
    for page in PAGES:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", text_of(page), flags=re.S | re.M):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed.update((page.parent / name).with_suffix(".md") for name in names)
    assert set(PAGES) <= listed


def test_dotted_names_of_the_package_exist():
    for page in PAGES:
        for name in re.findall(r"\budal_tf(?:\.\w+)+", text_of(page)):
            assert documented(name), f"{page}: {name}"


def test_python_examples_import_what_is_there():
    for page in PAGES:
        for block in re.findall(r"^```python\n(.*?)^```", text_of(page), flags=re.S | re.M):
            if block.startswith("# "):
                continue  # Lines quoted from a file.
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("udal_tf"):
                    assert all(documented(f"{node.module}.{alias.name}") for alias in node.names), page


def test_quoted_lines_are_in_the_file_they_name():
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```", text_of(DOCS / "method.md"), flags=re.S | re.M)
    assert len(blocks) >= 6
    for path, lines in blocks:
        assert lines in text_of(ROOT / path), f"{path}:\n{lines}"


def test_every_method_base_and_data_set_has_a_page():
    methods = text_of(DOCS / "methods/index.md")
    assert all(f"| `{name}` |" in methods for name in (*METHODS, *BASE_LEARNERS))
    data_sets = text_of(DOCS / "datasets/index.md")
    assert all(f"`{name}`" in data_sets for name in DATASETS)


def test_every_flag_of_crest_is_on_its_page():
    ours, both = flags.FlagValues(), run_flags()
    config_module.define_flags(ours)
    page = text_of(DOCS / "from_crest.md")
    assert [name for name in set(both) - set(ours) if f"`--{name}" not in page] == []


@pytest.mark.parametrize("page", sorted((DOCS / "methods").glob("*.md")), ids=lambda page: page.stem)
def test_the_papers_figures_are_those_of_the_flagfiles(page):
    printed = " ".join(text_of(path) for path in (ROOT / "flags").glob("*.flags"))
    for figure in re.findall(r"(?<![\d.])\d\d\.\d(?!\d)", text_of(page)):
        assert re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", printed), figure


def test_every_question_says_where_it_was_asked():
    questions = re.split(r"^### ", text_of(DOCS / "troubleshooting.md"), flags=re.M)[1:]
    assert len(questions) >= 15
    for question in questions:
        assert re.search(r"\(https://github\.com/[\w-]+/[\w.-]+/issues/\d+\)", question), question.splitlines()[0]
