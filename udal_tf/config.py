"""The resolved settings of one run: frozen dataclasses, validated where they are made.

Every field of every section is one command-line flag of the same name; the flags are generated from the fields
(`define_flags`). What a user leaves out comes from four layers, the later one winning: the field's default (the
paper's CIFAR10-LT recipe, §4.3), the base learner's preset, the dataset's recipe, the method's preset (and what the
dataset's recipe says of that method). The recipe of one's own folder also follows from the images in it
(`folder_recipe.py`).

What holds this file together: the settings that every run has stand in it, once, and how a run's settings are made of
what a user gave. Settings of one dataset, base learner, method or backbone alone are in `udal_tf.records`.
"""

import dataclasses
import fractions
import functools
import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from udal_tf import class_distribution, registry
from udal_tf.class_distribution import ESTIMATE, LABELED, UNIFORM
from udal_tf.registry import BACKBONES, BASE_LEARNERS, DATASETS, METHODS, TABLES, R, Record, Records, Table
from udal_tf.settings import S, Section, allowed, of_kind, setting

_PRIORS = f"{LABELED}, {ESTIMATE}, {UNIFORM}, or a file or list of shares"
# --pretrained's word for random initial weights.
NO_WEIGHTS = "none"

RANDAUGMENT_OPS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Identity",
    "Posterize",
    "Solarize",
    "SolarizeAdd",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "Rotate",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
)


def _names(table: Table) -> Any:
    return lambda: tuple(table)


@dataclasses.dataclass(frozen=True)
class DataConfig(Section):
    """Which images, how long their tail is and which of them are labeled (§4.2)."""

    dataset: str = setting("digitslt", "The dataset; each has a recipe of its own.", choices=_names(DATASETS))
    data_dir: str = setting(
        "", "Folder that holds the dataset's files (default: ~/tensorflow_datasets).", identity=False
    )
    protocol: str = setting(
        "crest",
        "How labeled images are chosen: `crest` labels a fraction --beta of each class, drawn by --fold; "
        "`darp` labels the first N_1-tailed images of each class and leaves M_1-tailed others unlabeled (Table 3).",
        choices=("crest", "darp"),
    )
    imbalance: float = setting(100.0, "Imbalance ratio γ = N_1 / N_C; 1 keeps the classes balanced.", low=1)
    beta: float = setting(0.1, "Fraction β of each class that is labeled (protocol crest).", above=0, high=1)
    fold: int = setting(1, "Which random choice of labeled images; the paper averages folds 1 to 5.", low=1, high=5)
    n1: int = setting(5000, "N_1, images of the largest class (protocol darp: labeled ones).", low=1)
    m1: int = setting(3000, "M_1, unlabeled images of the largest class (protocol darp only).", low=1)
    imbalance_u: float = setting(
        0.0, "Imbalance ratio of the unlabeled images (protocol darp only); 0: as --imbalance.", low=0
    )
    unlabeled_shape: str = setting(
        "same",
        "Sizes of the unlabeled classes (protocol darp only): falling as the labeled ones, M_1 each, or rising.",
        choices=("same", "uniform", "reversed"),
    )
    draw: str = setting(
        "seed0", "Which images make the long-tailed set: seed<k>, a seeded draw, or first_n, each class's first."
    )
    split_manifest: str = setting(
        "", "A split_manifest.json of udal_tf.commands.crest_export: take exactly its images."
    )
    image_size: int = setting(0, "Side of the images (imagenet127, folder); 0: the dataset's own.", low=0)
    skip_bad_images: bool = setting(False, "Leave out and count images that cannot be read (imagenet127, folder).")
    images: str = setting(
        "",
        "What lies in the folder when the run begins (folder): filled in by itself; a run goes on with the same "
        "images only.",
    )
    cache_dir: str = setting("", "Folder for indices and resized images (default: ~/.cache/udal_tf).", identity=False)

    def _check(self) -> None:
        if not re.fullmatch(r"first_n|seed\d+", self.draw):
            raise ValueError(f"--draw must be first_n or seed<k> (seed0, seed1, …), got {self.draw!r}")
        if 0 < self.imbalance_u < 1:
            raise ValueError(f"--imbalance_u must be 0 or at least 1, got {self.imbalance_u:g}")
        if self.protocol != "darp" and (self.imbalance_u or self.unlabeled_shape != "same"):
            raise ValueError("--imbalance_u and --unlabeled_shape need --protocol=darp; crest draws both sets from one")
        if self.unlabeled_shape == "uniform" and self.imbalance_u > 1:
            raise ValueError(
                f"--unlabeled_shape=uniform has no imbalance: leave out --imbalance_u={self.imbalance_u:g}"
            )


