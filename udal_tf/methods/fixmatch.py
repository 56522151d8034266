"""FixMatch (Sohn et al. 2020) as the base learner: UDAL Eq. 5, Algorithm 1; CReST fixmatch.py."""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from udal_tf.core import losses
from udal_tf.methods.base import Losses, ViewRequest, accuracy, pseudo_label_counts, pseudo_label_monitors
from udal_tf.methods.step import Step
from udal_tf.sections import MethodConfig
from udal_tf.settings import Section


class FixMatch:
    """Pseudo-labels from the weak view are the targets of the strong view where they are confident.

    One forward pass of [labeled; weak; strong] in training mode, so that batch norm sees all three together; or,
    without joint_forward, one of the weak views, which needs no gradient, and one of [labeled; strong].

    A method may add views. Each loss is then the mean over its views. With a second weak view there are three sets of
    pseudo-labels, from the mean of the two views' logits and from each view, and each set is the target of every strong
    view.
    """

    views: tuple[ViewRequest, ...] = (
        ("x_l", "labeled", "weak"),
        ("x_w", "unlabeled", "weak"),
        ("x_s", "unlabeled", "strong"),
    )
    mixup_beta = None
    heads: Mapping[str, keras.layers.Layer] = {}

    def __init__(self, config: MethodConfig, own: Section | None = None):
        self.threshold = config.threshold
        self.temperature = config.temperature
        self.joint_forward = config.joint_forward

    def losses(self, batch: dict[str, tf.Tensor], step: Step) -> Losses:
        views = {key: batch[key] for key, _, _ in self.views}
        labeled = [key for key, of_set, _ in self.views if of_set == "labeled"]
        weak = [key for key, of_set, kind in self.views if (of_set, kind) == ("unlabeled", "weak")]
        strong = [key for key in views if key not in (*labeled, *weak)]
        if self.joint_forward:
            step.forward(**views)
        else:
            step.forward(**{key: views[key] for key in weak})
            step.forward(**{key: views[key] for key in (*labeled, *strong)})

        probs_w = [tf.stop_gradient(tf.nn.softmax(logits)) for logits in _with_mean([step.logits[key] for key in weak])]
        # The set of all weak views together, which is the first, is made last, so that it stays in the step.
        guesses = [step.pseudo_labels(probs, self.threshold, self.temperature) for probs in reversed(probs_w)]
        targets, mask = guesses[-1]
        labels = _repeated(batch["labels_l"], len(labeled))
        loss_l = step.cross_entropy(labels, step.labeled_logits(_joined(step.logits, labeled)))
        logits_s = step.unlabeled_logits(_joined(step.logits, strong))
        loss_u = []
        for one, confident in guesses:
            per_example = step.cross_entropy(_repeated(one, len(strong)), logits_s)
            loss_u.append(losses.weighted(_repeated(confident, len(strong)), per_example))
        return Losses(
            labeled=loss_l,
            unlabeled=loss_u[0] if len(loss_u) == 1 else tf.concat(loss_u, axis=0),
            probs_u=probs_w[0],
            monitors={
                "train_accuracy": accuracy(batch["labels_l"], step.logits["x_l"]),
                **pseudo_label_monitors(batch["labels_u"], targets, mask),
            },
            counts=pseudo_label_counts(batch["labels_u"], targets, mask),
        )


def _with_mean(logits: list[tf.Tensor]) -> list[tf.Tensor]:
    """The logits [U, C] of each view, after their mean if there are several."""
    return logits if len(logits) == 1 else [tf.reduce_mean(tf.stack(logits), axis=0), *logits]


def _joined(by_view: Mapping[str, tf.Tensor], keys: Sequence[str]) -> tf.Tensor:
    """[views · n, …]: the values of these views, one view after the other."""
    return by_view[keys[0]] if len(keys) == 1 else tf.concat([by_view[key] for key in keys], axis=0)


def _repeated(values: tf.Tensor, views: int) -> tf.Tensor:
    """[views · n, …]: the values [n, …] once for each view."""
    return values if views == 1 else tf.concat([values] * views, axis=0)
