"""Keras losses for supervised long-tailed work alone: logit adjustment and UDAL's labeled loss (Eqs. 3 and 6).

The arithmetic is that of `core.alignment`, as in the training step; `udal_tf.losses` has them under the same names.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from udal_tf.core import alignment, losses, schedules
from udal_tf.keras_api.checks import class_prior

# What leaves the outputs of a network as they are, in the graph.
_UNCHANGED = ("Identity", "Cast", "Reshape", "StopGradient")
_PROBABILITIES = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
# Rows of logits that are all non-negative and sum to 1 by chance: less likely the more there are.
_ENOUGH_ROWS = 4
_SUM_TOLERANCE = 1e-3
_NO_LOGITS = "y_pred must be logits, and these are {}: leave the activation out, as the loss applies a softmax itself"


class _ShiftedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits to which a shift per class is added."""

    def __init__(self, class_counts: Sequence[float], reduction: str | None, name: str, dtype: Any):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.class_counts = np.asarray(class_counts).tolist()
        self._p_data = class_prior(class_counts, None)

    def shift(self) -> tf.Tensor:
        """[C] float32, what is added to the logits."""
        raise NotImplementedError

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """[B] float32, the loss of each example."""
        logits = _checked_logits(tf.convert_to_tensor(y_pred), len(self._p_data))
        targets, valid = _checked_targets(tf.cast(y_true, tf.float32), len(self._p_data))
        per_example = losses.cross_entropy(targets, tf.cast(logits, tf.float32) + self.shift())
        return tf.where(valid, per_example, np.nan)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "class_counts": self.class_counts, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="udal_tf")
class LogitAdjustedCrossentropy(_ShiftedCrossentropy):
    """Logit-adjusted cross-entropy, a Keras loss for long-tailed labels: −log softmax(logits + τ·log(p_data·C))[label].

    >>> import udal_tf
    >>> loss = udal_tf.losses.LogitAdjustedCrossentropy(class_counts=[80, 20])
    >>> round(float(loss([0, 1], [[0.0, 0.0], [0.0, 0.0]])), 4)  # The mean of −log 0.8 and −log 0.2.
    0.9163

    Train with it and predict with the logits as they are: they are already adjusted, so LA (Inf) must not be applied
    as well.

    Labels `y_true` are [B] or [B, 1], 0 to C−1, or [B, C], one-hot or distributions, as of label smoothing and MixUp.
    Others raise `tf.errors.InvalidArgumentError`; under XLA (`jit_compile`), which cannot raise errors, their loss is
    NaN. `y_pred` are logits [B, C]. A network that ends in a softmax is refused where that can be seen: by the
    operation that made `y_pred` while a step is traced, which `fit` always does, and by the values in an eager call.

    Args:
      class_counts: [C], numbers of labeled images per class, all above 0.
      tau: τ ≥ 0; 1 in Eq. 3, 0 is plain cross-entropy.
      reduction: as in Keras.
      name: as in Keras.
      dtype: as in Keras.

    Raises:
      ValueError: for class counts or τ out of range, outputs of another number of classes, and probabilities.

    Source: UDAL Eq. 3; Menon et al., Long-tail learning via logit adjustment, Eq. 10, equal up to a constant logit.
    """

    def __init__(
        self,
        class_counts: Sequence[float],
        tau: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "logit_adjusted_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(class_counts, reduction, name, dtype)
        self.tau = _within("tau", tau, 0.0)

    def shift(self) -> tf.Tensor:
        """[C] float32, τ·log(p_data·C). Eq. 3."""
        return self.tau * alignment.log_ratio(self._p_data, alignment.tempered(self._p_data, 0.0))

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "tau": self.tau}


