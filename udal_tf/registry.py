"""What can be chosen by name: datasets, base learners, methods and backbones, each one frozen record.

Flags, `--help`, sweeps, reports, estimates and the documentation are derived from the records alone. The built-in ones
are in `udal_tf.records`; `register` adds a user's, usually from a file given by `--plugin` (docs/extending.md). Records
refer to code as "module:attribute" and import neither it nor TensorFlow.

What holds this file together: the four kinds of records, and the one way to register, load and look up all of them.
"""

import dataclasses
import hashlib
import importlib
import pathlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from udal_tf import storage
from udal_tf.settings import Section
from udal_tf.shown_names import shown

# α of p_target: Eq. 10's α_t, or 0 throughout, which makes p_target uniform (logit adjustment).
SCHEDULED = "scheduled"
ZERO = "zero"
# Distributions that every run has: of the labels, of the unlabeled set, q̂ of the predictions, p̃_α, uniform.
P_DATA = "p_data"
P_UNLABELED = "p_unlabeled"
P_MODEL = "p_model"
P_TARGET = "p_target"
UNIFORM = "uniform"

# Code referred to by a record: "module:attribute", or the object itself.
Reference = str | Callable[..., Any]
# (key in the batch, "labeled" or "unlabeled", name of the view) of each view.
Views = tuple[tuple[str, str, str], ...]


def resolved(reference: Reference) -> Any:
    """The object that a record refers to, after importing its module."""
    if not isinstance(reference, str):
        return reference
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


