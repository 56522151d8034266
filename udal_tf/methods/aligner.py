"""The alignment of one training step: which of a base learner's places are shifted, and by how much."""

import dataclasses

import tensorflow as tf

from udal_tf.core import alignment
from udal_tf.recipes import SCHEDULED, ZERO, Places


@dataclasses.dataclass(frozen=True)
class Aligner:
    """Applies a method's alignment at each place of the loss; a place without alignment returns its input untouched.

    places: the method's row of DESIGN's table. p_data, p_unlabeled, p_model: [C] float32, class distributions of the
    labels, of the unlabelled pictures (the paper takes it for p_data), of the predictions for them. alpha: scalar,
    Eq. 10's α_t.
    """

    places: Places
    p_data: tf.Tensor
    p_unlabeled: tf.Tensor
    p_model: tf.Tensor
    alpha: tf.Tensor

    def p_target(self, place: str = SCHEDULED) -> tf.Tensor:
        """p̃ at a place: p_unlabeled tempered by α_t, or uniform where the place's α is zero throughout. Eq. 2."""
        return alignment.tempered(self.p_unlabeled, tf.zeros_like(self.alpha) if place == ZERO else self.alpha)

    def p_own(self) -> tf.Tensor:
        """[C], the distribution under which the labelled loss makes the model's probabilities the posterior.

        Labels come by p_data; where their logits are shifted to p̃, the model itself is left with p̃. Eqs. 6–8.
        """
        return self.p_target(self.places.labeled) if self.places.labeled else self.p_data

    def labeled_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """Logits [B, C] of the labelled loss, shifted from p_data to p̃: Eq. 6, and Eq. 3 where α is zero."""
        if not self.places.labeled:
            return logits
        return logits + alignment.log_ratio(self.p_data, self.p_target(self.places.labeled))

    def unlabeled_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """Logits [U, C] of the unlabelled loss, shifted from q̂ to p̃: Eq. 9."""
        if not self.places.unlabeled:
            return logits
        return logits + alignment.log_ratio(self.p_model, self.p_target(self.places.unlabeled))

    def pseudo_probs(self, probs: tf.Tensor) -> tf.Tensor:
        """Probabilities [U, C] that pseudo-labels are made from, rescaled from q̂ to p̃: Eq. 1."""
        if not self.places.pseudo_label:
            return probs
        return alignment.align_probs(probs, self.p_target(self.places.pseudo_label), self.p_model)
