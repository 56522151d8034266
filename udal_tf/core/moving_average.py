"""Moving averages: q̂ of the model's predictions, CReST's of the labels (§2.2), and the decay of the EMA weights."""

import tensorflow as tf

# Batches that q̂ averages over, as in ReMixMatch and CReST.
HISTORY_BATCHES = 128
# Of `warmed_decay`, as in TensorFlow's ExponentialMovingAverage.
WARMUP_OFFSET = 10.0
# CReST's decay of the moving average of labels.
LABEL_DECAY = 0.999


def uniform_history(num_classes: int, batches: int = HISTORY_BATCHES) -> tf.Tensor:
    """The history before the first step: [batches, C] float32, every row uniform.

    Example:
      >>> print(uniform_history(num_classes=4, batches=2).numpy())
      [[0.25 0.25 0.25 0.25]
       [0.25 0.25 0.25 0.25]]
    """
    return tf.fill([batches, num_classes], 1.0 / num_classes)


def distribution(history: tf.Tensor) -> tf.Tensor:
    """q̂: the mean of the history's rows, normalized.

    Args:
      history: [batches, C] float32.

    Returns:
      [C] float32, sums to 1.

    Example:
      >>> print(distribution(tf.constant([[0.5, 0.5], [1.0, 0.0]])).numpy())
      [0.75 0.25]
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

    Example:
      >>> history = tf.constant([[0.5, 0.5], [0.75, 0.25]])
      >>> print(push(history, probs=tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])).numpy())
      [[0.75 0.25]
       [0.75 0.25]]
    """
    return tf.concat([history[1:], tf.reduce_mean(probs, axis=0, keepdims=True)], axis=0)


def decayed(average: tf.Tensor, labels: tf.Tensor, decay: float = LABEL_DECAY) -> tf.Tensor:
    """CReST's exponential moving average of label batches: decay·average + (1 − decay)·class frequencies.

    Args:
      average: [C] float32.
      labels: [B] integer.

    Returns:
      [C] float32.

    Example:
      >>> print(decayed(tf.constant([0.5, 0.5]), labels=tf.constant([0, 0, 0, 1]), decay=0.5).numpy())
      [0.625 0.375]
    """
    frequencies = tf.reduce_mean(tf.one_hot(labels, average.shape[0], dtype=average.dtype), axis=0)
    return average * decay + frequencies * (1.0 - decay)


def decayed_mean(average: tf.Tensor, probs: tf.Tensor, decay: float, counts: tf.Tensor | None = None) -> tf.Tensor:
    """An exponential moving average of predictions: decay·average + (1 − decay)·(mean of the rows that count).

    Args:
      average: [C] float32.
      probs: [U, C] float32.
      decay: in [0, 1].
      counts: [U] float32, 1 for rows that count and 0 for others; without any, the average stays; None: all count.

    Returns:
      [C] float32.

    Example:
      >>> probs = tf.constant([[1.0, 0.0], [0.0, 1.0]])
      >>> print(decayed_mean(tf.constant([0.5, 0.5]), probs, decay=0.5, counts=tf.constant([1.0, 0.0])).numpy())
      [0.75 0.25]
    """
    if counts is None:
        return decay * average + (1.0 - decay) * tf.reduce_mean(probs, axis=0)
    number = tf.reduce_sum(counts)
    mean = tf.linalg.matvec(probs, counts, transpose_a=True) / tf.maximum(number, 1.0)
    return tf.where(number > 0.0, decay * average + (1.0 - decay) * mean, average)


def warmed_decay(decay: float, step: tf.Tensor | int) -> tf.Tensor:
    """The decay of an average that is to forget its start soon: min(decay, (1 + step) / (10 + step)).

    Args:
      decay: in [0, 1], reached after (10·decay − 1) / (1 − decay) steps: 8,990 for 0.999.
      step: number of updates before this one.

    Returns:
      Scalar float32.

    Example:
      >>> print([round(float(warmed_decay(0.999, step)), 4) for step in (0, 8, 8990, 100000)])
      [0.1, 0.5, 0.999, 0.999]

    Source: the `num_updates` of TensorFlow's `tf.train.ExponentialMovingAverage`.
    """
    step = tf.cast(step, tf.float32)
    return tf.minimum(decay, (1.0 + step) / (WARMUP_OFFSET + step))
