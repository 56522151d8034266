"""models: ResNet-50 as FixMatch trains it on ImageNet."""

import keras
import numpy as np
import pytest

from udal_tf.config import ModelConfig
from udal_tf.models.build import build_model, check_images_fit
from udal_tf.models.layers import FusedBatchNorm
from udal_tf.models.resnet import resnet50
from udal_tf.models.stock import stock_copy


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return resnet50((224, 224, 3), 127, batch_norm_momentum=0.9)


def of_type(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_weights_are_the_published_number(model):
    """Torchvision's, without biases either, has 25,557,032 with a head of 2,049,000 for 1,000 classes."""
    below = [v for layer in model.layers if layer.name != "predictions" for v in layer.trainable_variables]
    assert sum(int(np.prod(v.shape)) for v in below) == 25_557_032 - 2_049_000 == 23_508_032
    assert model.get_layer("predictions").kernel.shape == (2048, 127)


def test_no_convolution_has_a_bias(model):
    convolutions = of_type(model, keras.layers.Conv2D)
    assert len(convolutions) == 53
    assert not any(layer.use_bias for layer in convolutions)


def test_the_stride_of_a_stage_is_in_its_first_3x3_convolution_and_its_shortcut(model):
    strided = [layer.name for layer in of_type(model, keras.layers.Conv2D) if layer.strides == (2, 2)]
    expected = ["conv1_conv"]
    for stage in (3, 4, 5):
        expected += [f"conv{stage}_block1_0_conv", f"conv{stage}_block1_2_conv"]
    assert sorted(strided) == sorted(expected)
    assert {model.get_layer(name).kernel_size for name in strided if "_2_" in name} == {(3, 3)}


def test_sides_of_a_224_pixel_image_at_every_stage(model):
    names = ("conv1_relu", "pool1_pool", "conv2_block3_out_relu", "conv3_block4_out_relu")
    names += ("conv4_block6_out_relu", "conv5_block3_out_relu")
    shapes = [tuple(model.get_layer(name).output.shape[1:]) for name in names]
    assert shapes == [(112, 112, 64), (56, 56, 64), (56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 2048)]


def test_batch_norm_has_the_recipes_momentum_and_epsilon_and_begins_at_one(model):
    norms = of_type(model, FusedBatchNorm)
    assert len(norms) == 53
    assert {(layer.momentum, layer.epsilon) for layer in norms} == {(0.9, 1e-5)}
    assert all((np.asarray(layer.gamma) == 1).all() and (np.asarray(layer.beta) == 0).all() for layer in norms)
    assert resnet50((32, 32, 3), 2, sync_batch_norm=True).get_layer("conv1_bn").synchronized


def test_initial_weights_are_he_normal_over_the_fan_in_and_all_differ(model):
    kernels = [np.asarray(layer.kernel) for layer in of_type(model, keras.layers.Conv2D)]
    for kernel in kernels:
        if kernel.size > 100_000:
            assert kernel.std() == pytest.approx(np.sqrt(2 / np.prod(kernel.shape[:3])), rel=0.02)
    firsts = {kernel.ravel()[0].item() for kernel in kernels}
    assert len(firsts) == len(kernels)
    head = model.get_layer("predictions")
    assert np.asarray(head.kernel).std() == pytest.approx(0.01, rel=0.02)
    assert (np.asarray(head.bias) == 0).all()


def test_small_and_gray_images_are_taken_down_to_32_pixels():
    check_images_fit(ModelConfig(arch="resnet50"), (32, 32, 1))
    with pytest.raises(ValueError, match="--arch=resnet50 needs images of 32 pixels or more, got 31x40x3"):
        check_images_fit(ModelConfig(arch="resnet50"), (31, 40, 3))
    with pytest.raises(ValueError, match="needs images of 32 pixels or more"):
        build_model(ModelConfig(arch="resnet50"), (28, 28, 1), 10)


def test_a_copy_of_keras_own_layers_gives_the_same_logits_which_are_float32():
    model = build_model(ModelConfig(arch="resnet50"), (32, 32, 3), 5, precision="bfloat16")
    assert model.output.dtype == "float32"
    assert model.get_layer("conv2_block1_1_conv").compute_dtype == "bfloat16"
    model = build_model(ModelConfig(arch="resnet50"), (32, 32, 3), 5)
    x = np.random.RandomState(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(stock_copy(model)(x), model(x), rtol=1e-4, atol=1e-5)


def test_the_name_tells_it_from_keras_applications():
    ours, theirs = (build_model(ModelConfig(arch=arch), (32, 32, 3), 5) for arch in ("resnet50", "keras_resnet50"))
    assert not ours.get_layer("conv1_conv").use_bias and theirs.get_layer("conv1_conv").use_bias
    assert theirs.get_layer("conv3_block1_1_conv").strides == (2, 2)