@dataclasses.dataclass(frozen=True)
class AugmentConfig(Section):
    """The weak view (pad, crop, flip) and the strong view (weak, then RandAugment, then cutout)."""

    crop: str = setting(
        "pad",
        "Crop of the weak view: `pad` reflects the border and crops back to size, `resized` cuts a random part and "
        "resizes it (ImageNet).",
        choices=("pad", "resized"),
    )
    crop_padding: int = setting(4, "Pixels of reflect padding before the random crop (--crop=pad).", low=0)
    flip: bool = setting(True, "Flip half of the images left to right.")
    strong_ops: tuple = setting(RANDAUGMENT_OPS, "RandAugment's operations, comma-separated.", choices=RANDAUGMENT_OPS)
    strong_layers: int = setting(2, "RandAugment operations drawn per image.", low=0)
    strong_probability: float = setting(0.5, "Probability with which a drawn operation is applied.", low=0, high=1)
    max_translation: float = setting(
        10 / 32,
        "RandAugment's largest translation as a fraction of the image's side: 10 of 32 pixels as in CReST.",
        low=0,
        high=1,
    )
    cutout: float = setting(0.5, "Side of the cutout square as a fraction of the image's side; 0: none.", low=0, high=1)

    def _check(self) -> None:
        if self.strong_layers and not self.strong_ops:
            raise ValueError("--strong_ops must name at least one operation while --strong_layers > 0, got none")


@dataclasses.dataclass(frozen=True)
class ModelConfig(Section):
    """The network, its initial weights and its batch norm."""

    arch: str = setting(
        "wrn",
        "Network: a Wide ResNet; `resnet50`, ResNet-50 as FixMatch trains it on ImageNet; or, for large images, one of "
        "Keras Applications, whose own ResNet-50 is `keras_resnet50`.",
        choices=_names(BACKBONES),
    )
    pretrained: str = setting(
        NO_WEIGHTS,
        "Weights that a network of Keras Applications begins with: a .weights.h5 or .h5 file without the top, saved by "
        "Keras; `none`: random ones. Nothing is ever downloaded. With a file the network sees pixels in the range that "
        "its published weights expect.",
    )
    batch_norm_momentum: float = setting(0.999, "Decay of batch norm's moving statistics.", low=0, high=1)
    sync_batch_norm: bool = setting(False, "Batch norm over the images of all replicas, not each replica's own.")

    def _check(self) -> None:
        if self.pretrained == NO_WEIGHTS:
            return
        if not BACKBONES[self.arch].keras_name:
            with_weights = "|".join(name for name, backbone in BACKBONES.items() if backbone.keras_name)
            hint = "; Keras's weights of ResNet-50 are for --arch=keras_resnet50" if self.arch == "resnet50" else ""
            raise ValueError(f"--pretrained needs --arch={with_weights}, got --arch={self.arch}{hint}")
        if not self.pretrained.endswith(".h5"):
            raise ValueError(f"--pretrained must be {NO_WEIGHTS} or a .weights.h5 or .h5 file, got {self.pretrained!r}")


