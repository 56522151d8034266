"""Real images for comparing an exported model with the original: those a user names, or some of the run's data."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from udal_tf.data import custom_dataset, files, folder_listing, sources
from udal_tf.data.dataset import DataError
from udal_tf.inference import image_files
from udal_tf.inference.trained import TrainedModel
from udal_tf.records.datasets import FolderConfig
from udal_tf.registry import DATASETS
from udal_tf.shown_names import shown

MOST = 64


def find(model: TrainedModel, named: Sequence[str]) -> tuple[np.ndarray, str]:
    """Up to MOST images as network input, and a description of where they come from.

    Args:
      model: the model.
      named: files, folders and patterns; if empty, the data of the run, if it is still available.

    Returns:
      [N, H, W, C] uint8, N may be 0, and the description.

    Raises:
      ValueError: if images are named and none can be read.
    """
    config, own = model.folder.config.data, model.folder.config.own.dataset
    empty = np.zeros([0, *model.input_shape], np.uint8)
    if named:
        image_files.check_named(named)
        found = _readable(model, image_files.named(named))
        if not found:
            raise ValueError(f"none of {', '.join(named)} is a readable image")
        return np.stack(found), f"{len(found)} images given by the user"
    try:
        if isinstance(own, FolderConfig) and own.labels:
            listing = folder_listing.make_listing(custom_dataset.read(config, own))
            found = _readable(model, map(str, listing.test))
            return (np.stack(found) if found else empty), f"{len(found)} images of {shown(own.labels)}"
        if DATASETS[config.dataset].image_files:
            folder = files.data_dirs(config)[0]
            found = _readable(model, image_files.below(str(folder)))
            return (np.stack(found), f"{len(found)} images below {shown(folder)}") if found else (empty, "none found")
        test = sources.load_source(config, own).test
        count = min(MOST, len(test))
        return test.fetch(np.arange(count)).numpy(), f"{count} test images of {config.dataset}"
    except DataError as error:
        return empty, f"none, because the training data is not available ({shown(str(error).splitlines()[0])})"


def _readable(model: TrainedModel, paths: Iterable[str]) -> list[np.ndarray]:
    """The first MOST readable images among twice as many files."""
    read = (model.pixels(path) for path in itertools.islice(paths, 2 * MOST))
    return list(itertools.islice((pixels for pixels in read if not isinstance(pixels, str)), MOST))