@keras.saving.register_keras_serializable(package="udal_tf")
class UDALCrossentropy(_ShiftedCrossentropy):
    """UDAL's labeled loss as a Keras loss: −log softmax(logits + log(p_data / p̃_α))[label], p̃_α = Normalize(p_data^α).

    >>> import udal_tf
    >>> loss = udal_tf.losses.UDALCrossentropy(class_counts=[80, 20], alpha_min=0.0, k=1.0)
    >>> labels, logits = [0, 1], [[0.0, 0.0], [0.0, 0.0]]
    >>> round(float(loss(labels, logits)), 4)  # α is 1: plain cross-entropy.
    0.6931
    >>> loss.set_progress(0.5)  # As `AlphaSchedule` does: α is 0.5, p̃ is [2/3, 1/3].
    >>> round(float(loss(labels, logits)), 4)
    0.752

    α begins at 1 and stays there unless `AlphaSchedule`, or `set_progress` in a loop of your own, moves it. Labels and
    logits are those of `LogitAdjustedCrossentropy`.

    Args:
      class_counts: [C], numbers of labeled images per class, all above 0.
      alpha_min: α at the end of training, in [0, 1].
      k: exponent of the schedule, at least 0: the larger, the later α falls; 0 gives α_min throughout.
      alpha: α now; what a saved model had.
      reduction: as in Keras.
      name: as in Keras.
      dtype: as in Keras.

    Raises:
      ValueError: as for `LogitAdjustedCrossentropy`.

    Source: UDAL Eqs. 2, 6 and 10.
    """

    def __init__(
        self,
        class_counts: Sequence[float],
        alpha_min: float = 0.1,
        k: float = 2.0,
        alpha: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "udal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(class_counts, reduction, name, dtype)
        self.alpha_min, self.k = _within("alpha_min", alpha_min, 0.0, 1.0), _within("k", k, 0.0)
        # A variable, so that a step that is compiled already sees it move.
        self._alpha = tf.Variable(_within("alpha", alpha, 0.0, 1.0), trainable=False, dtype=tf.float32, name="alpha")

    @property
    def alpha(self) -> float:
        """α now."""
        return float(self._alpha.numpy())

    def set_progress(self, progress: float) -> None:
        """Moves α to that of t/T = progress, in [0, 1]: 1 − (1 − α_min)·progress^k, Eq. 10."""
        self._alpha.assign(schedules.alpha(_within("progress", progress, 0.0, 1.0), self.alpha_min, self.k))

    def shift(self) -> tf.Tensor:
        """[C] float32, log(p_data / p̃_α). Eq. 6."""
        return alignment.log_ratio(self._p_data, alignment.tempered(self._p_data, self._alpha))

    def get_config(self) -> dict[str, Any]:
        """The arguments, with α as it is now."""
        return {**super().get_config(), "alpha_min": self.alpha_min, "k": self.k, "alpha": self.alpha}


class AlphaSchedule(keras.callbacks.Callback):
    """Moves the α of a model's `UDALCrossentropy` with the epochs that `fit` was given, and logs it as "alpha".

    In epoch t of T, counted from 0, it is α_t of Eq. 10. `initial_epoch` and BackupAndRestore are honored, as t is
    Keras's own number of the epoch.

    Raises:
      ValueError: when training begins, unless the model was compiled with a `UDALCrossentropy`.
    """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Refuses a model without the loss."""
        if not self._losses():
            raise ValueError("AlphaSchedule needs a model compiled with loss=udal_tf.losses.UDALCrossentropy(…)")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves α to that of the epoch."""
        for loss in self._losses():
            loss.set_progress(epoch / self.params["epochs"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs α."""
        if logs is not None:
            logs["alpha"] = self._losses()[0].alpha

    def _losses(self) -> list[UDALCrossentropy]:
        return [loss for loss in keras.tree.flatten(self.model.loss) if isinstance(loss, UDALCrossentropy)]


def _within(name: str, value: float, low: float, high: float = np.inf) -> float:
    if not isinstance(value, (int, float, np.number)) or not (np.isfinite(value) and low <= value <= high):
        bounds = f"at least {low:g}" + (f" and at most {high:g}" if np.isfinite(high) else "")
        raise ValueError(f"{name} must be {bounds}, got {value!r}")
    return float(value)


def _checked_logits(y_pred: tf.Tensor, num_classes: int) -> tf.Tensor:
    """The logits, [B, C]; raises ValueError for another shape, and for probabilities as far as they can be told."""
    if y_pred.shape.rank != 2 or y_pred.shape[1] != num_classes:
        raise ValueError(
            f"y_pred must be logits [B, {num_classes}] for the {num_classes} class_counts, got {y_pred.shape}"
        )
    if not tf.is_symbolic_tensor(y_pred):
        values = y_pred.numpy()
        sums_to_one = np.abs(values.sum(axis=1) - 1.0) < _SUM_TOLERANCE
        if len(values) >= _ENOUGH_ROWS and (values >= 0).all() and sums_to_one.all():
            raise ValueError(_NO_LOGITS.format("probabilities that sum to 1"))
        return y_pred
    made_by = y_pred.op
    while made_by.type in _UNCHANGED:
        made_by = made_by.inputs[0].op
    if made_by.type in _PROBABILITIES:
        raise ValueError(_NO_LOGITS.format(f"the outputs of a {_PROBABILITIES[made_by.type]}"))
    return y_pred


def _checked_targets(y_true: tf.Tensor, num_classes: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Labels [B] int64 or distributions [B, C], and which of them are valid, [B] bool; asserts that all are."""
    if y_true.shape.rank == 2 and y_true.shape[1] == num_classes:
        sums_to_one = tf.abs(tf.reduce_sum(y_true, axis=1) - 1.0) < _SUM_TOLERANCE
        targets, valid = y_true, tf.reduce_all(y_true >= 0.0, axis=1) & sums_to_one
        expected = "one-hot or distributions that sum to 1"
    elif y_true.shape.rank == 1 or (y_true.shape.rank == 2 and y_true.shape[1] == 1):
        labels = tf.reshape(y_true, [-1])
        valid = (labels >= 0.0) & (labels < num_classes) & (labels == tf.floor(labels))
        targets, expected = tf.cast(tf.where(valid, labels, 0.0), tf.int64), f"integers from 0 to {num_classes - 1}"
    else:
        raise ValueError(
            f"y_true must be labels [B] or [B, 1], or distributions [B, {num_classes}], got {y_true.shape}"
        )
    asserted = tf.debugging.Assert(tf.reduce_all(valid), [f"y_true must be {expected}, got", y_true])
    with tf.control_dependencies([asserted] if asserted is not None else []):
        return targets, tf.identity(valid)
