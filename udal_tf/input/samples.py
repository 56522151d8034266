"""Views of a few images as in training, for visual inspection: `view_samples`."""

import numpy as np
import tensorflow as tf

from udal_tf.augment.views import CROP_UNIFORMS, Views
from udal_tf.data.dataset import crops_of
from udal_tf.input import stream

# [−1, 1] back to 0…255.
_HALF = 127.5


def view_samples(images: np.ndarray, views: Views, weak: int, strong: int) -> np.ndarray:
    """Each image unchanged, then some weak and some strong views of it.

    Args:
      images: [n, H, W, C] uint8.
      views: for images of this size.
      weak: number of weak views.
      strong: number of strong views.

    Returns:
      [n, 1 + weak + strong, H, W, C] uint8, the same for the same images.
    """
    columns = [images]
    for number, view in enumerate([views.weak] * weak + [views.strong] * strong):
        uniforms = stream.uniforms(tf.constant(0, tf.int64), len(images), view.uniforms, seed=0, stream=number)
        shown = tf.constant(images)
        if view.crops:
            for_crop, uniforms = tf.split(uniforms, [CROP_UNIFORMS, view.uniforms - CROP_UNIFORMS], axis=1)
            shown = crops_of(shown, for_crop)
        columns.append(_pixels(view.apply(shown, uniforms)))
    return np.stack(columns, axis=1)


def _pixels(images: tf.Tensor) -> np.ndarray:
    return tf.cast(tf.round(images * _HALF + _HALF), tf.uint8).numpy()
