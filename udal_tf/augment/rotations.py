"""Quarter turns of square images: what a network learns to tell apart in ReMixMatch's rotation loss."""

import tensorflow as tf

NUM_ROTATIONS = 4


def quarter_turns(images: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Each image turned by its number of quarter turns, counter-clockwise. ReMixMatch §3.2.2.

    Args:
      images: [B, H, W, C] with H = W, any dtype. turns: [B] integer, 0…3.

    Returns:
      [B, H, W, C], only pixels moved.

    Raises:
      ValueError: for images that are not square.

    Example:
      >>> print(quarter_turns(tf.reshape([[1, 2], [3, 4]], [1, 2, 2, 1]), turns=tf.constant([1]))[0, :, :, 0].numpy())
      [[2 4]
       [1 3]]
    """
    if images.shape[1] != images.shape[2]:
        raise ValueError(f"quarter turns need square images, got {images.shape[1]} x {images.shape[2]}")
    transposed = tf.transpose(images, [0, 2, 1, 3])
    all_turns = [images, transposed[:, ::-1], images[:, ::-1, ::-1], transposed[:, :, ::-1]]
    return tf.gather(tf.stack(all_turns, axis=1), turns, batch_dims=1)
