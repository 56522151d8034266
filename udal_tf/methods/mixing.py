"""MixUp of a step's images and targets over the global batch: MixMatch Algorithm 1, ReMixMatch Algorithm 1."""

from collections.abc import Sequence

import tensorflow as tf

from udal_tf.core import mixup
from udal_tf.methods.base import gathered


def mixed_examples(
    batch: dict[str, tf.Tensor], keys: Sequence[str], targets: Sequence[tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Each image and its target mixed with those of its partner, which may be on another replica.

    Args:
      batch: this replica's part, with the images under `keys` and their "pair_<key>" and "mix_<key>"; pairs are
        positions in the global batch, view after view.
      keys: of the views.
      targets: for each view [its images, C] float32.

    Returns:
      Images [images of all views, H, W, C] and targets [images of all views, C], view after view.
    """
    own_images = [batch[key] for key in keys]
    pool_images = tf.concat([gathered(images) for images in own_images], axis=0)
    pool_targets = tf.concat([gathered(part) for part in targets], axis=0)
    pairs = tf.concat([batch[f"pair_{key}"] for key in keys], axis=0)
    weights = mixup.mixing_weights(tf.concat([batch[f"mix_{key}"] for key in keys], axis=0))
    images = mixup.mixup(tf.concat(own_images, axis=0), tf.gather(pool_images, pairs), weights)
    return images, mixup.mixup(tf.concat(targets, axis=0), tf.gather(pool_targets, pairs), weights)
