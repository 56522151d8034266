"""Datasets prepared by TensorFlow Datasets: finding the folder, reading it in full, downloading it."""

import glob
import pathlib
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from absl import logging

from udal_tf import storage
from udal_tf.data.dataset import DataError
from udal_tf.shown_names import shown

# Without a network, TFDS itself retries for minutes before it gives up.
PROBE_SECONDS = 10
PREPARE_AGAIN = "Prepare it again with a current tensorflow-datasets."
_BATCH = 1000

R = TypeVar("R")


def newest_good(folders: Sequence[pathlib.Path], names: Sequence[str], read: Callable[[pathlib.Path], R]) -> R | None:
    """What `read` makes of the newest prepared version of a dataset that it accepts; None if there is no version.

    Args:
      folders: searched in order for `<folder>/<name>[/<config>]/<version>/`; the first with a version is used.
      names: the dataset's name, and its config if there are several.
      read: raises DataError for a version that cannot be used, which is then logged.

    Raises:
      DataError: if there are versions, but none can be used.
    """
    found: list[pathlib.Path] = []
    for folder in folders:
        paths = [path.parent for path in folder.joinpath(*names).glob("*/dataset_info.json")]
        found = [path for path in paths if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9}){2}", path.name)]
        if found:
            break
    faults: list[str] = []
    for location in sorted(found, key=lambda path: tuple(map(int, path.name.split("."))), reverse=True):
        try:
            accepted = read(location)
        except DataError as error:
            faults.append(str(error))
            continue
        if faults:
            logging.warning("%s\nUsing the older version %s.", "\n".join(faults), location)
        return accepted
    if faults:
        raise DataError("\n".join(faults))
    return None


def shard_files(folder: pathlib.Path, split: str) -> list[pathlib.Path]:
    """The shards of a split in order. Raises DataError if some are missing or not TFRecord files."""
    info = description(folder)
    shards = info["splits"].get(split)
    if shards is None:
        raise DataError(f"{shown(folder)}: no split {split!r}")
    if info["format"] != "tfrecord":
        raise DataError(f"{shown(folder)}: prepared as {info['format']}; prepare it with TFDS's default, tfrecord")
    found = sorted(folder.glob(f"{glob.escape(info['name'])}-{split}.tfrecord-*"))
    if len(found) != shards:
        raise DataError(f"{shown(folder)}: {len(found)} of the {shards} files of {split} exist")
    return found


def description(folder: pathlib.Path) -> dict[str, Any]:
    """From dataset_info.json: "name", "format" of the files, and "splits", from names to the number of files.

    Raises:
      DataError: if it cannot be read, or is not as TFDS writes it.
    """
    try:
        info = storage.read_json(folder / "dataset_info.json")
    except ValueError as error:
        raise DataError(f"{error}\n{PREPARE_AGAIN}") from error
    try:
        splits = {str(split["name"]): len(split["shardLengths"]) for split in info["splits"]}
        return {"name": str(info["name"]), "format": str(info.get("fileFormat", "tfrecord")), "splits": splits}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{shown(folder)}: dataset_info.json is damaged or of another version of TFDS ({error!r})\n{PREPARE_AGAIN}"
        ) from error


def opened(folder: pathlib.Path) -> tuple[Any, dict[str, Any]]:
    """The builder of a prepared folder, and its features by name.

    Raises:
      DataError: for metadata that TFDS does not understand, and for examples that are not a dict of features.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(folder))
        features, _ = dict(builder.info.features), dict(builder.info.splits)
    except Exception as error:  # TFDS raises errors of many kinds for metadata that it does not understand.
        reason = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"{shown(folder)}: its metadata is damaged or of another version of TFDS ({type(error).__name__}: "
            f"{reason:.200})\n{PREPARE_AGAIN}"
        ) from error
    return builder, features


def read_arrays(
    folder: pathlib.Path, split: str, count: int, id_prefix: str | None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """All images of a split, in the order of their ids if `id_prefix` is given, else in file order.

    Args:
      folder: a prepared version.
      split: train or test.
      count: N, the expected number of images.
      id_prefix: ids are <id_prefix><number>, with every number 0…N−1.

    Returns:
      images [N, H, W, C] uint8, labels [N] int64, class names.

    Raises:
      DataError: for a wrong count, missing ids, or a damaged folder.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    shard_files(folder, split)
    builder, features = opened(folder)
    splits = dict(builder.info.splits)
    missing = {"image", "label"} - set(features) or ({"id"} - set(features) if id_prefix is not None else set())
    if missing:
        raise DataError(
            f"{shown(folder)}: the images have no {', '.join(sorted(missing))}; this is an old or modified version.\n"
            f"{PREPARE_AGAIN}"
        )
    image, label = features["image"], features["label"]
    if not isinstance(label, tfds.features.ClassLabel) or image.dtype != np.uint8 or None in image.shape:
        raise DataError(
            f"{shown(folder)}: the images must be uint8 of one size and have classes as labels, got {image} and "
            f"{label}; this is an old or modified version.\n{PREPARE_AGAIN}"
        )
    number = splits[split].num_examples if split in splits else 0
    if number != count:
        raise DataError(f"{shown(folder)}: {number} images in {split}, expected {count}")
    try:
        images = np.zeros((count, *image.shape), np.uint8)
        labels = np.full(count, -1, np.int64)
        # One file after the other, so that the order does not depend on TFDS's interleaving.
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        batches = builder.as_dataset(split=split, read_config=config, shuffle_files=False).batch(_BATCH)
        start = 0
        for batch in batches.as_numpy_iterator():
            size = len(batch["label"])
            if id_prefix is None:
                where = np.arange(start, start + size)
            else:
                where = np.array([_number(text.decode(), id_prefix, folder) for text in batch["id"]])
            if where.max() >= count:
                raise DataError(f"{shown(folder)}: image number {where.max()} in {split}, expected 0…{count - 1}")
            images[where], labels[where] = batch["image"], batch["label"]
            start += size
    except (tf.errors.OpError, OSError) as error:
        raise DataError(
            f"{shown(folder)}: truncated or damaged ({str(error).splitlines()[0]})\n{PREPARE_AGAIN}"
        ) from error
    if np.any(labels < 0):
        gone = np.flatnonzero(labels < 0)
        raise DataError(
            f"{shown(folder)}: {len(gone)} of {count} images of {split} are missing, the first is {gone[0]}"
        )
    return images, labels, tuple(label.names)


def _number(text: str, prefix: str, folder: pathlib.Path) -> int:
    if not text.startswith(prefix) or not re.fullmatch("[0-9]{1,9}", text[len(prefix) :]):
        raise DataError(f"{shown(folder)}: id {text!r} is not {prefix}<number>")
    return int(text[len(prefix) :])


def download(name: str, data_dir: pathlib.Path, url: str) -> None:
    """Downloads and prepares a dataset with TFDS.

    Raises:
      OSError: with the reason in one line, if that fails.
    """
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS):
            pass
    except (OSError, ValueError) as error:
        raise OSError(f"{url} cannot be reached ({getattr(error, 'reason', error)})") from error
    import tensorflow_datasets as tfds

    try:
        tfds.builder(name, data_dir=str(data_dir)).download_and_prepare()
    except Exception as error:  # TFDS passes on any exception of its libraries; each means that there is no data.
        raise OSError(f"TFDS could not prepare {name} ({type(error).__name__}: {str(error)[:200]})") from error
