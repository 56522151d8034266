"""What `udal train --help` prints: the settings of every run in groups, then each record with the settings it owns."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from absl import flags

from udal_tf import registry
from udal_tf.config import SECTIONS
from udal_tf.registry import TABLES, Table
from udal_tf.reporting.terminal import wrapped

ABOUT = """\
usage: {called} [--SETTING=VALUE …]

  {called}
  {called} --dataset=folder --data_dir=images --workdir=work
  {called} --dataset=cifar10lt --imbalance=100 --beta=0.1

Trains a classifier on imbalanced data with few labels: alone, UDAL on
digits-LT; with --dataset=folder, on your own images; the last line is the
paper's. A stopped run resumes by the same command.

Settings that you do not give come from the recipe of the dataset, the base
learner and the method; the defaults below, those of the paper for CIFAR10-LT,
hold where no recipe says otherwise. --helpfull adds the flags of CReST and of
absl, such as --flagfile=FILE."""
_GROUPS = {
    "data": "Data",
    "augment": "Augmentation",
    "model": "Network",
    "method": "Method and base learner",
    "optimizer": "Optimizer",
    "train": "Training and output",
    "device": "Devices",
    "plugins": "Plugins",
}
_HEADINGS = {"dataset": "Datasets", "base": "Base learners", "method": "Methods", "arch": "Backbones"}


def _lines(text: str, indent: int) -> str:
    spaces = " " * indent
    return wrapped(text, spaces, spaces + "  ")


def _default(value: Any) -> str:
    """The default in words; "" where the help text says what leaving the flag out means."""
    if isinstance(value, bool):
        return f" (default: {str(value).lower()})"
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text and f" (default: {text})"


def _flag(field: dataclasses.Field, flag_values: flags.FlagValues, indent: int) -> str:
    flag = flag_values[field.name]
    written = f"--[no]{field.name}" if flag.boolean else f"--{field.name}"
    return _lines(f"{written}: {flag.help}{_default(field.default)}", indent)


def _of_table(table: Table, flag_values: flags.FlagValues) -> Iterator[str]:
    owned = [(name, owner) for name, owner in registry.owners().items() if owner.table is table]
    for record in table.values():
        about = [record.label or "as it is", getattr(record, "reference", "")]
        yield _lines(f"{record.name}: {'; '.join(filter(None, about))}", 2)
        for name, owner in owned:
            if owner.names[0] == record.name:
                yield _flag(owner.field, flag_values, 6)
            elif record.name in owner.names:
                yield _lines(f"--{name}: see {owner.names[0]}", 6)
    for family in table.families:
        yield _lines(f"{family.usage}: {family.label}", 2)


def section_text(name: str, flag_values: flags.FlagValues) -> str:
    """The settings of one section of `config.SECTIONS`, with a heading."""
    heading = wrapped(f"{_GROUPS[name]}: {(SECTIONS[name].__doc__ or '').splitlines()[0]}")
    return "\n".join([heading, *(_flag(field, flag_values, 2) for field in dataclasses.fields(SECTIONS[name]))])


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
        parts += [wrapped(f"{_HEADINGS[table.flag]} (--{table.flag}), each with the settings that belong to it:")]
        parts += [*_of_table(table, flag_values), ""]
    return "\n".join(parts).rstrip()


def further_flags(flag_values: flags.FlagValues) -> str:
    """What --helpfull adds to --help: every other flag, of CReST and of libraries."""
    ours = {field.name for section in SECTIONS.values() for field in dataclasses.fields(section)}
    ours |= set(registry.owners())
    others = flags.FlagValues()
    for name in flag_values:
        if name not in ours and name == flag_values[name].name:  # Some have a short name, too.
            others[name] = flag_values[name]
    return others.get_help(include_special_flags=True)
