"""What is refused by name before training: networks, label arrays and batches that do not fit."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

# Activations that turn logits into probabilities.
_PROBABILITIES = ("softmax", "sigmoid", "log_softmax")
# Images of a network whose size is free are tried at this side.
_ANY_SIDE = 32
_TRIED_IMAGES = 4


def checked_network(network: keras.Model, num_classes: int) -> None:
    """Raises ValueError unless the network is a built Keras model, images -> logits [B, num_classes].

    A network that ends in a softmax or sigmoid is refused, as the losses apply a softmax themselves.
    """
    if not isinstance(network, keras.Model):
        raise ValueError(f"network must be a keras.Model from images to logits, got {type(network).__name__}")
    if not network.built:
        raise ValueError(f"{network.name} has no weights yet: begin it with keras.Input, or call it on a batch first")
    last: keras.layers.Layer = network
    while getattr(last, "layers", None):
        last = last.layers[-1]
    activation = getattr(last, "activation", None)
    name = "softmax" if isinstance(last, keras.layers.Softmax) else getattr(activation, "__name__", "")
    if name in _PROBABILITIES:
        raise ValueError(
            f"the network must return logits, and its last layer {last.name} applies a {name}: leave the activation "
            f"out ({'classifier_' if 'predictions' in last.name else ''}activation=None), as the losses apply a "
            "softmax themselves"
        )
    shape = getattr(network, "input_shape", None)
    if isinstance(shape, tuple) and len(shape) == 4:
        checked_outputs(network, shape[1:], num_classes)


def checked_outputs(network: keras.Model, shape: Sequence[int | None], num_classes: int) -> None:
    """Raises ValueError unless the network returns num_classes logits for images [H, W, C] of this shape."""
    images = np.random.RandomState(0).uniform(-1, 1, (_TRIED_IMAGES, *(side or _ANY_SIDE for side in shape)))
    logits = keras.ops.convert_to_numpy(network(images.astype(np.float32), training=False))
    if logits.shape != (_TRIED_IMAGES, num_classes):
        raise ValueError(
            f"there are {num_classes} classes, and the network's output is {list(logits.shape[1:])} per image: it must "
            f"return {num_classes} logits"
        )
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1.0, atol=1e-3):
        raise ValueError(
            "the network must return logits, and its outputs are probabilities that sum to 1: leave out the softmax, "
            "as the losses apply one themselves"
        )


def class_prior(class_counts: Sequence[float] | None, p_data: Sequence[float] | None) -> np.ndarray:
    """The class prior of the labels, from their counts or as it is: [C] float32, sums to 1.

    Raises:
      ValueError: unless just one of them is given, with a positive number per class.
    """
    if (class_counts is None) == (p_data is None):
        raise ValueError("give either class_counts, the number of labeled images of each class, or p_data")
    name, given = ("class_counts", class_counts) if p_data is None else ("p_data", p_data)
    values = np.asarray(given, np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all() or (values <= 0).any():
        hint = "; a class without labels cannot be learned" if values.ndim == 1 and (values == 0).any() else ""
        raise ValueError(f"{name} must be at least two positive numbers, one per class, got {given}{hint}")
    if p_data is not None and abs(values.sum() - 1.0) > 1e-4:
        raise ValueError(f"p_data must sum to 1, got {values.sum():g}: give counts as class_counts")
    return (values / values.sum()).astype(np.float32)


def checked_labels(name: str, labels: np.ndarray, count: int, num_classes: int | None = None) -> np.ndarray:
    """The labels as [n] int64.

    Raises:
      ValueError: unless they are `count` integers from 0, below num_classes where that is known.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        hint = "; of one-hot labels take numpy.argmax(labels, axis=1)" if labels.ndim == 2 else ""
        raise ValueError(f"{name} must be integers [n], got {labels.dtype} {list(labels.shape)}{hint}")
    if len(labels) != count:
        raise ValueError(f"{name} must have a label for each of the {count} images, got {len(labels)}")
    bad = (labels < 0) | (labels >= (num_classes or np.iinfo(np.int64).max))
    if bad.any():
        most = f"0 to {num_classes - 1}" if num_classes else "0 or above"
        raise ValueError(f"{name} must be {most}, got {labels[bad][0]} at index {np.flatnonzero(bad)[0]}")
    return labels.astype(np.int64)


def checked_labels_in_graph(name: str, labels: tf.Tensor, num_classes: int, unknown: bool = False) -> tf.Tensor:
    """The labels [n] of a batch as int64, with an assertion that they are in range. XLA leaves assertions out.

    Raises:
      ValueError: unless they are integers [n].
    """
    if not labels.dtype.is_integer or labels.shape.rank != 1:
        raise ValueError(f'"{name}" must be integers [n], got {labels.dtype.name} {labels.shape.as_list()}')
    labels = tf.cast(labels, tf.int64)
    low = -1 if unknown else 0
    in_range = tf.reduce_all((labels >= low) & (labels < num_classes))
    asserted = tf.debugging.Assert(in_range, [f"{name} must be {low} to {num_classes - 1}, got", labels], name=name)
    with tf.control_dependencies([asserted] if asserted is not None else []):
        return tf.identity(labels)
