"""FlexDA (Aimar et al. 2024): UDAL's two shifts towards the model's own tempered q̂, and a loss on the unconfident."""

import math

import tensorflow as tf

from udal_tf.core import alignment, losses, moving_average, schedules
from udal_tf.methods.aligner import ALPHA
from udal_tf.methods.base import gathered
from udal_tf.methods.losses import Auxiliary
from udal_tf.methods.method import Method, Setup, estimate
from udal_tf.methods.step import Step, first_step
from udal_tf.records.later_methods import TEMPERED, FlexDaConfig
from udal_tf.registry import P_MODEL, P_UNLABELED
from udal_tf.settings import of_kind


def adaptive_temperature(q: tf.Tensor) -> tf.Tensor:
    """exp(KL(uniform ‖ q̂)): scalar, 1 for a uniform q̂ [C] and larger the farther it is from it."""
    uniform = 1.0 / q.shape[0]
    return tf.exp(tf.reduce_sum(uniform * (math.log(uniform) - tf.math.log(q))))


class FlexDa(Method):
    """The target is q̂^α_t normalized, with q̂ of the images that are unlabeled only, from the step before.

    From its start on, complementary consistency regularization adds the cross-entropy of the strong view, shifted as in
    the unlabeled loss, with the weak view's prediction where that is not confident.

    Source: the release's `Adello` training step.
    """

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.own = of_kind(FlexDaConfig, setup.settings)
        self.q = estimate(setup.uniform, "q")
        # 0 until the first step of the complementary loss, then fixed.
        self.temperature = estimate(0.0, "temperature")

    def values(self, step: Step) -> dict[str, tf.Tensor]:
        q, alpha = tf.identity(self.q), step.values[ALPHA]
        if self.own.alpha_every == "step":
            progress = tf.cast(step.number, tf.float32) / step.total_steps
            alpha = schedules.alpha(progress, self.setup.config.alpha_min, self.setup.config.k)
        return {P_UNLABELED: q, P_MODEL: q, ALPHA: alpha, TEMPERED: alignment.tempered(q, alpha)}

    def auxiliary(self, step: Step) -> dict[str, Auxiliary]:
        if not self.own.ccr_weight:
            return {}
        probs, logits = tf.nn.softmax(step.logits["x_w"]), step.unlabeled_logits(step.logits["x_s"])
        start = first_step(self.own.ccr_start, step.total_steps)
        if self.own.ccr_temperature:
            begins = (step.number >= start) & (self.temperature == 0.0)
            temperature = tf.where(begins, adaptive_temperature(self._moved(step)), self.temperature)
            self.temperature.assign(temperature)
            temperature = tf.where(temperature == 0.0, 1.0, temperature)
            probs, logits = tf.nn.softmax(step.logits["x_w"] / temperature), logits / temperature
        unconfident = (1.0 - step.mask) * tf.cast(step.number >= start, tf.float32)
        values = losses.weighted(unconfident, losses.cross_entropy(tf.stop_gradient(probs), logits))
        return {"ccr": Auxiliary(values, self.own.ccr_weight, ramped=False)}

    def _moved(self, step: Step) -> tf.Tensor:
        """[C], q̂ after this step."""
        probs = gathered(tf.stop_gradient(tf.nn.softmax(step.logits["x_w"])))
        counts = gathered(self.setup.unlabeled_only(step.batch))
        return moving_average.decayed_mean(self.q, probs, self.own.q_momentum, counts)

    def update(self, step: Step) -> None:
        self.q.assign(self._moved(step))
