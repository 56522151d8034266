"""The datasets: the settings that the paper, CReST, the literature or our own measurements give for each.

What holds this file together: it is the table of the datasets, one record each, and of the families of records.
"""

import dataclasses
import functools
import re

from udal_tf.folder_recipe import AS_MANY, LARGE_SIDE
from udal_tf.registry import Dataset, Family, Speed
from udal_tf.settings import Section, setting

# Runs of UDAL on the embedded datasets: 288,000 images of digits-LT in 65 s, 172,800 of Fashion-MNIST-LT in 161 s.
_TWO_CORES = "as measured on two cores (docs/results.md)"
_CIFAR_DARP = {"n1": 1500, "m1": 3000}
# Table 4 reports CReST+ after 2,000, 4,000 and 6,000 epochs: three generations. The selection's exponent is 0.7
# (BUILD_NOTES.md: both readings of a public configuration).
_IMAGENET_CREST = {"generations": 3, "epochs": 2000, "select_alpha": 1 / 0.7}
_CUSTOM = {
    "imbalance": 1.0,
    "beta": 1.0,
    "depth": 16,
    "batch_norm_momentum": 0.97,
    "batch_size": 32,
    "unlabeled_ratio": 4,
    "epochs": 30,
    "steps_per_epoch": 200,
    "ema_decay": 0.995,
}
_TFDS_NAME = re.compile(r"tfds:[a-z][a-z0-9_]*(/[A-Za-z0-9_.\-]+)?(:[0-9]{1,9}(\.[0-9]{1,9}){2})?")


# A record of images that TensorFlow Datasets has prepared.
_prepared = functools.partial(Dataset, load="udal_tf.data.tfds_images:load", resizable=True, streamed_from=LARGE_SIDE)


def _tfds(name: str) -> Dataset | None:
    """The record of tfds:NAME[/CONFIG][:VERSION]; its recipe is completed from the images, as a folder's is."""
    if not _TFDS_NAME.fullmatch(name):
        return None
    return _prepared(
        name=name,
        label=f"TFDS {name.removeprefix('tfds:')}",
        facts="udal_tf.data.tfds_images:facts",
        recipe_from_facts="udal_tf.folder_recipe:folder_recipe",
        recipe={"imbalance": 1.0, "n1": AS_MANY, "m1": AS_MANY},
    )


FAMILIES = (
    Family(
        prefix="tfds",
        usage="tfds:NAME[/CONFIG][:VERSION]",
        label="any image classification dataset that TensorFlow Datasets has prepared in --data_dir",
        make=_tfds,
    ),
)


@dataclasses.dataclass(frozen=True)
class FolderConfig(Section):
    """Where a custom dataset's classes are written down: in the names of folders, or in a CSV file."""

    labels: str = setting(
        "",
        "CSV file whose first line is file,label or file,label,split, with a line for each image, so that no file has "
        "to be moved. File names are relative to --data_dir (without it, to the CSV file's folder) or absolute; an "
        "image with an empty label is unlabeled; split is train, val or test (default: train).",
        identity=False,
    )
    labels_sha256: str = setting(
        "",
        "SHA-256 of the content of --labels, or of Hugging Face's metadata.csv: set automatically; a run resumes only "
        "with the same content.",
    )
    layout: str = setting(
        "auto",
        "Which folders hold what: `udal`, labeled/<class>, unlabeled/ and optionally val/<class> and test/<class>; "
        "`torchvision`, train/<class>, val/<class> and test/<class>, and unlabeled/; `huggingface`, metadata.csv with "
        "the columns file_name,label, for the whole folder or in train/, validation/ and test/; `auto`, the first or "
        "the second, by what is there.",
        choices=("auto", "udal", "torchvision", "huggingface"),
    )

    def _check(self) -> None:
        if self.labels and self.layout != "auto":
            raise ValueError(
                f"--labels={self.labels} says the class of each file, and --layout={self.layout} that the folders do: "
                "leave one of them out"
            )


