"""The recipe of custom datasets and those of TFDS: settings that depend on the number and size of the images.

A pure function, the same on every machine, so that a run can be resumed anywhere. `config.resolve` applies it between
the dataset's recipe and the method's preset; `udal-inspect` recommends its settings.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

# From this short side on, a network for large images is used; below, a Wide ResNet.
LARGE_SIDE = 96
# Image sizes for a Wide ResNet: at least what its three groups need, at most what trains in reasonable time.
SMALLEST = 16
LARGEST = 64
STEP = 8
# Image sizes for a network for large images, in steps of its total stride.
SMALLEST_LARGE = 96
LARGEST_LARGE = 224
STEP_LARGE = 32
LARGE_ARCH = "resnet50"
# With --pretrained, for weights published by Keras.
PRETRAINED_ARCH = "keras_resnet50"
# The paper pads CIFAR's 32 pixels by 4.
PADDING_PER_SIDE = 4 / 32
# A class with fewer labels than this hardly ever gets a pseudo-label at FixMatch's own threshold (as on digits-LT).
FEW_LABELS = 5
LOW_THRESHOLD = 0.8
# From so many classes on, the settings of the next larger pool are used: the smallest networks are too narrow.
MANY_CLASSES = 50
# N_1 and M_1 of a recipe until the images have been looked at: as many as the classes are large enough for.
AS_MANY = 100_000_000


@dataclasses.dataclass(frozen=True)
class FolderFacts:
    """The facts that determine the recipe.

    classes: C.
    labeled: number of labeled images.
    smallest: labeled images of the smallest class.
    unlabeled: number of further training images.
    side: the median short side in pixels, 0 if unknown.
    one_size: whether all images are squares of this side.
    images: a one-line summary of the images, part of the run's identity.
    labels_sha256: of the CSV file with the labels, part of it, too; "" if folders give them.
    n1, m1: the largest N_1 and M_1 that the classes are large enough for; 0 for a dataset of sizes of its own.
    """

    classes: int
    labeled: int
    smallest: int
    unlabeled: int
    side: int
    one_size: bool
    images: str
    labels_sha256: str = ""
    n1: int = 0
    m1: int = 0


@dataclasses.dataclass(frozen=True)
class _Size:
    """The settings for up to `pool` training images. Averages must be short enough for a short run."""

    pool: float
    settings: Mapping[str, Any]


_SHORT = {"batch_norm_momentum": 0.95, "ema_decay": 0.99, "schedule_level": 7.0}
_LONGER = {"batch_norm_momentum": 0.99, "ema_decay": 0.999, "schedule_level": 7.0}
_ALL = float("inf")

_SMALL_IMAGES = (
    # On 4,196 gray images of 28 pixels a width of 2 was no better than 1 after 1,200 steps.
    _Size(5_000, {"depth": 10, "width": 1, "batch_size": 16, "epochs": 30, "steps_per_epoch": 75, **_SHORT}),
    _Size(20_000, {"depth": 10, "width": 2, "batch_size": 16, "epochs": 30, "steps_per_epoch": 150, **_SHORT}),
    _Size(50_000, {"depth": 16, "width": 2, "batch_size": 32, "epochs": 40, "steps_per_epoch": 250, **_LONGER}),
    # The paper's recipe for CIFAR (§4.3), which is the default of every setting.
    _Size(_ALL, {"depth": 28, "width": 2, "batch_size": 64, "unlabeled_ratio": 7, "epochs": 64,
                 "steps_per_epoch": 1024, "batch_norm_momentum": 0.999, "ema_decay": 0.999}),
)  # fmt: skip
_LARGE_IMAGES = (
    _Size(5_000, {"batch_size": 16, "epochs": 30, "steps_per_epoch": 75, **_SHORT}),
    _Size(20_000, {"batch_size": 16, "epochs": 30, "steps_per_epoch": 150, **_SHORT}),
    _Size(100_000, {"batch_size": 32, "epochs": 40, "steps_per_epoch": 500, **_LONGER}),
    _Size(_ALL, {"batch_size": 64, "epochs": 100, "steps_per_epoch": 1000, **_LONGER}),
)
# FixMatch's weight decay for ImageNet (3e-4·Σw², and ours multiplies Σw²/2), and its random-resized crop.
_OF_LARGE_IMAGES = {"crop": "resized", "weight_decay": 6e-4}


def small_side(side: float) -> int:
    """The image size of a Wide ResNet for images of this median short side."""
    return _rounded(side, SMALLEST, LARGEST, STEP)


def folder_recipe(facts: FolderFacts, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings for a folder, in the form of a dataset record's recipe.

    Args:
      facts: about the folder.
      given: settings given by the user; --arch, --image_size and --pretrained also determine the network.

    Example: 4,196 images of 28×28 train WRN-10-1 at 28×28 for 2,250 steps of 16 + 64; 300 photographs of 400×600
      train ResNet-50 at 224×224 for as many steps.
    """
    side = given.get("image_size") or facts.side
    large_arch = PRETRAINED_ARCH if given.get("pretrained", "none") != "none" else LARGE_ARCH
    arch = given.get("arch") or (large_arch if side >= LARGE_SIDE else "wrn")
    sizes = _SMALL_IMAGES if arch == "wrn" else _LARGE_IMAGES
    pool = facts.labeled + facts.unlabeled
    place = next(i for i, size in enumerate(sizes) if pool <= size.pool)
    if facts.classes >= MANY_CLASSES:
        place = min(place + 1, len(sizes) - 1)
    recipe = {"arch": arch, "image_size": side, "images": facts.images, **sizes[place].settings}
    if facts.labels_sha256:
        recipe["labels_sha256"] = facts.labels_sha256
    if arch == "wrn":
        if not given.get("image_size"):
            as_they_are = facts.one_size and SMALLEST <= side <= LARGEST and side % 4 == 0
            recipe["image_size"] = side if as_they_are else small_side(side or LARGEST)
        recipe["crop_padding"] = max(1, int(PADDING_PER_SIDE * recipe["image_size"]))
    else:
        if not given.get("image_size"):
            recipe["image_size"] = _rounded(side, SMALLEST_LARGE, LARGEST_LARGE, STEP_LARGE)
        recipe |= _OF_LARGE_IMAGES
    if facts.smallest < FEW_LABELS:
        recipe["bases"] = {"fixmatch": {"threshold": LOW_THRESHOLD}}
    if facts.n1:
        recipe |= {"n1": facts.n1, "m1": facts.m1}
    return recipe


def _rounded(side: float, smallest: int, largest: int, step: int) -> int:
    return int(min(max(round(side / step) * step, smallest), largest))
