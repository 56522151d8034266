"""How far an estimated class distribution is from three anchors: p_data, uniform, reversed. ACR (Wei & Gan 2023)."""

import tensorflow as tf

# Keeps logarithms finite, and is lost beside any probability above 1e-22.
_TINY = 1e-30


def class_hits(labels: tf.Tensor, mask: tf.Tensor, num_classes: int, last: bool) -> tf.Tensor:
    """How many images of a batch count for each class: [C] float32.

    Args:
      labels: [U] integer, the predicted classes.
      mask: [U] float32, 1 for the images that count.
      num_classes: C.
      last: whether the last image of each class speaks for all of them, so that a class counts once at most: what an
        update of a tensor at repeated indices does on a CPU, as in ACR's release; otherwise, all images are counted.

    Example:
      >>> labels, mask = tf.constant([0, 0, 1, 1]), tf.constant([1.0, 1.0, 1.0, 0.0])
      >>> print(class_hits(labels, mask, 2, last=True).numpy(), class_hits(labels, mask, 2, last=False).numpy())
      [1. 0.] [2. 1.]
    """
    members = tf.one_hot(labels, num_classes)
    if not last:
        return tf.linalg.matvec(members, mask, transpose_a=True)
    positions = tf.range(1.0, labels.shape[0] + 1.0)
    latest = tf.reduce_max(members * positions[:, None], axis=0)
    return tf.reduce_sum(tf.cast(positions[:, None] == latest, tf.float32) * members * mask[:, None], axis=0)


def distances(p: tf.Tensor, p_data: tf.Tensor) -> tf.Tensor:
    """½(KL(p ‖ j) + KL(j ‖ p)) for the anchors j: p_data, uniform, and p_data in the reversed order of its classes.

    Args:
      p: [C] float32, sums to 1.
      p_data: [C] float32, sums to 1.

    Returns:
      [3] float32, in nats.

    Example:
      >>> print(distances(tf.constant([0.8, 0.2]), p_data=tf.constant([0.8, 0.2])).numpy().round(4))
      [0.     0.2079 0.8318]
    """
    anchors = tf.stack([p_data, tf.ones_like(p_data) / p_data.shape[0], tf.reverse(p_data, axis=[0])])
    ratio = tf.math.log(p + _TINY) - tf.math.log(anchors + _TINY)
    return tf.reduce_sum((p - anchors) * ratio, axis=-1) / 2.0
