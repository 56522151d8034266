"""`--dataset=tfds:NAME[/CONFIG][:VERSION]`: any image classification dataset that TensorFlow Datasets has prepared.

The encoded images are read by position from the prepared files; nothing is downloaded. Small images are decoded once,
as those of a custom dataset are; images of a record's `streamed_from` pixels or more are decoded when they are needed.
"""

import dataclasses
from typing import Any

import numpy as np

from udal_tf.data import custom_images, decoding, folder_listing, longtail, tfds_folder
from udal_tf.data.dataset import DataError, Source
from udal_tf.data.encoded import EncodedImages, ShardReader
from udal_tf.data.manifest import positions_sha256
from udal_tf.data.originals import ShardOriginals
from udal_tf.data.tfds_prepared import TEST, TRAIN, Prepared, Split, find
from udal_tf.folder_recipe import AS_MANY, FolderFacts
from udal_tf.registry import DATASETS
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown

# Image headers sampled, evenly over the training images, to estimate the image size.
_HEADERS = 200
# M_1 of DARP's protocol by default, in units of N_1: 3,000 to 1,500 on CIFAR-10.
_M1_BY_N1 = 2


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
    return FolderFacts(
        classes=classes,
        labeled=int(sum(labeled)),
        smallest=int(min(labeled)),
        unlabeled=unlabeled,
        side=side,
        one_size=one_size,
        images=_summary(found),
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
    good = np.delete(np.arange(len(every_label)), list(bad))
    if held_out is None:
        in_test = good >= len(every_label) - len(labels[-1])
    else:
        in_test = np.append(held_out, np.zeros(len(every_label) - len(held_out), bool))[good]
    whole = config.protocol == "crest" and _is_whole(config.imbalance, config.n1, _counts(found, held_out))
    every_label = every_label[good]
    train_labels, test_labels = every_label[~in_test], every_label[in_test]
    counts = np.bincount(train_labels[train_labels >= 0], minlength=len(found.class_names))
    if counts.min() == 0:  # Its only image is held out, or cannot be read.
        name = shown(found.class_names[int(counts.argmin())])
        raise DataError(f"{shown(found.location)}: no image of class {name} is left to train on")
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
            "images": _summary(found),
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


def _summary(found: Prepared) -> str:
    """One line about the images, part of the run's identity: another version, other labels or files change it."""
    splits = found.splits.values()
    sizes = [shard.stat().st_size for split in splits for shard in split.shards]
    facts = np.concatenate([*(split.labels for split in splits), np.array(sizes, np.int64)])
    counts = "; ".join(f"{len(split.labels)} {name}" for name, split in found.splits.items())
    return (
        f"TFDS {_title(found)}: {len(found.class_names)} classes; {counts}; labels and file sizes "
        f"{positions_sha256(facts)[:12]}"
    )


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