RECORDS = (
    Dataset(
        name="digitslt",
        label="digits-LT",
        load="udal_tf.data.digits:load",
        image_side=8,
        num_classes=10,
        speeds={"wrn": Speed(4_400.0, _TWO_CORES)},
        recipe={
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
            # No translation: 10/32 of 8 pixels moves strokes out of the image.
            "strong_ops": ("Rotate", "ShearX", "ShearY", "Contrast", "Brightness"),
            "strong_probability": 1.0,
            "cutout": 0.375,
            "protocols": {"darp": {"n1": 40, "m1": 80}},
            # At 0.95 the class with one label hardly ever gets a pseudo-label.
            "bases": {"fixmatch": {"threshold": 0.8}},
        },
    ),
    Dataset(
        name="cifar10lt",
        label="CIFAR10-LT",
        load="udal_tf.data.cifar:load",
        image_side=32,
        num_classes=10,
        recipe={"protocols": {"darp": _CIFAR_DARP}},
    ),
    Dataset(
        name="cifar100lt",
        label="CIFAR100-LT",
        load="udal_tf.data.cifar:load",
        image_side=32,
        num_classes=100,
        recipe={"n1": 500, "protocols": {"darp": {"n1": 150, "m1": 300}}},
    ),
    Dataset(
        name="fashionlt",
        label="Fashion-MNIST-LT",
        load="udal_tf.data.fashion:load",
        image_side=28,
        num_classes=10,
        speeds={"wrn": Speed(1_070.0, _TWO_CORES)},
        # Small enough for two cores; the paper's network and length are --depth=28 --width=2 --epochs=64
        # --steps_per_epoch=1024 --batch_size=64 --unlabeled_ratio=7 --batch_norm_momentum=0.999 --ema_decay=0.999
        # --schedule_level=1.
        recipe={
            "n1": 6000,
            "depth": 10,
            "width": 1,
            "batch_norm_momentum": 0.95,
            "batch_size": 16,
            "unlabeled_ratio": 4,
            "epochs": 12,
            "steps_per_epoch": 100,
            # 1,200 steps at an almost constant rate leave the raw weights unsettled; FixMatch's own level falls to
            # 0.195.
            "schedule_level": 7.0,
            "ema_decay": 0.99,
            "crop_padding": 3,
            "protocols": {"darp": _CIFAR_DARP},
        },
    ),
    Dataset(
        name="imagenet127",
        label="ImageNet-127",
        load="udal_tf.data.imagenet127:load",
        image_side=224,
        num_classes=127,
        resizable=True,
        image_files=True,
        streamed_from=1,
        # Epochs and α: §4.4.2, an epoch being one pass over the 128,000 labeled images. What the paper leaves open
        # is from the ImageNet part of FixMatch's release, whose command for 10 % of the labels counts epochs in the
        # same way: 3,000, the first 50 of warm-up, ×0.1 every 500; here scaled to the length of the run.
        recipe={
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
            # For 256 labeled images per step; FixMatch scales it linearly with their number.
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
    ),
    # N_1 150 or 450, γ 10 or 20, all 100,000 unlabeled images, 32 pixels: DARP, DASO, ACR, SimPro.
    _prepared(
        name="stl10lt",
        label="STL10-LT",
        image_side=32,
        num_classes=10,
        recipe={
            "protocol": "darp",
            "imbalance": 10.0,
            "image_size": 32,
            "protocols": {"darp": {"n1": 450}, "crest": {"n1": 450, "beta": 1.0}},
        },
    ),
    # As ABC's release has it for CIFAR-10: N_1 1,000 with 20 % labeled, so M_1 4,000, but the first class has 4,948.
    # No flips, as in FixMatch: a mirrored digit is none.
    _prepared(
        name="svhnlt",
        label="SVHN-LT",
        image_side=32,
        num_classes=10,
        recipe={
            "protocol": "darp",
            "imbalance": 100.0,
            "image_size": 32,
            "flip": False,
            "protocols": {"darp": {"n1": 1000, "m1": 3948}, "crest": {"n1": 4948}},
        },
    ),
    # N_1 700, M_1 1,400. The first class has 3,000 images, of which a fifth is held out: there is no test set.
    _prepared(
        name="eurosatlt",
        label="EuroSAT-LT",
        image_side=64,
        num_classes=10,
        recipe={
            "protocol": "darp",
            "imbalance": 100.0,
            "image_size": 64,
            "crop_padding": 8,
            "protocols": {"darp": {"n1": 700, "m1": 1400}, "crest": {"n1": 2100}},
        },
    ),
    # CoSSL's release: N_1 250, M_1 500, γ 50 or 100, ResNet-50 at 224 pixels, 256 + 512 images a step, 1,000 passes of
    # 37 steps over the unlabeled images at γ = 50, 5 of warm-up and then a constant rate.
    _prepared(
        name="food101lt",
        label="Food-101-LT",
        image_side=224,
        num_classes=101,
        recipe={
            "protocol": "darp",
            "imbalance": 50.0,
            "image_size": 224,
            "arch": "resnet50",
            "batch_norm_momentum": 0.9,
            "crop": "resized",
            "batch_size": 256,
            "unlabeled_ratio": 2,
            "learning_rate": 0.04,
            "schedule": "constant",
            "warmup": 5 / 1000,
            "weight_decay": 3e-4,
            "epochs": 1000,
            "steps_per_epoch": 37,
            "bases": {"fixmatch": {"threshold": 0.9}},
            "protocols": {"darp": {"n1": 250, "m1": 500}, "crest": {"n1": 750}},
        },
    ),
    # N_1 6,500, M_1 13,000, γ 100; classes in the order of their size, which is not that of their numbers.
    Dataset(
        name="tissuemnistlt",
        label="TissueMNIST-LT",
        load="udal_tf.data.medmnist:load",
        image_side=28,
        num_classes=8,
        recipe={
            "protocol": "darp",
            "imbalance": 100.0,
            "crop_padding": 3,
            "protocols": {"darp": {"n1": 6500, "m1": 13000}, "crest": {"n1": 19500}},
        },
    ),
    # Arrays given to `udal_tf.train`; the recipe is completed from them as a folder's is.
    Dataset(
        name="memory",
        label="data in memory",
        load="udal_tf.data.memory:load",
        resizable=True,
        long_tailed=False,
        by_folder=True,
        in_memory=True,
        facts="udal_tf.data.memory:facts",
        recipe_from_facts="udal_tf.folder_recipe:folder_recipe",
        recipe=_CUSTOM,
    ),
    # For any folder; the recipe is completed from the images in it.
    Dataset(
        name="folder",
        label="custom dataset",
        load="udal_tf.data.folder:load",
        settings=FolderConfig,
        resizable=True,
        image_files=True,
        long_tailed=False,
        by_folder=True,
        facts="udal_tf.data.settings:folder_facts",
        recipe_from_facts="udal_tf.folder_recipe:folder_recipe",
        recipe=_CUSTOM,
    ),
)
