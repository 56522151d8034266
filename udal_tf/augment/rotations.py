"""Rotations of square images by multiples of 90°, which ReMixMatch's rotation loss trains a network to predict."""

import tensorflow as tf

NUM_ROTATIONS = 4


def rotate_quarters(images: tf.Tensor, rotations: tf.Tensor) -> tf.Tensor:
    """Each image rotated counterclockwise by its own multiple of 90°. ReMixMatch §3.2.2.

    Args:
      images: [B, H, W, C] with H = W, any dtype.
      rotations: [B] integer in 0…3, in units of 90°.

    Returns:
      [B, H, W, C], the same pixel values at their new positions.

    Raises:
      ValueError: for images that are not square.

    Example:
      >>> image = tf.reshape([[1, 2], [3, 4]], [1, 2, 2, 1])
      >>> print(rotate_quarters(image, rotations=tf.constant([1]))[0, :, :, 0].numpy())
      [[2 4]
       [1 3]]
    """
    if images.shape[1] != images.shape[2]:
        raise ValueError(f"rotations by 90° need square images, got {images.shape[1]} x {images.shape[2]}")
    transposed = tf.transpose(images, [0, 2, 1, 3])
    rotated = [images, transposed[:, ::-1], images[:, ::-1, ::-1], transposed[:, :, ::-1]]
    return tf.gather(tf.stack(rotated, axis=1), rotations, batch_dims=1)
