"""The log of a run in training: a row per epoch, and TensorBoard events made from the rows."""

import numpy as np
import tensorflow as tf

from udal_tf.run_dir import TENSORBOARD, RunDir
from udal_tf.run_records import EpochRow


class RunLog:
    """Rows of one run, consistent with its checkpoint.

    Args:
      run_dir: of the run.
      step: the step that training resumes from; rows of later steps, whose state was lost, are dropped.
    """

    def __init__(self, run_dir: RunDir, step: int):
        self._run_dir, self.rows = run_dir, run_dir.rows_until(step)
        # Event files cannot be truncated at a step, so they are rewritten from the rows.
        (run_dir / TENSORBOARD).rmtree(missing_ok=True)
        self._events = tf.summary.create_file_writer(str(run_dir / TENSORBOARD))
        for row in self.rows:
            self._write_events(row)

    @property
    def seconds(self) -> float:
        """Seconds trained so far, including before interruptions."""
        return self.rows[-1].seconds if self.rows else 0.0

    def append(self, row: EpochRow) -> None:
        self.rows.append(row)
        self._run_dir.append_row(row)
        self._write_events(row)

    def _write_events(self, row: EpochRow) -> None:
        with self._events.as_default(step=row.step):
            for name, value in row.train.items():
                tf.summary.scalar(f"train/{name}", value)
            for measure in ("accuracy", "balanced_accuracy"):
                for weights, value in getattr(row.scores, measure).to_json().items():
                    tf.summary.scalar(f"{row.scored_on}/{measure}/{weights}", value)
            tf.summary.histogram("p_model", np.asarray(row.p_model))
        self._events.flush()
