"""What a method adds to a base learner: alignment by its record's targets, and hooks for all that later ones need.

A subclass overrides the hooks it needs and stands in its record as `behavior`. State that training moves are
`tf.Variable`s, which the object may hold in attributes of any name: they are in the checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from udal_tf import registry
from udal_tf.config import MethodConfig, TrainConfig
from udal_tf.settings import Section

if TYPE_CHECKING:
    from udal_tf.methods.base import Auxiliary
    from udal_tf.methods.step import Step


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a method may know of the data.

    p_data: [C] float32, the class prior of the labeled data, sums to 1.
    p_unlabeled: [C], what is taken for the class distribution of the unlabeled set, or where its estimate begins; None:
      p_data.
    known_distribution: [C], what each class's share of the unlabeled set is at least; None: nothing is known.
    labeled_counts: C numbers of labeled images; None: unknown.
    pool_size: M, images in the unlabeled set.
    prepared: what the method's `prepare` found out before training, by name.
    seed: of everything random in training.
    """

    p_data: np.ndarray
    p_unlabeled: np.ndarray | None = None
    known_distribution: np.ndarray | None = None
    labeled_counts: np.ndarray | None = None
    pool_size: int = 0
    prepared: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a method is made from. record: its own. settings: the section of its own, or None. problem: the data.
    config, train: the run's settings."""

    record: registry.Method
    settings: Section | None
    problem: Problem
    config: MethodConfig
    train: TrainConfig

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.problem.p_data)


class Method(tf.Module):
    """A method that aligns by its record's targets and does nothing else; every hook may be overridden."""

    def __init__(self, setup: Setup):
        super().__init__(name="method")
        self.setup, self.targets = setup, setup.record.targets

    @classmethod
    def check(cls, settings: Section | None, data: Any) -> None:
        """Raises ValueError, before anything is written, where settings do not fit the data, an `SslData`."""

    def values(self, step: Step) -> dict[str, tf.Tensor]:
        """Distributions [C] and numbers that the targets name, or that stand for "p_unlabeled" or "alpha"."""
        return {}

    def labeled_logits(self, step: Step, logits: tf.Tensor) -> tf.Tensor:
        """[B, C] as the labeled loss takes them."""
        return step.aligner.labeled_logits(logits)

    def unlabeled_logits(self, step: Step, logits: tf.Tensor) -> tf.Tensor:
        """[U, C] as the unlabeled loss takes them."""
        return step.aligner.unlabeled_logits(logits)

    def pseudo_probs(self, step: Step, probs: tf.Tensor) -> tf.Tensor:
        """[U, C] predictions as pseudo-labels are made from them."""
        return step.aligner.pseudo_probs(probs)

    def refined(self, step: Step, probs: tf.Tensor) -> tf.Tensor:
        """[U, C] aligned predictions, or sharpened ones where the base learner mixes, moved elsewhere."""
        return probs

    def pseudo_labels(self, step: Step, targets: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Pseudo-labels [U, C] and the mask [U] of those that count, as the losses take them."""
        return targets, mask

    def labeled_weights(self, step: Step) -> tf.Tensor | None:
        """[B] factors of the labeled loss's examples; None: 1."""
        return None

    def unlabeled_weights(self, step: Step) -> tf.Tensor | None:
        """[U] factors of the unlabeled loss's examples, the same for each of their views; None: 1."""
        return None

    def auxiliary(self, step: Step) -> dict[str, Auxiliary]:
        """Further losses by name, of the logits of the views, of the second head's among them."""
        return {}

    def update(self, step: Step) -> None:
        """Moves the state once the weights have moved."""

    def monitors(self) -> dict[str, tf.Tensor]:
        """Scalars to report of a step, the same on every replica."""
        return {}

    def inference_shift(self, logits: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor | None:
        """[C], what is added to the logits of evaluation, prediction and export; None: nothing.

        logits: images [B, H, W, C] -> logits [B, C] in inference mode, with the weights in question.
        """
        return None


def make_method(
    record: registry.Method, own: Section | None, problem: Problem, config: MethodConfig, train: TrainConfig
) -> Method:
    """The object of a record, for the section of its own, or its defaults."""
    setup = Setup(record, registry.section_of(record, own), problem, config, train)
    return registry.resolved(record.behavior)(setup)
