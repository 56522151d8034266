"""What a run saves for using its model: its facts, and the weights of the last and the best epoch."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from udal_tf import __version__, storage
from udal_tf.config import Config
from udal_tf.data.dataset import SslData
from udal_tf.methods.learner import Learner
from udal_tf.methods.method import Method, Problem
from udal_tf.methods.network import SECOND_HEAD, Network, network_of
from udal_tf.models.build import build_model
from udal_tf.run_dir import BEST, CHECKPOINTS, RunDir
from udal_tf.run_records import EpochRow, ModelFacts, best_row


def model_facts(data: SslData) -> ModelFacts:
    """What prediction needs to know about the model trained on `data` beyond `config.json`."""
    return ModelFacts(
        __version__,
        list(data.train.shape),
        list(data.class_names),
        data.p_data.tolist(),
        data.p_unlabeled.tolist(),
        np.bincount(data.labels_l, minlength=data.num_classes).tolist(),
        len(data.unlabeled),
    )


def problem_of(facts: ModelFacts) -> Problem:
    """What a method may know about the data in prediction."""
    return Problem(
        np.array(facts.p_data, np.float32),
        np.array(facts.p_unlabeled, np.float32),
        labeled_counts=np.array(facts.labeled_counts),
        pool_size=facts.pool_size,
    )


def network_of_run(config: Config, input_shape: tuple[int, int, int], num_classes: int) -> Network:
    """The network that a run by `config` trained, as its method has it, with random weights. Raises ValueError."""
    model = build_model(config.model, input_shape, num_classes, own=config.own.arch)
    return network_of(config.records.method, config.own.method, model)


def part_with_model(run_dir: RunDir) -> tuple[int, RunDir | None]:
    """The last generation with a checkpoint, counted from 0, and its folder; the folder is None if there is none."""
    candidates = (run_dir.generations() or {0: run_dir}).items()
    return next(((n, part) for n, part in reversed(candidates) if latest_weights(part, CHECKPOINTS)), (0, None))


def latest_weights(part: RunDir, folder: str) -> str | None:
    """The newest checkpoint in a folder of a run, of which that of a bucket is copied; None if there is none."""
    if not storage.exists(part / folder):
        return None
    return tf.train.latest_checkpoint(str(storage.fetched(part / folder)))


def _weights_of(network: Network, ema: Sequence[tf.Variable], method: Method | None = None) -> tf.train.Checkpoint:
    """The part of a run's checkpoints that prediction needs, under the same names."""
    parts = {"model": network.model, "ema": list(ema)}
    if SECOND_HEAD in network.heads:
        parts["second_head"] = network.heads[SECOND_HEAD]
    if method is not None:
        parts["method"] = method
    return tf.train.Checkpoint(learner=tf.train.Checkpoint(**parts))


def restore_weights(path: str, network: Network, ema: Sequence[tf.Variable], method: Method | None = None) -> None:
    """Fills a network and its EMA weights from a checkpoint of a run or from its best weights.

    Args:
      path: as `tf.train.latest_checkpoint` gives it.
      network: as in training; additional heads may be missing.
      ema: a variable for each of `network.averaged`.
      method: if its state is to be restored, too.

    Raises:
      AssertionError, tf.errors.OpError: if the file is damaged or of another model.
    """
    # The rest of a run's state is not needed; declared first, so that a refused file does not print a list of it.
    restored = _weights_of(network, ema, method).restore(path).expect_partial()
    restored.assert_existing_objects_matched()


class BestWeights:
    """Keeps the weights of the epoch with the best balanced accuracy of the EMA weights, in `best/`.

    Without validation images the epoch is selected on the test images, so its test scores are biased; a run's result is
    that of its last epoch.
    """

    def __init__(self, run_dir: RunDir, learner: Learner):
        checkpoint = _weights_of(learner.network, learner.ema, learner.method)
        # Otherwise created at the first save, by one worker alone, but all workers must create variables together.
        _ = checkpoint.save_counter
        self._learner = learner
        self._manager = tf.train.CheckpointManager(checkpoint, str(run_dir / BEST), max_to_keep=1)

    def offer(self, rows: Sequence[EpochRow]) -> None:
        """Saves the current weights if the last row is the best one."""
        if best_row(rows) is rows[-1]:
            self._manager.save(checkpoint_number=rows[-1].step)

    def restore(self, step: int) -> None:
        """Gives the learner the weights that were saved, and the step at which they were."""
        # By the same object, as another one would create a variable, which all workers must do together.
        self._manager.checkpoint.restore(self._manager.latest_checkpoint).assert_consumed()
        self._learner.step.assign(step)
