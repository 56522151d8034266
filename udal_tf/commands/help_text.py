"""What `run.py --help` prints: the settings of every run by section, then each record with the settings it owns."""

import dataclasses
import textwrap
from collections.abc import Iterator

from absl import flags

from udal_tf import registry
from udal_tf.config import SECTIONS
from udal_tf.registry import TABLES, Table

_HEADINGS = {"dataset": "Datasets", "base": "Base learners", "method": "Methods", "arch": "Backbones"}
_WIDTH = 100


def _lines(text: str, indent: int) -> str:
    spaces = " " * indent
    return textwrap.fill(text, _WIDTH, initial_indent=spaces, subsequent_indent=spaces + "  ", break_on_hyphens=False)


def _flag(name: str, flag_values: flags.FlagValues, indent: int) -> str:
    written = f"--[no]{name}" if flag_values[name].boolean else f"--{name}"
    return _lines(f"{written}: {flag_values[name].help}", indent)


def _of_table(table: Table, flag_values: flags.FlagValues) -> Iterator[str]:
    owned = [(name, owner.names) for name, owner in registry.owners().items() if owner.table is table]
    for record in table.values():
        about = [record.label or "as it is", getattr(record, "reference", "")]
        yield _lines(f"{record.name}: {'; '.join(filter(None, about))}", 2)
        for name, names in owned:
            if names[0] == record.name:
                yield _flag(name, flag_values, 6)
            elif record.name in names:
                yield _lines(f"--{name}: see {names[0]}", 6)
    for family in table.families:
        yield _lines(f"{family.usage}: {family.label}", 2)


def section_text(name: str, flag_values: flags.FlagValues) -> str:
    """The settings of one section of `config.SECTIONS`, with a heading."""
    heading = f"{name}: {(SECTIONS[name].__doc__ or '').splitlines()[0]}"
    return "\n".join([heading, *(_flag(field.name, flag_values, 2) for field in dataclasses.fields(SECTIONS[name]))])


def help_text(flag_values: flags.FlagValues, about: str) -> str:
    """The text of --help.

    Args:
      flag_values: has every flag of the program.
      about: the text to begin with.
    """
    parts = [about.strip(), ""]
    for name in SECTIONS:
        parts += [section_text(name, flag_values), ""]
    for table in TABLES:
        parts += [f"{_HEADINGS[table.flag]} (--{table.flag}), each with the settings that belong to it:"]
        parts += [*_of_table(table, flag_values), ""]
    parts.append(
        "CReST's own flags are accepted, too (docs/from_crest.md), and absl's: --flagfile, --verbosity, --helpfull."
    )
    return "\n".join(parts)
