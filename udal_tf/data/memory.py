"""Data that a Python program has in memory: `Data`, what ``udal_tf.train`` trains on, and the loader of its record.

Parts may be NumPy arrays, `tf.data` sets, Hugging Face datasets or splits of a TFDS builder (`udal_tf.data.ways_in`).
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from udal_tf.data import folder_listing, longtail, tfds_prepared, ways_in
from udal_tf.data.dataset import DataError, Source
from udal_tf.data.tfds_prepared import TEST, TRAIN, UNLABELED
from udal_tf.folder_recipe import FolderFacts
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown, unfit

# Hexadecimal digits of the SHA-256 in the summary of the images.
_DIGITS = 16


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Data as arrays, checked.

    Attributes:
      images: [N, H, W, C] uint8, the labeled ones first, then the unlabeled ones.
      labels: [N] int64; −1 for an unknown one.
      labeled: how many of them are labeled.
      test: [T, H, W, C] uint8.
      test_labels: [T] int64.
      class_names: C names.
      held_out: whether the test images are a part of the labeled ones that were given.
    """

    images: np.ndarray
    labels: np.ndarray
    labeled: int
    test: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    held_out: bool

    @property
    def sha256(self) -> str:
        """SHA-256 of images, labels, which of them are labeled, and class names."""
        digest = hashlib.sha256(repr((self.labeled, self.class_names)).encode())
        for values in (self.images, self.labels, self.test, self.test_labels):
            digest.update(repr(values.shape).encode() + np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class Data:
    """Labeled, unlabeled and test images for ``udal_tf.train``.

    Each part is a pair of arrays (images, labels), a `tf.data.Dataset` of single images and labels or a Hugging Face
    dataset with a column of images and one of class labels. Images are uint8 [N, H, W, C] or [N, H, W] of one size, or
    are resized to ``image_size``. Labels are integers 0…C−1, or class names.

    labeled: the labeled part.
    unlabeled: images alone, or with labels, which then only serve to report how many pseudo-labels are right; None
      trains on the labeled images alone, or, with ``beta`` below 1, uses the others as unlabeled ones.
    test: the part to test on; None holds out a fifth of each class of the labeled part, always the same images.
    class_names: C names in the order of the labels; by default those that the data states, or the labels.
    """

    labeled: Any
    unlabeled: Any = None
    test: Any = None
    class_names: Sequence[str] = ()


# The data of runs in this process by SHA-256, where `load` finds them.
_given: dict[str, Arrays] = {}


def as_data(data: Any) -> Data:
    """The `Data` in what ``udal_tf.train`` was given: itself, a mapping of its fields or of splits, or a TFDS builder.

    Raises:
      DataError: for anything else, naming it.
    """
    if isinstance(data, Data):
        return data
    if hasattr(data, "as_dataset") and hasattr(data, "info"):
        return _of_builder(data)
    if isinstance(data, Mapping):
        fields = {field.name for field in dataclasses.fields(Data)}
        return Data(**data) if "labeled" in data and set(data) <= fields else _of_splits(data, ())
    raise DataError(
        "data must be a udal_tf.Data, a dict with labeled=(images, labels) and optionally unlabeled, test and "
        f"class_names, a DatasetDict with a split train, or a TFDS builder; got {type(data).__name__}"
    )


def _of_builder(builder: Any) -> Data:
    """The splits of a TFDS builder whose data have been prepared, in the order of its files."""
    import tensorflow_datasets as tfds

    if not builder.info.splits:
        raise DataError(
            f"data: {builder.info.full_name} is not prepared in {builder.data_dir}: call its download_and_prepare()"
        )
    features = dict(builder.info.features)
    image, label = tfds_prepared.example_keys(builder.info.full_name, builder, features)
    order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    splits = {
        name: builder.as_dataset(split=name, read_config=order, shuffle_files=False).map(
            lambda row: (row[image], row[label])
        )
        for name in builder.info.splits
    }
    return _of_splits(splits, features[label].names)


def _of_splits(splits: Mapping[str, Any], class_names: Sequence[str]) -> Data:
    """The parts among splits, by their usual names: those of tfds: datasets."""
    if TRAIN not in splits:
        there = ", ".join(shown(str(name)) for name in splits) or "none"
        raise DataError(f"data has no split {TRAIN} and no labeled; its keys are {there}")
    unlabeled = next((splits[name] for name in UNLABELED if name in splits), None)
    if unlabeled is not None:
        unlabeled = ways_in.images_alone(unlabeled, "data's unlabeled split")
    test = next((splits[name] for name in TEST if name in splits and ways_in.has_labels(splits[name])), None)
    return Data(splits[TRAIN], unlabeled, test, tuple(class_names))


def arrays_of(data: Data, image_size: int = 0) -> Arrays:
    """Reads and checks all parts.

    Args:
      data: the parts.
      image_size: side to which images of differing sizes are resized; 0: all must have one size.

    Raises:
      DataError: naming the part and what is wrong with it.
    """
    train = ways_in.read(data.labeled, "labeled", image_size, needs_labels=True)
    names = tuple(map(str, data.class_names)) or train.class_names
    if not names and train.labels is not None:
        names = ways_in.names_of(train.labels)
    for name in names:
        if fault := unfit(name):
            raise DataError(f"data: the class name {shown(name)} {fault}")
    if len(set(names)) != len(names) or len(names) < 2:
        raise DataError(f"data: class_names must be at least two different names, got {', '.join(map(shown, names))}")
    labels = ways_in.numbered(train.labels, names, "labeled")
    parts = [train.images]
    every = [labels]
    if data.unlabeled is not None:
        more = ways_in.read(data.unlabeled, "unlabeled", image_size, needs_labels=False)
        parts.append(more.images)
        known = more.labels is not None
        every.append(
            ways_in.numbered(more.labels, names, "unlabeled", unknown=True)
            if known
            else np.full(len(more.images), -1, np.int64)
        )
    held_out = data.test is None
    if held_out:
        mask = folder_listing.hold_out(labels, len(names)) if np.bincount(labels, minlength=len(names)).min() else None
        if mask is None:
            raise DataError(f"data: no labeled image of class {_empty(labels, names)}")
        test, test_labels = train.images[mask], labels[mask]
        parts[0], every[0] = train.images[~mask], labels[~mask]
    else:
        tested = ways_in.read(data.test, "test", image_size, needs_labels=True)
        test, test_labels = tested.images, ways_in.numbered(tested.labels, names, "test")
    shapes = {part.shape[1:] for part in (*parts, test)}
    if len(shapes) > 1:
        shown_shapes = ", ".join(str(list(shape)) for shape in sorted(shapes))
        raise DataError(f"data: all images must have one size and number of channels, got {shown_shapes}")
    if (empty := _empty(every[0], names)) is not None:
        raise DataError(f"data: no labeled image of class {shown(empty)}")
    if (empty := _empty(test_labels, names)) is not None:
        raise DataError(f"data: no test image of class {shown(empty)}")
    return Arrays(
        images=np.concatenate(parts),
        labels=np.concatenate(every),
        labeled=len(every[0]),
        test=np.ascontiguousarray(test),
        test_labels=test_labels,
        class_names=names,
        held_out=held_out,
    )


def _empty(labels: np.ndarray, names: Sequence[str]) -> str | None:
    """The first class without images."""
    counts = np.bincount(labels, minlength=len(names))
    return names[int(counts.argmin())] if counts.min() == 0 else None


def give(arrays: Arrays) -> str:
    """Keeps data where `facts` and `load` find them; returns the summary that identifies them, `--images`."""
    _given[arrays.sha256[:_DIGITS]] = arrays
    classes, test = len(arrays.class_names), len(arrays.test)
    unlabeled = len(arrays.images) - arrays.labeled
    return (
        f"{classes} classes; {arrays.labeled} labeled; {unlabeled} unlabeled; {test} to test; "
        f"SHA-256 {arrays.sha256[:_DIGITS]}"
    )


def forget(arrays: Arrays) -> None:
    """The opposite of `give`."""
    _given.pop(arrays.sha256[:_DIGITS], None)


def _data_of(config: DataConfig) -> Arrays:
    found = _given.get(config.images.rpartition(" ")[2])
    if found is None:
        raise DataError(
            "--dataset=memory is data that a Python program gives to udal_tf.train(data=…); they are not part of the "
            "work folder, so give the same data again, or use --dataset=folder or tfds:NAME on the command line"
        )
    return found


def facts(config: DataConfig) -> FolderFacts:
    """What the recipe depends on. Raises DataError unless the data have been given in this process."""
    arrays = _data_of(config)
    classes, side = len(arrays.class_names), min(arrays.images.shape[1:3])
    labels = arrays.labels[: arrays.labeled]
    in_labeled, _ = longtail.fold_split(labels, config.beta, config.fold, classes)
    counts = np.bincount(labels[in_labeled], minlength=classes)
    return FolderFacts(
        classes=classes,
        labeled=int(counts.sum()),
        smallest=int(counts.min()),
        unlabeled=len(arrays.images) - int(counts.sum()),
        side=config.image_size or side,
        one_size=True,
        images=config.images,
    )


def load(config: DataConfig) -> Source:
    """The data given to ``udal_tf.train``, as the images of a folder would be.

    Raises:
      DataError: unless they have been given in this process; for settings that do not apply.
    """
    if config.protocol != "crest" or config.imbalance != 1:
        raise DataError(
            f"{config.dataset}: the data determine the class sizes: leave out imbalance and protocol, got "
            f"imbalance={config.imbalance:g}, protocol={config.protocol}"
        )
    arrays = _data_of(config)
    return Source.of_arrays(
        ((arrays.images, arrays.labels), (arrays.test, arrays.test_labels)),
        arrays.class_names,
        {
            "source": "arrays in memory",
            "sha256": arrays.sha256,
            "image_size": arrays.images.shape[1],
            "test": f"{folder_listing.HOLD_OUT:.0%} of each class, held out" if arrays.held_out else "as given",
            "test_counts": np.bincount(arrays.test_labels, minlength=len(arrays.class_names)).tolist(),
            "recipe_facts": dataclasses.asdict(facts(config)),
        },
        long_tailed=True,
        geometric=False,
        draw="as given" if config.beta == 1 else f"a fraction {config.beta:g} of the labeled images",
        hidden=np.arange(arrays.labeled, len(arrays.labels)),
    )
