"""Per-example losses, weight decay and the divergence that is logged (UDAL Eqs. 3, 5, 6, 9; §3.1 for L2).

An example that does not count, because its mask or weight is 0, adds exactly 0 to the loss and to the gradient,
whatever its logits are: 0·∞ and 0·NaN, which are NaN, do not occur. The loss is selected by `weighted`; the gradient is
selected in `cross_entropy` and `squared_error`, because that of a selected loss would still be 0 times the logits'.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

# CReST util/util.py clips both distributions to [1e-6, 1 − 1e-6] before taking logarithms.
KL_EPSILON = 1e-6


def weighted(weights: tf.Tensor, per_example: tf.Tensor) -> tf.Tensor:
    """weights·per_example, and 0 where the weight is 0, also for a loss that is not finite.

    Args:
      weights: [n] float32: the mask of `pseudo_labels`, or other weights.
      per_example: [n] float32.

    Returns:
      [n] float32.

    Example:
      >>> print(weighted(tf.constant([0.0, 0.0, 2.0]), tf.constant([float("nan"), float("inf"), 1.5])).numpy())
      [0. 0. 3.]
    """
    return weights * tf.where(weights != 0.0, per_example, tf.zeros_like(per_example))


def _by_example(loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """loss(targets, logits) [n], with a gradient that is 0 for examples where the gradient from above is 0.

    For these examples the gradient is computed at zeros, so that it is finite; for the others nothing is different.
    """

    @tf.custom_gradient
    def value(targets, logits):
        def gradient(upstream):
            counts = upstream != 0.0
            given = [targets, logits]
            with tf.GradientTape() as tape:
                safe = [tf.where(counts[:, None] if x.shape.rank == 2 else counts, x, tf.zeros_like(x)) for x in given]
                tape.watch([x for x in safe if not x.dtype.is_integer])
                losses = loss(*safe)
            return tape.gradient(losses, safe, output_gradients=upstream)

        return loss(targets, logits), gradient

    return value(targets, logits)


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
    softmax = tf.nn.softmax_cross_entropy_with_logits
    if targets.dtype.is_integer:
        softmax = tf.nn.sparse_softmax_cross_entropy_with_logits
    return _by_example(softmax, targets, logits)


def bounded_cross_entropy(targets: tf.Tensor, logits: tf.Tensor, epsilon: float) -> tf.Tensor:
    """−Σ_c targets·log(softmax(logits) + epsilon), per example: at most −log epsilon, where its gradient vanishes.

    Args:
      targets: labels [B] integer, or distributions [B, C] float32.
      logits: [B, C] float32.
      epsilon: above 0; 1e-8 in CDMAD, which bounds the loss by 18.4.

    Returns:
      [B] float32.

    Example:
      >>> logits = tf.constant([[0.0, 0.0], [0.0, 100.0]])
      >>> print(bounded_cross_entropy(tf.constant([0, 0]), logits, epsilon=1e-8).numpy().round(2))
      [ 0.69 18.42]
    """
    if targets.dtype.is_integer:
        targets = tf.one_hot(targets, logits.shape[-1], dtype=logits.dtype)

    def of_probs(targets, logits):
        return -tf.reduce_sum(targets * tf.math.log(tf.nn.softmax(logits) + epsilon), axis=-1)

    return _by_example(of_probs, targets, logits)


def cross_level(probs: tf.Tensor, strong: tf.Tensor, temperature: float) -> tf.Tensor:
    """DebiasPL's cross-level discrimination: strong views are told apart by the centroids of the weak ones.

    An image belongs to the class k of its *smallest* probability, as in the release; the centroid of a class is the
    mean prediction of its images, 0 without any. The loss is the cross-entropy of (strong · centroids) / temperature
    with k.

    Args:
      probs: [U, C] float32, predictions for weak views; no gradient flows through them.
      strong: [U or a multiple, C] float32, predictions for the strong views, one view after the other.
      temperature: 0.07 in the release.

    Returns:
      [rows of `strong`] float32.

    Example:
      >>> probs = tf.constant([[0.9, 0.1], [0.2, 0.8]])
      >>> print(cross_level(probs, strong=probs, temperature=1.0).numpy().round(4))
      [0.4518 0.505 ]
    """
    probs = tf.stop_gradient(probs)
    labels = tf.argmin(probs, axis=-1)
    members = tf.one_hot(labels, probs.shape[-1], dtype=probs.dtype)
    counts = tf.maximum(tf.reduce_sum(members, axis=0), 1.0)
    centroids = tf.matmul(members, probs, transpose_a=True) / counts[:, None]
    views = strong.shape[0] // probs.shape[0]
    return cross_entropy(tf.tile(labels, [views]), tf.matmul(strong, centroids, transpose_b=True) / temperature)


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

    def of_probs(targets, logits):
        return tf.reduce_mean(tf.math.squared_difference(targets, tf.nn.softmax(logits)), axis=-1)

    return _by_example(of_probs, targets, logits)


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
