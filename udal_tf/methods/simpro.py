"""SimPro (Du et al. 2024): class distributions of the unlabeled and of all images, estimated by EM in training."""

import tensorflow as tf

from udal_tf.methods.base import gathered
from udal_tf.methods.method import Method, Setup, estimate
from udal_tf.methods.step import Step
from udal_tf.records.later_methods import PI_ALL, PI_UNLABELED, TAU, SimProConfig
from udal_tf.settings import of_kind


class SimPro(Method):
    """Soft pseudo-labels by the estimate for the unlabeled images, losses by the one for all images.

    Both estimates change every few steps, from the confident pseudo-labels and the labels of these steps. The release
    divides by their sum plus 1, so that the estimate for the unlabeled images sums to less than 1; so do we.

    Raises:
      ValueError: if the scale of the labeled loss is neither stated nor known.

    Source: the release's `train_fixmatch.py`.
    """

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.own = of_kind(SimProConfig, setup.settings)
        counts = setup.problem.labeled_counts
        self._labeled, self._pool = 0 if counts is None else int(counts.sum()), setup.problem.pool_size
        if not self.own.simpro_scale and not (self._labeled and self._pool):
            raise ValueError("--method=simpro needs the numbers of labeled and unlabeled images, or --simpro_scale")
        self.pi_unlabeled = estimate(setup.uniform, PI_UNLABELED)
        self.pi_all = estimate(setup.problem.p_data, PI_ALL)
        # Sums since the last update, over all replicas.
        self.pseudo_sum = estimate(0.0 * setup.uniform, "pseudo_sum")
        self.label_sum = estimate(0.0 * setup.uniform, "label_sum")

    def values(self, step: Step) -> dict[str, tf.Tensor]:
        return {
            PI_UNLABELED: tf.identity(self.pi_unlabeled),
            PI_ALL: tf.identity(self.pi_all),
            TAU: tf.constant(self.own.simpro_tau, tf.float32),
        }

    def labeled_weights(self, step: Step) -> tf.Tensor:
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        labeled, unlabeled = (step.batch[key].shape[0] for key in ("labels_l", "labels_u"))
        return tf.fill([labeled], 1.0 / self._scale(labeled * replicas, unlabeled * replicas))

    def _scale(self, labeled: int, unlabeled: int) -> float:
        """Unlabeled batches per pass / labeled batches per pass, for batches of these sizes."""
        if self.own.simpro_scale:
            return self.own.simpro_scale
        return max(1, self._pool // unlabeled) / max(1, self._labeled // labeled)

    def update(self, step: Step) -> None:
        pseudo = self.pseudo_sum + tf.reduce_sum(gathered(step.mask[:, None] * step.targets), axis=0)
        labels = tf.one_hot(gathered(step.batch["labels_l"]), self.setup.num_classes)
        labels = self.label_sum + tf.reduce_sum(labels, axis=0)
        kept, joint = self.own.simpro_momentum, labels + pseudo
        new_unlabeled = kept * self.pi_unlabeled + (1.0 - kept) * pseudo / (tf.reduce_sum(pseudo) + 1.0)
        new_all = kept * self.pi_all + (1.0 - kept) * joint / tf.reduce_sum(joint)
        due = (step.number + 1) % self.own.simpro_every == 0
        self.pi_unlabeled.assign(tf.where(due, new_unlabeled, self.pi_unlabeled))
        self.pi_all.assign(tf.where(due, new_all, self.pi_all))
        self.pseudo_sum.assign(tf.where(due, tf.zeros_like(pseudo), pseudo))
        self.label_sum.assign(tf.where(due, tf.zeros_like(labels), labels))
