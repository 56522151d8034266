"""The sections of settings that every run has: frozen dataclasses, validated on construction.

What holds this file together: it is the table of these settings, one field each, with its default, allowed values and
help text. How they are resolved is in `config.py`; those of one particular dataset, base learner, method or backbone
are in `udal_tf.records`.
"""

import dataclasses
import fractions
import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from udal_tf import class_distribution
from udal_tf.class_distribution import ESTIMATE, LABELED, UNIFORM
from udal_tf.registry import BACKBONES, BASE_LEARNERS, DATASETS, METHODS, Names, Table
from udal_tf.settings import Section, bad_text, setting

# What messages call the values of --unlabeled_prior.
PRIORS = f"{LABELED}, {ESTIMATE}, {UNIFORM}, or a file or list of class proportions"
# The values of --pretrained for random initial weights, and for those that Keras publishes.
NO_WEIGHTS = "none"
IMAGENET = "imagenet"
# Its other kinds of values: a file of weights or a whole Keras model, by its suffix; any other path is a run's folder.
WEIGHT_FILE = "file"
WORK_FOLDER = "workdir"
_WEIGHT_SUFFIXES = (".h5", ".keras")
# The value of --freeze that trains nothing but the heads.
FROZEN_BACKBONE = "backbone"
# The values of --unlabeled_shape (`udal_tf.data.longtail.unlabeled_counts`).
UNLABELED_SHAPES = ("same", "uniform", "reversed", "middle", "head-tail")
# Far above what anybody trains, so that a mistyped number is refused by name instead of exhausting the memory.
MOST_IMAGES = 100_000_000
MOST_STEPS = 100_000_000
LARGEST_BATCH = 65_536
LARGEST_UNLABELED_BATCH = 1_048_576
# Of --unlabeled_curriculum.
MOST_BATCH_SIZES = 8
# Digits of a step, which hide that a product is 3.0000000000000004.
_STEP_DIGITS = 6

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


def network_of_weights(pretrained: str) -> str:
    """The --arch for published weights where none is given: by the value of --pretrained; "" for any network.

    Of the networks with published weights the one that is downloaded is the fastest on CPUs.
    """
    if pretrained == IMAGENET:
        return "mobilenetv3small"
    return "keras_resnet50" if pretrained.endswith(".h5") else ""


def pretrained_kind(value: str) -> str:
    """What a value of --pretrained names, by its form alone: NO_WEIGHTS, IMAGENET, WEIGHT_FILE or WORK_FOLDER."""
    if value in (NO_WEIGHTS, IMAGENET):
        return value
    return WEIGHT_FILE if value.endswith(_WEIGHT_SUFFIXES) else WORK_FOLDER


def _names(table: Table) -> Any:
    return lambda: Names.of(table)


