"""Prepared folders of TensorFlow Datasets: which version, its features and splits, and an index of its images.

Nothing is downloaded, and the images themselves are not read.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf.data import files, tfds_folder, tfrecords
from udal_tf.data.dataset import DataError
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown, unfit

TRAIN = "train"
# Splits of images without labels, and, by preference, those to test on.
UNLABELED = ("unlabelled", "unlabeled", "unsupervised")
TEST = ("test", "validation", "valid", "val")


@dataclasses.dataclass(frozen=True)
class Edition:
    """A dataset with a record of its own: its name in TFDS and the expected number of images of its splits."""

    name: str
    images: dict[str, int]


EDITIONS = {
    "stl10lt": Edition("stl10", {"train": 5_000, "test": 8_000, "unlabelled": 100_000}),
    "svhnlt": Edition("svhn_cropped", {"train": 73_257, "test": 26_032}),
    "eurosatlt": Edition("eurosat/rgb", {"train": 27_000}),
    "food101lt": Edition("food101", {"train": 75_750, "validation": 25_250}),
}


@dataclasses.dataclass(frozen=True)
class Parsed:
    """The parts of tfds:NAME[/CONFIG][:VERSION]; "" for those left out."""

    name: str
    config: str
    version: str

    @property
    def path(self) -> str:
        return f"{self.name}/{self.config}" if self.config else self.name


def parsed(dataset: str) -> Parsed:
    """The parts of the name of a dataset, which has a record."""
    name, _, version = dataset.removeprefix("tfds:").partition(":")
    name, _, config = name.partition("/")
    return Parsed(name, config, version)


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of a split: places of the encoded images in its files, and labels, −1 for an unknown one."""

    shards: list[pathlib.Path]
    places: dict[str, np.ndarray]
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared folder, its splits read.

    Attributes:
      location: `…/<name>[/<config>]/<version>`.
      channels: of small images, 1 or 3.
      class_names: C names.
      splits: TRAIN, and those of UNLABELED and TEST that are used.
      test: name of the split to test on; "" if a part of TRAIN is held out.
      unused: names of other splits.
    """

    location: pathlib.Path
    channels: int
    class_names: tuple[str, ...]
    splits: dict[str, Split]
    test: str
    unused: tuple[str, ...]

    @property
    def unlabeled(self) -> str:
        """The name of the split without labels, or ""."""
        return next((name for name in UNLABELED if name in self.splits), "")


def find(config: DataConfig) -> Prepared:
    """The newest prepared version, or the one in the name, with its index, which is cached.

    Raises:
      DataError: if there is none, with the line that prepares it, or naming what is wrong with it.
    """
    edition = EDITIONS.get(config.dataset)
    wanted = parsed(edition.name if edition else config.dataset)
    folders = files.data_dirs(config)

    def read(location: pathlib.Path) -> Prepared:
        found = _read(location, config)
        for split, count in edition.images.items() if edition else ():
            here = len(found.splits[split].labels) if split in found.splits else 0
            if here != count:
                raise DataError(f"{shown(location)}: {here:,} images in {split}, expected {count:,}")
        return found

    if wanted.version:
        for folder in folders:
            location = folder / wanted.path / wanted.version
            if (location / "dataset_info.json").is_file():
                return read(location)
        raise DataError(_not_found(config, wanted, folders))
    found = tfds_folder.newest_good(folders, wanted.path.split("/"), read)
    if found is None:
        raise DataError(_not_found(config, wanted, folders))
    return found


def _read(location: pathlib.Path, config: DataConfig) -> Prepared:
    """Checks the features and reads the index of the splits that are used."""
    builder, features = tfds_folder.opened(location)
    image, label = example_keys(location, builder, features)
    class_names = tuple(map(str, features[label].names))
    for name in class_names:
        if fault := unfit(name):
            raise DataError(f"{shown(location)}: the class name {shown(name)} {fault}")
    available = list(tfds_folder.description(location)["splits"])
    if TRAIN not in available:
        raise DataError(f"{shown(location)}: no split {TRAIN}, only {', '.join(available) or 'none'}")

    def split(name: str) -> Split:
        shards = tfds_folder.shard_files(location, name)
        key = f"tfds-{files.fingerprint(shards, location, 'tfds', image, label)}"
        index = files.cached_arrays(config, key, lambda: tfrecords.index(shards, image, label))
        labels = index.pop("label")
        if len(labels) and not -1 <= labels.min() <= labels.max() < len(class_names):
            strange = labels.min() if labels.min() < -1 else labels.max()
            raise DataError(f"{shown(location)}: label {strange} in {name}, but there are {len(class_names)} classes")
        return Split(shards, index, labels)

    splits = {TRAIN: split(TRAIN)}
    if np.any(splits[TRAIN].labels < 0):
        raise DataError(f"{shown(location)}: {np.sum(splits[TRAIN].labels < 0):,} images of {TRAIN} have no label")
    counts = np.bincount(splits[TRAIN].labels, minlength=len(class_names))
    if counts.min() == 0:
        raise DataError(f"{shown(location)}: no image of class {shown(class_names[int(counts.argmin())])} in {TRAIN}")
    for name in UNLABELED:
        if name in available and len(splits) == 1:
            splits[name] = split(name)
    test = ""
    for name in TEST:
        if not test and name in available:
            found = split(name)
            if len(found.labels) and found.labels.min() >= 0:
                test, splits[name] = name, found
    unused = tuple(name for name in available if name not in splits)
    channels = features[image].shape[-1]
    return Prepared(location, 1 if channels == 1 else 3, class_names, splits, test, unused)


def example_keys(location: str | pathlib.Path, builder: Any, features: dict[str, Any]) -> tuple[str, str]:
    """The names of the image and of the label. Raises DataError if an example has not one of each."""
    import tensorflow_datasets as tfds

    images = [name for name, feature in features.items() if type(feature) is tfds.features.Image]
    labels = [name for name, feature in features.items() if type(feature) is tfds.features.ClassLabel]
    supervised = builder.info.supervised_keys or ()
    usual = dict(zip(("image", "label"), supervised, strict=False)) if len(supervised) == 2 else {}
    there = f"its features are {', '.join(f'{n} ({type(f).__name__})' for n, f in sorted(features.items()))}"

    def one(kind: str, found: list[str]) -> str:
        preferred = [name for name in (usual.get(kind), kind) if name in found]
        if not found or (len(found) > 1 and not preferred):
            number = "several features" if found else "no feature"
            raise DataError(f"{shown(location)}: {number} {'Image' if kind == 'image' else 'ClassLabel'}; {there}")
        return preferred[0] if preferred else found[0]

    image = one("image", images)
    several = [n for n, f in features.items() if isinstance(getattr(f, "feature", None), tfds.features.ClassLabel)]
    if not labels and several:
        raise DataError(
            f"{shown(location)}: images with several labels each ({', '.join(several)}) are not supported; {there}"
        )
    label = one("label", labels)
    feature = features[image]
    kind = tf.as_dtype(feature.dtype).name
    if kind not in ("uint8", "uint16"):
        raise DataError(f"{shown(location)}: {image} has values of type {kind}, not uint8 or uint16")
    if feature.shape[-1] not in (1, 3, 4):
        raise DataError(f"{shown(location)}: {image} has {feature.shape[-1]} channels, not 1, 3 (RGB) or 4 (RGBA)")
    return image, label


def _not_found(config: DataConfig, wanted: Parsed, folders: list[pathlib.Path]) -> str:
    """Where it was looked for, what is there instead, and the line that prepares it."""
    full = wanted.path + (f":{wanted.version}" if wanted.version else "")
    lines = [f"{config.dataset}: no {full} found in {' or '.join(map(shown, folders))}."]
    for folder in folders:
        place = folder / wanted.path
        versions = sorted(path.parent.name for path in place.glob("*/dataset_info.json"))
        configs = sorted(path.parent.parent.name for path in place.glob("*/*/dataset_info.json"))
        if wanted.version and versions:
            lines.append(f"{place} has {', '.join(versions)}.")
        elif configs:
            there = ", ".join(f"tfds:{wanted.path}/{name}" for name in dict.fromkeys(configs))
            lines.append(f"{place} has several configs: choose one of {there}.")
    where = f", data_dir={config.data_dir!r}" if config.data_dir else ""
    return "\n".join(
        [*lines, "Nothing is downloaded. Prepare it in Python, where the network allows:"]
        + [f"  import tensorflow_datasets as tfds; tfds.load({full!r}{where})", "Set the location with --data_dir."]
    )
