"""What a training leaves for those who use its model: `model.json`, and the weights of the last and the best epoch."""

import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from udal_tf import __version__
from udal_tf.data.dataset import SslData
from udal_tf.methods.learner import Learner
from udal_tf.reporting.run_log import write_json

MODEL, CHECKPOINTS, BEST = "model.json", "checkpoints", "best"
# Of `model.json` and of the names under which checkpoints hold the weights; raised when either changes.
FORMAT = 1


def model_facts(data: SslData) -> dict[str, Any]:
    """What `config.json` does not say of a model: "input_shape" [H, W, C], "class_names", "p_data", and the format."""
    return {
        "format": FORMAT,
        "udal_tf": __version__,
        "input_shape": list(data.train.shape),
        "class_names": list(data.class_names),
        "p_data": data.p_data.tolist(),
    }


def write_model_facts(folder: pathlib.Path, data: SslData) -> None:
    """Writes `model.json`, unless an earlier start has."""
    if not (folder / MODEL).exists():
        write_json(folder / MODEL, model_facts(data))


def _weights_of(model: keras.Model, ema: Sequence[tf.Variable]) -> tf.train.Checkpoint:
    """The part of a training's checkpoints that prediction needs, under the same names."""
    return tf.train.Checkpoint(learner=tf.train.Checkpoint(model=model, ema=list(ema)))


def restore_weights(path: str, model: keras.Model, ema: Sequence[tf.Variable]) -> None:
    """Fills a model and its averaged weights from a checkpoint of a training or from its best weights.

    Args:
      path: as `tf.train.latest_checkpoint` gives it.
      model: as the training built it. ema: one variable for each trainable one of the model.

    Raises:
      AssertionError, tf.errors.OpError: where the file is another model's or damaged.
    """
    # The rest of a training's state is not wanted; said first, so that a refused file prints no list of it either.
    restored = _weights_of(model, ema).restore(path).expect_partial()
    restored.assert_existing_objects_matched()


class BestWeights:
    """Keeps the weights of the epoch whose averaged weights had the best mean per-class recall, in `best/`.

    The test pictures choose the epoch, so its own figures are no fair measure of it; a run's result is its last epoch.
    """

    def __init__(self, folder: pathlib.Path, learner: Learner):
        checkpoint = _weights_of(learner.model, learner.ema)
        # Made at the first save otherwise, which one worker does alone, and variables are made by all of them together.
        _ = checkpoint.save_counter
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder / BEST), max_to_keep=1)

    def offer(self, rows: Sequence[dict[str, Any]]) -> None:
        """Saves the present weights if the last row is the best one."""
        if best_row(rows) is rows[-1]:
            self._manager.save(checkpoint_number=rows[-1]["step"])


def best_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The epoch's row of the highest mean per-class recall with averaged weights; the first of equal ones."""
    return max(rows, key=lambda row: row["test"]["balanced_accuracy"]["ema"])
