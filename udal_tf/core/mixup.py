"""MixUp (Zhang et al. 2018) as MixMatch uses it; pairing and weights are drawn elsewhere, this is arithmetic."""

import tensorflow as tf


def mixing_weights(beta_draws: tf.Tensor) -> tf.Tensor:
    """max(λ, 1 − λ), so that a mixed example stays closer to its own side. MixMatch Eq. 9.

    Args:
      beta_draws: [n] float32 in [0, 1], raw draws of Beta(a, a).

    Returns:
      [n] float32 in [0.5, 1].

    Example:
      >>> print(mixing_weights(tf.constant([0.25, 0.5, 1.0])).numpy())
      [0.75 0.5  1.  ]
    """
    return tf.maximum(beta_draws, 1.0 - beta_draws)


def mixup(own: tf.Tensor, partner: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """weights·own + (1 − weights)·partner, example by example; weights of 1 leave `own` as it is. MixMatch Eqs. 10, 11.

    Args:
      own, partner: [n, …] float32.
      weights: [n] float32 in [0, 1].

    Returns:
      [n, …] float32.

    Example:
      >>> own, partner = tf.constant([[1.0, 0.0], [1.0, 0.0]]), tf.constant([[0.0, 1.0], [0.0, 1.0]])
      >>> print(mixup(own, partner, weights=tf.constant([0.75, 1.0])).numpy())
      [[0.75 0.25]
       [1.   0.  ]]
    """
    shaped = tf.reshape(weights, [-1] + [1] * (own.shape.rank - 1))
    return own * shaped + partner * (1.0 - shaped)
