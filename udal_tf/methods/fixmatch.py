"""FixMatch (Sohn et al. 2020) as the base learner: UDAL Eq. 5, Algorithm 1; CReST fixmatch.py."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from udal_tf.config import MethodConfig
from udal_tf.core import losses
from udal_tf.methods.base import Losses, accuracy, pseudo_label_counts, pseudo_label_monitors
from udal_tf.methods.step import Step
from udal_tf.settings import Section


class FixMatch:
    """Pseudo-labels from the weak view are the targets of the strong view where they are confident.

    One forward pass of [labeled; weak; strong] in training mode, so that batch norm sees all three together; or,
    without joint_forward, one of the weak views, which needs no gradient, and one of [labeled; strong].
    """

    views = (("x_l", "labeled", "weak"), ("x_w", "unlabeled", "weak"), ("x_s", "unlabeled", "strong"))
    mixup_beta = None
    heads: Mapping[str, keras.layers.Layer] = {}

    def __init__(self, config: MethodConfig, own: Section | None = None):
        self.threshold = config.threshold
        self.temperature = config.temperature
        self.joint_forward = config.joint_forward

    def losses(self, batch: dict[str, tf.Tensor], step: Step) -> Losses:
        x_l, x_w, x_s = batch["x_l"], batch["x_w"], batch["x_s"]
        if self.joint_forward:
            logits_l, logits_w, logits_s = step.forward(x_l=x_l, x_w=x_w, x_s=x_s)
        else:
            (logits_w,) = step.forward(x_w=x_w)
            logits_l, logits_s = step.forward(x_l=x_l, x_s=x_s)

        probs_w = tf.stop_gradient(tf.nn.softmax(logits_w))
        targets, mask = step.pseudo_labels(probs_w, self.threshold, self.temperature)
        loss_l = losses.cross_entropy(batch["labels_l"], step.labeled_logits(logits_l))
        loss_u = losses.cross_entropy(targets, step.unlabeled_logits(logits_s))
        return Losses(
            labeled=loss_l,
            unlabeled=losses.weighted(mask, loss_u),
            probs_u=probs_w,
            monitors={
                "train_accuracy": accuracy(batch["labels_l"], logits_l),
                **pseudo_label_monitors(batch["labels_u"], targets, mask),
            },
            counts=pseudo_label_counts(batch["labels_u"], targets, mask),
        )
