"""The formulas of the simplest methods: weights, margins and suppression by class counts, and τ-normalized heads.

Sources: Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples"; Cao et al. 2019, "Learning
Imbalanced Datasets with Label-Distribution-Aware Margin Loss"; Hyun et al. 2020, "Class-Imbalanced Semi-Supervised
Learning"; Kang et al. 2020, "Decoupling Representation and Classifier for Long-Tailed Recognition".
"""

from collections.abc import Sequence

import tensorflow as tf


def effective_weights(counts: Sequence[float], beta: float) -> tf.Tensor:
    """(1 − β)/(1 − β^n) of each class, scaled so that the classes with images have a mean of 1.

    Args:
      counts: [C], numbers of labeled images, at least one above 0.
      beta: in [0, 1): 0 gives weights of 1; the closer to 1, the closer to 1/n.

    Returns:
      [C] float32; 0 for a class without images.

    With β = 1/2, 1 and 2 images have 1/2 / (1/2) = 1 and 1/2 / (3/4) = 2/3 before scaling:

    Example:
      >>> print(effective_weights([1, 2], beta=0.5).numpy().round(6))
      [1.2 0.8]
    """
    numbers = tf.cast(counts, tf.float64)
    present = numbers > 0.0
    effective = 1.0 - tf.pow(tf.constant(beta, tf.float64), tf.where(present, numbers, tf.ones_like(numbers)))
    weights = tf.where(present, (1.0 - beta) / effective, tf.zeros_like(numbers))
    classes = tf.reduce_sum(tf.cast(present, tf.float64))
    return tf.cast(weights * classes / tf.reduce_sum(weights), tf.float32)


def margins(counts: Sequence[float], largest: float) -> tf.Tensor:
    """LDAM's margins, proportional to n^(−1/4), so that the smallest class with images has the `largest`.

    Args:
      counts: [C], numbers of labeled images, or their proportions.
      largest: 0.5 in the release.

    Returns:
      [C] float32; `largest` also for a class without images.

    Example:
      >>> print(margins([16, 1], largest=0.5).numpy())
      [0.25 0.5 ]
    """
    numbers = tf.cast(counts, tf.float64)
    present = numbers > 0.0
    smallest = tf.reduce_min(tf.where(present, numbers, tf.reduce_max(numbers)))
    return tf.cast(largest * tf.pow(smallest / tf.where(present, numbers, smallest), 0.25), tf.float32)


def suppression(counts: Sequence[float], beta: float) -> tf.Tensor:
    """β^(1 − N_c / N_1), by which the consistency loss of class c is weighted: 1 for the largest class.

    Args:
      counts: [C], numbers of labeled images, or their proportions.
      beta: in (0, 1]; 0.5 in the paper.

    Returns:
      [C] float32.

    Example:
      >>> print(suppression([4, 2], beta=0.25).numpy())
      [1.  0.5]
    """
    numbers = tf.cast(counts, tf.float64)
    return tf.cast(tf.pow(tf.constant(beta, tf.float64), 1.0 - numbers / tf.reduce_max(numbers)), tf.float32)


def tau_normalized(kernel: tf.Tensor, tau: float) -> tf.Tensor:
    """w_c / ‖w_c‖^τ for the weights of each class: the head of Kang et al. 2020, whose classes differ less in norm.

    Args:
      kernel: [F, C] float32.
      tau: 0 leaves the weights as they are; with 1 all classes have the norm 1.

    Returns:
      [F, C] float32; weights that are all 0 stay 0.

    Example:
      >>> print(tau_normalized(tf.constant([[4.0, 0.0], [0.0, 9.0]]), tau=0.5).numpy())
      [[2. 0.]
       [0. 3.]]
    """
    norms = tf.norm(kernel, axis=0)
    return kernel / tf.where(norms > 0.0, tf.pow(norms, tau), tf.ones_like(norms))
