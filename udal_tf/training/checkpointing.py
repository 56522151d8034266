"""Checkpoints: all state of a run in one `tf.train.Checkpoint`, whole or not there at all."""

import pathlib

import tensorflow as tf
from absl import logging

KEPT_CHECKPOINTS = 3


class Checkpoints:
    """Saves and restores one object tree under a folder.

    TensorFlow writes the data under temporary names and moves the `checkpoint` index last, so a process killed while
    saving leaves the previous checkpoint in force.

    Args:
      folder: created on the first save.
      state: named trackable objects, e.g. learner=…, totals=….
    """

    def __init__(self, folder: pathlib.Path, **state):
        self._checkpoint = tf.train.Checkpoint(**state)
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(folder), max_to_keep=KEPT_CHECKPOINTS)

    @property
    def latest(self) -> str | None:
        """The path of the newest checkpoint, for messages."""
        return self._manager.latest_checkpoint

    def restore(self) -> str | None:
        """Restores the newest checkpoint that can be read; an unreadable one is named in the log and passed over.

        Returns:
          Its path, or None where there is none at all.

        Raises:
          RuntimeError: where there are checkpoints and none of them can be read.
        """
        problems = []
        for path in reversed(self._manager.checkpoints):
            try:
                self._checkpoint.restore(path).assert_consumed()
                return path
            except (tf.errors.OpError, AssertionError, ValueError) as error:
                problems.append(f"{path}: {str(error).splitlines()[0]}")
                logging.warning("The checkpoint %s cannot be read; trying the one before it.", problems[-1])
        if problems:
            raise RuntimeError("None of the checkpoints can be read:\n  " + "\n  ".join(problems))
        return None

    def save(self, step: int) -> str:
        """Writes a checkpoint named for the step and forgets the oldest one beyond those kept; returns its path."""
        return self._manager.save(checkpoint_number=step)
