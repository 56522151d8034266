"""Maximum-likelihood estimate of the class prior of unlabeled images under label shift.

A classifier's probabilities depend on the class prior that it was trained under. For images of another prior but the
same p(x|y), Bayes' rule replaces one prior by the other, and the prior that maximizes the likelihood of the images is
found by expectation maximization (Saerens et al. 2002, MLLS). SimPro (Du et al. 2024) and ADELLO (Sanchez Aimar et al.
2024) take such steps during training, as is done here.
"""

import tensorflow as tf

from udal_tf.core import alignment


def em_step(prior: tf.Tensor, probs: tf.Tensor, p_own: tf.Tensor) -> tf.Tensor:
    """One step of EM: the mean of Normalize(probs · prior / p_own) over the images.

    A positive fixed point maximizes the log-likelihood Σ_x log Σ_c prior_c · probs_c(x) / p_own_c. Zero entries
    count as 1e-6, as in `align_probs`. For prior = p_own the step returns the mean prediction.

    Args:
      prior: [C] float32, the current estimate, sums to 1.
      probs: [U, C] float32, predictions, rows sum to 1.
      p_own: [C] float32, the class prior under which `probs` are posteriors.

    Returns:
      [C] float32, sums to 1.

    Example:
      >>> # The rows become (0.75, 0.25) and (1/28, 27/28) before their mean is taken.
      >>> probs = tf.constant([[0.9, 0.1], [0.1, 0.9]])
      >>> print(em_step(tf.constant([0.5, 0.5]), probs, p_own=tf.constant([0.75, 0.25])).numpy().round(4))
      [0.3929 0.6071]
    """
    return tf.reduce_mean(alignment.align_probs(probs, prior, p_own), axis=0)


def at_least(prior: tf.Tensor, floor: tf.Tensor) -> tf.Tensor:
    """A class prior raised to known lower bounds; what exceeds them is scaled so that the result sums to 1.

    Args:
      prior: [C] float32, sums to 1.
      floor: [C] float32, the lower bounds, sums to at most 1.

    Returns:
      [C] float32, sums to 1, nowhere below the floor: floor + (1 − Σ floor) · Normalize(max(prior − floor, 0)); the
      floor itself if that sums to 1.

    Example:
      >>> print(at_least(tf.constant([0.0, 0.3, 0.7]), floor=tf.constant([0.1, 0.1, 0.1])).numpy().round(4))
      [0.1   0.275 0.625]
    """
    above = tf.maximum(prior - floor, 0.0)
    return floor + (1.0 - tf.reduce_sum(floor)) * tf.math.divide_no_nan(above, tf.reduce_sum(above))


def total_variation(p: tf.Tensor, q: tf.Tensor) -> tf.Tensor:
    """½ Σ_c |p − q|, the total variation distance of two distributions: a scalar in [0, 1].

    Example:
      >>> float(total_variation(tf.constant([0.75, 0.25]), tf.constant([0.5, 0.5])))
      0.25
    """
    return 0.5 * tf.reduce_sum(tf.abs(p - q))
