"""Checks of a batch's dtype and shape, before an operation could misread it."""

from collections.abc import Sequence

import tensorflow as tf


def checked(name: str, value: tf.Tensor, dtype: tf.DType, shape: Sequence[int | None]) -> tf.Tensor:
    """The value as a tensor of the given dtype and shape.

    Args:
        name: of the argument, for the error message.
        value: a tensor, or anything that converts to one.
        dtype: the expected dtype.
        shape: the expected shape; None allows any size.

    Raises:
        ValueError: for another dtype or a shape that cannot match.
    """
    tensor = tf.convert_to_tensor(value)
    if tensor.dtype != dtype or not tensor.shape.is_compatible_with(shape):
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must be {dtype.name} [{sizes}], got {tensor.dtype.name} {tensor.shape}")
    return tf.ensure_shape(tensor, shape)