@dataclasses.dataclass(frozen=True)
class DataConfig(Section):
    """The dataset: which images, how long-tailed they are, and which of them are labeled (§4.2)."""

    dataset: str = setting("digitslt", "Dataset; each has its own recipe.", choices=_names(DATASETS))
    data_dir: str = setting("", "Folder with the dataset's files (default: ~/tensorflow_datasets).", identity=False)
    protocol: str = setting(
        "crest",
        "How labeled images are chosen: `crest` labels a fraction --beta of each class, selected at random by --fold; "
        "`darp` labels the first images of each class, N_1 of the largest, and takes further ones, M_1 of the largest, "
        "as unlabeled (Table 3).",
        choices=("crest", "darp"),
    )
    imbalance: float = setting(100.0, "Imbalance ratio γ = N_1 / N_C; 1: balanced classes.", low=1)
    beta: float = setting(0.1, "Fraction β of each class that is labeled (protocol crest).", above=0, high=1)
    fold: int = setting(1, "Random selection of labeled images; the paper averages folds 1 to 5.", low=1, high=5)
    n1: int = setting(
        5000, "N_1, number of images of the largest class (protocol darp: of labeled ones).", low=1, high=MOST_IMAGES
    )
    m1: int = setting(
        3000, "M_1, number of unlabeled images of the largest class (protocol darp only).", low=1, high=MOST_IMAGES
    )
    imbalance_u: float = setting(
        0.0, "Imbalance ratio of the unlabeled images (protocol darp only); 0: same as --imbalance.", low=0
    )
    unlabeled_shape: str = setting(
        "same",
        "Class sizes of the unlabeled images (protocol darp only): the same order as the labeled ones, M_1 images of "
        "every class, the reversed order, or an order in which the classes in the middle, or those at both ends, are "
        "the largest.",
        choices=UNLABELED_SHAPES,
    )
    draw: str = setting(
        "seed0", "How the long-tailed set is subsampled: seed<k>, at random, or first_n, each class's first images."
    )
    validation: float = setting(
        0.0,
        "Fraction of the labeled images of each class, selected at random by --fold, that are held from training to "
        "choose the best epoch by; one of each class stays in training, so a class with one label has none. 0: none; "
        "then the test images choose it, or val/ in a custom dataset.",
        low=0,
        high=0.9,
    )
    split_manifest: str = setting(
        "", "A split_manifest.json written by udal_tf.commands.crest_export: use exactly its images."
    )
    image_size: int = setting(
        0, "Image size in pixels, for datasets of images of any size; 0: the dataset's default.", low=0, high=8192
    )
    skip_bad_images: bool = setting(
        False, "Skip and count images that cannot be read; for datasets of image files or of encoded images."
    )
    images: str = setting(
        "",
        "Summary of the images when the run starts (folder, tfds, data in memory): set automatically; a run resumes "
        "only with the same images.",
    )
    cache_dir: str = setting("", "Folder for cached indices and images (default: ~/.cache/udal_tf).", identity=False)

    def _check(self) -> None:
        if not re.fullmatch(r"first_n|seed\d+", self.draw):
            raise ValueError(f"--draw must be first_n or seed<k> (seed0, seed1, …), got {self.draw!r}")
        if 0 < self.imbalance_u < 1:
            raise ValueError(f"--imbalance_u must be 0 or at least 1, got {self.imbalance_u:g}")
        if self.protocol != "darp" and (self.imbalance_u or self.unlabeled_shape != "same"):
            raise ValueError("--imbalance_u and --unlabeled_shape need --protocol=darp; crest splits one set into both")
        if self.unlabeled_shape == "uniform" and self.imbalance_u > 1:
            raise ValueError(
                f"--unlabeled_shape=uniform has no imbalance: leave out --imbalance_u={self.imbalance_u:g}"
            )


@dataclasses.dataclass(frozen=True)
class AugmentConfig(Section):
    """The weak view (pad, crop, flip) and the strong view (weak, then RandAugment, then cutout)."""

    crop: str = setting(
        "pad",
        "Crop of the weak view: `pad` pads by reflection and crops back to size, `resized` is a random resized crop "
        "(ImageNet).",
        choices=("pad", "resized"),
    )
    crop_padding: int = setting(4, "Pixels of reflect padding before the random crop (--crop=pad).", low=0, high=4096)
    flip: bool = setting(True, "Randomly flip images horizontally.")
    strong_ops: tuple = setting(RANDAUGMENT_OPS, "RandAugment operations, comma-separated.", choices=RANDAUGMENT_OPS)
    strong_layers: int = setting(2, "Number of RandAugment operations sampled per image.", low=0, high=100)
    strong_probability: float = setting(0.5, "Probability of applying each sampled operation.", low=0, high=1)
    max_translation: float = setting(
        10 / 32,
        "RandAugment's maximum translation as a fraction of the image size: 10 of 32 pixels, as in CReST.",
        low=0,
        high=1,
    )
    cutout: float = setting(0.5, "Side of the cutout square relative to the image's; 0: none.", low=0, high=1)

    def _check(self) -> None:
        if self.strong_layers and not self.strong_ops:
            raise ValueError("--strong_ops must name at least one operation while --strong_layers > 0, got none")


