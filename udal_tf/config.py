"""The resolved settings of one run: frozen dataclasses, validated where they are made.

Every field of every section is one command-line flag of the same name; the flags are generated from the fields
(`define_flags`). What a user leaves out comes from four layers, the later one winning: the field's default (the
paper's CIFAR10-LT recipe, §4.3), the base learner's preset, the dataset's recipe, the method's preset (and what the
dataset's recipe says of that method). The recipe of one's own folder also follows from the pictures in it
(`folder_recipe.py`).

The file is long because every setting of the program stands in it, once.
"""

import dataclasses
import fractions
import json
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from udal_tf import class_shares
from udal_tf.folder_recipe import FolderFacts, folder_recipe
from udal_tf.recipes import (
    APPLICATIONS,
    BASE_PRESETS,
    GENERATIONAL_METHODS,
    METHOD_PRESETS,
    METHODS,
    PSEUDO_LABELLING_BASES,
    RANDAUGMENT_OPS,
    RECIPES,
)

# Words of --unlabeled_prior; ESTIMATE is --darp_prior's, too, for a distribution that nobody gives.
LABELED, ESTIMATE, UNIFORM = "labeled", "estimate", "uniform"
_PRIORS = f"{LABELED}, {ESTIMATE}, {UNIFORM}, or a file or list of shares"
# --pretrained's word for random initial weights.
NO_WEIGHTS = "none"


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: Sequence[Any] | None = None,
    identity: bool = True,
) -> Any:
    """A dataclass field that knows its help text and its allowed values.

    Args:
      default: the value where neither the user nor a recipe gives one.
      help: the flag's help text.
      low, high: inclusive bounds. above: an exclusive lower bound.
      choices: the allowed values.
      identity: False for a setting that may differ between two starts of the same run (where files lie).
    """
    metadata = {"help": help, "low": low, "high": high, "above": above, "choices": choices, "identity": identity}
    return dataclasses.field(default=default, metadata=metadata)


