"""The alignment of one training step: how a method's targets change logits and pseudo-labels."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from udal_tf.core import alignment
from udal_tf.registry import P_DATA, P_MODEL, P_TARGET, P_UNLABELED, SCHEDULED, UNIFORM, ZERO, Shift, Targets

ALPHA = "alpha"


@dataclasses.dataclass(frozen=True)
class Aligner:
    """Applies a method's alignment targets; where the method has none, the input is returned unchanged.

    targets: of the method.
    values: by name, the class distributions [C] float32 P_DATA, P_UNLABELED (p_data in the paper) and P_MODEL, Eq. 10's
      α_t as ALPHA, and those that the method adds or overrides.
    """

    targets: Targets
    values: Mapping[str, tf.Tensor]

    @property
    def alpha(self) -> tf.Tensor:
        """Scalar, α_t."""
        return self.values[ALPHA]

    @property
    def p_data(self) -> tf.Tensor:
        """[C], of the labels."""
        return self.values[P_DATA]

    @property
    def p_model(self) -> tf.Tensor:
        """[C], q̂ of the predictions for unlabeled images."""
        return self.values[P_MODEL]

    def p_target(self, alpha: str = SCHEDULED) -> tf.Tensor:
        """p̃: p_unlabeled tempered by α_t, or uniform where a shift's α is zero throughout. Eq. 2."""
        return alignment.tempered(self.values[P_UNLABELED], tf.zeros_like(self.alpha) if alpha == ZERO else self.alpha)

    def distribution(self, name: str, alpha: str = SCHEDULED) -> tf.Tensor:
        """[C], the distribution of that name. Raises KeyError for an unknown name."""
        if name in self.values:
            return self.values[name]
        if name == P_TARGET:
            return self.p_target(alpha)
        if name == UNIFORM:
            return tf.ones_like(self.p_data) / self.p_data.shape[0]
        raise KeyError(
            f"unknown distribution {name!r}, expected one of {', '.join(self.values)}, {P_TARGET}, {UNIFORM}"
        )

    def _ends(self, shift: Shift) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | float]:
        tau = self.values[shift.tau] if isinstance(shift.tau, str) else shift.tau
        return self.distribution(shift.source), self.distribution(shift.target, shift.alpha), tau

    def added(self, shift: Shift) -> tf.Tensor:
        """[C], what a shift adds to a loss's logits: τ·log(source / target)."""
        source, target, tau = self._ends(shift)
        if shift.epsilon is not None:
            return alignment.log_ratio(alignment.power(source, tau), alignment.power(target, tau), shift.epsilon)
        ratio = alignment.log_ratio(source, target)
        return ratio if isinstance(tau, float) and tau == 1.0 else tau * ratio

    def p_own(self) -> tf.Tensor:
        """[C], the class prior under which the model's probabilities are the posterior, given the labeled loss.

        Labels follow p_data; where their logits are shifted to p̃, the model itself learns the prior p̃. Eqs. 6–8.
        """
        shift = self.targets.labeled
        if shift is None:
            return self.p_data
        if shift.source == P_DATA and shift.tau == 1.0:
            return self.distribution(shift.target, shift.alpha)
        return alignment.shifted(self.p_data, -self.added(shift))

    def labeled_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """Logits [B, C] of the labeled loss: for UDAL shifted from p_data to p̃, Eq. 6; Eq. 3 if α is zero."""
        return logits if self.targets.labeled is None else logits + self.added(self.targets.labeled)

    def unlabeled_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """Logits [U, C] of the unlabeled loss: for UDAL shifted from q̂ to p̃, Eq. 9."""
        return logits if self.targets.unlabeled is None else logits + self.added(self.targets.unlabeled)

    def pseudo_probs(self, probs: tf.Tensor) -> tf.Tensor:
        """Probabilities [U, C] that pseudo-labels are made from: for DA rescaled from q̂ to p̃, Eq. 1."""
        shift = self.targets.pseudo_label
        if shift is None:
            return probs
        if shift.epsilon is not None:
            return alignment.shifted(probs, -self.added(shift))
        source, target, tau = self._ends(shift)
        if isinstance(tau, float) and tau == 1.0:
            return alignment.align_probs(probs, target, source)
        return alignment.shifted(probs, -tau * alignment.log_ratio(source, target))
