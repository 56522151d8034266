"""The class distribution of unlabeled images from predictions made under another: label shift by maximum likelihood.

A classifier's probabilities hold the class distribution that it was trained under, its own prior. Where images come
with other shares of the same classes (p(x|y) is what it was), Bayes' rule exchanges the one for the other, and the
shares under which the images are most likely are found by expectation and maximization. Saerens et al. 2002 (MLLS);
SimPro (Du et al. 2024) and ADELLO (Sanchez Aimar et al. 2024) take such steps during training, as is done here.
"""

import tensorflow as tf

from udal_tf.core import alignment


def em_step(shares: tf.Tensor, probs: tf.Tensor, p_own: tf.Tensor) -> tf.Tensor:
    """One step of EM: the mean of Normalize(probs · shares / p_own) over the images.

    A fixed point with shares above 0 is the maximum of the likelihood Σ_x log Σ_c shares_c · probs_c(x) / p_own_c.
    Shares of zero stay zero. Where shares is p_own the step gives the mean prediction.

    Args:
      shares: [C] float32, the estimate so far, sums to 1.
      probs: [U, C] float32, predictions, rows sum to 1.
      p_own: [C] float32, the distribution under which they are the posterior.

    Returns:
      [C] float32, sums to 1.

    Example:
      >>> # The rows become (0.75, 0.25) and (1/28, 27/28) before their mean is taken.
      >>> probs = tf.constant([[0.9, 0.1], [0.1, 0.9]])
      >>> print(em_step(tf.constant([0.5, 0.5]), probs, p_own=tf.constant([0.75, 0.25])).numpy().round(4))
      [0.3929 0.6071]
    """
    return tf.reduce_mean(alignment.align_probs(probs, shares, p_own), axis=0)


def at_least(shares: tf.Tensor, floor: tf.Tensor) -> tf.Tensor:
    """The shares with what is known to be there at least, the rest of each shrunk so that they sum to 1.

    Args:
      shares: [C] float32, sums to 1. floor: [C] float32, sums to at most 1.

    Returns:
      [C] float32, sums to 1, nowhere below the floor: floor + (1 − Σ floor) · Normalize(max(shares − floor, 0)), and
      the floor itself where it sums to 1.

    Example:
      >>> print(at_least(tf.constant([0.0, 0.3, 0.7]), floor=tf.constant([0.1, 0.1, 0.1])).numpy().round(4))
      [0.1   0.275 0.625]
    """
    above = tf.maximum(shares - floor, 0.0)
    return floor + (1.0 - tf.reduce_sum(floor)) * tf.math.divide_no_nan(above, tf.reduce_sum(above))


def total_variation(p: tf.Tensor, q: tf.Tensor) -> tf.Tensor:
    """½ Σ_c |p − q|: the share of images that one distribution gives to other classes than the other does. Scalar.

    Example:
      >>> float(total_variation(tf.constant([0.75, 0.25]), tf.constant([0.5, 0.5])))
      0.25
    """
    return 0.5 * tf.reduce_sum(tf.abs(p - q))