@dataclasses.dataclass(frozen=True)
class MethodConfig(Section):
    """The base learner, where its distributions are aligned, and how strongly (§3.1)."""

    base: str = setting("fixmatch", "The learner that the method builds on.", choices=_names(BASE_LEARNERS))
    method: str = setting("udal", "Where distribution alignment is applied.", choices=_names(METHODS))
    alpha_min: float = setting(0.1, "α_min of Eq. 10: the final strength of the re-balancing.", low=0, high=1)
    k: float = setting(2.0, "k of Eq. 10: how late α_t falls; 0 holds it at α_min (Figure 3c).", low=0)
    threshold: float = setting(0.95, "Confidence from which a pseudo-label counts.", low=0, high=1)
    temperature: float = setting(0.0, "Sharpening of soft pseudo-labels; 0: hard pseudo-labels.", low=0)
    joint_forward: bool = setting(
        True,
        "Labeled, weak and strong views in one pass, as in CReST; false: the weak views in a pass of their own "
        "without gradient (FixMatch, ReMixMatch), which is faster and gives batch norm other images.",
    )
    unlabeled_weight: float = setting(1.0, "Weight of the unlabeled loss.", low=0)
    unlabeled_ramp: float = setting(
        0.0, "Part of the run over which the unlabeled loss's weight rises from 0; CReST has 0.", low=0, high=1
    )
    la_prior: str = setting(
        "labeled",
        "What LA (Inf) takes away in evaluation: p_data, CReST's moving average of label batches, or the target p̃ of "
        "the moment.",
        choices=("labeled", "label_average", "target"),
    )
    unlabeled_prior: tuple = setting(
        (LABELED,),
        "Class distribution of the unlabeled images, labeled ones among them included, which the target p̃ is made "
        "from: `labeled`, p_data, as in the paper; `estimate`, estimated during training; `uniform`; or a FILE that "
        "states it, JSON or a line per class: a share each in the order of the classes, or a name and a share (or the "
        "shares themselves, comma-separated).",
    )

    def _check(self) -> None:
        if METHODS[self.method].needs_pseudo_labels and not BASE_LEARNERS[self.base].pseudo_labels:
            without = [name for name, method in METHODS.items() if not method.needs_pseudo_labels]
            making = [name for name, base in BASE_LEARNERS.items() if base.pseudo_labels]
            raise ValueError(
                f"--method={self.method} works on pseudo-labels, which --base={self.base} does not make: "
                f"use --method={', '.join(without)} with it, or --base={' or '.join(making)}"
            )
        self._check_unlabeled_prior()

    def _check_unlabeled_prior(self) -> None:
        shown = f"--unlabeled_prior={','.join(self.unlabeled_prior)}"
        if self.unlabeled_prior == (LABELED,):
            return
        if self.unlabeled_prior not in ((ESTIMATE,), (UNIFORM,)):
            try:
                class_distribution.checked(self.unlabeled_prior)
            except ValueError as error:
                raise ValueError(f"--unlabeled_prior must be {_PRIORS}: {error}") from error
        if BASE_LEARNERS[self.base].unlabeled_views == 0:
            raise ValueError(f"{shown} has no effect with --base={self.base}, which sees no unlabeled images")
        if not METHODS[self.method].needs_unlabeled_prior:
            using = ", ".join(name for name, method in METHODS.items() if method.needs_unlabeled_prior)
            raise ValueError(
                f"{shown} has no effect with --method={self.method}, which aligns nothing to the unlabeled images' "
                f"distribution: leave it out, or use one of {using}"
            )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(Section):
    """The optimizer, its learning-rate schedule, weight decay and the EMA weights."""

    optimizer: str = setting(
        "sgd",
        "Optimizer: SGD with Nesterov momentum; Adam; or Adam with decoupled weight decay (adamw), as DARP's release "
        "trains.",
        choices=("sgd", "adam", "adamw"),
    )
    learning_rate: float = setting(0.03, "Base learning rate.", above=0)
    schedule: str = setting(
        "half_cosine",
        "Learning-rate schedule; `steps` is a staircase, as FixMatch has it for ImageNet.",
        choices=("half_cosine", "steps", "cosine", "linear", "constant"),
    )
    schedule_level: float = setting(
        1.0, "N of half_cosine, cos(π·N/16·progress): 1 as CReST runs it, 7 as FixMatch does.", low=0, high=8
    )
    warmup: float = setting(
        0.0, "Fraction of the run over which the learning rate rises from 0, in any schedule.", low=0, high=1
    )
    schedule_boundaries: tuple = setting(
        ("1/6", "1/3", "1/2", "2/3", "5/6"),
        "Where --schedule=steps lowers the learning rate: rising fractions of the run, comma-separated, as 0.5 or 1/2.",
    )
    schedule_decay: float = setting(
        0.1, "Factor of the learning rate at each of --schedule_boundaries.", above=0, high=1
    )
    momentum: float = setting(0.9, "Nesterov momentum of --optimizer=sgd.", low=0, high=1)
    weight_decay: float = setting(
        5e-4,
        "Weight decay of everything but batch norm: the coefficient of Σw²/2 in the loss; with --optimizer=adamw a "
        "step takes the learning rate times it off each weight instead.",
        low=0,
    )
    ema_decay: float = setting(0.999, "Decay of the exponential moving average of the weights.", low=0, high=1)

    @property
    def boundaries(self) -> tuple[Any, ...]:
        """--schedule_boundaries as exact numbers, `fractions.Fraction`: 0.1 is 1/10, whichever way it was written."""
        return tuple(fractions.Fraction(str(boundary)) for boundary in self.schedule_boundaries)

    def _check(self) -> None:
        shown = ",".join(map(str, self.schedule_boundaries))
        try:
            boundaries = self.boundaries
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(f"--schedule_boundaries must be numbers such as 0.5 or 1/2, got {shown!r}") from error
        if any(not 0 < boundary < 1 for boundary in boundaries) or list(boundaries) != sorted(set(boundaries)):
            raise ValueError(f"--schedule_boundaries must be between 0 and 1 and rise, got {shown!r}")
        if self.schedule == "steps" and not boundaries:
            raise ValueError("--schedule=steps needs at least one of --schedule_boundaries, got none")


