"""Checkpoints: all state of a run in one `tf.train.Checkpoint`, written atomically."""

import tensorflow as tf
from absl import logging
from etils import epath

from udal_tf.shown_names import shown

KEPT_CHECKPOINTS = 3
# The file in which TensorFlow lists complete checkpoints.
LIST_OF_CHECKPOINTS = "checkpoint"


class CheckpointError(RuntimeError):
    """There are checkpoints, but none can be read; the message names them and says what to do."""


class Checkpoints:
    """Saves and restores one object tree under a folder.

    TensorFlow writes the data under temporary names and moves the `checkpoint` index last, so a process killed while
    saving leaves the previous checkpoint as the latest.

    Args:
      folder: created on the first save.
      state: named trackable objects, e.g. learner=…, totals=….
    """

    def __init__(self, folder: epath.Path, **state):
        self._folder = folder
        self._checkpoint = tf.train.Checkpoint(**state)
        # Otherwise created at the first save, by one worker alone, but all workers must create variables together.
        _ = self._checkpoint.save_counter
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(folder), max_to_keep=KEPT_CHECKPOINTS)
        # Path of the checkpoint last restored or saved, for messages.
        self.latest: str | None = None

    def _saved(self) -> list[str]:
        """The paths of the checkpoints, oldest first; found by file name if their list is unreadable."""
        # Read each time, as another worker may be the one that saves.
        state = tf.train.get_checkpoint_state(str(self._folder))
        if state or not (self._folder / LIST_OF_CHECKPOINTS).exists():
            return list(state.all_model_checkpoint_paths) if state else []
        logging.warning(
            "%s cannot be read; using the names of the checkpoint files instead.", self._folder / LIST_OF_CHECKPOINTS
        )
        indices = {int(path.stem.rpartition("-")[2]): path for path in self._folder.glob("ckpt-*.index")}
        return [str(indices[step].with_suffix("")) for step in sorted(indices)]

    def restore(self) -> str | None:
        """Restores the newest readable checkpoint; unreadable ones are logged and skipped.

        Returns:
          Its path, or None if there are no checkpoints.

        Raises:
          CheckpointError: if there are checkpoints, but none can be read.
        """
        problems = []
        for path in reversed(self._saved()):
            try:
                self._checkpoint.restore(path).assert_consumed()
                self.latest = path
                return path
            except Exception as error:  # Damaged files raise various errors: OpError, IndexError, RuntimeError, …
                problems.append(f"{shown(path)}: {(str(error).splitlines() or [type(error).__name__])[0]}")
                logging.warning("The checkpoint %s cannot be read; trying the one before it.", problems[-1])
        listed = self._folder / LIST_OF_CHECKPOINTS
        if listed.exists():
            raise CheckpointError(
                "None of the checkpoints can be read:\n  "
                + "\n  ".join(problems or [f"{listed} exists, but none of the files it lists"])
                + f"\nRestore them from a backup, or remove {shown(self._folder)} to train from the start."
            )
        return None

    def save(self, step: int) -> str:
        """Writes a checkpoint named after the step and deletes the oldest one beyond those kept; returns its path."""
        self.latest = self._manager.save(checkpoint_number=step)
        return self.latest
