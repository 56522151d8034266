"""What a method adds to a base learner: alignment by its record's targets, and hooks for everything else.

A subclass overrides the hooks it needs and is named in its record as `behavior`. State that training updates is kept in
`tf.Variable` objects, attributes of any name, so that checkpoints include it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from udal_tf import registry
from udal_tf.core import losses
from udal_tf.methods.losses import Auxiliary
from udal_tf.sections import MethodConfig
from udal_tf.settings import Section

if TYPE_CHECKING:
    from udal_tf.methods.step import Step


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a method may know about the data.

    p_data: [C] float32, the class prior of the labeled data, sums to 1.
    p_unlabeled: [C], the assumed class distribution of the unlabeled set, or the initial value of its estimate; None:
      p_data.
    known_distribution: [C], a lower bound of each class's fraction of the unlabeled set; None: unknown.
    labeled_counts: [C], numbers of labeled images; None: unknown.
    pool_size: M, number of images in the unlabeled set.
    labeled_rows: [M] bool, which images of the unlabeled set are labeled, too; None: unknown.
    prepared: results of the method's `prepare`, by name.
    seed: of all randomness in training.
    """

    p_data: np.ndarray
    p_unlabeled: np.ndarray | None = None
    known_distribution: np.ndarray | None = None
    labeled_counts: np.ndarray | None = None
    pool_size: int = 0
    labeled_rows: np.ndarray | None = None
    prepared: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a method is constructed from: its record, its own section or None, the data, and the method's settings.

    image_shape: (H, W, channels) of the network's images, None where it is not fixed; () if the network does not tell.

    The length of the run is known to each `Step` alone, as `Model.fit` states it when everything is constructed.
    """

    record: registry.Method
    settings: Section | None
    problem: Problem
    config: MethodConfig
    image_shape: tuple[int | None, ...] = ()

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.problem.p_data)

    @property
    def uniform(self) -> np.ndarray:
        """[C] float32, the uniform distribution, from which running estimates start."""
        return np.full(self.num_classes, 1.0 / self.num_classes, np.float32)

    def unlabeled_only(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """[U] float32: 0 for the batch's unlabeled images that are known to be labeled, too, else 1."""
        if self.problem.labeled_rows is None or "rows_u" not in batch:
            return tf.ones(batch["labels_u"].shape)
        return tf.gather(tf.constant(1.0 - self.problem.labeled_rows, tf.float32), batch["rows_u"])


class Method(tf.Module):
    """A method that only aligns, by its record's targets; every hook may be overridden."""

    def __init__(self, setup: Setup):
        super().__init__(name="method")
        self.setup, self.targets = setup, setup.record.targets

    @classmethod
    def check(cls, settings: Section | None, data: Any) -> None:
        """Raises ValueError, before anything is written, if settings do not fit the data, an `SslData`."""

    def values(self, step: Step) -> dict[str, tf.Tensor]:
        """Distributions [C] and numbers that the targets name, or that override "p_unlabeled" or "alpha"."""
        return {}

    def labeled_logits(self, step: Step, logits: tf.Tensor) -> tf.Tensor:
        """Logits [B, C] for the labeled loss."""
        return step.aligner.labeled_logits(logits)

    def unlabeled_logits(self, step: Step, logits: tf.Tensor) -> tf.Tensor:
        """Logits [U, C] for the unlabeled loss."""
        return step.aligner.unlabeled_logits(logits)

    def pseudo_probs(self, step: Step, probs: tf.Tensor) -> tf.Tensor:
        """Predictions [U, C] from which pseudo-labels are made."""
        return step.aligner.pseudo_probs(probs)

    def refined(self, step: Step, probs: tf.Tensor) -> tf.Tensor:
        """Refined predictions [U, C], from aligned ones, or from sharpened ones if the base learner uses MixUp."""
        return probs

    def pseudo_labels(self, step: Step, targets: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Pseudo-labels [U, C] and the mask [U] of confident ones, for the losses."""
        return targets, mask

    def cross_entropy(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """The losses [n] of logits [n, C] with labels [n] or distributions [n, C] as targets, in FixMatch."""
        return losses.cross_entropy(targets, logits)

    def labeled_weights(self, step: Step) -> tf.Tensor | None:
        """Weights [B] of the labeled loss's examples; None: 1."""
        return None

    def unlabeled_weights(self, step: Step) -> tf.Tensor | None:
        """Weights [U] of the unlabeled loss's examples, the same for each of their views; None: 1."""
        return None

    def auxiliary(self, step: Step) -> dict[str, Auxiliary]:
        """Further losses by name, from the logits of the views, including those of the second head."""
        return {}

    def update(self, step: Step) -> None:
        """Updates the state after the weights have been updated."""

    def monitors(self) -> dict[str, tf.Tensor]:
        """Scalars to report for a step, the same on every replica."""
        return {}

    def inference_shift(self, logits: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor | None:
        """[C], added to the logits in evaluation, prediction and export; None: nothing.

        logits: images [B, H, W, C] -> logits [B, C] in inference mode, with the weights in question.
        """
        return None


def estimate(start: Any, name: str) -> tf.Variable:
    """A running estimate, float32, from its start; the mean over the replicas where they differ."""
    return tf.Variable(tf.cast(start, tf.float32), trainable=False, name=name, aggregation=tf.VariableAggregation.MEAN)


def make_method(
    record: registry.Method,
    own: Section | None,
    problem: Problem,
    config: MethodConfig,
    model: keras.Model | None = None,
) -> Method:
    """The method of a record, with its own section or the defaults, for this model."""
    image_shape = tuple(getattr(model, "input_shape", None) or ())[1:]
    setup = Setup(record, registry.section_of(record, own), problem, config, image_shape)
    return registry.resolved(record.behavior)(setup)
