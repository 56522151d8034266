"""Moving averages of class distributions: q̂ over the model's predictions, and CReST's over labels (§2.2)."""

import tensorflow as tf

# Batches that q̂ averages over: ReMixMatch's and CReST's buffer.
HISTORY_BATCHES = 128
# CReST's decay of the moving average of labels.
LABEL_DECAY = 0.999


def uniform_history(num_classes: int, batches: int = HISTORY_BATCHES) -> tf.Tensor:
    """The history before the first step: [batches, C] float32, every row uniform."""
    return tf.fill([batches, num_classes], 1.0 / num_classes)


def distribution(history: tf.Tensor) -> tf.Tensor:
    """q̂: the mean of the history's rows, normalised.

    Args:
      history: [batches, C] float32.

    Returns:
      [C] float32, sums to 1.
    """
    mean = tf.reduce_mean(history, axis=0)
    return mean / tf.reduce_sum(mean)


def push(history: tf.Tensor, probs: tf.Tensor) -> tf.Tensor:
    """The history with its oldest row dropped and the batch mean of `probs` appended.

    Args:
      history: [batches, C] float32, oldest row first.
      probs: [U, C] float32, predictions before alignment and before masking.

    Returns:
      [batches, C] float32.
    """
    return tf.concat([history[1:], tf.reduce_mean(probs, axis=0, keepdims=True)], axis=0)


def decayed(average: tf.Tensor, labels: tf.Tensor, decay: float = LABEL_DECAY) -> tf.Tensor:
    """CReST's exponential moving average of label batches: decay·average + (1 − decay)·share of each class.

    Args:
      average: [C] float32.
      labels: [B] integer.

    Returns:
      [C] float32.
    """
    shares = tf.reduce_mean(tf.one_hot(labels, average.shape[0], dtype=average.dtype), axis=0)
    return average * decay + shares * (1.0 - decay)
