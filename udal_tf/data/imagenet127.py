"""ImageNet-127 (§4.4.2): ILSVRC 2012 with its 1,000 classes merged into 127 groups, streamed from disk.

Read from folders named by WordNet id, from TFDS's imagenet2012, or from TFDS's imagenet_resized (32 or 64 pixels).
The groups are naturally imbalanced (γ = 286), in training and in validation, and not sorted by size.
"""

import concurrent.futures
import dataclasses
import importlib.resources
import os
import pathlib

import numpy as np

from udal_tf.buckets import origin
from udal_tf.data import files, tfds_folder, tfrecords
from udal_tf.data.dataset import DataError, Source
from udal_tf.data.encoded import EncodedImages, FileReader, Reader, ShardReader, file_fault
from udal_tf.registry import DATASETS
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown

GROUPS_FILE = "imagenet127.tsv"
# Images of ILSVRC 2012, by TFDS's split names.
IMAGES = {"train": 1_281_167, "validation": 50_000}
FOLDERS = {"train": "train", "validation": "val"}
SIZE = 224
RESIZED = (64, 32)
_SCAN_THREADS = 16


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of a split: how to read them, the class (WordNet id) of each, and the faults of unreadable ones."""

    reader: Reader
    wnids: np.ndarray
    bad: dict[int, str]


def groups() -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the 127 groups, and the group of each of the 1,000 WordNet ids."""
    text = importlib.resources.files("udal_tf.data").joinpath(GROUPS_FILE).read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return tuple(row[1] for row in rows), {wnid: g for g, row in enumerate(rows) for wnid in row[2].split()}


def load(config: DataConfig) -> Source:
    """Finds ImageNet, indexes it once (the index is cached) and groups its classes.

    Raises:
      DataError: if it is missing, incomplete or damaged.
    """
    natural = DATASETS[config.dataset].recipe["imbalance"]
    if config.protocol != "crest" or config.imbalance != natural:
        raise DataError(
            f"{config.dataset} is naturally imbalanced and used in full: leave out --imbalance and --protocol "
            f"(γ = {natural:g}, crest), got --imbalance={config.imbalance:g} --protocol={config.protocol}"
        )
    found, location, size = _find(config)
    names, group_of = groups()
    images, labels, facts = {}, {}, {"source": f"ImageNet from {origin(location)}", "image_size": size}
    skipped: list[tuple[str, str]] = []
    for split in IMAGES:
        part = _from_folders(location, split, config) if found == "folders" else _from_tfds(location, split, config)
        _check(location, split, part, group_of)
        good = np.delete(np.arange(len(part.wnids)), list(part.bad))
        if part.bad:
            facts[f"skipped_{split}"] = len(part.bad)
            skipped += [(part.reader.name(position), fault) for position, fault in part.bad.items()]
        images[split] = EncodedImages(part.reader, size, good)
        labels[split] = np.array([group_of[wnid] for wnid in part.wnids[good].tolist()], np.int64)
    counts = np.bincount(labels["train"], minlength=len(names))
    if counts.min() == 0:
        raise DataError(f"{shown(location)}: no images of group {names[int(counts.argmin())]}")
    facts["imbalance"] = round(float(counts.max() / counts.min()), 1)
    facts["test"] = "imbalanced: accuracy and balanced accuracy differ"
    return Source(
        train=images["train"],
        train_labels=labels["train"],
        test=images["validation"],
        test_labels=labels["validation"],
        class_names=names,
        provenance=facts,
        long_tailed=True,
        geometric=False,
        draw="all of ImageNet",
        skipped=tuple(skipped),
    )


def _find(config: DataConfig) -> tuple[str, pathlib.Path, int]:
    """The kind of dataset found, its location, and the image size."""
    folders = files.data_dirs(config)
    resized = [config.image_size] if config.image_size else list(RESIZED)

    def small() -> tuple[str, pathlib.Path, int] | None:
        for side in resized:
            if found := tfds_folder.newest_good(folders, ["imagenet_resized", f"{side}x{side}"], _complete):
                return "tfds", found, side
        return None

    # With --image_size=32 or 64, the public files of that size are preferred over resizing.
    if config.image_size and (found := small()):
        return found
    for folder in folders:
        for location in (folder, folder / "imagenet"):
            if (location / FOLDERS["train"]).is_dir():
                return "folders", location, config.image_size or SIZE
    if whole := tfds_folder.newest_good(folders, ["imagenet2012"], _complete):
        return "tfds", whole, config.image_size or SIZE
    if not config.image_size and (found := small()):
        return found
    raise DataError(
        f"{config.dataset}: no ImageNet found in {' or '.join(map(shown, folders))}. Any one of these will do:\n"
        "  - folders named by WordNet id: train/<wnid>/*.JPEG and val/<wnid>/*.JPEG\n"
        "  - TensorFlow Datasets' folder imagenet2012/<version>/\n"
        "  - TensorFlow Datasets' folder imagenet_resized/64x64/<version>/ or 32x32 (for --image_size=64 or 32)\n"
        "Set the location with --data_dir. ImageNet requires registration, so it cannot be downloaded automatically."
    )


