"""Networks of Keras's own layers: the same function with the same weights, and no layer of ours."""

import keras
import numpy as np
import pytest

from udal_tf.models.applications import PixelRange
from udal_tf.models.stock import stock_copy
from udal_tf.models.wide_resnet import wide_resnet


class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x


@pytest.fixture
def network():
    """A Wide ResNet whose weights and statistics all differ from their beginnings."""
    network = wide_resnet((12, 12, 3), 4, depth=10, width=1)
    generator = np.random.RandomState(0)
    for variable in network.weights:
        noise = 0.1 * np.abs(generator.standard_normal(variable.shape))
        variable.assign(variable + noise.astype(np.float32))
    return network


def test_a_stock_copy_computes_the_same(network):
    images = np.random.RandomState(1).uniform(-1, 1, (5, 12, 12, 3)).astype(np.float32)
    expected = network(images, training=False).numpy()
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(stock_copy(network)(images, training=False), expected, rtol=1e-5, atol=1e-5)


def test_a_stock_copy_has_keras_own_layers_alone_and_weights_of_its_own(network):
    copy = stock_copy(network)
    assert all(type(layer).__module__.startswith("keras.") for layer in copy.layers)
    assert len(copy.weights) == len(network.weights)
    before = network.weights[0].numpy()
    copy.weights[0].assign(0 * copy.weights[0])
    assert np.array_equal(network.weights[0], before)


@pytest.mark.parametrize("pixels", ["tf", "torch", "own", "caffe"])
def test_the_pixels_of_published_weights_are_made_by_keras_own_layers(pixels, tmp_path):
    inputs = keras.Input([4, 4, 3])
    model = keras.Model(inputs, PixelRange(pixels)(inputs))
    images = np.random.RandomState(0).uniform(-1, 1, (2, 4, 4, 3)).astype(np.float32)
    copy = stock_copy(model)
    np.testing.assert_allclose(copy(images), model(images), rtol=1e-5, atol=1e-4)
    copy.save(tmp_path / "copy.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "copy.keras")(images), copy(images))


def test_a_layer_that_keras_does_not_have_is_named():
    inputs = keras.Input([4])
    model = keras.Model(inputs, Doubled(name="twice")(inputs))
    with pytest.raises(ValueError, match="layer twice is a Doubled, which is not a Keras layer"):
        stock_copy(model)