@dataclasses.dataclass(frozen=True)
class ModelConfig(Section):
    """The network, its initial weights and its batch norm."""

    arch: str = setting(
        "wrn",
        "Network: a Wide ResNet; `resnet50`, ResNet-50 as FixMatch trains it on ImageNet; or, for large images, a "
        "network of Keras Applications, whose own ResNet-50 is `keras_resnet50`.",
        choices=_names(BACKBONES),
    )
    pretrained: str = setting(
        NO_WEIGHTS,
        "Initial weights: `none`, random; `imagenet`, those that Keras publishes for a network of Keras Applications, "
        "downloaded once into $KERAS_HOME/models (the only value that downloads anything); a FILE, .weights.h5 or .h5 "
        "(without the top layer) or .keras (a whole network); or the --workdir of a finished run with the same "
        "network, whose last layer is taken over for classes of the same name.",
    )
    pretrained_sha256: str = setting(
        "",
        "SHA-256 of what --pretrained names: set automatically; a run resumes only with the same initial weights.",
    )
    pixels: str = setting(
        "auto",
        "Pixels that the network is given: `published`, as the published weights of a Keras Applications network "
        "expect them; `plain`, from -1 to 1; `auto`, published with --pretrained=imagenet or a file, else plain, and "
        "as in its own run with a work folder.",
        choices=("auto", "plain", "published"),
    )
    freeze: str = setting(
        "none",
        "Weights that stay as --pretrained gives them: `none`, or `backbone`, all but the heads; the backbone then "
        "runs in inference mode and no gradient is computed for it, so a step is several times cheaper.",
        choices=("none", FROZEN_BACKBONE),
    )
    batch_norm_momentum: float = setting(0.999, "Momentum of batch norm's moving statistics.", low=0, high=1)
    sync_batch_norm: bool = setting(False, "Compute batch norm statistics over all replicas instead of per replica.")

    def _check(self) -> None:
        kind = self.pretrained_kind
        if kind == NO_WEIGHTS and self.freeze == FROZEN_BACKBONE:
            raise ValueError(
                f"--freeze={FROZEN_BACKBONE} needs --pretrained: a backbone with random weights would stay random"
            )
        published = kind == IMAGENET or self.pretrained.endswith(".h5") and not self.pretrained.endswith(".weights.h5")
        if published and not BACKBONES[self.arch].keras_name:
            with_weights = "|".join(name for name, backbone in BACKBONES.items() if backbone.keras_name)
            hint = "; Keras's weights of ResNet-50 are for --arch=keras_resnet50" if self.arch == "resnet50" else ""
            value = f"={IMAGENET}" if kind == IMAGENET else ""
            raise ValueError(f"--pretrained{value} needs --arch={with_weights}, got --arch={self.arch}{hint}")

    @property
    def pretrained_kind(self) -> str:
        """`pretrained_kind` of --pretrained."""
        return pretrained_kind(self.pretrained)

    @property
    def published_pixels(self) -> bool:
        """Whether a network of Keras Applications is given the pixels that its published weights expect."""
        return self.pixels == "published" or (self.pixels == "auto" and self.pretrained_kind in (IMAGENET, WEIGHT_FILE))

    @property
    def frozen(self) -> bool:
        """Whether nothing but the heads is trained."""
        return self.freeze == FROZEN_BACKBONE


