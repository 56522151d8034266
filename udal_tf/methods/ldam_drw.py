"""LDAM with deferred re-weighting (Cao et al. 2019): rarer classes have larger margins, and weights in the end."""

import keras
import numpy as np
import tensorflow as tf

from udal_tf.core import rebalancing
from udal_tf.methods.base import gathered
from udal_tf.methods.class_balanced import class_weights, labeled_counts
from udal_tf.methods.method import Method, Setup
from udal_tf.methods.network import features_of
from udal_tf.methods.step import Step
from udal_tf.records.simple_methods import LdamConfig
from udal_tf.settings import Section, of_kind


class NormalizedDense(keras.layers.Dense):
    """`scale` times the cosines between the features [B, F] and the classes' weights: logits [B, C]."""

    def __init__(self, units: int, scale: float, **options):
        super().__init__(units, use_bias=False, dtype="float32", **options)
        self.scale = scale

    def call(self, inputs, training=None):
        features, kernel = tf.nn.l2_normalize(tf.cast(inputs, tf.float32), axis=-1), self.stock_kernel()
        return tf.matmul(features, kernel)

    def stock_kernel(self) -> tf.Tensor:
        """[F, C], by which normalized features are multiplied."""
        return self.scale * tf.nn.l2_normalize(tf.convert_to_tensor(self.kernel), axis=0)

    def folded(self, model: keras.Model) -> keras.Model:
        """A model that ends in this layer, of Keras's own layers instead: the same logits, for use without training."""
        images, features, _ = features_of(model)
        head = keras.layers.Dense(self.units, dtype="float32", name=self.name)
        plain = keras.Model(images, head(keras.layers.UnitNormalization(dtype="float32")(features)), name=model.name)
        head.set_weights([self.stock_kernel().numpy(), np.zeros(self.units, np.float32)])
        return plain


def with_normalized_head(model: keras.Model, own: Section | None) -> keras.Model:
    """The model with a `NormalizedDense` instead of its last layer; itself for --ldam_scale=0."""
    scale = of_kind(LdamConfig, own).ldam_scale
    if not scale:
        return model
    images, features, _ = features_of(model)
    head = NormalizedDense(model.output_shape[-1], scale, name=model.layers[-1].name)
    return keras.Model(images, head(features), name=model.name)


class LdamDrw(Method):
    """Cross-entropy of the logits with the label's less its margin m_y, m_c ∝ n_c^(−1/4), times the scale s.

    The logits are s·cosine. After a fraction of the epochs each batch's mean is weighted by class-balanced weights, and
    divided by their sum in the batch.

    Source: the release's `losses.py`, `models/resnet_cifar.py` (NormedLinear) and `cifar_train.py` (DRW).
    """

    def __init__(self, setup: Setup):
        super().__init__(setup)
        own = of_kind(LdamConfig, setup.settings)
        self.weights, self._start = class_weights(setup), own.reweight_start
        self.added = -(own.ldam_scale or 1.0) * rebalancing.margins(labeled_counts(setup), own.ldam_margin)

    def labeled_logits(self, step: Step, logits: tf.Tensor) -> tf.Tensor:
        return logits + tf.one_hot(step.batch["labels_l"], logits.shape[-1]) * self.added

    def labeled_weights(self, step: Step) -> tf.Tensor:
        weights = tf.gather(self.weights, step.batch["labels_l"])
        return tf.where(step.progress >= self._start, weights / tf.reduce_mean(gathered(weights)), 1.0)
