"""The resolved settings of one run: frozen dataclasses, validated on construction.

Every field of every section is one command-line flag of the same name; the flags are generated from the fields
(`define_flags`). Settings that the user does not give come from four layers, later ones taking precedence: the field's
default (the paper's CIFAR10-LT recipe, §4.3), the base learner's preset, the dataset's recipe, and the method's preset
(with the dataset's recipe for that method). The recipe for a custom dataset also depends on its images
(`folder_recipe.py`).

What holds this file together: how settings are resolved from those that the user gives. The sections that every run
has are in `sections.py`; settings of one particular dataset, base learner, method or backbone are in `udal_tf.records`.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from udal_tf import class_distribution, registry, storage, warm_start
from udal_tf.class_distribution import ESTIMATE, LABELED, UNIFORM
from udal_tf.registry import BACKBONES, BASE_LEARNERS, DATASETS, METHODS, TABLES, R, Record, Records, Table
from udal_tf.sections import (
    NO_WEIGHTS,
    PRIORS,
    SECTIONS,
    WORK_FOLDER,
    AugmentConfig,
    DataConfig,
    DeviceConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
    PluginConfig,
    TrainConfig,
    network_of_weights,
    pretrained_kind,
)
from udal_tf.settings import S, Section, allowed, of_kind
from udal_tf.shown_names import shown


@dataclasses.dataclass(frozen=True)
class Own:
    """The settings sections of the chosen records, by the flag that selects each; None for a record without one."""

    dataset: Section | None = None
    base: Section | None = None
    method: Section | None = None
    arch: Section | None = None


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of one run; made by `resolve`, saved in `config.json` by `to_dict` and read back by `from_dict`.

    A section missing from `own` gets its defaults. `changed` names the settings that were given and differ from the
    recipe's, in the order of the sections; it is no setting itself, and not in `to_dict`.
    """

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    method: MethodConfig = dataclasses.field(default_factory=MethodConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    device: DeviceConfig = dataclasses.field(default_factory=DeviceConfig)
    plugins: PluginConfig = dataclasses.field(default_factory=PluginConfig)
    own: Own = Own()
    changed: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def __post_init__(self) -> None:
        own = {}
        for flag, given in vars(self.own).items():
            record: Record = getattr(self.records, flag)
            own[flag] = registry.section_of(record, given)
            if own[flag] is not None and type(own[flag]) is not record.settings:
                raise ValueError(f"--{flag}={record.name} cannot have the settings {own[flag]}")
        object.__setattr__(self, "own", Own(**own))
        for section in filter(None, own.values()):
            section.check_run(self)
        if self.train.patience and self.records.method.generational:
            raise ValueError(
                f"--patience={self.train.patience} cannot be used with --method={self.records.method.name}, whose "
                "generations all have --epochs epochs: leave it out"
            )

        if self.train.unlabeled_curriculum and not self.records.base.growing_batches:
            able = " or ".join(name for name, base in BASE_LEARNERS.items() if base.growing_batches)
            raise ValueError(
                f"--unlabeled_curriculum needs --base={able}, got --base={self.method.base}, whose steps have a fixed "
                "number of unlabeled images: leave it out"
            )

    @property
    def records(self) -> Records:
        """The chosen records, e.g. `records.method`."""
        return Records(
            DATASETS[self.data.dataset],
            BASE_LEARNERS[self.method.base],
            METHODS[self.method.method],
            BACKBONES[self.model.arch],
        )

    def own_section(self, kind: type[S]) -> S:
        """The section of this class among those of the chosen records. Raises TypeError if there is none."""
        return of_kind(kind, *vars(self.own).values())

    @property
    def generations(self) -> int:
        """Number of generations of --epochs epochs each: 1 except for generational methods."""
        return getattr(self.own.method, "generations", 1)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain nested dict, JSON-ready: section -> field -> value; records' own sections as "method_settings"."""
        nested = dataclasses.asdict(self)
        own = nested.pop("own")
        del nested["changed"]
        nested |= {f"{flag}_settings": values for flag, values in own.items() if values is not None}
        return json.loads(json.dumps(nested))

    @classmethod
    def from_dict(cls, nested: Mapping[str, Mapping[str, Any]]) -> "Config":
        """The inverse of `to_dict`; also imports the run's plugins.

        Raises:
          ValueError: for an unknown section or field and for a bad value.
          PluginError: if a plugin is missing or has changed since.
        """
        known = [*SECTIONS, *(f"{table.flag}_settings" for table in TABLES)]
        flat: dict[str, Any] = {}
        for section, values in nested.items():
            if section not in known:
                raise ValueError(f"unknown config section {section!r}; expected {', '.join(known)}")
            if not isinstance(values, Mapping):
                raise ValueError(f"config section {section!r} must hold an object, got {type(values).__name__}")
            flat.update(values)
        return _build(_with_plugins(flat))


def common_fields() -> dict[str, dataclasses.Field]:
    """The settings that every run has, by name, in the order of the sections."""
    return {field.name: field for section in SECTIONS.values() for field in dataclasses.fields(section)}


def section_fields() -> dict[str, dataclasses.Field]:
    """Every setting's field by name: those of every run, then those of records; names are unique.

    Raises:
      ValueError: if a record's own setting has the name of one that every run has.
    """
    return dict(_all_fields())


def _all_fields() -> Mapping[str, dataclasses.Field]:
    return _fields(tuple(record.settings for table in TABLES for record in table.values()))


@functools.cache
def _fields(own_sections: tuple) -> Mapping[str, dataclasses.Field]:
    common, owners = common_fields(), registry.owners()
    for name in sorted(set(common) & set(owners)):
        raise ValueError(f"{owners[name]} must not have a setting --{name}: every run already has one")
    return {**common, **{name: owner.field for name, owner in owners.items()}}


def is_identity(name: str) -> bool:
    """Whether the setting is part of a run's identity, unlike e.g. the location of its files."""
    return _all_fields()[name].metadata["identity"]


def _chosen(values: Mapping[str, Any]) -> Records:
    """The records that the settings select. Raises ValueError for an unknown name."""
    fields = common_fields()

    def named(table: Table[R]) -> R:
        name = values.get(table.flag, fields[table.flag].default)
        if name not in table:
            raise ValueError(f"--{table.flag} must be {allowed(fields[table.flag])}, got {name!r}")
        return table[name]

    return Records(named(DATASETS), named(BASE_LEARNERS), named(METHODS), named(BACKBONES))


def _foreign(values: Mapping[str, Any], records: Records) -> Iterator[tuple[str, str]]:
    """The settings among `values` that belong to other records, each with the reason."""
    for name, owner in registry.owners().items():
        chosen = getattr(records, owner.table.flag).name
        if name in values and chosen not in owner.names:
            yield name, f"--{name} belongs to {owner}, and this is --{owner.table.flag}={chosen}"


def _build(values: Mapping[str, Any]) -> Config:
    unknown = sorted(set(values) - set(section_fields()))
    if unknown:
        raise ValueError(f"unknown setting {', '.join(unknown)}; `python run.py --help` lists all")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    records = _chosen(values)
    for _, reason in _foreign(values, records):
        raise ValueError(reason)

    def made(section: type[Section]) -> Section:
        own = [field.name for field in dataclasses.fields(section)]
        return section(**{name: values[name] for name in own if name in values})

    own = Own(**{flag: made(record.settings) for flag, record in vars(records).items() if record.settings})
    sections: dict[str, Any] = {name: made(section) for name, section in SECTIONS.items()}
    return Config(**sections, own=own)


def _with_plugins(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the plugins' absolute paths and hashes, their files imported."""
    paths, hashes = values.get("plugin", ()), values.get("plugin_sha256", ())
    if not paths:
        return dict(values)
    found = [registry.load_plugin(path, *hashes[i : i + 1]) for i, path in enumerate(paths)]
    return {**values, "plugin": tuple(path for path, _ in found), "plugin_sha256": tuple(sha for _, sha in found)}


# Settings that name files which are read in place or mapped into memory; --pretrained may also name a work folder.
_LOCAL = ("cache_dir", "labels", "pretrained")


def resolve(given: Mapping[str, Any], facts: Any = None) -> Config:
    """All settings, resolved from those given: defaults < base preset < dataset recipe < method preset < given.

    Args:
      given: setting name -> value, only those that the user gave.
      facts: about the files of a dataset whose recipe depends on them (`Dataset.facts`); `data.settings.resolve`
        collects them and then calls this. Without them the recipe does not depend on the files.

    Returns:
      Config; `workdir` gets its default if it was not given.

    Raises:
      ValueError: naming the flag, the value given and what is allowed.
    """
    given = _with_plugins(given)
    records = _chosen(given)
    dataset, base, method = records.dataset, records.base, records.method
    recipe, network = dict(dataset.recipe), {}
    if pretrained_kind(given.get("pretrained", NO_WEIGHTS)) == WORK_FOLDER:
        # A run that has begun does without the earlier one.
        network = warm_start.network_of(given["pretrained"]) or warm_start.network_of(
            given.get("workdir") or os.devnull
        )
    elif dataset.recipe_from_facts and (arch := network_of_weights(given.get("pretrained", NO_WEIGHTS))):
        recipe["arch"] = arch
    if facts and dataset.recipe_from_facts:
        recipe |= registry.resolved(dataset.recipe_from_facts)(facts, {**network, **given})
    by_protocol = recipe.pop("protocols", {})
    protocol = by_protocol.get(given.get("protocol", recipe.get("protocol", "crest")), {})
    by_base = recipe.pop("bases", {}).get(base.name, {})
    by_method = {**method.preset_with(base.name), **recipe.pop("methods", {}).get(method.name, {})}
    preset = {**base.preset, **recipe, **protocol, **by_base, **by_method}
    # A recipe may have settings of records that are not chosen, such as the depth of another network.
    preset |= {name: value for name, value in network.items() if name != "image_size"}
    for name, _ in list(_foreign(preset, _chosen({**preset, **given}))):
        del preset[name]
    values = {**preset, **given}
    for name in _LOCAL:
        in_bucket = storage.is_remote(values.get(name, ""))
        if in_bucket and not (name == "pretrained" and pretrained_kind(values[name]) == WORK_FOLDER):
            raise ValueError(f"--{name} must be a local path, got {values[name]}, which is in a bucket")
    if "unlabeled_prior" in values:
        values["unlabeled_prior"] = _stated_prior(tuple(values["unlabeled_prior"]))
    if not values.get("workdir"):
        values["workdir"] = _default_workdir(_build(values))
    defaults = {name: field.default for name, field in section_fields().items()} | preset
    changed = tuple(name for name in defaults if name in given and values[name] != defaults[name])
    return dataclasses.replace(_build(values), changed=changed)


def _stated_prior(given: tuple[str, ...]) -> tuple[str, ...]:
    """--unlabeled_prior with a file replaced by its content, so that the content identifies the run, not the path."""
    if len(given) != 1 or given[0] in (LABELED, ESTIMATE, UNIFORM):
        return given
    try:
        return class_distribution.read(given[0])
    except ValueError as error:
        raise ValueError(f"--unlabeled_prior must be {PRIORS}: {error}") from error


def _default_workdir(config: Config) -> str:
    data, method, train = config.data, config.method, config.train
    beta = f"_b{data.beta:g}" if data.protocol == "crest" else "_darp"
    images = f"{data.dataset}_g{data.imbalance:g}"
    if DATASETS[data.dataset].by_folder:
        # TensorFlow writes to no folder whose name is not UTF-8, which images may well lie in.
        names = pathlib.PurePath(data.data_dir).name, pathlib.PurePath(getattr(config.own.dataset, "labels", "")).stem
        own = (name.encode("utf-8", "replace").decode("utf-8").replace("?", "_") for name in names)
        images = "_".join(filter(None, (data.dataset, *own)))
    what = f"{images}{beta}_{method.base}_{method.method}_fold{data.fold}"
    if method.unlabeled_prior != (LABELED,):
        what += f"_prior_{method.unlabeled_prior[0] if len(method.unlabeled_prior) == 1 else 'stated'}"
    what = re.sub("[/:]", "_", what)  # Of the names of TFDS's datasets.
    return f"runs/{what}" + (f"_seed{train.seed}" if train.seed else "")


def differences(ours: Config, theirs: Config) -> list[str]:
    """`--name: theirs there, ours here` for each setting of a run's identity in which two configs differ."""
    mine, other = flat(ours.to_dict()), flat(theirs.to_dict())
    if not mine.get("pretrained_sha256"):  # Known only once the run starts.
        mine["pretrained_sha256"] = other.get("pretrained_sha256", "")
    return [
        f"--{name}: {other.get(name, 'none')} there, {mine.get(name, 'none')} here"
        for name in section_fields()
        if is_identity(name) and mine.get(name) != other.get(name)
    ]


def flat(nested: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Every setting in `Config.to_dict` by name."""
    return {name: value for section in nested.values() for name, value in section.items()}


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag per setting. Flags that are not given stay None, so that a recipe can set them."""
    for name, field in section_fields().items():
        range_text = allowed(field)
        help_text = field.metadata["help"] + (f" ({range_text})" if range_text != "finite" else "")
        kind = type(field.default)
        if kind is bool:
            flags.DEFINE_bool(name, None, help_text, flag_values)
        elif kind is int:
            flags.DEFINE_integer(name, None, help_text, flag_values=flag_values)
        elif kind is float:
            flags.DEFINE_float(name, None, help_text, flag_values=flag_values)
        elif kind is tuple:
            flags.DEFINE_list(name, None, help_text, flag_values=flag_values)
        else:
            flags.DEFINE_string(name, None, help_text, flag_values)


def from_flags(flag_values: flags.FlagValues = flags.FLAGS) -> Config:
    """The config resolved from the parsed flags. Raises ValueError as `resolve` does."""
    return resolve(given_in(flag_values))


def given_in(flag_values: flags.FlagValues) -> dict[str, Any]:
    """The settings given by the parsed flags, by name. Raises ValueError for an empty string."""
    given = {name: flag_values[name].value for name in section_fields() if flag_values[name].value is not None}
    for name, value in given.items():
        if value == "":  # Mostly a shell variable that is not set, as in --data_dir=$DATA.
            raise ValueError(f"--{name} must not be empty: leave it out for its default")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def given_on_command_line(arguments: Sequence[str]) -> dict[str, Any]:
    """The settings given by arguments of `run.py`, by name. Raises ValueError if they cannot be parsed."""
    load_plugins_on(arguments)
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    try:
        rest = flag_values(["run.py", *arguments])[1:]
    except (flags.Error, OSError) as error:
        raise ValueError(str(error)) from error
    if rest:
        raise ValueError(f"unexpected argument {rest[0]!r}: settings are flags, --name=value")
    return given_in(flag_values)


class _RegularFlagfiles(flags.FlagValues):
    """Flags whose flagfiles, nested ones too, are no pipes and no devices, which absl would read for ever."""

    def _get_flag_file_lines(self, filename: str, parsed_file_stack: list[str] | None = None) -> list[str]:
        if filename and os.path.exists(filename):  # absl names one that is missing.
            try:
                storage.check_regular(filename)
            except OSError as error:
                raise ValueError(f"--flagfile={shown(filename)}: {error.strerror}") from error
        return super()._get_flag_file_lines(filename, parsed_file_stack)


def load_plugins_on(arguments: Sequence[str]) -> None:
    """Imports the plugins named by arguments of `run.py` or their flagfiles, so that their flags can be defined.

    Raises:
      ValueError: if a flagfile cannot be read.
      PluginError: see `registry.load_plugin`.
    """
    only_plugin = _RegularFlagfiles()
    flags.DEFINE_list("plugin", [], "", only_plugin)
    try:
        only_plugin(["", *arguments], known_only=True)
    except (flags.Error, OSError) as error:
        raise ValueError(str(error)) from error
    for path in only_plugin.plugin:
        registry.load_plugin(path)
