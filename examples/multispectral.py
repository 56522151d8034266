"""Images with 13 channels and views of your own, trained by UDAL.

    python examples/multispectral.py

Satellite images have such channels: those of EuroSAT are [64, 64, 13]. As no such dataset comes with the installation,
the 13 bands here are filters of digits-LT's real handwritten digits. They are float32, and the package's own views take
uint8; so the weak and the strong view are functions of a few lines. For uint8 images with 13 channels leave out
`views`: the package's own work for any number of channels. Less than a minute on two cores; docs/own_model.md says what
a view is.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from keras_fit import digits_lt
from scipy import ndimage

import udal_tf

SIDE = 8
BANDS = 13


def as_bands(images):
    """uint8 [N, 8, 8, 1] -> float32 [N, 8, 8, 13], a filter of the image in each band."""
    x = images[..., 0] / 255.0
    dx, dy = ndimage.sobel(x, axis=2), ndimage.sobel(x, axis=1)
    blurred = [ndimage.gaussian_filter(x, (0, sigma, sigma)) for sigma in (0.5, 1.0, 2.0)]
    around = [f(x, (1, 3, 3)) for f in (ndimage.maximum_filter, ndimage.minimum_filter, ndimage.median_filter)]
    edges = [dx, dy, np.hypot(dx, dy), x - blurred[1]]
    return np.stack([x, np.sqrt(x), x**2, *blurred, *around, *edges], axis=-1).astype(np.float32)


def weak(images, seed):
    """Each image moved by up to one pixel. images: float32 [n, 8, 8, 13]; seed: [2] int32, another one in each step."""
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    corners = tf.random.stateless_uniform([2, images.shape[0], 1], seed, 0, 3, tf.int32)
    rows, columns = corners[0] + tf.range(SIDE), corners[1] + tf.range(SIDE)
    return tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def strong(images, seed):
    """The weak view with another gain in each band, a seventh of the bands missing, and noise."""
    of_weak, of_gain, of_missing, of_noise = tf.unstack(tf.random.split(seed, 4))
    per_band = [images.shape[0], 1, 1, BANDS]
    gain = tf.random.stateless_uniform(per_band, of_gain, 0.5, 1.5)
    present = tf.random.stateless_uniform(per_band, of_missing) > 1 / 7
    noise = tf.random.stateless_normal(images.shape, of_noise, stddev=0.2)
    return tf.where(present, gain * weak(images, of_weak) + noise, 0.0)


def network():
    """float32 [8, 8, 13] -> 10 logits."""
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, BANDS)),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(64, 3, strides=2, padding="same", activation="relu"),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(10),
        ]
    )


def main(epochs=12, steps_per_epoch=50):
    """Trains, and returns the balanced accuracy on the test images."""
    digits_l, y_labeled, digits_u, digits_test, y_test = digits_lt()
    x_labeled, x_unlabeled, x_test = (as_bands(images) for images in (digits_l, digits_u, digits_test))
    mean, deviation = x_unlabeled.mean(axis=(0, 1, 2)), x_unlabeled.std(axis=(0, 1, 2))
    x_labeled, x_unlabeled, x_test = ((x - mean) / deviation for x in (x_labeled, x_unlabeled, x_test))

    keras.utils.set_random_seed(1)
    model = udal_tf.SemiSupervisedModel(
        network(), class_counts=np.bincount(y_labeled), method="udal", threshold=0.8, ema_decay=0.99
    )
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    views = {"weak": weak, "strong": strong}
    batches = udal_tf.batches(
        x_labeled, y_labeled, x_unlabeled, batch_size=32, steps_per_epoch=steps_per_epoch, views=views
    )
    model.fit(batches, epochs=epochs, verbose=2)
    accuracy = model.evaluate(x_test, y_test, return_dict=True, verbose=0)["balanced_accuracy"]
    print(f"{BANDS} bands, balanced accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="FixMatch + UDAL on 13-channel images with views of their own.")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps_per_epoch", type=int, default=50)
    given = parser.parse_args()
    main(given.epochs, given.steps_per_epoch)
