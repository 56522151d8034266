"""models: shapes, parameters, padding and batch norm of the Wide ResNet."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from udal_tf.models.layers import FusedBatchNorm, conv
from udal_tf.models.wide_resnet import wide_resnet


def test_wrn_28_2_has_the_published_number_of_parameters():
    model = wide_resnet((32, 32, 3), 10, depth=28, width=2)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 1_467_610
    assert model.output_shape == (None, 10)


def test_a_wrong_depth_is_refused():
    with pytest.raises(ValueError, match="6n \\+ 4"):
        wide_resnet((8, 8, 1), 10, depth=11, width=1)


def test_a_strided_convolution_pads_both_sides():
    """With a kernel that picks its upper left pixel, output (0, 0) is padding and (1, 1) is input (1, 1)."""
    images = np.arange(36, dtype=np.float32).reshape(1, 6, 6, 1) + 1
    inputs = keras.Input((6, 6, 1))
    model = keras.Model(inputs, conv(1, 3, 2, "strided")(inputs))
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[0, 0] = 1
    model.set_weights([kernel])
    expected = [[0, 0, 0], [0, 8, 10], [0, 20, 22]]
    np.testing.assert_array_equal(model(images)[0, :, :, 0], expected)


def test_kernels_are_drawn_with_he_fan_out():
    inputs = keras.Input((4, 4, 64))
    model = keras.Model(inputs, conv(128, 3, 1, "wide")(inputs))
    assert abs(float(tf.math.reduce_std(model.get_weights()[0])) - np.sqrt(2 / (9 * 128))) < 3e-4


def batch_norm_inputs():
    return np.random.RandomState(0).normal(2.0, 3.0, (5, 4, 4, 3)).astype(np.float32)


def test_batch_norm_normalizes_with_the_batch_and_moves_its_averages():
    layer = FusedBatchNorm(momentum=0.9)
    x = batch_norm_inputs()
    y = layer(x, training=True).numpy()
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-3), atol=1e-4)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * x.var(axis=(0, 1, 2), ddof=1), rtol=1e-4)


def test_batch_norm_in_inference_uses_and_keeps_its_averages():
    layer = FusedBatchNorm(momentum=0.9)
    layer.build((None, 4, 4, 3))
    layer.moving_mean.assign([1.0, 2.0, 3.0])
    layer.moving_variance.assign([4.0, 9.0, 16.0])
    layer.gamma.assign([1.0, 2.0, 1.0])
    layer.beta.assign([0.0, 0.0, 5.0])
    x = batch_norm_inputs()
    expected = (x - [1, 2, 3]) / np.sqrt(np.array([4, 9, 16]) + 1e-3) * [1, 2, 1] + [0, 0, 5]
    np.testing.assert_allclose(layer(x, training=False), expected, atol=1e-4)
    np.testing.assert_array_equal(layer.moving_mean, [1, 2, 3])


def test_batch_norm_agrees_with_keras_in_training():
    ours, theirs = FusedBatchNorm(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3)
    x = batch_norm_inputs()
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), atol=1e-4)


def test_every_kernel_starts_from_values_of_its_own():
    """One initializer object for several layers would give kernels of one shape the same values on TensorFlow 2.15."""
    model = wide_resnet((32, 32, 3), 10, depth=16, width=1)
    kernels = [v.numpy() for v in model.trainable_variables if len(v.shape) == 4]
    assert len(kernels) == 15
    assert len({kernel.shape for kernel in kernels}) == 8
    assert len({kernel.tobytes() for kernel in kernels}) == 15
