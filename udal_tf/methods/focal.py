"""The focal loss (Lin et al. 2017) on labeled images: those that are classified well already count less."""

import keras
import tensorflow as tf

from udal_tf.methods.method import Method, Setup
from udal_tf.records.simple_methods import FocalConfig
from udal_tf.settings import of_kind


class Focal(Method):
    """(1 − p_y)^γ·(−log p_y) by Keras, for labels; pseudo-labels keep the cross-entropy.

    Keras clips p_y to [1e-7, 1 − 1e-7], so the loss of an image is at most 16.1, and its gradient vanishes there.
    """

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self._loss = keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=of_kind(FocalConfig, setup.settings).focal_gamma, from_logits=True, reduction=None
        )

    def cross_entropy(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        if not targets.dtype.is_integer:
            return super().cross_entropy(targets, logits)
        return self._loss(tf.one_hot(targets, logits.shape[-1]), logits)
