"""What the losses of a base learner and of a method are handed on as."""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Auxiliary:
    """An auxiliary loss.

    values: [n] per example. weight: in the total loss. ramped: whether the weight ramps up with the unlabeled loss's.
    """

    values: tf.Tensor
    weight: float
    ramped: bool


@dataclasses.dataclass(frozen=True)
class Losses:
    """What a base learner's `losses` returns.

    labeled, unlabeled: [B] and [n] per-example losses; masked examples count as zeros in the mean.
    probs_u: [U, C] predictions that q̂ averages, before alignment and masking; None if there are none.
    auxiliary: further losses by name.
    monitors: scalars in [0, 1], means over this replica's examples.
    counts: [C] float32, number of this replica's examples per class.
    """

    labeled: tf.Tensor
    unlabeled: tf.Tensor | None = None
    probs_u: tf.Tensor | None = None
    auxiliary: dict[str, Auxiliary] = dataclasses.field(default_factory=dict)
    monitors: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    counts: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
