"""UDAL on TensorFlow and Keras: imbalanced semi-supervised learning by distribution alignment as a loss."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # Importing the package does not import TensorFlow.
    from udal_tf.inference.trained import TrainedModel

__version__ = "0.1.0"


def load(
    workdir: str | os.PathLike[str],
    weights: str = "last",
    unfinished: bool = False,
    batch_size: int = 0,
    tau_norm: float = 0.0,
) -> TrainedModel:
    """The model of a work folder, ready to `predict`; see `udal_tf.inference.trained.load`.

    Example: ``udal_tf.load("runs/mine").predict(["a.jpg", "b.png"]).names``.
    """
    from udal_tf.inference import trained  # Here, so that importing the package does not import TensorFlow.

    return trained.load(workdir, weights, unfinished, batch_size, tau_norm)


# Imported on first use, as they import TensorFlow.
_MODULES = ("alignment", "losses")
_OBJECTS = {
    "Data": "udal_tf.data.memory",
    "SemiSupervisedModel": "udal_tf.keras_api.semi_supervised",
    "batches": "udal_tf.keras_api.batches",
    "train": "udal_tf.training.library",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"udal_tf.{name}")
    if name in _OBJECTS:
        return getattr(importlib.import_module(_OBJECTS[name]), name)
    raise AttributeError(f"module 'udal_tf' has no attribute {name!r}")
