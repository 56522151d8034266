"""DebiasPL (Wang et al. 2022): pseudo-labels freed of the model's own q̂, and a margin by it in the unlabeled loss."""

import tensorflow as tf

from udal_tf.core import losses, moving_average
from udal_tf.methods.base import gathered
from udal_tf.methods.losses import Auxiliary
from udal_tf.methods.method import Method, Setup, estimate
from udal_tf.methods.step import Step
from udal_tf.records.later_methods import ESTIMATE, TAU, DebiasPlConfig
from udal_tf.settings import of_kind

# Of cross-level discrimination, in the release.
CLD_TEMPERATURE = 0.07


class DebiasPl(Method):
    """Pseudo-labels by the q̂ before a step, the unlabeled loss by the q̂ after it, both to the power of τ.

    q̂ averages predictions before any alignment, of all unlabeled images. Weak views are predicted by the model itself;
    the release's scripts can take its EMA instead (EMAN), which is not implemented.
    """

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.own = of_kind(DebiasPlConfig, setup.settings)
        self.q = estimate(setup.uniform, "q")

    def values(self, step: Step) -> dict[str, tf.Tensor]:
        return {ESTIMATE: tf.identity(self.q), TAU: tf.constant(self.own.debias_tau, tf.float32)}

    def unlabeled_logits(self, step: Step, logits: tf.Tensor) -> tf.Tensor:
        probs = gathered(self._weak(step))
        step.values[ESTIMATE] = moving_average.decayed_mean(self.q, probs, self.own.q_momentum)
        return super().unlabeled_logits(step, logits)

    def auxiliary(self, step: Step) -> dict[str, Auxiliary]:
        if not self.own.cld_weight:
            return {}
        strong = step.logits["x_s"]
        if self.own.debias_views == 2:
            strong = (strong + step.logits["x_s2"]) / 2.0
        else:
            strong = super().unlabeled_logits(step, strong)
        values = losses.cross_level(self._weak(step), tf.nn.softmax(strong), CLD_TEMPERATURE)
        return {"cld": Auxiliary(values, self.own.cld_weight, ramped=False)}

    def _weak(self, step: Step) -> tf.Tensor:
        """[U, C], the predictions for the weak views, from the mean of their logits."""
        logits = step.logits["x_w"]
        if self.own.debias_views == 2:
            logits = (logits + step.logits["x_w2"]) / 2.0
        return tf.stop_gradient(tf.nn.softmax(logits))

    def update(self, step: Step) -> None:
        self.q.assign(step.values[ESTIMATE])
