"""What a `SemiSupervisedModel` keeps besides its network's weights, and its metrics, in forms that Keras saves."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from udal_tf.methods.learner import Learner

# Metrics of a training step, at most.
_MOST_METRICS = 64


class TrainingState(keras.layers.Layer):
    """EMA weights, q̂, the step and the state of the method, as one layer's weights.

    Keras saves and restores layers' weights in every format and callback: `save`, `save_weights`, ModelCheckpoint,
    BackupAndRestore, EarlyStopping(restore_best_weights=True).
    """

    def __init__(self, learner: Learner):
        super().__init__(name="training_state")
        self.heads = list(learner.heads.values())
        modules: list[tf.Module] = [learner.method, *([learner.estimator] if learner.estimator is not None else [])]
        of_modules = [v for module in modules for v in module.variables]
        # Under an own attribute that Keras does not track: they are TensorFlow's variables.
        kept = (learner.step, learner.history, learner.label_average, *learner.ema, *of_modules)
        for number, variable in enumerate(kept):
            variable.path = f"{self.name}/{number}_{variable.name.split(':')[0]}"  # As Keras's own, for TensorBoard.
        object.__setattr__(self, "_kept", kept)
        self.built = True

    @property
    def variables(self) -> list:
        """All variables: of the layer, and what it keeps."""
        return [*super().variables, *self._kept]

    @property
    def weights(self) -> list:
        """All weights: of the layer, and what it keeps."""
        return [*super().weights, *self._kept]

    @property
    def non_trainable_variables(self) -> list:
        """All variables that no optimizer moves: of the layer, and what it keeps."""
        return [*super().non_trainable_variables, *self._kept]

    @property
    def non_trainable_weights(self) -> list:
        """All weights that no optimizer moves: of the layer, and what it keeps."""
        return [*super().non_trainable_weights, *self._kept]

    def save_own_variables(self, store) -> None:
        for number, variable in enumerate(self._kept):
            store[str(number)] = variable.numpy()

    def load_own_variables(self, store) -> None:
        shapes = [tuple(store[str(number)].shape) for number in range(len(store.keys()))]
        expected = [tuple(variable.shape) for variable in self._kept]
        if shapes != expected:
            raise ValueError(
                "the saved training state is of another network, base learner, method or number of classes: its shapes "
                f"are {shapes}, expected {expected}"
            )
        for number, variable in enumerate(self._kept):
            variable.assign(np.asarray(store[str(number)]))


class StepMeans(keras.metrics.Metric):
    """Means over an epoch's steps of the scalars that a training step returns; their names are known once it is traced.

    `update_state` takes name -> scalar, of the global batch.
    """

    def __init__(self):
        super().__init__(name="steps", dtype="float32")
        self.names: tuple[str, ...] = ()
        self.totals = self.add_variable((_MOST_METRICS,), "zeros", name="totals")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, scalars: Mapping[str, tf.Tensor]) -> None:
        self.names = tuple(scalars)
        row = tf.stack([tf.cast(scalar, tf.float32) for scalar in scalars.values()])
        self.totals.assign_add(tf.pad(row, [[0, _MOST_METRICS - len(self.names)]]))
        self.count.assign_add(1.0)

    def result(self) -> dict[str, tf.Tensor]:
        means = keras.ops.divide_no_nan(self.totals, self.count)
        return {name: means[number] for number, name in enumerate(self.names)}


class BalancedAccuracy(keras.metrics.Metric):
    """Balanced accuracy: the mean over the classes of their recall; classes without images do not count.

    `update_state` takes labels [n] integer and logits or probabilities [n, C].

    >>> metric = BalancedAccuracy(num_classes=3)
    >>> metric.update_state([0, 0, 0, 1], [[2.0, 1, 0], [2, 1, 0], [0, 1, 0], [0, 1, 0]])
    >>> round(float(metric.result()), 4)
    0.8333
    """

    def __init__(self, num_classes: int, name: str = "balanced_accuracy", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.num_classes = num_classes
        self.hits = self.add_variable((num_classes,), "zeros", name="hits")
        self.seen = self.add_variable((num_classes,), "zeros", name="seen")

    def update_state(self, y_true, y_pred, sample_weight=None) -> None:
        labels = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,))
        classes = keras.ops.one_hot(labels, self.num_classes, dtype="float32")
        if sample_weight is not None:
            classes *= keras.ops.reshape(keras.ops.cast(sample_weight, "float32"), (-1, 1))
        hit = keras.ops.cast(keras.ops.equal(keras.ops.argmax(y_pred, axis=-1), labels), "float32")
        self.hits.assign_add(keras.ops.sum(classes * hit[:, None], axis=0))
        self.seen.assign_add(keras.ops.sum(classes, axis=0))

    def result(self):
        recall = keras.ops.divide_no_nan(self.hits, self.seen)
        present = keras.ops.cast(self.seen > 0, "float32")
        return keras.ops.divide_no_nan(keras.ops.sum(recall), keras.ops.sum(present))

    def get_config(self) -> dict:
        return {**super().get_config(), "num_classes": self.num_classes}
