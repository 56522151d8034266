"""MixMatch (Berthelot et al. 2019) as the base learner: UDAL §3.1's last paragraphs; CReST mixmatch.py."""

import keras
import tensorflow as tf

from udal_tf.config import MethodConfig
from udal_tf.core import losses
from udal_tf.core.pseudo_labels import average_views, pseudo_labels
from udal_tf.methods.aligner import Aligner
from udal_tf.methods.base import Losses, Refine, accuracy, pseudo_label_counts, pseudo_label_monitors
from udal_tf.methods.mixing import mixed_examples


class MixMatch:
    """Sharpened guesses averaged over two weak views, MixUp over the global batch, squared error on the mixtures.

    Two forward passes, both in training mode: the guesses, then the mixed pictures. Both move batch norm's averages.
    """

    views = (("x_l", "labeled", "weak"), ("x_w", "unlabeled", "weak"), ("x_w2", "unlabeled", "weak"))
    mixes = True
    heads = ()

    def __init__(self, config: MethodConfig, model: keras.Model):
        self.model = model
        self.threshold = config.threshold
        self.temperature = config.temperature

    def losses(self, batch: dict[str, tf.Tensor], aligner: Aligner, refined: Refine) -> Losses:
        keys = [key for key, _, _ in self.views]

        logits_u = self.model(tf.concat([batch["x_w"], batch["x_w2"]], axis=0), training=True)
        probs_u = tf.stop_gradient(tf.nn.softmax(logits_u))
        guesses = aligner.pseudo_probs(average_views(tf.split(probs_u, 2)))
        targets, mask = pseudo_labels(guesses, self.threshold, self.temperature)
        targets = refined(targets)  # DARP refines what is sharpened already.
        targets_l = tf.one_hot(batch["labels_l"], aligner.p_data.shape[0])

        mixed, mixed_targets = mixed_examples(batch, keys, [targets_l, targets, targets])
        sizes = [batch["x_l"].shape[0], 2 * batch["x_w"].shape[0]]
        logits_l, logits_m = tf.split(self.model(mixed, training=True), sizes)
        mixed_l, mixed_u = tf.split(mixed_targets, sizes)
        loss_l = losses.cross_entropy(mixed_l, aligner.labeled_logits(logits_l))
        loss_u = losses.squared_error(mixed_u, aligner.unlabeled_logits(logits_m))
        return Losses(
            labeled=loss_l,
            unlabeled=tf.concat([mask, mask], axis=0) * loss_u,
            probs_u=probs_u,
            monitors={
                "train_accuracy": accuracy(batch["labels_l"], logits_l),
                **pseudo_label_monitors(batch["labels_u"], targets, mask),
            },
            counts=pseudo_label_counts(batch["labels_u"], targets, mask),
        )
