"""`--dataset=tfds:NAME[/CONFIG][:VERSION]`: any image classification dataset that TensorFlow Datasets has prepared.

The encoded images are read by position from the prepared files; nothing is downloaded. Small images are decoded once,
as those of a custom dataset are; images of a record's `streamed_from` pixels or more are decoded when they are needed.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf.config import DataConfig
from udal_tf.data import custom_images, decoding, files, folder_listing, longtail, tfds_folder, tfrecords
from udal_tf.data.dataset import DataError, Source
from udal_tf.data.encoded import EncodedImages, ShardReader
from udal_tf.data.manifest import positions_sha256
from udal_tf.data.originals import ShardOriginals
from udal_tf.folder_recipe import AS_MANY, FolderFacts
from udal_tf.registry import DATASETS
from udal_tf.shown_names import shown, unfit

TRAIN = "train"
# Splits of images without labels, and, by preference, those to test on.
UNLABELED = ("unlabelled", "unlabeled", "unsupervised")
TEST = ("test", "validation", "valid", "val")
# Image headers sampled, evenly over the training images, to estimate the image size.
_HEADERS = 200
# M_1 of DARP's protocol by default, in units of N_1: 3,000 to 1,500 on CIFAR-10.
_M1_BY_N1 = 2


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
                raise DataError(f"{location}: {here:,} images in {split}, expected {count:,}")
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


def facts(config: DataConfig) -> FolderFacts:
    """What the recipe of a dataset without a record of its own depends on. Raises DataError as `find` and `load` do."""
    found = find(config)
    train, classes = found.splits[TRAIN], len(found.class_names)
    counts = _counts(found, None if found.test else _held_out(found))
    further = len(found.splits[found.unlabeled].labels) if found.unlabeled else 0
    most_n1, most_m1 = _largest(counts, config, bool(further))
    n1 = most_n1 if config.n1 == AS_MANY else config.n1
    m1 = most_m1 if config.m1 == AS_MANY else config.m1
    if config.protocol == "darp":
        labeled = _sizes(n1, config, classes)
        more = longtail.unlabeled_counts(m1, config.imbalance_u or config.imbalance, config.unlabeled_shape, classes)
        unlabeled = further or sum(more)
    else:
        whole = counts if _is_whole(config.imbalance, n1, counts) else np.array(_sizes(n1, config, classes))
        labeled = np.ceil(whole * config.beta).astype(int).tolist()
        unlabeled = int(whole.sum()) - sum(labeled) + further
    side, one_size = _median_side(train)
    shards = [shard for split in found.splits.values() for shard in split.shards]
    every_label = np.concatenate([split.labels for split in found.splits.values()])
    sizes = "; ".join(f"{len(split.labels)} {name}" for name, split in found.splits.items())
    return FolderFacts(
        classes=classes,
        labeled=int(sum(labeled)),
        smallest=int(min(labeled)),
        unlabeled=unlabeled,
        side=side,
        one_size=one_size,
        images=f"TFDS {_title(found)}: {classes} classes; {sizes}; labels and file sizes "
        f"{positions_sha256(np.append(every_label, [shard.stat().st_size for shard in shards]))[:12]}",
        n1=most_n1,
        m1=most_m1,
    )


def load(config: DataConfig) -> Source:
    """Reads a prepared dataset: its training, unlabeled and test images and their labels.

    Without a split to test on, a fifth of each class of the training images is held out, always the same ones. A
    dataset is used as it is with --imbalance=1 and the N_1 of its largest class; else as a long-tailed subset.

    Raises:
      DataError: as `find`; for a class without images; for images that cannot be read.
    """
    found = find(config)
    names = [TRAIN, *([found.unlabeled] if found.unlabeled else [])]
    held_out = None if found.test else _held_out(found)
    names += [found.test] if found.test else []
    images, size, bad = _images([found.splits[name] for name in names], found, config)
    labels = [
        np.full_like(found.splits[n].labels, -1) if n == found.unlabeled else found.splits[n].labels for n in names
    ]
    every_label = np.concatenate(labels)
    every = np.arange(len(every_label))
    good = np.delete(every, list(bad))
    if held_out is None:
        in_test = good >= len(every_label) - len(labels[-1])
    else:
        in_test = np.append(held_out, np.zeros(len(every_label) - len(held_out), bool))[good]
    whole = config.protocol == "crest" and _is_whole(config.imbalance, config.n1, _counts(found, held_out))
    every_label = every_label[good]
    train_labels, test_labels = every_label[~in_test], every_label[in_test]
    counts = np.bincount(train_labels[train_labels >= 0], minlength=len(found.class_names))
    for what, number in ((TRAIN, counts), (found.test or TRAIN, np.bincount(test_labels, minlength=len(counts)))):
        if number.min() == 0:
            raise DataError(f"{found.location}: no image of class {found.class_names[int(number.argmin())]} in {what}")
    return Source(
        train=images(np.flatnonzero(~in_test)),
        train_labels=train_labels,
        test=images(np.flatnonzero(in_test)),
        test_labels=test_labels,
        class_names=found.class_names,
        provenance={
            "source": f"TFDS {_title(found)}",
            "folder": str(found.location),
            "image_size": size,
            "class_counts": counts.tolist(),
            "test": _test_text(found),
            "test_counts": np.bincount(test_labels, minlength=len(counts)).tolist(),
            "unlabeled_split": found.unlabeled or "none",
            "splits_not_used": ", ".join(found.unused) or "none",
            "skipped_bad_images": len(bad),
            **({"recipe_facts": dataclasses.asdict(facts(config))} if DATASETS[config.dataset].facts else {}),
        },
        long_tailed=whole,
        geometric=not whole,
        draw="all images" if whole else "{draw}",
        skipped=tuple(bad.values()),
    )


def _images(splits: list[Split], found: Prepared, config: DataConfig) -> tuple[Any, int, dict[int, tuple[str, str]]]:
    """The good images of all splits: positions -> `Images`; their size; position -> name and fault of the others."""
    shards = [shard for split in splits for shard in split.shards]
    before = np.cumsum([0, *(len(split.shards) for split in splits)])
    numbers = [split.places["shard"] + first for split, first in zip(splits, before, strict=False)]
    columns = {key: np.concatenate([split.places[key] for split in splits]) for key in ("offset", "length")}
    reader = ShardReader(shards, np.concatenate(numbers), **columns)
    size = config.image_size or custom_images.default_size(ShardOriginals(reader, shards))
    if DATASETS[config.dataset].streams(size):
        return (lambda positions: EncodedImages(reader, size, positions)), size, {}
    originals = ShardOriginals(reader, shards)
    decoded, size, bad = custom_images.load(originals, dataclasses.replace(config, image_size=size), found.channels)
    return decoded.at, size, {i: (originals.name(i), fault) for i, fault in bad.items()}


def _is_whole(imbalance: float, n1: int, counts: np.ndarray) -> bool:
    """Whether a dataset is used as it is, with class sizes of its own."""
    return imbalance == 1 and n1 == counts.max()


def _sizes(n1: int, config: DataConfig, classes: int) -> list[int]:
    try:
        return longtail.class_counts(n1, config.imbalance, classes)
    except ValueError as error:
        raise DataError(f"{config.dataset}: {error}") from error


def _largest(counts: np.ndarray, config: DataConfig, has_unlabeled: bool) -> tuple[int, int]:
    """The default N_1 and M_1: the largest for which there are enough images of every class."""
    if config.protocol == "crest" and config.imbalance == 1:
        return int(counts.max()), _M1_BY_N1 * int(counts.max())

    def needed(n1: int) -> np.ndarray:
        sizes = np.array(longtail.class_counts(n1, config.imbalance, len(counts)))
        if config.protocol == "crest" or has_unlabeled:
            return sizes
        imbalance_u = config.imbalance_u or config.imbalance
        return sizes + longtail.unlabeled_counts(_M1_BY_N1 * n1, imbalance_u, config.unlabeled_shape, len(counts))

    # Of fewer images the last class would have none; every class's size grows with N_1.
    fewest, too_many = int(np.ceil(max(config.imbalance, config.imbalance_u / _M1_BY_N1))), int(counts.max()) + 1
    if fewest >= too_many or np.any(needed(fewest) > counts):
        raise DataError(
            f"{config.dataset}: the classes have {counts.min()} to {counts.max()} images, too few for "
            f"--imbalance={config.imbalance:g}; choose a smaller one"
        )
    while too_many - fewest > 1:
        middle = (fewest + too_many) // 2
        fewest, too_many = (middle, too_many) if np.all(needed(middle) <= counts) else (fewest, middle)
    return fewest, _M1_BY_N1 * fewest


def _held_out(found: Prepared) -> np.ndarray:
    """Mask of the training images that are tested on where there is no split for it."""
    return folder_listing.hold_out(found.splits[TRAIN].labels, len(found.class_names))


def _counts(found: Prepared, held_out: np.ndarray | None) -> np.ndarray:
    """Training images of each class, whether or not they can be read."""
    labels = found.splits[TRAIN].labels
    return np.bincount(labels if held_out is None else labels[~held_out], minlength=len(found.class_names))


def _test_text(found: Prepared) -> str:
    if not found.test:
        return f"{folder_listing.HOLD_OUT:.0%} of each class of {TRAIN}, held out: no other split has labels"
    return found.test if found.test == TEST[0] else f"{found.test}: there is no {TEST[0]} split with labels"


def _title(found: Prepared) -> str:
    """`eurosat/rgb 2.0.0`."""
    name, folder = tfds_folder.description(found.location)["name"], found.location.parent.name
    return f"{name if folder == name else f'{name}/{folder}'} {found.location.name}"


def _median_side(train: Split) -> tuple[int, bool]:
    """The median short side of the readable images, 0 for none; whether all are squares of that side."""
    reader = ShardReader(train.shards, **train.places)
    originals = ShardOriginals(reader, train.shards)
    sizes = []
    for position in np.linspace(0, len(reader) - 1, _HEADERS).astype(int):
        try:
            sizes.append(decoding.image_size(originals.opened(int(position))))
        except decoding.ImageError:
            # Reported by name when it is decoded.
            continue
    side = int(np.median([min(size) for size in sizes])) if sizes else 0
    return side, bool(sizes) and set(sizes) == {(side, side)}


def _read(location: pathlib.Path, config: DataConfig) -> Prepared:
    """Checks the features and reads the index of the splits that are used."""
    builder, features = tfds_folder.opened(location)
    image, label = example_keys(location, builder, features)
    class_names = tuple(map(str, features[label].names))
    for name in class_names:
        if fault := unfit(name):
            raise DataError(f"{location}: the class name {shown(name)} {fault}")
    available = list(tfds_folder.description(location)["splits"])
    if TRAIN not in available:
        raise DataError(f"{location}: no split {TRAIN}, only {', '.join(available) or 'none'}")

    def split(name: str) -> Split:
        shards = tfds_folder.shard_files(location, name)
        key = f"tfds-{files.fingerprint(shards, location, 'tfds', image, label)}"
        index = files.cached_arrays(config, key, lambda: tfrecords.index(shards, image, label))
        labels = index.pop("label")
        if len(labels) and not -1 <= labels.min() <= labels.max() < len(class_names):
            strange = labels.min() if labels.min() < -1 else labels.max()
            raise DataError(f"{location}: label {strange} in {name}, but there are {len(class_names)} classes")
        return Split(shards, index, labels)

    splits = {TRAIN: split(TRAIN)}
    if np.any(splits[TRAIN].labels < 0):
        raise DataError(f"{location}: {np.sum(splits[TRAIN].labels < 0):,} images of {TRAIN} have no label")
    counts = np.bincount(splits[TRAIN].labels, minlength=len(class_names))
    if counts.min() == 0:
        raise DataError(f"{location}: no image of class {shown(class_names[int(counts.argmin())])} in {TRAIN}")
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
            raise DataError(f"{location}: {number} {'Image' if kind == 'image' else 'ClassLabel'}; {there}")
        return preferred[0] if preferred else found[0]

    image = one("image", images)
    several = [n for n, f in features.items() if isinstance(getattr(f, "feature", None), tfds.features.ClassLabel)]
    if not labels and several:
        raise DataError(
            f"{location}: images with several labels each ({', '.join(several)}) are not supported; {there}"
        )
    label = one("label", labels)
    feature = features[image]
    kind = tf.as_dtype(feature.dtype).name
    if kind not in ("uint8", "uint16"):
        raise DataError(f"{location}: {image} has values of type {kind}, not uint8 or uint16")
    if feature.shape[-1] not in (1, 3, 4):
        raise DataError(f"{location}: {image} has {feature.shape[-1]} channels, not 1 (gray), 3 (RGB) or 4 (RGBA)")
    return image, label


def _not_found(config: DataConfig, wanted: Parsed, folders: list[pathlib.Path]) -> str:
    """Where it was looked for, what is there instead, and the line that prepares it."""
    full = wanted.path + (f":{wanted.version}" if wanted.version else "")
    lines = [f"{config.dataset}: no {full} found in {' or '.join(map(str, folders))}."]
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
