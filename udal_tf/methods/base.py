"""The interface of base learners: the views they train on and their losses."""

from collections.abc import Mapping
from typing import Protocol

import keras
import tensorflow as tf

from udal_tf.methods.losses import Auxiliary as Auxiliary  # Re-exported for base learners.
from udal_tf.methods.losses import Losses
from udal_tf.methods.step import Step

# (batch key, "labeled" or "unlabeled", name of the view)
ViewRequest = tuple[str, str, str]


class BaseLearner(Protocol):
    """A base learner: its views and `losses`; constructed from a `MethodConfig` and its own section, or None.

    views: in its batches.
    mixup_beta: a of MixUp's Beta(a, a), if batches have its pairs and weights, "pair_<key>" and "mix_<key>" for each
      view; None without MixUp.
    heads: by name, further layers on the features that are trained but not used in evaluation.
    """

    views: tuple[ViewRequest, ...]
    mixup_beta: float | None
    heads: Mapping[str, keras.layers.Layer]

    def losses(self, batch: dict[str, tf.Tensor], step: Step) -> Losses:
        """The losses of one batch. `step.forward` applies the network to views; the step also aligns."""


def gathered(values: tf.Tensor) -> tf.Tensor:
    """The values [n, …] of all replicas, concatenated: [n · replicas, …]."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    # The identity puts values on this replica's device; those of a multi-worker iterator are on no device.
    return context.all_gather(tf.identity(values), axis=0)


def accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Fraction of rows whose arg-max is the label. labels [B] integer, logits [B, C]."""
    return tf.reduce_mean(tf.cast(tf.argmax(logits, axis=-1) == labels, tf.float32))


def pseudo_label_monitors(labels_u: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
    """Fractions of the unlabeled batch with a confident pseudo-label, and with a confident and correct one.

    Args:
      labels_u: [U] int64, −1 where unknown.
      targets: [U, C].
      mask: [U].
    """
    correct = tf.cast(tf.argmax(targets, axis=-1) == labels_u, tf.float32)
    return {"confident": tf.reduce_mean(mask), "confident_correct": tf.reduce_mean(mask * correct)}


def pseudo_label_counts(labels_u: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
    """Per class in the unlabeled batch: confident pseudo-labels, correct ones among them, and images of the class.

    Args:
      labels_u: [U] int64, −1 where unknown.
      targets: [U, C].
      mask: [U].

    Returns:
      "confident_of_class", "correct_of_class", "shown_of_class": [C] float32.
    """
    num_classes = targets.shape[-1]
    guesses, truth = (tf.one_hot(labels, num_classes) for labels in (tf.argmax(targets, axis=-1), labels_u))
    confident = mask[:, None] * guesses
    return {
        "confident_of_class": tf.reduce_sum(confident, axis=0),
        "correct_of_class": tf.reduce_sum(confident * truth, axis=0),
        "shown_of_class": tf.reduce_sum(truth, axis=0),
    }
