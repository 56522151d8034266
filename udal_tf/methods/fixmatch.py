"""FixMatch (Sohn et al. 2020) as the base learner: UDAL Eq. 5, Algorithm 1; CReST fixmatch.py."""

import keras
import tensorflow as tf

from udal_tf.config import MethodConfig
from udal_tf.core import losses
from udal_tf.core.pseudo_labels import pseudo_labels
from udal_tf.methods.aligner import Aligner
from udal_tf.methods.base import Losses, Refine, accuracy, pseudo_label_counts, pseudo_label_monitors


class FixMatch:
    """Pseudo-labels from the weak view, learnt on the strong view where they are confident.

    One forward pass of [labelled; weak; strong] in training mode, so that batch norm sees all three together; or, with
    joint_forward off, one of [labelled; strong] after one of the weak views, which needs no gradient.
    """

    views = (("x_l", "labeled", "weak"), ("x_w", "unlabeled", "weak"), ("x_s", "unlabeled", "strong"))
    mixes = False
    heads = ()

    def __init__(self, config: MethodConfig, model: keras.Model):
        self.model = model
        self.threshold = config.threshold
        self.temperature = config.temperature
        self.joint_forward = config.joint_forward

    def losses(self, batch: dict[str, tf.Tensor], aligner: Aligner, refined: Refine) -> Losses:
        x_l, x_w, x_s = batch["x_l"], batch["x_w"], batch["x_s"]
        if self.joint_forward:
            logits = self.model(tf.concat([x_l, x_w, x_s], axis=0), training=True)
            logits_l, logits_w, logits_s = tf.split(logits, [x_l.shape[0], x_w.shape[0], x_s.shape[0]])
        else:
            logits_w = self.model(x_w, training=True)
            logits = self.model(tf.concat([x_l, x_s], axis=0), training=True)
            logits_l, logits_s = tf.split(logits, [x_l.shape[0], x_s.shape[0]])

        probs_w = tf.stop_gradient(tf.nn.softmax(logits_w))
        guesses = refined(aligner.pseudo_probs(probs_w))
        targets, mask = pseudo_labels(guesses, self.threshold, self.temperature)
        loss_l = losses.cross_entropy(batch["labels_l"], aligner.labeled_logits(logits_l))
        loss_u = losses.cross_entropy(targets, aligner.unlabeled_logits(logits_s))
        return Losses(
            labeled=loss_l,
            unlabeled=mask * loss_u,
            probs_u=probs_w,
            monitors={
                "train_accuracy": accuracy(batch["labels_l"], logits_l),
                **pseudo_label_monitors(batch["labels_u"], targets, mask),
            },
            counts=pseudo_label_counts(batch["labels_u"], targets, mask),
        )
