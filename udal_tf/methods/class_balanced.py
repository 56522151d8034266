"""Class-balanced weights (Cui et al. 2019): images of rare classes count more in the labeled loss."""

import tensorflow as tf

from udal_tf.core import rebalancing
from udal_tf.methods.method import Method, Setup
from udal_tf.methods.step import Step
from udal_tf.records.simple_methods import ClassBalancedConfig
from udal_tf.settings import of_kind


def labeled_counts(setup: Setup) -> list[float]:
    """C numbers of labeled images. Raises ValueError if they are not known."""
    if setup.problem.labeled_counts is None:
        raise ValueError(f"--method={setup.record.name} needs the numbers of labeled images: give class_counts")
    return setup.problem.labeled_counts.tolist()


def class_weights(setup: Setup) -> tf.Tensor:
    """[C], the weights by --balance_beta. Raises ValueError if the numbers of labeled images are not known."""
    beta = of_kind(ClassBalancedConfig, setup.settings).balance_beta
    return rebalancing.effective_weights(labeled_counts(setup), beta)


class ClassBalanced(Method):
    """The mean over the batch of w_y·loss, w_c = (1 − β)/(1 − β^n_c) with a mean of 1 over the classes.

    Raises:
      ValueError: if the numbers of labeled images are not known.

    Source: Cui et al. 2019, Eqs. 6 and 7; the release's `cifar_main.py`, which divides by the number of images, too.
    """

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.weights = class_weights(setup)

    def labeled_weights(self, step: Step) -> tf.Tensor:
        return tf.gather(self.weights, step.batch["labels_l"])