@dataclasses.dataclass(frozen=True)
class TrainConfig(Section):
    """How long, how much at a time, and where the results go."""

    epochs: int = setting(64, "Epochs; α_t moves once per epoch.", low=1)
    steps_per_epoch: int = setting(1024, "Training steps that count as one epoch.", low=1)
    batch_size: int = setting(64, "Labeled images per step, over all devices.", low=1)
    unlabeled_ratio: int = setting(7, "Unlabeled images per labeled one in a step.", low=1)
    eval_batch_size: int = setting(100, "Images per evaluation step.", low=1, identity=False)
    seed: int = setting(
        0, "Seed of the initial weights, the order of the images and their views.", low=0, high=4_000_000
    )
    on_nan: str = setting(
        "stop",
        "A loss that is not finite: `stop`, or `rollback` to the last checkpoint and go on without that batch.",
        choices=("stop", "rollback"),
        identity=False,
    )
    max_rollbacks: int = setting(3, "How often --on_nan=rollback goes back before it stops.", low=1, identity=False)
    workdir: str = setting("", "Folder for the results (default: runs/<what is trained>).", identity=False)
    checkpoint_minutes: float = setting(
        10.0, "Also save between epochs, this often; every epoch is saved anyway.", above=0, identity=False
    )
    deterministic: bool = setting(
        True, "Only bit-reproducible kernels; false may be faster on GPUs, but a resumed run may then differ."
    )

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def unlabeled_batch_size(self) -> int:
        return self.batch_size * self.unlabeled_ratio


@dataclasses.dataclass(frozen=True)
class DeviceConfig(Section):
    """Where the run computes, and in which arithmetic."""

    strategy: str = setting(
        "auto",
        "Devices: one_device, mirrored (all GPUs of this machine), multi_worker (the cluster in TF_CONFIG), or auto, "
        "which takes what is there.",
        choices=("auto", "one_device", "mirrored", "multi_worker"),
        identity=False,
    )
    tpu: str = setting("", "TPU to train on: its name, or `local` on a Cloud TPU VM.", identity=False)
    jit: bool = setting(False, "Compile the whole step, augmentation included, with XLA; a TPU always does.")
    precision: str = setting(
        "float32",
        "Arithmetic of the network's layers; logits, losses and all averages are float32. float16 scales the loss.",
        choices=("float32", "bfloat16", "float16"),
    )
    input: str = setting(
        "host",
        "Where batches are made: `host`, by tf.data beside the training; `device`, inside the training loop from "
        "images that lie on the device, for data that fits there.",
        choices=("host", "device"),
        identity=False,
    )
    threads: int = setting(0, "Threads for TensorFlow; 0: the cores that this process may use.", low=0, identity=False)

    def _check(self) -> None:
        if self.tpu and self.strategy != "auto":
            raise ValueError(f"--tpu={self.tpu} is a strategy of its own: leave out --strategy={self.strategy}")


@dataclasses.dataclass(frozen=True)
class PluginConfig(Section):
    """Files that register datasets, base learners, methods and backbones of one's own (docs/extending.md)."""

    plugin: tuple = setting(
        (), "Python files, comma-separated, that register what else can be chosen by name.", identity=False
    )
    plugin_sha256: tuple = setting(
        (), "SHA-256 of the files of --plugin: filled in by itself; a run goes on with the same code only."
    )


