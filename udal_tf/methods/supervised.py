"""Training on the labelled pictures alone: the lower bound of UDAL's Figure 1 and Table 4."""

import keras
import tensorflow as tf

from udal_tf.config import MethodConfig
from udal_tf.core import losses
from udal_tf.methods.aligner import Aligner
from udal_tf.methods.base import Losses, Refine, accuracy


class Supervised:
    """Cross-entropy on the weak view of the labelled pictures, with the labelled loss's alignment if any."""

    views = (("x_l", "labeled", "weak"),)
    mixes = False
    heads = ()

    def __init__(self, config: MethodConfig, model: keras.Model):
        del config  # Nothing of it matters here; all bases are made alike.
        self.model = model

    def losses(self, batch: dict[str, tf.Tensor], aligner: Aligner, refined: Refine) -> Losses:
        logits_l = self.model(batch["x_l"], training=True)
        return Losses(
            labeled=losses.cross_entropy(batch["labels_l"], aligner.labeled_logits(logits_l)),
            monitors={"train_accuracy": accuracy(batch["labels_l"], logits_l)},
        )
