"""augment.layer: RandAugment inside a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from udal_tf.augment.layer import RandAugment

IMAGES = np.random.RandomState(0).randint(0, 256, (8, 12, 12, 3)).astype(np.uint8)


def test_the_layer_augments_in_training_alone():
    layer = RandAugment(seed=1)
    np.testing.assert_array_equal(layer(IMAGES), IMAGES)
    augmented = layer(IMAGES, training=True)
    assert augmented.dtype == tf.uint8 and augmented.shape == IMAGES.shape
    assert (augmented.numpy() != IMAGES).any()


def test_two_calls_draw_differently_and_a_seed_repeats_them():
    first, second = RandAugment(seed=1), RandAugment(seed=1)
    once, twice = first(IMAGES, training=True), first(IMAGES, training=True)
    assert (once.numpy() != twice.numpy()).any()
    np.testing.assert_array_equal(second(IMAGES, training=True), once)


def test_the_layer_compiles_under_xla():
    """Inverted at probability 1 whatever the random numbers, so that the result is known."""
    layer = RandAugment(ops=("Invert",), layers=1, probability=1.0, seed=1)
    compiled = tf.function(lambda images: layer(images, training=True), jit_compile=True)
    np.testing.assert_array_equal(compiled(tf.constant(IMAGES)), 255 - IMAGES)


def test_the_layer_is_restored_from_its_config():
    inputs = keras.Input((12, 12, 3), dtype="uint8")
    model = keras.Model(inputs, RandAugment(ops=("Invert",), probability=1.0, seed=3)(inputs))
    again = keras.models.model_from_json(model.to_json(), custom_objects={"RandAugment": RandAugment})
    np.testing.assert_array_equal(again(IMAGES, training=True), model(IMAGES, training=True))


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="Melt"):
        RandAugment(ops=("Melt",))
