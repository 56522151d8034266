"""Per-example losses, weight decay and the divergence that is logged (UDAL Eqs. 3, 5, 6, 9; §3.1 for L2)."""

from collections.abc import Sequence

import tensorflow as tf

# CReST util/util.py clips both distributions to [1e-6, 1 − 1e-6] before taking logarithms.
KL_EPSILON = 1e-6


def cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """−Σ_c targets·log softmax(logits), per example.

    Args:
      targets: labels [B] integer, or distributions [B, C] float32.
      logits: [B, C] float32, shifted by `alignment.log_ratio` if the method aligns them.

    Returns:
      [B] float32.

    Example:
      >>> logits = tf.math.log([[0.8, 0.2], [0.5, 0.5]])
      >>> print(cross_entropy(tf.constant([1, 0]), logits).numpy().round(4))
      [1.6094 0.6931]
    """
    if targets.dtype.is_integer:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    return tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits)


def squared_error(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean over classes of (targets − softmax(logits))², per example: MixMatch's unlabeled loss.

    Args:
      targets: distributions [B, C] float32.
      logits: [B, C] float32.

    Returns:
      [B] float32.

    Example:
      >>> print(squared_error(tf.constant([[1.0, 0.0]]), tf.math.log([[0.8, 0.2]])).numpy().round(4))
      [0.04]
    """
    return tf.reduce_mean(tf.math.squared_difference(targets, tf.nn.softmax(logits)), axis=-1)


def l2(variables: Sequence[tf.Tensor]) -> tf.Tensor:
    """Σ ½‖w‖² over the variables, without a coefficient. CReST util/util.py.

    Example:
      >>> float(l2([tf.constant([3.0, 4.0]), tf.constant([[1.0]])]))
      13.0
    """
    return tf.add_n([tf.nn.l2_loss(variable) for variable in variables])


def kl_divergence(p: tf.Tensor, q: tf.Tensor) -> tf.Tensor:
    """KL(p ‖ q) = Σ_c p·log(p/q), both clipped away from 0 and 1. CReST util/util.py; UDAL Appendix A.1.

    Args:
      p: [C] float32, sums to 1.
      q: [C] float32, sums to 1.

    Returns:
      Scalar float32, in nats.

    Example:
      >>> round(float(kl_divergence(tf.constant([0.5, 0.5]), tf.constant([0.8, 0.2]))), 4)
      0.2231
    """
    p = tf.clip_by_value(p, KL_EPSILON, 1.0 - KL_EPSILON)
    q = tf.clip_by_value(q, KL_EPSILON, 1.0 - KL_EPSILON)
    return tf.reduce_sum(p * (tf.math.log(p) - tf.math.log(q)))
