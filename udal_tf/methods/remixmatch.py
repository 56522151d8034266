"""ReMixMatch (Berthelot et al. 2020) as the base learner, on which DARP's protocol has its best published results."""

import keras
import tensorflow as tf

from udal_tf.augment.turns import NUM_TURNS, quarter_turns
from udal_tf.config import MethodConfig
from udal_tf.core import losses
from udal_tf.core.pseudo_labels import pseudo_labels
from udal_tf.methods.aligner import Aligner
from udal_tf.methods.base import Auxiliary, Losses, Refine, accuracy, pseudo_label_counts, pseudo_label_monitors
from udal_tf.methods.mixing import mixed_examples


class ReMixMatch:
    """Sharpened guesses from the weak view anchor several strong ones; MixUp over all; two auxiliary losses.

    Algorithm 1 of its paper. Its distribution alignment is not here: it is `--method=da` with α = 1.

    Two forward passes, both in training mode and both moving batch norm's averages: [weak; first strong view; the same
    view turned], for the guesses, the loss before MixUp and the rotations; then the mixed pictures. The release runs
    each part on its own and lets the last one alone move the averages. With joint_forward off, weak views pass alone.
    """

    mixes = True

    def __init__(self, config: MethodConfig, model: keras.Model):
        self.model = model
        self.threshold = config.threshold
        self.temperature = config.temperature
        self.premixup_weight = config.premixup_weight
        self.rotation_weight = config.rotation_weight
        self.joint_forward = config.joint_forward
        strong = tuple((f"x_s{number}", "unlabeled", "strong") for number in range(1, config.strong_views + 1))
        self.views = (("x_l", "labeled", "strong"), ("x_w", "unlabeled", "weak"), *strong)
        features = model.layers[-1].input
        self.head = keras.layers.Dense(NUM_TURNS, dtype="float32", name="rotation")
        self.heads = (self.head,)
        # Logits of the classes and of the turns, from one pass.
        self.both = keras.Model(model.input, [model.output, self.head(features)])

    def losses(self, batch: dict[str, tf.Tensor], aligner: Aligner, refined: Refine) -> Losses:
        keys = [key for key, _, _ in self.views]
        x_w, x_s, turns = batch["x_w"], batch["x_s1"], batch["turns_u"]
        strong = [x_s, quarter_turns(x_s, turns)]
        if self.joint_forward:
            logits, logits_turns = self.both(tf.concat([x_w, *strong], axis=0), training=True)
            logits_w, logits_s, _ = tf.split(logits, 3)
        else:
            logits_w = self.model(x_w, training=True)
            logits, logits_turns = self.both(tf.concat(strong, axis=0), training=True)
            logits_s, _ = tf.split(logits, 2)
        logits_turns = logits_turns[-turns.shape[0] :]

        probs_w = tf.stop_gradient(tf.nn.softmax(logits_w))
        targets, mask = pseudo_labels(aligner.pseudo_probs(probs_w), self.threshold, self.temperature)
        targets = refined(targets)  # DARP refines what is sharpened already.
        targets_l = tf.one_hot(batch["labels_l"], aligner.p_data.shape[0])

        copies = len(keys) - 1
        mixed, mixed_targets = mixed_examples(batch, keys, [targets_l] + copies * [targets])
        num_labeled = batch["x_l"].shape[0]
        sizes = [num_labeled, mixed.shape[0] - num_labeled]
        logits_l, logits_m = tf.split(self.model(mixed, training=True), sizes)
        mixed_l, mixed_u = tf.split(mixed_targets, sizes)
        loss_u = losses.cross_entropy(mixed_u, aligner.unlabeled_logits(logits_m))
        loss_before = losses.cross_entropy(targets, aligner.unlabeled_logits(logits_s))
        return Losses(
            labeled=losses.cross_entropy(mixed_l, aligner.labeled_logits(logits_l)),
            unlabeled=tf.tile(mask, [copies]) * loss_u,
            auxiliary={
                "premixup": Auxiliary(mask * loss_before, self.premixup_weight, ramped=True),
                "rotation": Auxiliary(losses.cross_entropy(turns, logits_turns), self.rotation_weight, ramped=False),
            },
            probs_u=probs_w,
            monitors={
                "train_accuracy": accuracy(batch["labels_l"], logits_l),
                **pseudo_label_monitors(batch["labels_u"], targets, mask),
            },
            counts=pseudo_label_counts(batch["labels_u"], targets, mask),
        )