def _shown(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _allowed(meta: Mapping[str, Any]) -> str:
    if meta["choices"] is not None:
        return "one of " + ", ".join(str(c) for c in meta["choices"])
    bounds = [f"above {_shown(meta['above'])}"] if meta["above"] is not None else []
    bounds += [f"at least {_shown(meta['low'])}"] if meta["low"] is not None else []
    bounds += [f"at most {_shown(meta['high'])}"] if meta["high"] is not None else []
    return " and ".join(bounds) or "finite"


def _is_allowed(value: Any, meta: Mapping[str, Any]) -> bool:
    if meta["choices"] is not None:
        return all(v in meta["choices"] for v in value) if isinstance(value, tuple) else value in meta["choices"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    return (
        math.isfinite(value)
        and (meta["low"] is None or value >= meta["low"])
        and (meta["high"] is None or value <= meta["high"])
        and (meta["above"] is None or value > meta["above"])
    )


@dataclasses.dataclass(frozen=True)
class _Section:
    """Checks every field against its own metadata; `_check` adds what concerns several fields."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if type(value) is not type(field.default) and not (
                isinstance(field.default, float) and isinstance(value, int) and not isinstance(value, bool)
            ):
                raise ValueError(f"--{field.name} must be of type {type(field.default).__name__}, got {value!r}")
            if not _is_allowed(value, field.metadata):
                shown = ",".join(value) if isinstance(value, tuple) else value
                raise ValueError(f"--{field.name} must be {_allowed(field.metadata)}, got {shown!r}")
        self._check()

    def _check(self) -> None:
        """Nothing to check across fields unless a section says so."""


@dataclasses.dataclass(frozen=True)
class DataConfig(_Section):
    """Which pictures, how long their tail is and which of them are labelled (§4.2)."""

    dataset: str = setting("digitslt", "The dataset; each has a recipe of its own.", choices=tuple(RECIPES))
    data_dir: str = setting(
        "", "Folder that holds the dataset's files (default: ~/tensorflow_datasets).", identity=False
    )
    protocol: str = setting(
        "crest",
        "How labelled pictures are chosen: `crest` labels a fraction --beta of each class, drawn by --fold; "
        "`darp` labels the first N_1-tailed pictures of each class and leaves M_1-tailed others unlabelled (Table 3).",
        choices=("crest", "darp"),
    )
    imbalance: float = setting(100.0, "Imbalance ratio γ = N_1 / N_C; 1 keeps the classes balanced.", low=1)
    beta: float = setting(0.1, "Fraction β of each class that is labelled (protocol crest).", above=0, high=1)
    fold: int = setting(1, "Which random choice of labelled pictures; the paper averages folds 1 to 5.", low=1, high=5)
    n1: int = setting(5000, "N_1, pictures of the largest class (protocol darp: labelled ones).", low=1)
    m1: int = setting(3000, "M_1, unlabelled pictures of the largest class (protocol darp only).", low=1)
    imbalance_u: float = setting(
        0.0, "Imbalance ratio of the unlabelled pictures (protocol darp only); 0: as --imbalance.", low=0
    )
    unlabeled_shape: str = setting(
        "same",
        "Sizes of the unlabelled classes (protocol darp only): falling as the labelled ones, M_1 each, or rising.",
        choices=("same", "uniform", "reversed"),
    )
    draw: str = setting(
        "seed0", "Which pictures make the long-tailed set: seed<k>, a seeded draw, or first_n, each class's first."
    )
    split_manifest: str = setting(
        "", "A split_manifest.json of udal_tf.commands.crest_export: take exactly its pictures."
    )
    image_size: int = setting(0, "Side of the pictures (imagenet127, folder); 0: the dataset's own.", low=0)
    skip_bad_images: bool = setting(False, "Leave out and count pictures that cannot be read (imagenet127, folder).")
    pictures: str = setting(
        "",
        "What lies in the folder when the run begins (folder): filled in by itself; a run goes on with the same "
        "pictures only.",
    )
    cache_dir: str = setting("", "Folder for indices and resized pictures (default: ~/.cache/udal_tf).", identity=False)

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
class AugmentConfig(_Section):
    """The weak view (pad, crop, flip) and the strong view (weak, then RandAugment, then cutout)."""

    crop: str = setting(
        "pad",
        "Crop of the weak view: `pad` reflects the border and crops back to size, `resized` cuts a random part and "
        "resizes it (ImageNet).",
        choices=("pad", "resized"),
    )
    crop_padding: int = setting(4, "Pixels of reflect padding before the random crop (--crop=pad).", low=0)
    flip: bool = setting(True, "Flip half of the pictures left to right.")
    strong_ops: tuple = setting(RANDAUGMENT_OPS, "RandAugment's operations, comma-separated.", choices=RANDAUGMENT_OPS)
    strong_layers: int = setting(2, "RandAugment operations drawn per picture.", low=0)
    strong_probability: float = setting(0.5, "Probability with which a drawn operation is applied.", low=0, high=1)
    max_translation: float = setting(
        10 / 32,
        "RandAugment's largest translation as a fraction of the image's side: 10 of 32 pixels as in CReST.",
        low=0,
        high=1,
    )
    cutout: float = setting(
        0.5, "Side of the cutout square as a fraction of the picture's side; 0: none.", low=0, high=1
    )

    def _check(self) -> None:
        if self.strong_layers and not self.strong_ops:
            raise ValueError("--strong_ops must name at least one operation while --strong_layers > 0, got none")


@dataclasses.dataclass(frozen=True)
class ModelConfig(_Section):
    """The network: CReST's Wide ResNet-depth-width, FixMatch's ResNet-50, or one of Keras Applications."""

    arch: str = setting(
        "wrn",
        "Network: a Wide ResNet; `resnet50`, ResNet-50 as FixMatch trains it on ImageNet; or, for large images, one of "
        "Keras Applications, whose own ResNet-50 is `keras_resnet50`.",
        choices=("wrn", "resnet50", *APPLICATIONS),
    )
    pretrained: str = setting(
        NO_WEIGHTS,
        "Weights that a network of Keras Applications begins with: a .weights.h5 or .h5 file without the top, saved by "
        "Keras; `none`: random ones. Nothing is ever downloaded. With a file the network sees pixels in the range that "
        "its published weights expect.",
    )
    depth: int = setting(28, "Depth of the Wide ResNet: 6n + 4.", low=10)
    width: int = setting(2, "Width multiplier of the Wide ResNet: 16·width filters in its first group.", low=1)
    batch_norm_momentum: float = setting(0.999, "Decay of batch norm's moving statistics.", low=0, high=1)
    sync_batch_norm: bool = setting(False, "Batch norm over the pictures of all replicas, not each replica's own.")

    def _check(self) -> None:
        if (self.depth - 4) % 6:
            raise ValueError(f"--depth must be 6n + 4 (10, 16, 22, 28, …), got {self.depth}")
        if self.pretrained == NO_WEIGHTS:
            return
        if self.arch not in APPLICATIONS:
            hint = "; Keras's weights of ResNet-50 are for --arch=keras_resnet50" if self.arch == "resnet50" else ""
            raise ValueError(f"--pretrained needs --arch={'|'.join(APPLICATIONS)}, got --arch={self.arch}{hint}")
        if not self.pretrained.endswith(".h5"):
            raise ValueError(f"--pretrained must be {NO_WEIGHTS} or a .weights.h5 or .h5 file, got {self.pretrained!r}")


@dataclasses.dataclass(frozen=True)
class MethodConfig(_Section):
    """The base learner, where its distributions are aligned, and how strongly (§3.1)."""

    base: str = setting("fixmatch", "The learner that the method builds on.", choices=tuple(BASE_PRESETS))
    method: str = setting("udal", "Where distribution alignment is applied.", choices=tuple(METHODS))
    alpha_min: float = setting(0.1, "α_min of Eq. 10: the final strength of the re-balancing.", low=0, high=1)
    k: float = setting(2.0, "k of Eq. 10: how late α_t falls; 0 holds it at α_min (Figure 3c).", low=0)
    threshold: float = setting(0.95, "Confidence from which a pseudo-label counts.", low=0, high=1)
    temperature: float = setting(0.0, "Sharpening of soft pseudo-labels; 0: hard pseudo-labels.", low=0)
    joint_forward: bool = setting(
        True,
        "Labelled, weak and strong views in one pass, as in CReST; false: the weak views in a pass of their own "
        "without gradient (FixMatch, ReMixMatch), which is faster and gives batch norm other pictures.",
    )
    unlabeled_weight: float = setting(1.0, "Weight of the unlabelled loss.", low=0)
    unlabeled_ramp: float = setting(
        0.0, "Part of the run over which the unlabelled loss's weight rises from 0; CReST has 0.", low=0, high=1
    )
    generations: int = setting(1, "Generations of crest and crest+, --epochs each; the paper has 6.", low=1)
    select_alpha: float = setting(
        3.0, "α of crest's selection: the larger, the more alike the shares that classes add.", above=0
    )
    la_prior: str = setting(
        "labeled",
        "What LA (Inf) takes away in evaluation: p_data, CReST's moving average of label batches, or the target p̃ of "
        "the moment.",
        choices=("labeled", "label_average", "target"),
    )
    unlabeled_prior: tuple = setting(
        (LABELED,),
        "Class distribution of the unlabelled pictures, labelled ones among them included, which the target p̃ is made "
        "from: `labeled`, p_data, as in the paper; `estimate`, estimated during training; `uniform`; or a FILE that "
        "states it, JSON or a line per class: a share each in the order of the classes, or a name and a share (or the "
        "shares themselves, comma-separated).",
    )
    mixup_beta: float = setting(0.75, "a of MixUp's Beta(a, a) in MixMatch and ReMixMatch.", above=0)
    strong_views: int = setting(
        2, "K, strong views per unlabelled picture in ReMixMatch: 2 as DARP has it, its own paper 8.", low=1
    )
    premixup_weight: float = setting(0.5, "Weight of ReMixMatch's loss on a strong view before MixUp.", low=0)
    rotation_weight: float = setting(0.5, "Weight of ReMixMatch's rotation loss.", low=0)

    def _check(self) -> None:
        generational = self.method in GENERATIONAL_METHODS
        if self.generations > 1 and not generational:
            raise ValueError(
                f"--generations={self.generations} needs --method={' or '.join(GENERATIONAL_METHODS)}, "
                f"got --method={self.method}"
            )
        works_on_pseudo_labels = METHODS[self.method].pseudo_label or METHODS[self.method].refined or generational
        if self.base == "supervised" and works_on_pseudo_labels:
            raise ValueError(
                f"--method={self.method} works on pseudo-labels, which --base=supervised does not make: "
                f"use --method=none, la or udal with it, or --base={' or '.join(PSEUDO_LABELLING_BASES)}"
            )
        self._check_unlabeled_prior()

    def _check_unlabeled_prior(self) -> None:
        shown = f"--unlabeled_prior={','.join(self.unlabeled_prior)}"
        if self.unlabeled_prior == (LABELED,):
            return
        if self.unlabeled_prior not in ((ESTIMATE,), (UNIFORM,)):
            try:
                class_shares.checked(self.unlabeled_prior)
            except ValueError as error:
                raise ValueError(f"--unlabeled_prior must be {_PRIORS}: {error}") from error
        places = METHODS[self.method]
        if self.base == "supervised":
            raise ValueError(f"{shown} has no effect with --base=supervised, which sees no unlabelled pictures")
        if not (places.unlabeled or places.pseudo_label or places.refined):
            using = ", ".join(name for name, p in METHODS.items() if p.unlabeled or p.pseudo_label or p.refined)
            raise ValueError(
                f"{shown} has no effect with --method={self.method}, which aligns nothing to the unlabelled pictures' "
                f"distribution: leave it out, or use one of {using}"
            )


@dataclasses.dataclass(frozen=True)
class DarpConfig(_Section):
    """DARP's refinement of pseudo-labels (Kim et al. 2020), for --method=darp."""

    darp_warmup: float = setting(0.4, "Part of the run before pseudo-labels are refined.", low=0, high=1)
    darp_every: int = setting(10, "Steps from one refinement to the next.", low=1)
    darp_delta: float = setting(
        2.0, "δ: a class keeps its δ · total most confident entries before the refinement.", above=0
    )
    darp_prior: tuple = setting(
        (),
        "What DARP alone takes for the class distribution of the unlabelled pictures, one share per class, "
        "comma-separated; none: as --unlabeled_prior; `estimate`: estimated before training, from how a model of half "
        "the labels predicts the other half.",
    )

    def _check(self) -> None:
        if self.darp_prior == (ESTIMATE,):
            return
        try:
            shares = [float(share) for share in self.darp_prior]
        except ValueError as error:
            raise ValueError(f"--darp_prior must be numbers or estimate, got {','.join(self.darp_prior)!r}") from error
        if any(not share >= 0 for share in shares) or (shares and not 0 < sum(shares) < math.inf):
            raise ValueError(f"--darp_prior must be shares of a positive sum, got {','.join(self.darp_prior)!r}")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(_Section):
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
class TrainConfig(_Section):
    """How long, how much at a time, and where the results go."""

    epochs: int = setting(64, "Epochs; α_t moves once per epoch.", low=1)
    steps_per_epoch: int = setting(1024, "Training steps that count as one epoch.", low=1)
    batch_size: int = setting(64, "Labelled pictures per step, over all devices.", low=1)
    unlabeled_ratio: int = setting(7, "Unlabelled pictures per labelled one in a step.", low=1)
    eval_batch_size: int = setting(100, "Pictures per evaluation step.", low=1, identity=False)
    seed: int = setting(
        0, "Seed of the initial weights, the order of the pictures and their views.", low=0, high=4_000_000
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
class DeviceConfig(_Section):
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
        "pictures that lie on the device, for data that fits there.",
        choices=("host", "device"),
        identity=False,
    )
    threads: int = setting(0, "Threads for TensorFlow; 0: the cores that this process may use.", low=0, identity=False)

    def _check(self) -> None:
        if self.tpu and self.strategy != "auto":
            raise ValueError(f"--tpu={self.tpu} is a strategy of its own: leave out --strategy={self.strategy}")


SECTIONS = {
    "data": DataConfig,
    "augment": AugmentConfig,
    "model": ModelConfig,
    "method": MethodConfig,
    "darp": DarpConfig,
    "optimizer": OptimizerConfig,
    "train": TrainConfig,
    "device": DeviceConfig,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of one run; `resolve` makes it, `to_dict` and `from_dict` carry it through `config.json`."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    method: MethodConfig = dataclasses.field(default_factory=MethodConfig)
    darp: DarpConfig = dataclasses.field(default_factory=DarpConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    device: DeviceConfig = dataclasses.field(default_factory=DeviceConfig)

    def __post_init__(self) -> None:
        if self.darp.darp_prior and self.method.unlabeled_prior != (LABELED,):
            raise ValueError(
                f"--darp_prior={','.join(self.darp.darp_prior)} and "
                f"--unlabeled_prior={','.join(self.method.unlabeled_prior)} both state the unlabelled pictures' "
                "distribution: leave one out (DARP takes that of --unlabeled_prior where it has none of its own)"
            )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain nested dict, JSON-ready: section -> field -> value."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, nested: Mapping[str, Mapping[str, Any]]) -> "Config":
        """The inverse of `to_dict`. Raises ValueError for an unknown section or field and for a bad value."""
        flat: dict[str, Any] = {}
        for section, values in nested.items():
            if section not in SECTIONS:
                raise ValueError(f"unknown config section {section!r}; expected {', '.join(SECTIONS)}")
            flat.update(values)
        return _build(flat)


def section_fields() -> dict[str, dataclasses.Field]:
    """Every setting's field by its name, in the order of the sections; the names are unique over all sections."""
    return {field.name: field for section in SECTIONS.values() for field in dataclasses.fields(section)}


def _build(values: Mapping[str, Any]) -> Config:
    unknown = sorted(set(values) - set(section_fields()))
    if unknown:
        raise ValueError(f"unknown setting {', '.join(unknown)}; `python run.py --help` lists all")
    sections = {}
    for name, section in SECTIONS.items():
        own = {field.name for field in dataclasses.fields(section)}
        sections[name] = section(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key in own}
        )
    return Config(**sections)


def resolve(given: Mapping[str, Any], facts: FolderFacts | None = None) -> Config:
    """The full settings for what a user gave: defaults < base preset < dataset recipe < method preset < given.

    Args:
      given: setting name -> value, only what the user stated.
      facts: about the pictures in --data_dir, for --dataset=folder, whose recipe they complete; `data.settings.resolve`
        looks at the folder and then calls this. Without them the recipe is one for any folder.

    Returns:
      Config; `workdir` is filled in where it was not given.

    Raises:
      ValueError: naming the flag, the value that came and what is allowed.
    """
    fields = section_fields()

    def chosen(name: str, table: Mapping[str, Any]) -> str:
        value = given.get(name, fields[name].default)
        if value not in table:
            raise ValueError(f"--{name} must be {_allowed(fields[name].metadata)}, got {value!r}")
        return value

    dataset, base, method = chosen("dataset", RECIPES), chosen("base", BASE_PRESETS), chosen("method", METHODS)
    recipe = RECIPES[dataset] | (folder_recipe(facts, given) if facts else {})
    by_protocol = recipe.pop("protocols", {})
    protocol = by_protocol.get(given.get("protocol", "crest"), {})
    by_base = recipe.pop("bases", {}).get(base, {})
    by_method = METHOD_PRESETS.get((base, method), {}) | recipe.pop("methods", {}).get(method, {})
    values = {**BASE_PRESETS[base], **recipe, **protocol, **by_base, **by_method, **given}
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
        return class_shares.read(given[0])
    except ValueError as error:
        raise ValueError(f"--unlabeled_prior must be {_PRIORS}: {error}") from error


def _default_workdir(config: Config) -> str:
    data, method, train = config.data, config.method, config.train
    beta = f"_b{data.beta:g}" if data.protocol == "crest" else "_darp"
    pictures = f"{data.dataset}_g{data.imbalance:g}"
    if data.dataset == "folder":
        pictures = "_".join(filter(None, (data.dataset, pathlib.PurePath(data.data_dir).name)))
    what = f"{pictures}{beta}_{method.base}_{method.method}_fold{data.fold}"
    if method.unlabeled_prior != (LABELED,):
        what += f"_prior_{method.unlabeled_prior[0] if len(method.unlabeled_prior) == 1 else 'stated'}"
    return f"runs/{what}" + (f"_seed{train.seed}" if train.seed else "")


def differences(ours: Config, theirs: Config) -> list[str]:
    """`--name: theirs, not ours` for each setting of the run's identity in which two configs differ."""
    mine, other = ours.to_dict(), theirs.to_dict()
    fields = section_fields()
    return [
        f"--{name}: {other[section][name]} there, {mine[section][name]} here"
        for section in mine
        for name in mine[section]
        if fields[name].metadata["identity"] and mine[section][name] != other[section][name]
    ]


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag per setting. Unset flags stay None, so that a recipe can fill them in."""
    for name, field in section_fields().items():
        meta = field.metadata
        allowed = _allowed(meta)
        help_text = meta["help"] + (f" ({allowed})" if allowed != "finite" else "")
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
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    try:
        rest = flag_values(["run.py", *arguments])[1:]
    except (flags.Error, OSError) as error:
        raise ValueError(str(error)) from error
    if rest:
        raise ValueError(f"unexpected argument {rest[0]!r}: settings are flags, --name=value")
    return given_in(flag_values)
