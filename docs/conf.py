"""Sphinx builds the site by this: `make docs`. The API pages are read from the source; the notebook is run."""

import dataclasses
import pathlib
import re
import sys

from absl import flags

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from udal_tf import __version__, config, registry  # noqa: E402 (neither imports TensorFlow)

project = "udal-tf"
version = release = __version__
copyright = author = "the authors of udal-tf"

extensions = ["myst_nb", "sphinx.ext.napoleon", "autoapi.extension", "sphinx.ext.mathjax"]
highlight_language = "none"
html_theme = "furo"
html_title = "udal-tf"
html_static_path = ["_static"]
html_css_files = ["tables.css"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# The notebook's outputs are those of the code as it is.
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
# Progress bars and TensorFlow's log lines.
nb_output_stderr = "remove"

# Written here while the site is built and removed afterwards.
GENERATED = "api/generated"
autoapi_root = GENERATED
autoapi_dirs = [str(ROOT / "udal_tf")]
autoapi_options = ["members", "show-module-summary"]
autoapi_member_order = "bysource"
autoapi_python_class_content = "class"
autoapi_add_toctree_entry = False

# Single backticks in a docstring become links where they name something.
default_role = "py:obj"
# The dashes between a parameter and its meaning; quotes stay as they were written.
smartquotes_action = "D"
# A link to something of ours has to lead somewhere; other packages have no pages here.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!udal_tf\.).*")]
# Type aliases, which have no page.
ALIASES = (
    "input.pipeline.Batch",
    "data.reading.Pixels",
    "inference.export_check.Run",
    "inference.image_files.Pixels",
    "inference.priors.Stated",
    "inference.run_images.Labels",
    "inference.suggesting.Prior",
    "reporting.class_figures.Rows",
    "settings.S",
    "registry.R",
)
nitpick_ignore = [("py:class", f"udal_tf.{alias}") for alias in ALIASES]
# Names that are assigned several at a time are not seen by a reader of the source.
suppress_warnings = ["autoapi.python_import_resolution"]


def settings_page() -> str:
    """Markdown tables of every flag by section, and of what each recipe, base learner and method sets."""
    known = flags.FlagValues()
    config.define_flags(known)
    lines = [
        "# Every setting",
        "",
        "Each row is a flag of `python run.py` and a field of its section in "
        "[`udal_tf.config`](#udal_tf.config). What is left out comes from four layers, the later one winning: the "
        "default, the base learner's preset, the dataset's recipe, the method's preset.",
    ]

    def table(title: str, about: str, fields) -> None:
        lines.extend(["", f"## {title}", "", about, "", "| flag | default | meaning |", "|---|---|---|"])
        for field in fields:
            meaning = _flags_as_code(re.sub(r"([<>|*])", r"\\\1", known[field.name].help), "`")
            lines.append(f"| `--{field.name}` | {_value(field.default)} | {meaning} |")

    for name, section in config.SECTIONS.items():
        table(name, section.__doc__, dataclasses.fields(section))
    by_owner = {}
    for owner in registry.owners().values():
        by_owner.setdefault(str(owner), []).append(owner.field)
    for owner, fields in by_owner.items():
        table(owner, "For these alone.", fields)
    lines += ["", "## Presets", "", "| for | sets |", "|---|---|"]
    for name, dataset in registry.DATASETS.items():
        recipe = dict(dataset.recipe)
        parts = {"protocol": "protocols", "base": "bases", "method": "methods"}
        special = {flag: recipe.pop(part, {}) for flag, part in parts.items()}
        lines.append(f"| `--dataset={name}` | {_preset(recipe)} |")
        for flag, presets in special.items():
            lines += [f"| `--dataset={name} --{flag}={chosen}` | {_preset(own)} |" for chosen, own in presets.items()]
    lines += [f"| `--base={name}` | {_preset(base.preset)} |" for name, base in registry.BASE_LEARNERS.items()]
    for name, method in registry.METHODS.items():
        lines.append(f"| `--method={name}` | {_preset(method.preset)} |")
        for base, preset in method.presets_by_base.items():
            lines.append(f"| `--method={name} --base={base}` | {_preset(preset)} |")
    return "\n".join(lines) + "\n"


def _value(value) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "–"
    return f"`{value}`" if value != "" else "–"


def _preset(preset) -> str:
    return " ".join(f"`--{name}={','.join(v) if isinstance(v, tuple) else v}`" for name, v in preset.items()) or "–"


# "name: …" or "name, other: …" at the beginning of a line, and behind the sentence about another name.
_NAMED = re.compile(r"(\w+(?:, \w+)*): ")
_BEHIND = re.compile(r"(?<=[.;]) (?=[a-z]\w*(?:, [a-z]\w*)*: )")


def readable(app, what, name, obj, options, lines: list[str]) -> None:
    """A docstring as it is meant: a line for each name in Args, a list of a class's fields, commands as code."""
    written, section, block = [], "", ""
    for line in lines:
        text = line.strip()
        if text in ("Args:", "Returns:", "Raises:"):
            section = text
        if not text:
            block = ""
        elif written and not written[-1]:  # The first line of a paragraph.
            if what == "class" and _NAMED.match(line):
                block = "fields"
            elif what in ("module", "package") and line.startswith("  "):
                block = "code"
                written += ["::", ""]
        if block == "code":
            written.append(line)
            continue
        line = _flags_as_code(line, "``").replace("|", r"\|")  # A bar is an absolute value, no substitution.
        if block == "fields" and _NAMED.match(line):
            written += ["* " + _NAMED.sub(r"**\1**: ", part, count=1) for part in _BEHIND.split(line)]
        elif block == "fields":
            written.append("  " + line.strip())
        elif section == "Args:":
            indent = line[: len(line) - len(line.lstrip())]
            written += [indent + part for part in _BEHIND.split(line.strip())]
        else:
            written.append(line)
    lines[:] = written


def _flags_as_code(text: str, quote: str) -> str:
    """--name between quotes, where it is not quoted yet."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"--\w[\w=-]*", rf"{quote}\g<0>{quote}", p) for p in parts)


def _write_settings(app) -> None:
    folder = HERE / GENERATED
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.md").write_text(settings_page(), encoding="utf-8")


def setup(app):
    app.connect("builder-inited", _write_settings)
    app.connect("autodoc-process-docstring", readable, priority=100)  # Before napoleon reads it.
