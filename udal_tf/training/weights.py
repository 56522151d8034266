"""What a training leaves for those who use its model: `model.json`, and the weights of the last and the best epoch."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf import __version__
from udal_tf.data.dataset import SslData
from udal_tf.methods.learner import Learner
from udal_tf.methods.method import Method, Problem
from udal_tf.methods.network import SECOND_HEAD, Network
from udal_tf.reporting.run_log import write_json

MODEL, CHECKPOINTS, BEST = "model.json", "checkpoints", "best"
# Of `model.json` and of the names under which checkpoints hold the weights; raised when either changes.
FORMAT = 2


def model_facts(data: SslData) -> dict[str, Any]:
    """What `config.json` does not say of a model: "input_shape" [H, W, C], "class_names", "p_data", and the format;
    with what `problem_of` needs."""
    return {
        "format": FORMAT,
        "udal_tf": __version__,
        "input_shape": list(data.train.shape),
        "class_names": list(data.class_names),
        "p_data": data.p_data.tolist(),
        "p_unlabeled": data.p_unlabeled.tolist(),
        "labeled_counts": np.bincount(data.labels_l, minlength=data.num_classes).tolist(),
        "pool_size": len(data.unlabeled),
    }


def problem_of(facts: Mapping[str, Any]) -> Problem:
    """What a method may know of the data when it only predicts."""
    arrays = {name: np.array(facts[name], np.float32) for name in ("p_data", "p_unlabeled")}
    return Problem(**arrays, labeled_counts=np.array(facts["labeled_counts"]), pool_size=facts["pool_size"])


def write_model_facts(folder: pathlib.Path, data: SslData) -> None:
    """Writes `model.json`, unless an earlier start has."""
    if not (folder / MODEL).exists():
        write_json(folder / MODEL, model_facts(data))


def _weights_of(network: Network, ema: Sequence[tf.Variable], method: Method | None = None) -> tf.train.Checkpoint:
    """The part of a training's checkpoints that prediction needs, under the same names."""
    parts = {"model": network.model, "ema": list(ema)}
    if SECOND_HEAD in network.heads:
        parts["second_head"] = network.heads[SECOND_HEAD]
    if method is not None:
        parts["method"] = method
    return tf.train.Checkpoint(learner=tf.train.Checkpoint(**parts))


def restore_weights(path: str, network: Network, ema: Sequence[tf.Variable], method: Method | None = None) -> None:
    """Fills a network and its EMA weights from a checkpoint of a training or from its best weights.

    Args:
      path: as `tf.train.latest_checkpoint` gives it.
      network: as the training built it; further heads may be missing.
      ema: a variable for each of `network.averaged`.
      method: whose state is wanted, too.

    Raises:
      AssertionError, tf.errors.OpError: where the file is another model's or damaged.
    """
    # The rest of a training's state is not wanted; said first, so that a refused file prints no list of it either.
    restored = _weights_of(network, ema, method).restore(path).expect_partial()
    restored.assert_existing_objects_matched()


class BestWeights:
    """Keeps the weights of the epoch whose averaged weights had the best mean per-class recall, in `best/`.

    The test pictures choose the epoch, so its own figures are no fair measure of it; a run's result is its last epoch.
    """

    def __init__(self, folder: pathlib.Path, learner: Learner):
        checkpoint = _weights_of(learner.network, learner.ema, learner.method)
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
