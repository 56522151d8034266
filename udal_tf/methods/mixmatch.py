"""MixMatch (Berthelot et al. 2019) as the base learner: UDAL §3.1's last paragraphs; CReST mixmatch.py."""

import tensorflow as tf

from udal_tf.config import MethodConfig
from udal_tf.core import losses, mixup
from udal_tf.core.pseudo_labels import average_views, pseudo_labels
from udal_tf.methods.aligner import Aligner
from udal_tf.methods.base import Losses, Refine, accuracy, gathered, pseudo_label_monitors


class MixMatch:
    """Sharpened guesses averaged over two weak views, MixUp over the global batch, squared error on the mixtures.

    Two forward passes, both in training mode: the guesses, then the mixed pictures. Both move batch norm's averages.
    """

    views = (("x_l", "labeled", "weak"), ("x_w", "unlabeled", "weak"), ("x_w2", "unlabeled", "weak"))
    mixes = True

    def __init__(self, config: MethodConfig):
        self.threshold = config.threshold
        self.temperature = config.temperature

    def losses(self, model, batch: dict[str, tf.Tensor], aligner: Aligner, refined: Refine) -> Losses:
        keys = [key for key, _, _ in self.views]
        sizes = [batch[key].shape[0] for key in keys]
        num_classes = aligner.p_data.shape[0]

        logits_u = model(tf.concat([batch["x_w"], batch["x_w2"]], axis=0), training=True)
        probs_u = tf.stop_gradient(tf.nn.softmax(logits_u))
        guesses = aligner.pseudo_probs(average_views(tf.split(probs_u, 2)))
        targets, mask = pseudo_labels(guesses, self.threshold, self.temperature)
        targets = refined(targets)  # DARP refines what is sharpened already.
        targets_l = tf.one_hot(batch["labels_l"], num_classes)

        # A pair may lie on another replica; positions count over the global batch, view after view.
        own_images, own_targets = [batch[key] for key in keys], [targets_l, targets, targets]
        pool_images = tf.concat([gathered(images) for images in own_images], axis=0)
        pool_targets = tf.concat([gathered(part) for part in own_targets], axis=0)
        pairs = tf.concat([batch[f"pair_{key}"] for key in keys], axis=0)
        weights = mixup.mixing_weights(tf.concat([batch[f"mix_{key}"] for key in keys], axis=0))
        mixed = mixup.mixup(tf.concat(own_images, axis=0), tf.gather(pool_images, pairs), weights)
        mixed_targets = mixup.mixup(tf.concat(own_targets, axis=0), tf.gather(pool_targets, pairs), weights)

        logits_l, logits_m = tf.split(model(mixed, training=True), [sizes[0], sizes[1] + sizes[2]])
        mixed_l, mixed_u = tf.split(mixed_targets, [sizes[0], sizes[1] + sizes[2]])
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
        )
