"""The recipe of custom datasets and those of TFDS: settings that depend on the number and size of the images.

A pure function, the same on every machine, so that a run can be resumed anywhere. `config.resolve` applies it between
the dataset's recipe and the method's preset; `udal inspect` recommends its settings.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from udal_tf.registry import BACKBONES
from udal_tf.sections import IMAGENET, NO_WEIGHTS, WEIGHT_FILE, network_of_weights, pretrained_kind

# From this short side on, images are large: reduced for a Wide ResNet, or seen by a network for large images.
LARGE_SIDE = 96
# Training images from which on a network for large images is worth training from random weights: FixMatch's ResNet-50
# has 128,000 labeled ones of ImageNet, and with hundreds of photos it learns little in many hours.
MANY_IMAGES = 100_000
# Image sizes for a Wide ResNet: at least what its three groups need, at most what trains in reasonable time.
SMALLEST = 16
LARGEST = 64
STEP = 8
# Image sizes for a network for large images, in steps of its total stride.
SMALLEST_LARGE = 96
LARGEST_LARGE = 224
STEP_LARGE = 32
LARGE_ARCH = "resnet50"
# Of the learning rate from random weights (§4.3) to that of weights that are to be kept mostly.
FINE_TUNING_RATE = 0.003
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
    _Size(MANY_IMAGES, {"batch_size": 32, "epochs": 40, "steps_per_epoch": 500, **_LONGER}),
    _Size(_ALL, {"batch_size": 64, "epochs": 100, "steps_per_epoch": 1000, **_LONGER}),
)
# Large images reduced for a Wide ResNet: on 548 photos of six hand signs, 39 of them labeled, 84 % after 1,125 steps,
# which took 467 s of CPU time in all.
REDUCED = 48
_REDUCED_IMAGES = (_Size(5_000, {**_SMALL_IMAGES[0].settings, "epochs": 15}), *_SMALL_IMAGES[1:])
# Heads alone, on features that stay: few steps of few images are enough.
_HEADS = (
    _Size(5_000, {"batch_size": 16, "unlabeled_ratio": 2, "epochs": 10, "steps_per_epoch": 30, "ema_decay": 0.97}),
    _Size(20_000, {"batch_size": 16, "unlabeled_ratio": 3, "epochs": 20, "steps_per_epoch": 60, "ema_decay": 0.99}),
    _Size(_ALL, {"batch_size": 32, "unlabeled_ratio": 5, "epochs": 40, "steps_per_epoch": 150, "ema_decay": 0.999}),
)
# Up to so many training images, published weights are not trained further unless --freeze says so.
FROZEN_UP_TO = 20_000
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
    kind = pretrained_kind(given.get("pretrained", NO_WEIGHTS))
    pool = facts.labeled + facts.unlabeled
    published, side = kind in (IMAGENET, WEIGHT_FILE), given.get("image_size") or facts.side
    large = side >= LARGE_SIDE and pool > MANY_IMAGES
    arch = (
        given.get("arch") or network_of_weights(given.get("pretrained", NO_WEIGHTS)) or (LARGE_ARCH if large else "wrn")
    )
    frozen = given.get("freeze", "backbone" if kind == IMAGENET and pool <= FROZEN_UP_TO else "none")
    reduced = arch == "wrn" and facts.side >= LARGE_SIDE
    sizes: tuple[_Size, ...] = _LARGE_IMAGES if arch != "wrn" else _REDUCED_IMAGES if reduced else _SMALL_IMAGES
    sizes = _HEADS if frozen == "backbone" else sizes
    place = next(i for i, size in enumerate(sizes) if pool <= size.pool)
    if facts.classes >= MANY_CLASSES:
        place = min(place + 1, len(sizes) - 1)
    recipe = {"arch": arch, "image_size": side, "images": facts.images, **sizes[place].settings}
    if kind != NO_WEIGHTS:
        recipe["freeze"] = frozen
        recipe |= {} if frozen == "backbone" else {"learning_rate": FINE_TUNING_RATE}
    if facts.labels_sha256:
        recipe["labels_sha256"] = facts.labels_sha256
    if arch == "wrn":
        if not given.get("image_size"):
            as_they_are = facts.one_size and SMALLEST <= side <= LARGEST and side % 4 == 0
            recipe["image_size"] = side if as_they_are else REDUCED if reduced else small_side(side or LARGEST)
        recipe["crop_padding"] = max(1, int(PADDING_PER_SIDE * recipe["image_size"]))
    else:
        if not given.get("image_size"):
            of_weights = BACKBONES[arch].image_side if published and arch in BACKBONES else 0
            recipe["image_size"] = of_weights or _rounded(side, SMALLEST_LARGE, LARGEST_LARGE, STEP_LARGE)
        recipe |= _OF_LARGE_IMAGES
    if facts.smallest < FEW_LABELS:
        recipe["bases"] = {"fixmatch": {"threshold": LOW_THRESHOLD}}
    if facts.n1:
        recipe |= {"n1": facts.n1, "m1": facts.m1}
    return recipe


def network_warnings(arch: str, pretrained: str, image_size: int, side: float, in_training: int) -> dict[str, str]:
    """What to know of a network before training it on images of this median short side: kind -> text.

    Args:
      arch: of --arch.
      pretrained: of --pretrained.
      image_size: that the network is given.
      side: of the images.
      in_training: number of training images.
    """
    if pretrained != NO_WEIGHTS:
        return {}
    if arch != "wrn" and in_training < MANY_IMAGES:
        return {
            "large_without_weights": f"{in_training:,} images are few for a large network trained from random weights: "
            f"start from published ones (--pretrained={IMAGENET}), or use a small network on small images (--arch=wrn)"
        }
    if arch == "wrn" and side >= LARGE_SIDE and image_size < side:
        return {
            "reduced": f"large images (short side {side:g} pixels) are reduced to {image_size} pixels for a small "
            f"network; with --pretrained={IMAGENET}, which downloads published weights once, results are usually better"
        }
    return {}


def _rounded(side: float, smallest: int, largest: int, step: int) -> int:
    return int(min(max(round(side / step) * step, smallest), largest))
