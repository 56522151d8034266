"""`train`: the whole program, from data in memory to a work folder, as a function."""

import os
from typing import Any

from udal_tf import config as config_module
from udal_tf.data import memory
from udal_tf.data.dataset import DataError
from udal_tf.data.settings import uses_unlabeled
from udal_tf.run_records import Result
from udal_tf.training.experiment import train_and_evaluate

# Settings that the data determine.
_OF_THE_DATA = ("dataset", "data_dir", "images")


def train(data: Any, workdir: str | os.PathLike[str] = "", **settings: Any) -> Result:
    """Trains on data in memory as `python run.py` does on files, and returns the content of `result.json`.

    The work folder is one like any other: the same call resumes it, `udal_tf.load`, `udal predict`, `udal evaluate`,
    `udal export` and `udal report` read it. It does not contain the data; the SHA-256 of the arrays is part of the
    run's identity, so that it is resumed with the same data alone.

    Args:
      data: a ``udal_tf.Data``; a dict of its fields; a dict of splits, such as Hugging Face's DatasetDict; or a builder
        of TensorFlow Datasets whose data have been prepared.
      workdir: the work folder; by default runs/<name of the run>.
      settings: any setting by the name of its flag, such as ``epochs=30, method="crest+"``; others follow from the
        data, as they do for a folder of images.

    Raises:
      ValueError: for a setting that is not allowed, as in `udal_tf.config.resolve`.
      DataError: a ValueError, for data that cannot be used; nothing is written then.
      RunDirError: a ValueError, if the work folder belongs to a run with other data or settings.

    Example: ``udal_tf.train({"labeled": (x, y), "unlabeled": x_u, "test": (x_t, y_t)}, "runs/mine", epochs=30)``.
    """
    for name in _OF_THE_DATA:
        if name in settings:
            raise ValueError(f"{name} follows from the data that udal_tf.train is given: leave out {name}")
    given = {"dataset": "memory", **settings, **({"workdir": os.fspath(workdir)} if workdir else {})}
    config_module.resolve(given)  # Bad settings are refused before the data are read.
    arrays = memory.arrays_of(memory.as_data(data), given.get("image_size", 0))
    given["image_size"] = arrays.images.shape[1]  # Images of one size are not resized.
    try:
        first = config_module.resolve({**given, "images": memory.give(arrays)})
        config = config_module.resolve(given, memory.facts(first.data))
        if config.data.beta == 1 and arrays.labeled == len(arrays.images) and uses_unlabeled(config):
            raise DataError(
                "data has no unlabeled images: give unlabeled=…, or beta below 1 to treat a part of the labeled ones "
                'as unlabeled, or train on labels alone with base="supervised", method="none"'
            )
        return train_and_evaluate(config)
    finally:
        memory.forget(arrays)
