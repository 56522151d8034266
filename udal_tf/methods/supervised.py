"""Training on the labeled images alone: the baseline of UDAL's Figure 1 and Table 4."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from udal_tf.methods.base import Losses, ViewRequest, accuracy
from udal_tf.methods.step import Step
from udal_tf.sections import MethodConfig
from udal_tf.settings import Section


class Supervised:
    """Cross-entropy on the weak view of the labeled images, with the alignment of the labeled loss, if any."""

    views: tuple[ViewRequest, ...] = (("x_l", "labeled", "weak"),)
    mixup_beta: float | None = None
    heads: Mapping[str, keras.layers.Layer] = {}

    def __init__(self, config: MethodConfig, own: Section | None = None):
        del config, own  # Unused; all base learners have the same signature.

    def losses(self, batch: dict[str, tf.Tensor], step: Step) -> Losses:
        (logits_l,) = step.forward(x_l=batch["x_l"])
        return Losses(
            labeled=step.cross_entropy(batch["labels_l"], step.labeled_logits(logits_l)),
            monitors={"train_accuracy": accuracy(batch["labels_l"], logits_l)},
        )
