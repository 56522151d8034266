"""What the paper, CReST and our own measurements fix per dataset, base learner, method and network: tables, no logic.

The paper's CIFAR10-LT recipe (§4.3) is the default of every setting in `config.py`; here is only what differs.
"""

import dataclasses
from typing import Any

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

# What α is at a place: Eq. 10's α_t, or 0 from the first step on (logit adjustment, Eq. 3).
SCHEDULED = "scheduled"
ZERO = "zero"


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a method aligns distributions, and with which α: SCHEDULED, ZERO, or "" for no alignment there.

    labeled: the logits of the labelled loss, Eq. 6. unlabeled: the logits of the unlabelled loss, Eq. 9.
    pseudo_label: the probabilities that pseudo-labels are made from, Eq. 1.
    refined: whether pseudo-labels are refined by DARP.
    """

    labeled: str = ""
    unlabeled: str = ""
    pseudo_label: str = ""
    refined: bool = False


METHODS = {
    "none": Places(),
    "udal": Places(labeled=SCHEDULED, unlabeled=SCHEDULED),
    "da": Places(pseudo_label=SCHEDULED),
    "da_la": Places(labeled=ZERO, pseudo_label=SCHEDULED),
    "la": Places(labeled=ZERO),
    "hybrid": Places(labeled=SCHEDULED, pseudo_label=SCHEDULED),
    "crest": Places(),
    "crest+": Places(pseudo_label=SCHEDULED),
    "darp": Places(refined=True),
    "da_darp": Places(pseudo_label=SCHEDULED, refined=True),
}
# Trained in generations, each on the labelled set that the one before has grown.
GENERATIONAL_METHODS = ("crest", "crest+")

# α_min 0.5 is Table 1's for DA; Eq. 4's straight line (k = 1) is CReST's for it.
_DA = {"alpha_min": 0.5, "k": 1.0}
# CReST's LA (Inf) takes away its moving average of label batches, which follows the grown labeled set, not p_data.
_CREST = {"generations": 6, "alpha_min": 0.5, "la_prior": "label_average"}
# Alignment to p_data itself: ReMixMatch as it was published, also beneath DARP.
_FIXED_DA = {"alpha_min": 1.0}
_BY_METHOD = {"da": _DA, "da_la": _DA, "crest": _CREST, "crest+": _CREST, "da_darp": _FIXED_DA}
PSEUDO_LABELLING_BASES = ("fixmatch", "mixmatch", "remixmatch")
METHOD_PRESETS = {
    **{(base, method): preset for base in PSEUDO_LABELLING_BASES for method, preset in _BY_METHOD.items()},
    ("remixmatch", "da"): _FIXED_DA,
}

BASE_PRESETS = {
    "fixmatch": {},
    # §4.3: 128 epochs and α_min 0.5; temperature, weight and ramp (16,384 of 131,072 steps) are MixMatch's own.
    "mixmatch": {
        "alpha_min": 0.5,
        "epochs": 128,
        "unlabeled_ratio": 1,
        "threshold": 0.0,
        "temperature": 0.5,
        "unlabeled_weight": 75.0,
        "unlabeled_ramp": 0.125,
    },
    # As MixMatch, with the weights of its own release; cross-entropy throughout, so α_min is FixMatch's.
    "remixmatch": {
        "epochs": 128,
        "unlabeled_ratio": 1,
        "threshold": 0.0,
        "temperature": 0.5,
        "unlabeled_weight": 1.5,
        "unlabeled_ramp": 0.125,
    },
    "supervised": {},
}


@dataclasses.dataclass(frozen=True)
class Application:
    """A backbone of Keras Applications.

    keras_name: its function's. pixels: the convention that its published weights expect: "caffe" (blue first, 0…255
    less ImageNet's mean), "torch" (ImageNet's mean and standard deviation), "tf" (−1…1), or "own", where the network
    itself scales 0…255. smallest_side: of the pictures that it takes.
    """

    keras_name: str
    pixels: str
    smallest_side: int = 32


# Its own ResNet-50 goes by `keras_resnet50`; plain `resnet50` is `models/resnet.py`.
# EfficientNet's first version is left out: its published weights need a scaling that Keras adds only when it downloads
# them itself.
APPLICATIONS = {
    "keras_resnet50": Application("ResNet50", "caffe"),
    "resnet101": Application("ResNet101", "caffe"),
    "resnet50v2": Application("ResNet50V2", "tf"),
    "densenet121": Application("DenseNet121", "torch"),
    "mobilenetv2": Application("MobileNetV2", "tf"),
    "mobilenetv3small": Application("MobileNetV3Small", "own"),
    "mobilenetv3large": Application("MobileNetV3Large", "own"),
    "efficientnetv2b0": Application("EfficientNetV2B0", "own"),
    "efficientnetv2s": Application("EfficientNetV2S", "own"),
    "xception": Application("Xception", "tf", 71),
    "inceptionv3": Application("InceptionV3", "tf", 75),
}

# "protocols", "bases" and "methods": settings for one protocol, base learner or method only; the last of them win over
# the method's own preset.
_CIFAR_DARP = {"n1": 1500, "m1": 3000}
# Table 4 prints CReST+ after 2,000, 4,000 and 6,000 epochs: three generations. The selection's exponent is 0.7
# (BUILD_NOTES.md: both readings of a public configuration).
_IMAGENET_CREST = {"generations": 3, "epochs": 2000, "select_alpha": 1 / 0.7}

RECIPES: dict[str, dict[str, Any]] = {
    "digitslt": {
        "imbalance": 12.0,
        "n1": 120,
        "depth": 10,
        "width": 1,
        "batch_norm_momentum": 0.95,
        "batch_size": 32,
        "unlabeled_ratio": 4,
        "epochs": 20,
        "steps_per_epoch": 50,
        "ema_decay": 0.99,
        "crop_padding": 1,
        "flip": False,
        # No translation: 10/32 of 8 pixels moves strokes out of the picture.
        "strong_ops": ("Rotate", "ShearX", "ShearY", "Contrast", "Brightness"),
        "strong_probability": 1.0,
        "cutout": 0.375,
        "protocols": {"darp": {"n1": 40, "m1": 80}},
        # At 0.95 the class with one label hardly ever gets a pseudo-label.
        "bases": {"fixmatch": {"threshold": 0.8}},
    },
    "cifar10lt": {"protocols": {"darp": _CIFAR_DARP}},
    "cifar100lt": {"n1": 500, "protocols": {"darp": {"n1": 150, "m1": 300}}},
    # Small enough for two cores; the paper's network and length are --depth=28 --width=2 --epochs=64
    # --steps_per_epoch=1024 --batch_size=64 --unlabeled_ratio=7 --batch_norm_momentum=0.999 --ema_decay=0.999
    # --schedule_level=1.
    "fashionlt": {
        "n1": 6000,
        "depth": 10,
        "width": 1,
        "batch_norm_momentum": 0.95,
        "batch_size": 16,
        "unlabeled_ratio": 4,
        "epochs": 12,
        "steps_per_epoch": 100,
        # 1,200 steps at an almost constant rate leave the raw weights unsettled; FixMatch's own level falls to 0.195.
        "schedule_level": 7.0,
        "ema_decay": 0.99,
        "crop_padding": 3,
        "protocols": {"darp": _CIFAR_DARP},
    },
    # Epochs and α: §4.4.2, an epoch being one pass of the 128 thousand labeled images. The rest, which the paper leaves
    # open, from the ImageNet part of FixMatch's release, whose command for 10 % of the labels counts epochs in the same
    # way: 3,000, the first 50 of warm-up, ×0.1 every 500; here in proportion to the length.
    "imagenet127": {
        "imbalance": 286.0,
        "arch": "resnet50",
        "batch_norm_momentum": 0.9,
        "crop": "resized",
        "max_translation": 100 / 224,
        "cutout": 0.0,
        "alpha_min": 0.5,
        "batch_size": 256,
        "unlabeled_ratio": 5,
        "bases": {"fixmatch": {"threshold": 0.7, "unlabeled_weight": 10.0}},
        "methods": {"crest": _IMAGENET_CREST, "crest+": _IMAGENET_CREST},
        # For 256 labeled images a step; FixMatch's grows in proportion to their number.
        "learning_rate": 0.1,
        "schedule": "steps",
        "warmup": 50 / 3000,
        "schedule_boundaries": ("1/6", "1/3", "1/2", "2/3", "5/6"),
        "schedule_decay": 0.1,
        # FixMatch's 3e-4 multiplies Σw², ours Σw²/2.
        "weight_decay": 6e-4,
        "epochs": 1000,
        "steps_per_epoch": 501,
    },
    # For any folder; what lies in it completes this (folder_recipe.py).
    "folder": {
        "imbalance": 1.0,
        "beta": 1.0,
        "depth": 16,
        "batch_norm_momentum": 0.97,
        "batch_size": 32,
        "unlabeled_ratio": 4,
        "epochs": 30,
        "steps_per_epoch": 200,
        "ema_decay": 0.995,
    },
}
