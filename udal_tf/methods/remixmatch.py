"""ReMixMatch (Berthelot et al. 2020) as the base learner; the best published results on DARP's protocol use it."""

import keras
import tensorflow as tf

from udal_tf.augment.rotations import NUM_ROTATIONS, rotate_quarters
from udal_tf.core import losses
from udal_tf.methods.base import Auxiliary, Losses, accuracy, pseudo_label_counts, pseudo_label_monitors
from udal_tf.methods.mixing import mixed_examples
from udal_tf.methods.step import Step
from udal_tf.records.base_learners import ReMixMatchConfig
from udal_tf.sections import MethodConfig


class ReMixMatch:
    """Sharpened pseudo-labels from the weak view for several strong views; MixUp over all; two auxiliary losses.

    Algorithm 1 of its paper, without distribution alignment, which is `--method=da` with α = 1.

    Two forward passes in training mode, both updating batch norm's moving statistics: [weak; first strong view; the
    same view rotated], for the pseudo-labels, the loss without MixUp and the rotation loss; then the mixed images. The
    release forwards each part separately, and only the last updates the statistics. Without joint_forward, weak views
    are forwarded separately.
    """

    def __init__(self, config: MethodConfig, own: ReMixMatchConfig):
        self.threshold = config.threshold
        self.temperature = config.temperature
        self.joint_forward = config.joint_forward
        self.mixup_beta = own.mixup_beta
        self.premixup_weight = own.premixup_weight
        self.rotation_weight = own.rotation_weight
        strong = tuple((f"x_s{number}", "unlabeled", "strong") for number in range(1, own.strong_views + 1))
        self.views = (("x_l", "labeled", "strong"), ("x_w", "unlabeled", "weak"), *strong)
        self.heads = {"rotation": keras.layers.Dense(NUM_ROTATIONS, dtype="float32", name="rotation")}

    def losses(self, batch: dict[str, tf.Tensor], step: Step) -> Losses:
        keys = [key for key, _, _ in self.views]
        x_w, x_s, rotations = batch["x_w"], batch["x_s1"], batch["rotations_u"]
        strong = {"x_s1": x_s, "rotated": rotate_quarters(x_s, rotations)}
        if self.joint_forward:
            logits_w, logits_s, _ = step.forward(True, x_w=x_w, **strong)
        else:
            (logits_w,) = step.forward(x_w=x_w)
            logits_s, _ = step.forward(True, **strong)
        logits_rotations = step.heads["rotation"]["rotated"]

        probs_w = tf.stop_gradient(tf.nn.softmax(logits_w))
        targets, mask = step.pseudo_labels(probs_w, self.threshold, self.temperature, refine_sharpened=True)
        targets_l = tf.one_hot(batch["labels_l"], targets.shape[-1])

        copies = len(keys) - 1
        mixed, mixed_targets = mixed_examples(batch, keys, [targets_l] + copies * [targets])
        num_labeled = batch["x_l"].shape[0]
        sizes = [num_labeled, mixed.shape[0] - num_labeled]
        mixed_x_l, mixed_x_u = tf.split(mixed, sizes)
        logits_l, logits_m = step.forward(mixed_l=mixed_x_l, mixed_u=mixed_x_u)
        mixed_l, mixed_u = tf.split(mixed_targets, sizes)
        loss_u = losses.cross_entropy(mixed_u, step.unlabeled_logits(logits_m))
        loss_before = losses.cross_entropy(targets, step.unlabeled_logits(logits_s))
        return Losses(
            labeled=losses.cross_entropy(mixed_l, step.labeled_logits(logits_l)),
            unlabeled=losses.weighted(tf.tile(mask, [copies]), loss_u),
            auxiliary={
                "premixup": Auxiliary(losses.weighted(mask, loss_before), self.premixup_weight, ramped=True),
                "rotation": Auxiliary(
                    losses.cross_entropy(rotations, logits_rotations), self.rotation_weight, ramped=False
                ),
            },
            probs_u=probs_w,
            monitors={
                "train_accuracy": accuracy(batch["labels_l"], logits_l),
                **pseudo_label_monitors(batch["labels_u"], targets, mask),
            },
            counts=pseudo_label_counts(batch["labels_u"], targets, mask),
        )
