"""Scores of a classifier from its accuracy on each class."""

import tensorflow as tf

# A class without a correct prediction counts as 1/(100·C), so that one such class does not decide everything.
_HUNDRED = 100.0


def geometric_mean(class_accuracy: tf.Tensor) -> tf.Tensor:
    """Π_c accuracy_c^(1/C), with an accuracy of 0 counted as 1/(100·C): GM, beside balanced accuracy in ABC and CDMAD.

    Args:
      class_accuracy: [..., C] float, in [0, 1].

    Returns:
      [...] of the same type.

    Example:
      >>> print(geometric_mean(tf.constant([[0.9, 0.4], [0.5, 0.0]])).numpy().round(4))
      [0.6  0.05]
    """
    counted = tf.where(class_accuracy > 0.0, class_accuracy, 1.0 / (_HUNDRED * class_accuracy.shape[-1]))
    return tf.exp(tf.reduce_mean(tf.math.log(counted), axis=-1))
