"""ACR (Wei & Gan 2023): a standard and a balanced head; the standard one's alignment follows three anchors."""

import tensorflow as tf

from udal_tf.core import alignment, anchors, losses, pseudo_labels
from udal_tf.methods.base import gathered
from udal_tf.methods.losses import Auxiliary
from udal_tf.methods.method import Method, Setup, estimate
from udal_tf.methods.step import Step, first_step
from udal_tf.records.later_methods import TAU, AcrConfig, adjusted
from udal_tf.settings import of_kind


class Acr(Method):
    """Both heads learn from the standard one's pseudo-labels, aligned by τ_t for itself and by τ for the balanced one.

    An image is confident for a head if it is after the alignment or by that head's own prediction. τ_t is the smaller
    the closer the unlabeled images' estimated distribution is to p_data; it is estimated from the balanced head's
    confident predictions, for images that are unlabeled only.

    Source: the release's `train.py`.
    """

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.own, self._threshold = of_kind(AcrConfig, setup.settings), setup.config.threshold
        self.p_data = tf.constant(setup.problem.p_data, tf.float32)
        self.u = estimate(setup.uniform, "u")
        self.tau = estimate(self.own.acr_tau, "tau")
        # Of the distances to the anchors since τ_t changed.
        self.sums = estimate([0.0, 0.0, 0.0], "sums")

    def values(self, step: Step) -> dict[str, tf.Tensor]:
        return {TAU: tf.identity(self.tau)}

    def pseudo_labels(self, step: Step, targets: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return targets, tf.maximum(mask, self._confident(step.logits["x_w"]))

    def auxiliary(self, step: Step) -> dict[str, Auxiliary]:
        head = step.second_head
        targets, mask = self.balanced_guesses(step)
        strong = tf.concat([head["x_s"], head["x_s2"]], axis=0)
        unlabeled = losses.weighted(tf.tile(mask, [2]), losses.cross_entropy(tf.tile(targets, [2, 1]), strong))
        labeled = losses.cross_entropy(step.batch["labels_l"], head["x_l"] + self._fixed(step))
        return {
            "balanced": Auxiliary(labeled, 1.0, ramped=False),
            "balanced_unlabeled": Auxiliary(unlabeled, self.setup.config.unlabeled_weight, ramped=True),
        }

    def balanced_guesses(self, step: Step) -> tuple[tf.Tensor, tf.Tensor]:
        """The balanced head's pseudo-labels [U, C] and mask [U], from the standard head's predictions."""
        weak = tf.stop_gradient(step.logits["x_w"])
        aligned = alignment.shifted(tf.nn.softmax(weak), -self._fixed(step))
        targets, mask = pseudo_labels.pseudo_labels(aligned, self._threshold)
        return targets, tf.maximum(mask, self._confident(step.second_head["x_w"]))

    def _fixed(self, step: Step) -> tf.Tensor:
        """[C], what the shift by the fixed τ adds to logits."""
        return step.aligner.added(adjusted(self.own.acr_tau))

    def _confident(self, logits: tf.Tensor) -> tf.Tensor:
        """[U] float32: 1 where the prediction, not aligned, reaches the threshold."""
        return tf.cast(tf.reduce_max(tf.nn.softmax(logits), axis=-1) >= self._threshold, tf.float32)

    def counted(self, step: Step) -> tuple[tf.Tensor, tf.Tensor]:
        """The balanced head's predicted classes [U], and 1 for the images [U] that the estimate may count."""
        logits = step.second_head["x_w"]
        return tf.argmax(logits, axis=-1), self._confident(logits) * self.setup.unlabeled_only(step.batch)

    def update(self, step: Step) -> None:
        labels, mask = map(gathered, self.counted(step))
        hits = anchors.class_hits(labels, mask, self.setup.num_classes, last=self.own.acr_repeated == "last")
        total, kept = tf.reduce_sum(hits), self.own.acr_momentum
        moved = kept * self.u + (1.0 - kept) * hits / tf.maximum(total, 1.0)
        counts = (total > 0.0) & (step.number >= first_step(self.own.acr_start, step.total_steps))
        self.u.assign(tf.where(counts, moved, self.u))
        self.sums.assign_add(tf.where(counts, anchors.distances(moved, self.p_data), tf.zeros([3])))
        self.renew(step.number + 1, step.total_steps)

    def renew(self, number: tf.Tensor, total_steps: int) -> None:
        """Before step `number`: sets τ_t from the sums of the steps before if it is due, and begins new sums."""
        begun = number >= first_step(self.own.acr_start, total_steps)
        due = begun & (number % self.own.acr_every == 0)
        nearest = tf.nn.softmax(self.sums / self.own.acr_every)[0]
        self.tau.assign(tf.where(due, self.own.acr_tau * nearest, self.tau))
        self.sums.assign(tf.where(due, tf.zeros([3]), self.sums))
