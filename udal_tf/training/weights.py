"""What a training leaves for those who use its model: its facts, and the weights of the last and the best epoch."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from udal_tf import __version__
from udal_tf.data.dataset import SslData
from udal_tf.methods.learner import Learner
from udal_tf.run_dir import BEST, RunDir
from udal_tf.run_records import EpochRow, ModelFacts, best_row


def model_facts(data: SslData) -> ModelFacts:
    """What `config.json` does not say of the model that is trained on `data`."""
    return ModelFacts(__version__, list(data.train.shape), list(data.class_names), data.p_data.tolist())


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

    def __init__(self, run_dir: RunDir, learner: Learner):
        checkpoint = _weights_of(learner.model, learner.ema)
        # Made at the first save otherwise, which one worker does alone, and variables are made by all of them together.
        _ = checkpoint.save_counter
        self._manager = tf.train.CheckpointManager(checkpoint, str(run_dir / BEST), max_to_keep=1)

    def offer(self, rows: Sequence[EpochRow]) -> None:
        """Saves the present weights if the last row is the best one."""
        if best_row(rows) is rows[-1]:
            self._manager.save(checkpoint_number=rows[-1].step)
