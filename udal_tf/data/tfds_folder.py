"""Datasets prepared by TensorFlow Datasets: finding the folder, reading it in full, downloading it."""

import json
import pathlib
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np

from udal_tf.data.dataset import DataError

# Without a network, TFDS itself retries for minutes before it gives up.
PROBE_SECONDS = 10
_BATCH = 1000


def find(folders: Sequence[pathlib.Path], *names: str) -> pathlib.Path | None:
    """The newest prepared version of a dataset, `<folder>/<name>[/<config>]/<version>/`, or None."""
    for folder in folders:
        found = [path.parent for path in folder.joinpath(*names).glob("*/dataset_info.json")]
        versions = [path for path in found if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
        if versions:
            return max(versions, key=lambda path: tuple(map(int, path.name.split("."))))
    return None


def shard_files(folder: pathlib.Path, split: str) -> list[pathlib.Path]:
    """The shards of a split in order. Raises DataError if some are missing or not TFRecord files."""
    info = description(folder)
    name = info["name"]
    split_info = next((entry for entry in info["splits"] if entry["name"] == split), None)
    if split_info is None:
        raise DataError(f"{folder}: no split {split!r}")
    if info.get("fileFormat", "tfrecord") != "tfrecord":
        raise DataError(f"{folder}: prepared as {info['fileFormat']}; prepare it with TFDS's default, tfrecord")
    shards = sorted(folder.glob(f"{name}-{split}.tfrecord-*"))
    if len(shards) != len(split_info["shardLengths"]):
        raise DataError(f"{folder}: {len(shards)} of the {len(split_info['shardLengths'])} files of {split} exist")
    return shards


def description(folder: pathlib.Path) -> dict[str, Any]:
    """The content of dataset_info.json. Raises DataError if it cannot be read."""
    try:
        return json.loads((folder / "dataset_info.json").read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: cannot read dataset_info.json ({error})") from error


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

    try:
        builder = tfds.builder_from_directory(str(folder))
        features = builder.info.features
        missing = {"image", "label"} - set(features) or ({"id"} - set(features) if id_prefix is not None else set())
        if missing:
            raise DataError(
                f"{folder}: the images have no {', '.join(sorted(missing))}; this is an old or modified version.\n"
                "Prepare it again with a current tensorflow-datasets."
            )
        number = builder.info.splits[split].num_examples if split in builder.info.splits else 0
        if number != count:
            raise DataError(f"{folder}: {number} images in {split}, expected {count}")
        images = np.zeros((count, *features["image"].shape), np.uint8)
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
                raise DataError(f"{folder}: image number {where.max()} in {split}, expected 0…{count - 1}")
            images[where], labels[where] = batch["image"], batch["label"]
            start += size
    except (tf.errors.OpError, OSError) as error:
        raise DataError(f"{folder}: truncated or damaged ({str(error).splitlines()[0]})") from error
    if np.any(labels < 0):
        gone = np.flatnonzero(labels < 0)
        raise DataError(f"{folder}: {len(gone)} of {count} images of {split} are missing, the first is {gone[0]}")
    return images, labels, tuple(features["label"].names)


def _number(text: str, prefix: str, folder: pathlib.Path) -> int:
    if not text.startswith(prefix) or not text[len(prefix) :].isdigit():
        raise DataError(f"{folder}: id {text!r} is not {prefix}<number>")
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
