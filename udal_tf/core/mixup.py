"""MixUp (Zhang et al. 2018) as MixMatch uses it: the arithmetic alone, pairing and weights are arguments."""

import tensorflow as tf


def mixing_weights(beta_samples: tf.Tensor) -> tf.Tensor:
    """max(λ, 1 − λ), so that a mixed example is closer to its own side. MixMatch Eq. 9.

    Args:
      beta_samples: [n] float32 in [0, 1], samples of Beta(a, a).

    Returns:
      [n] float32 in [0.5, 1].

    Example:
      >>> print(mixing_weights(tf.constant([0.25, 0.5, 1.0])).numpy())
      [0.75 0.5  1.  ]
    """
    return tf.maximum(beta_samples, 1.0 - beta_samples)


def mixup(own: tf.Tensor, partner: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """weights·own + (1 − weights)·partner per example. MixMatch Eqs. 10, 11.

    A weight of 1 returns `own` unchanged, whatever the partner is: a partner that is not finite does not count there.

    Args:
      own: [n, …] float32.
      partner: [n, …] float32.
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
    partner = tf.where(shaped < 1.0, partner, tf.zeros_like(partner))
    return own * shaped + partner * (1.0 - shaped)
