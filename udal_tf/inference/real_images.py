"""Real images for comparing an exported model with the original: those a user names, or some of the run's data."""

import collections
import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from udal_tf.buckets import origin
from udal_tf.data import custom_dataset, files, folder_listing, sources
from udal_tf.data.dataset import DataError, Images
from udal_tf.inference import image_files
from udal_tf.inference.export_check import Real
from udal_tf.inference.trained import TrainedModel
from udal_tf.records.datasets import FolderConfig
from udal_tf.registry import DATASETS
from udal_tf.shown_names import shown

MOST = 64
# Files of which they are chosen: a folder may have a million.
LOOKED_AT = 20_000


def find(model: TrainedModel, named: Sequence[str]) -> Real:
    """Up to MOST images as network input, of as many classes as there are, and where they come from.

    Args:
      model: the model.
      named: files, folders and patterns; if empty, the data of the run, if it is still available.

    Raises:
      ValueError: if images are named and none can be read.
    """
    config, own = model.folder.config.data, model.folder.config.own.dataset
    empty = np.zeros([0, *model.input_shape], np.uint8)
    if named:
        image_files.check_named(named)
        images, paths = _readable(model, image_files.named(named))
        if not paths:
            raise ValueError(f"none of {', '.join(named)} is a readable image")
        return Real(images, paths, f"{len(paths)} images given by the user")
    try:
        if isinstance(own, FolderConfig) and own.labels:
            listing = folder_listing.make_listing(custom_dataset.read(config, own))
            images, paths = _readable(model, map(str, listing.test))
            return Real(images, paths, f"{len(paths)} images of {shown(own.labels)}")
        if DATASETS[config.dataset].image_files:
            folder = files.data_dirs(config)[0]
            images, paths = _readable(model, image_files.below(str(folder)))
            words = f"{len(paths)} images below {shown(origin(folder))}" if paths else "none found"
            return Real(images, paths, words)
        source = sources.load_source(config, own)
        images = fetched(source.test, in_turn(source.test_labels, MOST))
        return Real(images, (), f"{len(images)} test images of {config.dataset}")
    except DataError as error:
        words = f"none, because the training data is not available ({shown(str(error).splitlines()[0])})"
        return Real(empty, (), words)


def in_turn(labels: Sequence[Any] | np.ndarray, most: int) -> np.ndarray:
    """Positions of at most `most` items, one of each class, then a second one of each, and so on.

    Example:
      >>> print(in_turn(["a", "a", "a", "b", "c"], 4))
      [0 3 4 1]
    """
    seen: collections.Counter[Any] = collections.Counter()
    turns = []
    for label in labels:
        turns.append(seen[label])
        seen[label] += 1
    return np.argsort(turns, kind="stable")[:most]


def fetched(images: Images, positions: np.ndarray) -> np.ndarray:
    """[n, H, W, C] uint8."""
    return images.fetch(positions).numpy()


def _readable(model: TrainedModel, paths: Iterable[str]) -> tuple[np.ndarray, list[str]]:
    """MOST readable images among twice as many files, the folders in turn, and their files."""
    some = list(itertools.islice(paths, LOOKED_AT))
    chosen = [some[i] for i in in_turn([os.path.dirname(path) for path in some], 2 * MOST)]
    read = ((path, model.pixels(path)) for path in chosen)
    good = list(itertools.islice(((path, pixels) for path, pixels in read if not isinstance(pixels, str)), MOST))
    images = np.array([pixels for _, pixels in good], np.uint8).reshape(len(good), *model.input_shape)
    return images, [path for path, _ in good]