SECTIONS: Mapping[str, type[Section]] = {
    "data": DataConfig,
    "augment": AugmentConfig,
    "model": ModelConfig,
    "method": MethodConfig,
    "optimizer": OptimizerConfig,
    "train": TrainConfig,
    "device": DeviceConfig,
    "plugins": PluginConfig,
}


@dataclasses.dataclass(frozen=True)
class Own:
    """The sections that belong to what a run has chosen, by the flag that chooses; None for a record without one."""

    dataset: Section | None = None
    base: Section | None = None
    method: Section | None = None
    arch: Section | None = None


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of one run; `resolve` makes it, `to_dict` and `from_dict` carry it through `config.json`.

    A section of `own` that is left out has its defaults.
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

    def __post_init__(self) -> None:
        own = {}
        for flag, given in vars(self.own).items():
            record: Record = getattr(self.records, flag)
            own[flag] = registry.section_of(record, given)
            if own[flag] is not None and type(own[flag]) is not record.settings:
                raise ValueError(f"--{flag}={record.name} has other settings than {own[flag]}")
        object.__setattr__(self, "own", Own(**own))
        for section in filter(None, own.values()):
            section.check_run(self)

    @property
    def records(self) -> Records:
        """What is chosen: `records.method`."""
        return Records(
            DATASETS[self.data.dataset],
            BASE_LEARNERS[self.method.base],
            METHODS[self.method.method],
            BACKBONES[self.model.arch],
        )

    def own_section(self, kind: type[S]) -> S:
        """The section of this class that what is chosen has of its own. Raises TypeError where there is none."""
        return of_kind(kind, *vars(self.own).values())

    @property
    def generations(self) -> int:
        """How often it trains --epochs epochs: 1 for all but generational methods."""
        return getattr(self.own.method, "generations", 1)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain nested dict, JSON-ready: section -> field -> value; records' own sections as "method_settings"."""
        nested = dataclasses.asdict(self)
        own = nested.pop("own")
        nested |= {f"{flag}_settings": values for flag, values in own.items() if values is not None}
        return json.loads(json.dumps(nested))

    @classmethod
    def from_dict(cls, nested: Mapping[str, Mapping[str, Any]]) -> "Config":
        """The inverse of `to_dict`, which also imports the run's plugins.

        Raises:
          ValueError: for an unknown section or field and for a bad value.
          PluginError: where a plugin is missing or has changed since.
        """
        known = [*SECTIONS, *(f"{table.flag}_settings" for table in TABLES)]
        flat: dict[str, Any] = {}
        for section, values in nested.items():
            if section not in known:
                raise ValueError(f"unknown config section {section!r}; expected {', '.join(known)}")
            flat.update(values)
        return _build(_with_plugins(flat))


def common_fields() -> dict[str, dataclasses.Field]:
    """The settings that every run has, by name, in the order of the sections."""
    return {field.name: field for section in SECTIONS.values() for field in dataclasses.fields(section)}


def section_fields() -> dict[str, dataclasses.Field]:
    """Every setting's field by its name: those of every run, then those of records; the names are unique.

    Raises:
      ValueError: where a record's own setting has the name of one that every run has.
    """
    return dict(_all_fields())


def _all_fields() -> Mapping[str, dataclasses.Field]:
    return _fields(tuple(record.settings for table in TABLES for record in table.values()))


@functools.cache
def _fields(own_sections: tuple) -> Mapping[str, dataclasses.Field]:
    common, owners = common_fields(), registry.owners()
    for name in sorted(set(common) & set(owners)):
        raise ValueError(f"{owners[name]} must not have a setting --{name}: there is one that every run has")
    return {**common, **{name: owner.field for name, owner in owners.items()}}


def is_identity(name: str) -> bool:
    """Whether the setting belongs to what a run is, rather than to where its files lie."""
    return _all_fields()[name].metadata["identity"]


def _chosen(values: Mapping[str, Any]) -> Records:
    """The records that settings choose. Raises ValueError for a name that there is not."""
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


