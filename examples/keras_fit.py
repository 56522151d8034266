"""Your own Keras network and NumPy arrays, trained by UDAL with Keras's `fit`.

    python examples/keras_fit.py

FixMatch + UDAL on digits-LT: 463 real handwritten digits, 50 of them with labels, 12 of the largest class and 1 of the
smallest. The network, the optimizer and the callbacks are Keras's. Half of the test images choose the epoch; the others
give the accuracy. Less than a minute on two cores; docs/own_model.md explains each line.
"""

import argparse
import tempfile

import keras
import numpy as np
import tensorflow as tf

import udal_tf
from udal_tf.config import resolve
from udal_tf.data.sources import load

AUGMENT = {
    "crop_padding": 1,
    "flip": False,  # a mirrored digit is not a digit
    "strong_ops": ("Rotate", "ShearX", "ShearY", "Contrast", "Brightness"),
    "strong_probability": 1.0,
    "cutout": 3 / 8,
}


def digits_lt():
    """Labeled images and labels, unlabeled images, test images and labels: uint8 [N, 8, 8, 1] and integers [N]."""
    data = load(resolve({"dataset": "digitslt", "fold": 1}).data)
    train, test = (images.fetch(tf.range(len(images))).numpy() for images in (data.train, data.test))
    return train[data.labeled], data.labels_l, train[data.unlabeled], test, data.test_labels


def small_cnn():
    """Images [8, 8, 1] -> 10 logits: no softmax at the end."""
    layers = [keras.Input((8, 8, 1))]
    for filters in (32, 64, 64):
        layers += [
            keras.layers.Conv2D(filters, 3, strides=1 if filters == 32 else 2, padding="same", use_bias=False),
            keras.layers.BatchNormalization(momentum=0.95),
            keras.layers.ReLU(),
        ]
    return keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)])


def main(epochs=12, steps_per_epoch=50, folder=None):
    """Trains, and returns the history and the balanced accuracy of the images that chose nothing."""
    x_labeled, y_labeled, x_unlabeled, x_test, y_test = digits_lt()
    keras.utils.set_random_seed(1)
    path = f"{folder or tempfile.mkdtemp()}/best.keras"

    # From arrays to a trained model.
    model = udal_tf.SemiSupervisedModel(
        small_cnn(), class_counts=np.bincount(y_labeled), method="udal", threshold=0.8, ema_decay=0.99
    )
    model.compile(optimizer=keras.optimizers.AdamW(3e-3))
    batches = udal_tf.batches(
        x_labeled, y_labeled, x_unlabeled, batch_size=32, steps_per_epoch=steps_per_epoch, augment=AUGMENT
    )
    watched = {"monitor": "val_balanced_accuracy", "mode": "max"}
    best = keras.callbacks.ModelCheckpoint(path, save_best_only=True, **watched)
    stop = keras.callbacks.EarlyStopping(patience=8, restore_best_weights=True, **watched)
    validation = (x_test[::2], y_test[::2])
    history = model.fit(batches, epochs=epochs, validation_data=validation, callbacks=[best, stop], verbose=2)

    # The file has the whole state; prediction takes the EMA weights.
    model = keras.models.load_model(path)
    results = model.evaluate(x_test[1::2], y_test[1::2], return_dict=True, verbose=0)
    adjusted = model.evaluate(x_test[1::2], y_test[1::2], logit_adjustment=True, return_dict=True, verbose=0)
    print(f"balanced accuracy {results['balanced_accuracy']:.1%}, with LA (Inf) {adjusted['balanced_accuracy']:.1%}")
    return history.history, results["balanced_accuracy"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="FixMatch + UDAL on digits-LT by Keras's fit.")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps_per_epoch", type=int, default=50)
    given = parser.parse_args()
    main(given.epochs, given.steps_per_epoch)
