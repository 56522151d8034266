"""Checkpoints: all state of a run in one `tf.train.Checkpoint`, whole or not there at all."""

import tensorflow as tf
from absl import logging
from etils import epath

KEPT_CHECKPOINTS = 3
# The file in which TensorFlow names the checkpoints that are complete.
LIST_OF_CHECKPOINTS = "checkpoint"


class CheckpointError(RuntimeError):
    """There are checkpoints and none of them can be read; the message names them and says what to do."""


class Checkpoints:
    """Saves and restores one object tree under a folder.

    TensorFlow writes the data under temporary names and moves the `checkpoint` index last, so a process killed while
    saving leaves the previous checkpoint in force.

    Args:
      folder: created on the first save.
      state: named trackable objects, e.g. learner=…, totals=….
    """

    def __init__(self, folder: epath.Path, **state):
        self._folder = folder
        self._checkpoint = tf.train.Checkpoint(**state)
        # Made at the first save otherwise, which one worker does alone, and variables are made by all of them together.
        _ = self._checkpoint.save_counter
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(folder), max_to_keep=KEPT_CHECKPOINTS)
        # The path of the checkpoint that was restored or saved last, for messages.
        self.latest: str | None = None

    def _saved(self) -> list[str]:
        """The paths of the checkpoints, oldest first; by the files' names where their list is there but unreadable."""
        # Read anew: another worker may be the one that saves.
        state = tf.train.get_checkpoint_state(str(self._folder))
        if state or not (self._folder / LIST_OF_CHECKPOINTS).exists():
            return list(state.all_model_checkpoint_paths) if state else []
        logging.warning("%s cannot be read; going by the names of the files.", self._folder / LIST_OF_CHECKPOINTS)
        indices = {int(path.stem.rpartition("-")[2]): path for path in self._folder.glob("ckpt-*.index")}
        return [str(indices[step].with_suffix("")) for step in sorted(indices)]

    def restore(self) -> str | None:
        """Restores the newest checkpoint that can be read; an unreadable one is named in the log and passed over.

        Returns:
          Its path, or None where there is none at all.

        Raises:
          CheckpointError: where there are checkpoints and none of them can be read.
        """
        problems = []
        for path in reversed(self._saved()):
            try:
                self._checkpoint.restore(path).assert_consumed()
                self.latest = path
                return path
            except Exception as error:  # Damaged files raise all kinds: OpError, IndexError, RuntimeError, …
                problems.append(f"{path}: {(str(error).splitlines() or [type(error).__name__])[0]}")
                logging.warning("The checkpoint %s cannot be read; trying the one before it.", problems[-1])
        listed = self._folder / LIST_OF_CHECKPOINTS
        if listed.exists():
            raise CheckpointError(
                "None of the checkpoints can be read:\n  "
                + "\n  ".join(problems or [f"{listed} is there, but no file that it names"])
                + f"\nPut a good copy of them back, or remove {self._folder} to train from the start."
            )
        return None

    def save(self, step: int) -> str:
        """Writes a checkpoint named for the step and forgets the oldest one beyond those kept; returns its path."""
        self.latest = self._manager.save(checkpoint_number=step)
        return self.latest