def resolve(given: Mapping[str, Any], facts: Any = None) -> Config:
    """The full settings for what a user gave: defaults < base preset < dataset recipe < method preset < given.

    Args:
      given: setting name -> value, only what the user stated.
      facts: about the files of a dataset whose recipe they complete (`Dataset.facts`); `data.settings.resolve`
        looks at them and then calls this. Without them the recipe is one for any files.

    Returns:
      Config; `workdir` is filled in where it was not given.

    Raises:
      ValueError: naming the flag, the value that came and what is allowed.
    """
    given = _with_plugins(given)
    records = _chosen(given)
    dataset, base, method = records.dataset, records.base, records.method
    recipe = dict(dataset.recipe)
    if facts and dataset.recipe_from_facts:
        recipe |= registry.resolved(dataset.recipe_from_facts)(facts, given)
    by_protocol = recipe.pop("protocols", {})
    protocol = by_protocol.get(given.get("protocol", "crest"), {})
    by_base = recipe.pop("bases", {}).get(base.name, {})
    by_method = {**method.preset_with(base.name), **recipe.pop("methods", {}).get(method.name, {})}
    preset = {**base.preset, **recipe, **protocol, **by_base, **by_method}
    # A recipe may say what matters with another choice only, as the depth of a network that is not taken.
    for name, _ in list(_foreign(preset, _chosen({**preset, **given}))):
        del preset[name]
    values = {**preset, **given}
    if "unlabeled_prior" in values:
        values["unlabeled_prior"] = _stated_prior(tuple(values["unlabeled_prior"]))
    if not values.get("workdir"):
        values["workdir"] = _default_workdir(_build(values))
    return _build(values)


def _stated_prior(given: tuple[str, ...]) -> tuple[str, ...]:
    """--unlabeled_prior with a file replaced by what it says, so that its content belongs to the run, not its path."""
    if len(given) != 1 or given[0] in (LABELED, ESTIMATE, UNIFORM):
        return given
    try:
        return class_distribution.read(given[0])
    except ValueError as error:
        raise ValueError(f"--unlabeled_prior must be {_PRIORS}: {error}") from error


def _default_workdir(config: Config) -> str:
    data, method, train = config.data, config.method, config.train
    beta = f"_b{data.beta:g}" if data.protocol == "crest" else "_darp"
    images = f"{data.dataset}_g{data.imbalance:g}"
    if DATASETS[data.dataset].by_folder:
        images = "_".join(filter(None, (data.dataset, pathlib.PurePath(data.data_dir).name)))
    what = f"{images}{beta}_{method.base}_{method.method}_fold{data.fold}"
    if method.unlabeled_prior != (LABELED,):
        what += f"_prior_{method.unlabeled_prior[0] if len(method.unlabeled_prior) == 1 else 'stated'}"
    return f"runs/{what}" + (f"_seed{train.seed}" if train.seed else "")


def differences(ours: Config, theirs: Config) -> list[str]:
    """`--name: theirs, not ours` for each setting of the run's identity in which two configs differ."""
    mine, other = flat(ours.to_dict()), flat(theirs.to_dict())
    return [
        f"--{name}: {other.get(name, 'none')} there, {mine.get(name, 'none')} here"
        for name in section_fields()
        if is_identity(name) and mine.get(name) != other.get(name)
    ]


def flat(nested: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Every setting of `Config.to_dict` by name."""
    return {name: value for section in nested.values() for name, value in section.items()}


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag per setting. Unset flags stay None, so that a recipe can fill them in."""
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
    """The resolved config of the parsed flags. Raises ValueError as `resolve` does."""
    return resolve(given_in(flag_values))


def given_in(flag_values: flags.FlagValues) -> dict[str, Any]:
    """The settings that the parsed flags give, by name."""
    given = {name: flag_values[name].value for name in section_fields() if flag_values[name].value is not None}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def given_on_command_line(arguments: Sequence[str]) -> dict[str, Any]:
    """The settings that arguments of `run.py` give, by name. Raises ValueError where they cannot be parsed."""
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


def load_plugins_on(arguments: Sequence[str]) -> None:
    """Imports the plugins that arguments of `run.py` or their flagfiles name, so that their flags can be defined.

    Raises:
      ValueError: where a flagfile cannot be read. PluginError: see `registry.load_plugin`.
    """
    only_plugin = flags.FlagValues()
    flags.DEFINE_list("plugin", [], "", only_plugin)
    try:
        only_plugin(["", *arguments], known_only=True)
    except (flags.Error, OSError) as error:
        raise ValueError(str(error)) from error
    for path in only_plugin.plugin:
        registry.load_plugin(path)