def _from_folders(location: pathlib.Path, split: str, config: DataConfig) -> Split:
    """All files below <split>/<wnid>/, by class and name. Scanned once, and again when a folder has changed."""
    root = location / FOLDERS[split]
    if not root.is_dir():
        raise DataError(f"{shown(location)}: {FOLDERS['train']}/ exists, but {FOLDERS[split]}/ does not")
    classes = [entry for entry in files.listed(root, config.dataset) if entry.is_dir()]
    if not classes:
        raise DataError(
            f"{shown(root)}: no folders named by WordNet id; sort the images into {shown(root.name)}/<wnid>/"
        )

    def faults_of(names: list[str]) -> list[str]:
        with concurrent.futures.ThreadPoolExecutor(_SCAN_THREADS) as pool:
            return list(pool.map(lambda name: file_fault(root / name), names))

    def scan() -> dict[str, np.ndarray]:
        names = [f"{entry.name}/{file.name}" for entry in classes for file in files.listed(entry, config.dataset)]
        suspects = np.array([bool(fault) for fault in faults_of(names)], bool)
        return {"names": np.array([os.fsencode(name) for name in names]), "suspects": suspects}

    index = files.cached_arrays(config, f"imagenet127-{files.fingerprint(classes, location, 'folders')}", scan)
    names = [os.fsdecode(name) for name in index["names"].tolist()]
    # Repairing a file does not change its folder's modification time, so the suspects are checked again.
    suspects = np.flatnonzero(index["suspects"]).tolist()
    bad = {i: fault for i, fault in zip(suspects, faults_of([names[i] for i in suspects]), strict=True) if fault}
    if bad and not config.skip_bad_images:
        raise DataError(files.bad_images(config, {str(root / names[i]): fault for i, fault in bad.items()}))
    return Split(FileReader(root, names), np.array([name.split("/")[0] for name in names]), bad)


def _complete(location: pathlib.Path) -> pathlib.Path:
    """The prepared folder itself. Raises DataError if files are missing, by name."""
    for split in IMAGES:
        tfds_folder.shard_files(location, split)
    _label_names(location)
    return location


def _label_names(location: pathlib.Path) -> np.ndarray:
    try:
        return np.array((location / "label.labels.txt").read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{shown(location)}: cannot read label.labels.txt, which names the classes "
            f"({getattr(error, 'strerror', error)})"
        ) from error


def _from_tfds(location: pathlib.Path, split: str, config: DataConfig) -> Split:
    """The records of a prepared folder, in order. The label order differs between TFDS datasets: use the names."""
    shards, label_names = tfds_folder.shard_files(location, split), _label_names(location)
    key = f"imagenet127-{files.fingerprint(shards, location, 'tfrecord')}"
    index = files.cached_arrays(config, key, lambda: tfrecords.index(shards))
    labels = index.pop("label")
    if len(labels) and labels.max() >= len(label_names):
        raise DataError(f"{shown(location)}: label {labels.max()}, but {len(label_names)} names in label.labels.txt")
    return Split(ShardReader(shards, **index), label_names[labels], {})


def _check(location: pathlib.Path, split: str, part: Split, group_of: dict[str, int]) -> None:
    found = set(np.unique(part.wnids).tolist())
    if strange := sorted(found - set(group_of)):
        named = ", ".join(strange[: files.NAMED])
        raise DataError(f"{shown(location)}: {named} in {split} are not WordNet ids of ILSVRC 2012's classes")
    if missing := sorted(set(group_of) - found):
        raise DataError(
            f"{shown(location)}: {len(missing)} classes of {split} have no images, the first is {missing[0]}"
        )
    if len(part.wnids) != IMAGES[split]:
        raise DataError(f"{shown(location)}: {len(part.wnids)} images in {split}, ILSVRC 2012 has {IMAGES[split]}")
