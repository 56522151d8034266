"""Pseudo-labels from predictions: averaging over views, sharpening, hard targets and the confidence mask."""

import math
from collections.abc import Sequence

import tensorflow as tf

from udal_tf.core import alignment

# Sums of powers that are larger than 10 to this are far from where float32 loses precision, 1e-38.
SMALLEST_SUM_LOG10 = -30.0


def average_views(probs: Sequence[tf.Tensor]) -> tf.Tensor:
    """Mean of the predictions for several views of the same images, as MixMatch guesses labels.

    Args:
      probs: list of [U, C] float32; row i of each is of the same image.

    Returns:
      [U, C] float32, rows sum to 1.

    Example:
      >>> print(average_views([tf.constant([[0.75, 0.25]]), tf.constant([[0.25, 0.75]])]).numpy())
      [[0.5 0.5]]
    """
    return tf.reduce_mean(tf.stack(probs), axis=0)


def sharpen(probs: tf.Tensor, temperature: float) -> tf.Tensor:
    """Normalize(probs^(1/temperature)). MixMatch's sharpening.

    Where the powers may underflow (0.3^100 is 0 in float32), rows are divided by their maximum first, which changes
    nothing but keeps their sum at 1 or more. The maximum has no gradient, because the result does not depend on it.

    Args:
      probs: [U, C] float32, rows sum to 1.
      temperature: above 0; 1 changes nothing, and rows become one-hot as it approaches 0. Ties stay ties, and zeros
        stay zeros.

    Returns:
      [U, C] float32, rows sum to 1.

    Example:
      >>> print(sharpen(tf.constant([[0.8, 0.2]]), temperature=0.5).numpy().round(4))
      [[0.9412 0.0588]]
      >>> print(sharpen(tf.constant([[0.3, 0.3, 0.2, 0.2]]), temperature=0.01).numpy().round(4))
      [[0.5 0.5 0.  0. ]]
    """
    # The largest of C probabilities is at least 1/C.
    if -math.log10(probs.shape[-1]) / temperature < SMALLEST_SUM_LOG10:
        probs /= tf.stop_gradient(tf.reduce_max(probs, axis=-1, keepdims=True))
    powered = alignment.power(probs, 1.0 / temperature)
    return powered / tf.reduce_sum(powered, axis=-1, keepdims=True)


def pseudo_labels(probs: tf.Tensor, threshold: float, temperature: float = 0.0) -> tuple[tf.Tensor, tf.Tensor]:
    """Targets and the mask of rows that are confident enough. FixMatch; CReST util/semisup.py.

    Args:
      probs: [U, C] float32, rows sum to 1, already aligned if the method does so (Eq. 1).
      threshold: a row is confident if its largest probability, before sharpening, is at least this.
      temperature: 0 gives one-hot targets of the arg-max (the first in a tie), above 0 sharpened ones.

    Returns:
      targets [U, C] float32, mask [U] float32 of 0 and 1; no gradient flows through either.

    Example:
      >>> targets, mask = pseudo_labels(tf.constant([[0.9, 0.1], [0.4, 0.6]]), threshold=0.8)
      >>> print(targets.numpy(), mask.numpy())
      [[1. 0.]
       [0. 1.]] [1. 0.]
    """
    probs = tf.stop_gradient(probs)
    if temperature > 0:
        targets = sharpen(probs, temperature)
    else:
        targets = tf.one_hot(tf.argmax(probs, axis=-1), probs.shape[-1], dtype=probs.dtype)
    mask = tf.cast(tf.reduce_max(probs, axis=-1) >= threshold, probs.dtype)
    return targets, mask