@dataclasses.dataclass(frozen=True)
class Speed:
    """Measured training speed. images_per_second: each view counts once. source: the hardware, and who measured it."""

    images_per_second: float
    source: str


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset.

    name: of --dataset. label: in reports.
    load: (DataConfig) -> `data.dataset.Source`; with `settings`, (DataConfig, its section) -> Source.
    recipe: setting -> value; "protocols", "bases" and "methods" hold settings for one protocol, base learner or
      method only; those in "methods" override the method's own preset.
    settings: the class of a section of its own, or None.
    image_side, num_classes: if fixed, else 0; for a resizable dataset, its usual side.
    resizable: whether --image_size chooses the side of its images.
    long_tailed: whether --imbalance and --beta describe it and appear in reports.
    by_folder: whether --data_dir determines the dataset (a custom one).
    image_files: whether its images may be files of their own, anywhere below --data_dir.
    in_memory: whether its images are given to ``udal_tf.train``, in Python, and not read from files.
    streamed_from: the side from which images are decoded when they are needed, random-resized crops at full size, and
      evaluated in ImageNet's central view (`data.encoded`); 0: never.
    speeds: measured, by the name of the backbone.
    facts, recipe_from_facts: (DataConfig) -> facts about the files, and (facts, settings given) -> the part of the
      recipe that depends on them.
    """

    name: str
    label: str
    load: Reference
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: type[Section] | None = None
    image_side: int = 0
    num_classes: int = 0
    resizable: bool = False
    long_tailed: bool = True
    by_folder: bool = False
    image_files: bool = False
    in_memory: bool = False
    streamed_from: int = 0
    speeds: Mapping[str, Speed] = dataclasses.field(default_factory=dict)
    facts: Reference | None = None
    recipe_from_facts: Reference | None = None

    def streams(self, side: int) -> bool:
        """Whether images of this side are decoded when they are needed."""
        return 0 < self.streamed_from <= side


@dataclasses.dataclass(frozen=True)
class BaseLearner:
    """A base learner.

    name: of --base. label: in reports.
    learner: the class, see `methods.base.BaseLearner`: (MethodConfig, its section or None).
    preset: setting -> value.
    settings: the class of a section of its own, or None.
    pseudo_labels: whether it makes pseudo-labels.
    unlabeled_views: views per unlabeled image in a step, a number or a function of its section; 0: it uses none.
    growing_batches: whether the number of unlabeled images in a step may change, for --unlabeled_curriculum.
    color: of all its runs in figures, whatever the method; "": the method's. marker: of its points.
    """

    name: str
    label: str
    learner: Reference
    preset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: type[Section] | None = None
    pseudo_labels: bool = True
    unlabeled_views: int | Callable[[Any], int] = 2
    growing_batches: bool = False
    color: str = ""
    marker: str = ""

    def views_per_unlabeled_image(self, own: Section | None) -> int:
        """Views per unlabeled image in a step, for its section."""
        return self.unlabeled_views(own) if callable(self.unlabeled_views) else self.unlabeled_views


@dataclasses.dataclass(frozen=True)
class Shift:
    """Alignment from a source to a target distribution: τ·(log source − log target) is added to the logits of a loss.

    For pseudo-labels, the model's predictions are aligned instead: multiplied by (target / source)^τ and normalized.

    source, target: P_DATA, P_UNLABELED, P_MODEL, P_TARGET, UNIFORM, or a name defined by the method (`Method.values`).
    alpha: of P_TARGET, SCHEDULED or ZERO. tau: τ, a number or a name defined by the method.
    epsilon: ε of a shift by log(source^τ + ε) − log(target^τ + ε), as a release has it; None: the package's own, which
      is added before the exponent.
    """

    source: str
    target: str = P_TARGET
    alpha: str = SCHEDULED
    tau: float | str = 1.0
    epsilon: float | None = None


@dataclasses.dataclass(frozen=True)
class Targets:
    """The alignment targets of a method; None: no alignment.

    labeled: the logits of the labeled loss, Eqs. 3 and 6. unlabeled: the logits of the unlabeled loss, Eq. 9.
    pseudo_label: the probabilities that pseudo-labels are made from, Eq. 1.
    """

    labeled: Shift | None = None
    unlabeled: Shift | None = None
    pseudo_label: Shift | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """A method, which extends a base learner.

    name: of --method. label: in reports; "" for the base learner as it is.
    targets: its alignment. preset: setting -> value. presets_by_base: instead of `preset` for one base learner.
    bases: names of the base learners that it can extend; (): all that have what it needs.
    views: (key, set, view) of views beside the base learner's own, or a function of its section; needs `bases`.
    settings: the class of a section of its own, or None.
    behavior: the class, `methods.method.Method` or a subclass with state, losses or weights of its own.
    second_head: whether it trains a second linear head on the backbone's features, which predicts instead of the first.
    network: (Keras model, its section) -> the model that is trained instead, with a head of the method's own; or None.
    balances_labels: whether labeled batches show every class equally often.
    retrains_head: whether the run's last epochs train a new head alone, by `retrain_head` of its section.
    states_prior: whether `targets` say which class prior the model's predictions follow.
    moves_pseudo_labels: whether it uses pseudo-labels apart from `targets`.
    uses_unlabeled_prior: whether it uses the class distribution of the unlabeled set apart from `targets`.
    prepare: (Config, SslData, folder) -> SslData, run before training; or None.
    train: (Config, SslData, folder) -> result, instead of a single training run; with it a run has generations.
    color, marker: in figures; "": a free one.
    reference: the paper, for the documentation.
    """

    name: str
    label: str
    targets: Targets = Targets()
    preset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    presets_by_base: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    bases: tuple[str, ...] = ()
    views: Views | Callable[[Any], Views] = ()
    settings: type[Section] | None = None
    behavior: Reference = "udal_tf.methods.method:Method"
    second_head: bool = False
    network: Reference | None = None
    balances_labels: bool = False
    retrains_head: bool = False
    states_prior: bool = True
    moves_pseudo_labels: bool = False
    uses_unlabeled_prior: bool = False
    prepare: Reference | None = None
    train: Reference | None = None
    color: str = ""
    marker: str = ""
    reference: str = ""

    @property
    def generational(self) -> bool:
        """Whether it trains in generations."""
        return self.train is not None

    @property
    def needs_pseudo_labels(self) -> bool:
        """Whether it needs a base learner with pseudo-labels."""
        return self.targets.pseudo_label is not None or self.moves_pseudo_labels or self.generational

    @property
    def needs_unlabeled_prior(self) -> bool:
        """Whether --unlabeled_prior makes a difference."""
        shifts = filter(None, (self.targets.unlabeled, self.targets.pseudo_label))
        aligned = any({P_TARGET, P_UNLABELED} & {shift.source, shift.target} for shift in shifts)
        return aligned or self.uses_unlabeled_prior

    def preset_with(self, base: str) -> Mapping[str, Any]:
        """Setting -> value, with this base learner."""
        return self.presets_by_base.get(base, self.preset)

    def further_views(self, own: Section | None) -> Views:
        """The views beside the base learner's own, for its section."""
        return self.views(own) if callable(self.views) else self.views


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network.

    name: of --arch. label: in reports.
    build: (input_shape, num_classes, ModelConfig, its section or None) -> Keras model, float32 images in [−1, 1] ->
      float32 logits, whose last layer is a Dense on the features.
    settings: the class of a section of its own, or None.
    smallest_side: of its input images. rgb: whether it accepts only images with three channels.
    keras_name: its function in Keras Applications, which --pretrained needs; "" for others.
    pixels: the convention that its published weights expect: "caffe" (blue first, 0…255 less ImageNet's mean), "torch"
      (ImageNet's mean and standard deviation), "tf" (−1…1), or "own", where the network itself scales 0…255.
    weights: address of its published weights without the top layer, which --pretrained=imagenet downloads; "" for none.
    weights_md5: of that file, as Keras states it; "" where Keras states none.
    image_side: of the images that they were trained on, 0 without such weights.
    speed: measured, or None.
    """

    name: str
    label: str
    build: Reference
    settings: type[Section] | None = None
    smallest_side: int = 1
    rgb: bool = False
    keras_name: str = ""
    pixels: str = "tf"
    weights: str = ""
    weights_md5: str = ""
    image_side: int = 0
    speed: Speed | None = None


Record = Dataset | BaseLearner | Method | Backbone


def section_of(record: Record, own: Section | None) -> Section | None:
    """The given section of a record, or its defaults; None for a record without one."""
    return record.settings() if own is None and record.settings else own


R = TypeVar("R", bound=Record)


@dataclasses.dataclass(frozen=True)
class Family(Generic[R]):
    """Records without end, each made of its name when it is looked up: for example, all datasets of TFDS.

    prefix: of their names, before a colon. usage: how such a name is written. label: what they are, in words.
    make: name -> record, or None if no record has this name.
    """

    prefix: str
    usage: str
    label: str
    make: Callable[[str], R | None]


class Names(tuple):
    """The names of a table's records as the values of a setting: listed with the families' usage, looked up in it."""

    table: "Table"

    @classmethod
    def of(cls, table: "Table") -> "Names":
        names = cls((*table, *(family.usage for family in table.families)))
        names.table = table
        return names

    def __contains__(self, name: object) -> bool:
        return name in self.table


class Table(Mapping[str, R], Generic[R]):
    """The records of one kind by name: the built-in ones in order, then registered ones.

    Iteration leaves out the records of families, which are made when they are looked up.

    flag: that selects one of them. kind: in words.
    """

    def __init__(self, flag: str, kind: str, module: str):
        self.flag, self.kind = flag, kind
        self._module = module
        self._records: dict[str, R] = {}
        self._made: dict[str, R] = {}

    def _all(self) -> dict[str, R]:
        if not self._records:  # Built-in ones are imported on first use, as they import this module.
            self._records = {record.name: record for record in importlib.import_module(self._module).RECORDS}
        return self._records

    @property
    def families(self) -> tuple[Family[R], ...]:
        return getattr(importlib.import_module(self._module), "FAMILIES", ())

    def __getitem__(self, name: str) -> R:
        records = self._all()
        return records[name] if name in records else self._of_family(name)

    def _of_family(self, name: str) -> R:
        if name not in self._made:
            prefix = name.partition(":")[0] if isinstance(name, str) and ":" in name else ""
            family = next((one for one in self.families if one.prefix == prefix), None)
            record = family.make(name) if family else None
            if record is None:
                raise KeyError(name)
            self._made[name] = record
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


DATASETS: Table[Dataset] = Table("dataset", "dataset", "udal_tf.records.datasets")
BASE_LEARNERS: Table[BaseLearner] = Table("base", "base learner", "udal_tf.records.base_learners")
METHODS: Table[Method] = Table("method", "method", "udal_tf.records.methods")
BACKBONES: Table[Backbone] = Table("arch", "backbone", "udal_tf.records.backbones")
TABLES: tuple[Table, ...] = (DATASETS, BASE_LEARNERS, METHODS, BACKBONES)
_TABLE_OF: Mapping[type, Table] = {Dataset: DATASETS, BaseLearner: BASE_LEARNERS, Method: METHODS, Backbone: BACKBONES}


@dataclasses.dataclass(frozen=True)
class Records:
    """The records chosen for a run, by the flags that select them."""

    dataset: Dataset
    base: BaseLearner
    method: Method
    arch: Backbone


@dataclasses.dataclass(frozen=True)
class Owner:
    """The owner of a record's setting: the table and the names of the records that have it."""

    table: Table
    names: tuple[str, ...]
    field: dataclasses.Field

    def __str__(self) -> str:
        return f"--{self.table.flag}={', '.join(self.names)}"


def owners() -> dict[str, Owner]:
    """Every setting that belongs to records, by name, in the order of the tables."""
    found: dict[str, Owner] = {}
    for table in TABLES:
        for record in table.values():
            for field in dataclasses.fields(record.settings) if record.settings else ():
                names = found[field.name].names if field.name in found else ()
                found[field.name] = Owner(table, (*names, record.name), field)
    return found


def register(*records: Record) -> None:
    """Adds records of any kind to their tables, so that they can be chosen by name.

    Raises:
      ValueError: for a name that is already taken, by a record or by a setting of another section.
    """
    for record in records:
        table = _TABLE_OF[type(record)]
        if record.name in table:
            raise ValueError(f"there is already a {table.kind} {record.name!r}: choose another name")
        _check_settings(record, table)
        table._all()[record.name] = record  # noqa: SLF001 (the table is this module's)


def _check_settings(record: Record, table: Table) -> None:
    known = owners()
    for field in dataclasses.fields(record.settings) if record.settings else ():
        owner = known.get(field.name)
        if owner and not (owner.field is field and owner.table is table):
            raise ValueError(f"{table.kind} {record.name!r}: there is already a setting --{field.name}, of {owner}")


class PluginError(ValueError):
    """A plugin cannot be used; the message names its file and says why."""


# SHA-256 -> the file that was imported.
_imported: dict[str, pathlib.Path] = {}


def load_plugin(path: str | pathlib.Path, sha256: str = "") -> tuple[str, str]:
    """Imports a file that registers records, once per content.

    Args:
      path: of the file.
      sha256: of its expected content; "" for any.

    Returns:
      Its absolute path and the SHA-256 of its content. The module can refer to its own attributes as
      f"{__name__}:attribute".

    Raises:
      PluginError: for a file that is missing, has changed, or fails; then nothing it registered is kept.
    """
    if storage.is_remote(path):
        raise PluginError(f"the plugin {shown(path)} must be a local file, and is in a bucket")
    path = pathlib.Path(path).expanduser().resolve()
    if sha256 in _imported:
        return str(path), sha256
    try:
        content = storage.read_bytes(path)
    except OSError as error:
        raise PluginError(f"the plugin {shown(path)} cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 and found != sha256:
        raise PluginError(
            f"the plugin {shown(path)} has changed: its SHA-256 was {sha256[:12]}…, and now is {found[:12]}…"
        )
    if found not in _imported:
        _import(path, content, found)
    return str(path), found


def _import(path: pathlib.Path, content: bytes, sha256: str) -> None:
    name = f"udal_tf_plugin_{sha256[:12]}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    before = [dict(table._all()) for table in TABLES]  # noqa: SLF001
    sys.modules[name] = module
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)  # noqa: S102 (the hashed content, not the current file)
    except Exception as error:
        sys.modules.pop(name)
        for table, records in zip(TABLES, before, strict=True):
            table._records = records  # noqa: SLF001
        raise PluginError(f"the plugin {shown(path)} fails: {type(error).__name__}: {error}") from error
    _imported[sha256] = path
