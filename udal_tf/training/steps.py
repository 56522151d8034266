"""Many training steps in one compiled call: `StepRunner`."""

import numpy as np
import tensorflow as tf

from udal_tf.methods.learner import Learner


class StepRunner:
    """Runs n training steps in one compiled call, whatever n is.

    Args:
      strategy: its `run` calls the step on every replica.
      learner: made inside the strategy's scope.
    """

    def __init__(self, strategy: tf.distribute.Strategy, learner: Learner):
        self.names: list[str] = []
        self._strategy, self._learner = strategy, learner
        self._run = tf.function(self._steps)

    def __call__(self, iterator, count: int) -> np.ndarray:
        """The metrics of each step: [count, len(names)] float32, in the order of `names`."""
        return self._run(iterator, tf.constant(count)).numpy()

    @property
    def traces(self) -> int:
        """How often the step was traced; more than once means that something is not a tensor that should be."""
        return self._run.experimental_get_tracing_count()

    def _steps(self, iterator, count):
        rows = tf.TensorArray(tf.float32, size=count)
        for i in tf.range(count):
            rows = rows.write(i, self._step(next(iterator)))
        return rows.stack()

    @tf.autograph.experimental.do_not_convert
    def _step(self, batch):
        """One step's metrics as a vector; `names` is filled in while this is traced."""
        metrics = self._strategy.run(self._learner.train_step, args=(batch,))
        self.names = sorted(metrics)
        total = tf.distribute.ReduceOp.SUM
        return tf.stack([self._strategy.reduce(total, metrics[name], axis=None) for name in self.names])
