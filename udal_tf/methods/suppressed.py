"""Suppressed consistency (Hyun et al. 2020): the unlabeled loss counts less for rare classes."""

import tensorflow as tf

from udal_tf.core import rebalancing
from udal_tf.methods.method import Method, Setup
from udal_tf.methods.step import Step
from udal_tf.records.simple_methods import SuppressedConfig
from udal_tf.settings import of_kind


class Suppressed(Method):
    """Each image's unlabeled loss by β^(1 − N_c/N_1), c its pseudo-label, N_c the number of labeled images of c.

    Source: Hyun et al. 2020, suppressed consistency loss, which there weights a consistency loss of mean teacher.
    """

    def __init__(self, setup: Setup):
        super().__init__(setup)
        beta = of_kind(SuppressedConfig, setup.settings).suppress_beta
        self.weights = rebalancing.suppression(setup.problem.p_data.tolist(), beta)

    def unlabeled_weights(self, step: Step) -> tf.Tensor:
        return tf.gather(self.weights, tf.argmax(step.targets, axis=-1))