@dataclasses.dataclass(frozen=True)
class MethodConfig(Section):
    """The base learner, where distributions are aligned, and how strongly (§3.1)."""

    base: str = setting("fixmatch", "Base learner that the method builds on.", choices=_names(BASE_LEARNERS))
    method: str = setting("udal", "Method: where and how class distributions are aligned.", choices=_names(METHODS))
    alpha_min: float = setting(0.1, "α_min of Eq. 10, the final α: 1 gives p̃ = p_data, 0 a uniform p̃.", low=0, high=1)
    k: float = setting(2.0, "k of Eq. 10: the larger, the later α_t falls; 0 keeps it at α_min (Figure 3c).", low=0)
    threshold: float = setting(0.95, "Confidence threshold for pseudo-labels.", low=0, high=1)
    temperature: float = setting(0.0, "Temperature for sharpening soft pseudo-labels; 0: hard pseudo-labels.", low=0)
    joint_forward: bool = setting(
        True,
        "Forward labeled, weak and strong views together, as in CReST; false: forward the weak views separately, "
        "without gradient (FixMatch, ReMixMatch), which is faster but changes the batch norm statistics.",
    )
    unlabeled_weight: float = setting(1.0, "Weight of the unlabeled loss.", low=0)
    unlabeled_ramp: float = setting(
        0.0, "Fraction of the run over which the unlabeled loss ramps up from 0; CReST uses 0.", low=0, high=1
    )
    la_prior: str = setting(
        "labeled",
        "Class prior that LA (Inf) removes from the logits in evaluation: p_data, CReST's moving average of the labels "
        "in each batch, or the current target p̃.",
        choices=("labeled", "label_average", "target"),
    )
    unlabeled_prior: tuple = setting(
        (LABELED,),
        "Assumed class distribution of the unlabeled images (the labeled ones are among them), from which the target "
        "p̃ is computed: `labeled`, p_data, as in the paper; `estimate`, estimated during training; `uniform`; or a "
        "FILE, JSON or one line per class, with a proportion per class in class order, or class names with their "
        "proportions (or the proportions themselves, comma-separated).",
    )

    def _check(self) -> None:
        bases = METHODS[self.method].bases
        if bases and self.base not in bases:
            raise ValueError(f"--method={self.method} needs --base={' or '.join(bases)}, got --base={self.base}")
        if METHODS[self.method].needs_pseudo_labels and not BASE_LEARNERS[self.base].pseudo_labels:
            without = [name for name, method in METHODS.items() if not method.needs_pseudo_labels]
            making = [name for name, base in BASE_LEARNERS.items() if base.pseudo_labels]
            raise ValueError(
                f"--method={self.method} needs pseudo-labels, which --base={self.base} does not use: "
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
                raise ValueError(f"--unlabeled_prior must be {PRIORS}: {error}") from error
        if BASE_LEARNERS[self.base].unlabeled_views == 0:
            raise ValueError(f"{shown} has no effect with --base={self.base}, which uses no unlabeled images")
        if not METHODS[self.method].needs_unlabeled_prior:
            using = ", ".join(name for name, method in METHODS.items() if method.needs_unlabeled_prior)
            raise ValueError(
                f"{shown} has no effect with --method={self.method}, which does not use the unlabeled images' "
                f"class distribution: leave it out, or use one of {using}"
            )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(Section):
    """The optimizer, its learning-rate schedule, weight decay and the EMA weights."""

    optimizer: str = setting(
        "sgd",
        "Optimizer: SGD with Nesterov momentum; Adam; Adam with decoupled weight decay (adamw), as in DARP's release; "
        "or Adam after which everything in the network shrinks (adam_shrink), as in ABC's and CDMAD's releases.",
        choices=("sgd", "adam", "adamw", "adam_shrink"),
    )
    learning_rate: float = setting(0.03, "Base learning rate.", above=0)
    schedule: str = setting(
        "half_cosine",
        "Learning-rate schedule; `steps` is piecewise constant, as in FixMatch for ImageNet.",
        choices=("half_cosine", "steps", "cosine", "linear", "constant"),
    )
    schedule_level: float = setting(
        1.0, "N of half_cosine, cos(π·N/16·progress): 1 in CReST, 7 in FixMatch.", low=0, high=8
    )
    warmup: float = setting(
        0.0, "Fraction of the run over which the learning rate warms up from 0, with any schedule.", low=0, high=1
    )
    schedule_boundaries: tuple = setting(
        ("1/6", "1/3", "1/2", "2/3", "5/6"),
        "When --schedule=steps lowers the learning rate: increasing fractions of the run, comma-separated, such as "
        "0.5 or 1/2.",
    )
    schedule_decay: float = setting(
        0.1, "Factor that multiplies the learning rate at each of --schedule_boundaries.", above=0, high=1
    )
    momentum: float = setting(0.9, "Nesterov momentum of --optimizer=sgd.", low=0, high=1)
    weight_decay: float = setting(
        5e-4,
        "Weight decay of all parameters except batch norm's: the coefficient of Σw²/2 in the loss; with "
        "--optimizer=adamw it is decoupled, and each step subtracts learning rate × weight decay × w; with adam_shrink "
        "each step does so in the end, after the EMA's update, batch norm and its moving statistics included.",
        low=0,
    )
    ema_decay: float = setting(0.999, "Decay of the exponential moving average (EMA) of the weights.", low=0, high=1)
    ema_warmup: bool = setting(
        False,
        "Let the EMA forget the initial weights: its decay after t steps is the smaller of --ema_decay and "
        "(1 + t) / (10 + t). For short runs; CReST has none.",
    )

    @property
    def boundaries(self) -> tuple[Any, ...]:
        """--schedule_boundaries as exact numbers, `fractions.Fraction`: 0.1 is exactly 1/10."""
        return tuple(fractions.Fraction(str(boundary)) for boundary in self.schedule_boundaries)

    def _check(self) -> None:
        shown = ",".join(map(str, self.schedule_boundaries))
        try:
            boundaries = self.boundaries
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(f"--schedule_boundaries must be numbers such as 0.5 or 1/2, got {shown!r}") from error
        if any(not 0 < boundary < 1 for boundary in boundaries) or list(boundaries) != sorted(set(boundaries)):
            raise ValueError(f"--schedule_boundaries must be increasing and between 0 and 1, got {shown!r}")
        if self.schedule == "steps" and not boundaries:
            raise ValueError("--schedule=steps needs at least one of --schedule_boundaries, got none")


@dataclasses.dataclass(frozen=True)
class TrainConfig(Section):
    """Length of the run, batch sizes, and where the results go."""

    epochs: int = setting(64, "Number of epochs; α_t changes once per epoch.", low=1, high=10_000_000)
    steps_per_epoch: int = setting(1024, "Training steps per epoch.", low=1, high=MOST_STEPS)
    batch_size: int = setting(64, "Labeled images per step, over all devices.", low=1, high=LARGEST_BATCH)
    unlabeled_ratio: int = setting(7, "Unlabeled images per labeled image in a step.", low=1, high=10_000)
    unlabeled_curriculum: bool = setting(
        False,
        "Begin with one unlabeled image per labeled one in a step and grow to --unlabeled_ratio, which trains on fewer "
        "images in all (curriculum batch size of Fast FixMatch).",
    )
    curriculum_alpha: float = setting(
        0.7,
        "α of --unlabeled_curriculum: after a fraction p of the run, the part of the unlabeled batch is "
        "1 − (1 − p)/(1 − α + α·(1 − p)); 0 grows linearly, and the larger, the later it grows.",
        low=0,
        high=0.99,
    )
    eval_batch_size: int = setting(100, "Images per evaluation batch.", low=1, high=LARGEST_BATCH, identity=False)
    patience: int = setting(
        0,
        "Stop after so many epochs without a better balanced accuracy on the validation images (--validation, or val/ "
        "in a custom dataset); 0: train all epochs.",
        low=0,
        high=10_000_000,
    )
    seed: int = setting(
        0, "Seed for the initial weights, the order of the images and their augmentation.", low=0, high=4_000_000
    )
    on_nan: str = setting(
        "stop",
        "If the loss is not finite: `stop`, or `rollback` to the last checkpoint and resume without that batch.",
        choices=("stop", "rollback"),
        identity=False,
    )
    max_rollbacks: int = setting(
        3, "Maximum number of rollbacks with --on_nan=rollback.", low=1, high=1_000_000, identity=False
    )
    workdir: str = setting("", "Folder for the results (default: runs/<name of the run>).", identity=False)
    show_settings: bool = setting(
        False,
        "Print every setting when the run starts, not only those that differ from the recipe; config.json has all.",
        identity=False,
    )
    checkpoint_minutes: float = setting(
        10.0, "Minutes between checkpoints within an epoch; each epoch ends with one anyway.", above=0, identity=False
    )
    deterministic: bool = setting(
        True, "Use only bit-reproducible kernels; false may be faster on GPUs, but then a resumed run may differ."
    )

    def _check(self) -> None:
        if fault := bad_text(self.workdir):  # TensorFlow writes there, which takes no other names.
            raise ValueError(f"--workdir must be {fault}, got {self.workdir!r:.60}")
        if self.unlabeled_batch_size > LARGEST_UNLABELED_BATCH:
            raise ValueError(
                f"--batch_size={self.batch_size} and --unlabeled_ratio={self.unlabeled_ratio} make "
                f"{self.unlabeled_batch_size:,} unlabeled images per step; the most is {LARGEST_UNLABELED_BATCH:,}"
            )
        if self.unlabeled_curriculum and self.unlabeled_ratio == 1:
            raise ValueError("--unlabeled_curriculum needs --unlabeled_ratio of at least 2, to which it grows, got 1")

    @property
    def unlabeled_ratios(self) -> tuple[tuple[int, int], ...]:
        """(first step, unlabeled images per labeled one from there on), in order; one pair without a curriculum.

        The sizes are few, so that a step is compiled a few times: each ratio up to MOST_BATCH_SIZES, or so many equal
        steps. A step has the smallest that the curriculum's formula fits in.

        Source: Chen, Dun and Kyrillidis 2023, Fast FixMatch (arXiv 2309.03469), its bounded exponential curriculum.
        """
        if not self.unlabeled_curriculum:
            return ((0, self.unlabeled_ratio),)
        most, total, alpha = self.unlabeled_ratio, self.total_steps, self.curriculum_alpha
        count = min(most, MOST_BATCH_SIZES)
        ratios = [-(-most * number // count) for number in range(1, count + 1)]
        found = [(0, ratios[0])]
        for before, ratio in itertools.pairwise(ratios):
            # The inverse of the formula: the part of the run that is left when it gives `before`.
            rest = 1.0 - before / most
            left = rest * (1.0 - alpha) / (1.0 - alpha * rest)
            first = math.floor(round(total * (1.0 - left), _STEP_DIGITS)) + 1
            if first < total:
                found.append((first, ratio))
        return tuple(pair for pair, after in zip(found, [*found[1:], (total, 0)], strict=True) if pair[0] < after[0])

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def unlabeled_batch_size(self) -> int:
        return self.batch_size * self.unlabeled_ratio


@dataclasses.dataclass(frozen=True)
class DeviceConfig(Section):
    """Devices and numerical precision."""

    strategy: str = setting(
        "auto",
        "Devices: one_device, mirrored (all GPUs of this machine), multi_worker (the cluster in TF_CONFIG), or auto, "
        "which chooses among these by what is available.",
        choices=("auto", "one_device", "mirrored", "multi_worker"),
        identity=False,
    )
    tpu: str = setting("", "TPU to train on: its name, or `local` on a Cloud TPU VM.", identity=False)
    jit: bool = setting(
        False,
        "Compile the whole step, including augmentation, with XLA; always on for TPUs, and for "
        "--input=device on a GPU.",
    )
    precision: str = setting(
        "float32",
        "Compute precision of the network's layers; logits, losses and moving averages stay float32. float16 uses loss "
        "scaling.",
        choices=("float32", "bfloat16", "float16"),
    )
    input: str = setting(
        "host",
        "Where batches are made: `host`, by tf.data in parallel with training; `device`, inside the training loop from "
        "images held in device memory, for datasets that fit there.",
        choices=("host", "device"),
        identity=False,
    )
    threads: int = setting(
        0, "TensorFlow threads; 0: one per core available to this process.", low=0, high=4096, identity=False
    )

    def _check(self) -> None:
        if self.tpu and self.strategy != "auto":
            raise ValueError(f"--tpu={self.tpu} already selects a strategy: leave out --strategy={self.strategy}")


@dataclasses.dataclass(frozen=True)
class PluginConfig(Section):
    """Files that register custom datasets, base learners, methods and backbones (docs/extending.md)."""

    plugin: tuple = setting(
        (), "Python files, comma-separated, that register further datasets, methods and so on.", identity=False
    )
    plugin_sha256: tuple = setting(
        (), "SHA-256 of the --plugin files: set automatically; a run resumes only with the same code."
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
