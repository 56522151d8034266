"""MixMatch (Berthelot et al. 2019) as the base learner: end of UDAL §3.1; CReST mixmatch.py."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from udal_tf.core import losses
from udal_tf.core.pseudo_labels import average_views
from udal_tf.methods.base import Losses, accuracy, pseudo_label_counts, pseudo_label_monitors
from udal_tf.methods.mixing import mixed_examples
from udal_tf.methods.step import Step
from udal_tf.records.base_learners import MixUpConfig
from udal_tf.sections import MethodConfig


class MixMatch:
    """Sharpened pseudo-labels averaged over two weak views, MixUp over the global batch, squared error on the mixtures.

    Two forward passes, both in training mode: for the pseudo-labels, then of the mixed images. Both update batch norm's
    moving statistics.
    """

    views = (("x_l", "labeled", "weak"), ("x_w", "unlabeled", "weak"), ("x_w2", "unlabeled", "weak"))
    heads: Mapping[str, keras.layers.Layer] = {}

    def __init__(self, config: MethodConfig, own: MixUpConfig):
        self.threshold = config.threshold
        self.temperature = config.temperature
        self.mixup_beta = own.mixup_beta

    def losses(self, batch: dict[str, tf.Tensor], step: Step) -> Losses:
        keys = [key for key, _, _ in self.views]

        logits_u = step.forward(x_w=batch["x_w"], x_w2=batch["x_w2"])
        probs_u = [tf.stop_gradient(tf.nn.softmax(logits)) for logits in logits_u]
        targets, mask = step.pseudo_labels(
            average_views(probs_u), self.threshold, self.temperature, refine_sharpened=True
        )
        targets_l = tf.one_hot(batch["labels_l"], targets.shape[-1])

        mixed, mixed_targets = mixed_examples(batch, keys, [targets_l, targets, targets])
        sizes = [batch["x_l"].shape[0], 2 * batch["x_w"].shape[0]]
        mixed_x_l, mixed_x_u = tf.split(mixed, sizes)
        logits_l, logits_m = step.forward(mixed_l=mixed_x_l, mixed_u=mixed_x_u)
        mixed_l, mixed_u = tf.split(mixed_targets, sizes)
        loss_l = losses.cross_entropy(mixed_l, step.labeled_logits(logits_l))
        loss_u = losses.squared_error(mixed_u, step.unlabeled_logits(logits_m))
        return Losses(
            labeled=loss_l,
            unlabeled=losses.weighted(tf.concat([mask, mask], axis=0), loss_u),
            probs_u=tf.concat(probs_u, axis=0),
            monitors={
                "train_accuracy": accuracy(batch["labels_l"], logits_l),
                **pseudo_label_monitors(batch["labels_u"], targets, mask),
            },
            counts=pseudo_label_counts(batch["labels_u"], targets, mask),
        )
