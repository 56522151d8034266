"""Many training steps in one compiled call: `StepRunner`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf.input.pipeline import Batch, BatchMaker, ReplicaSlice
from udal_tf.methods.learner import Learner
from udal_tf.training.distribute import is_tpu


class StepRunner:
    """Runs any number of training steps in one compiled call.

    Args:
      strategy: its `run` calls the step on every replica.
      learner: made inside the strategy's scope.
      maker: of the batches.
      on_device: whether batches are made inside the call; otherwise they come from an iterator.
      jit: whether XLA compiles the step, including the views of the images; not for a TPU, whose strategy does.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        learner: Learner,
        maker: BatchMaker,
        on_device: bool = False,
        jit: bool = False,
    ):
        self.names: list[str] = []
        self._strategy, self._learner, self._maker, self._on_device = strategy, learner, maker, on_device
        self._makes_views = jit or on_device or is_tpu(strategy)
        self._replica_step: Any = tf.function(self._train, jit_compile=True, autograph=False) if jit else self._train
        self._run = tf.function(self._steps, autograph=False)

    def __call__(self, source: Any, count: int) -> np.ndarray:
        """The metrics of each step: [count, len(names)] float32, in the order of `names`: "loss", …, and "name/c" for
        the counts of class c.

        Args:
          source: an iterator over the replicas' batches, as `host_batch` makes them; on_device: the numbers of the
            steps whose images are shown, [count] int64.
        """
        return self._run(source, tf.constant(count)).numpy()

    def host_batch(self, step: tf.Tensor, replica: ReplicaSlice) -> Batch:
        """The iterator's element for a step: a batch, or its input if the step makes the views itself."""
        if self._makes_views:
            return self._maker.images(step, self._maker.orders(step), replica)
        return self._maker(step, replica)

    @property
    def traces(self) -> int:
        """How often the step was traced; more than once means that something should be a tensor and is not."""
        return self._run.experimental_get_tracing_count()

    def graph_operations(self, source: Any) -> set[str]:
        """The types of all operations in the compiled call, to check that a device supports them."""
        graph = self._run.get_concrete_function(source, tf.constant(1)).graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        return {node.op for node in nodes}

    def xla_text(self, batch: Batch) -> str:
        """The step for such a batch as XLA's HLO, in which shapes that depend on values are visible.

        Raises:
          ValueError: if the step is not compiled by XLA.
        """
        if self._replica_step == self._train:
            raise ValueError("only a step made with jit=True is compiled by XLA")
        return self._replica_step.experimental_get_compiler_ir(batch, None)(stage="hlo")

    def _steps(self, source, count):
        def body(i, rows):
            return i + 1, rows.write(i, self._step(source, i))

        # Not by AutoGraph, whose conversion of a loop takes half a second.
        rows = tf.TensorArray(tf.float32, size=count)
        return tf.while_loop(lambda i, rows: i < count, body, (0, rows))[1].stack()

    def _step(self, source, i):
        """One step's metrics as a vector."""
        if self._on_device:
            step = source[i]
            # Shuffling has a kernel on the host only.
            with tf.device("CPU:0"):
                orders = self._maker.orders(step)
            metrics = self._strategy.run(self._replica_step, args=(orders, step))
        else:
            metrics = self._strategy.run(self._replica_step, args=(next(source),))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, metrics, axis=None)

    def _train(self, batch: Batch, step: tf.Tensor | None = None) -> tf.Tensor:
        """A replica's metrics as a vector; `names` is filled in while this is traced."""
        if step is not None:
            context = tf.distribute.get_replica_context()
            replica = ReplicaSlice(context.replica_id_in_sync_group, context.num_replicas_in_sync)
            batch = self._maker.images(step, batch, replica)
        if self._makes_views:
            batch = self._maker.with_views(batch)
        metrics, counts = self._learner.counted_train_step(batch)
        scalars, vectors = sorted(metrics), sorted(counts)
        self.names = scalars + [f"{name}/{c}" for name in vectors for c in range(counts[name].shape[0])]
        return tf.concat([tf.stack([metrics[name] for name in scalars]), *(counts[name] for name in vectors)], axis=0)


def by_class(figures: Mapping[str, float]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Metrics by the `names` of a StepRunner, split into scalars and lists with a value per class."""
    scalars: dict[str, float] = {}
    lists: dict[str, list[float]] = {}
    for name, value in figures.items():
        stem, slash, _ = name.partition("/")
        if slash:
            lists.setdefault(stem, []).append(value)
        else:
            scalars[name] = value
    return scalars, lists
