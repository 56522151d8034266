"""models: backbones of Keras Applications, the pixels that they expect, and weights from a file."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_application

from udal_tf.config import MethodConfig, ModelConfig, OptimizerConfig, TrainConfig
from udal_tf.methods.learner import Learner
from udal_tf.methods.method import Problem
from udal_tf.models.applications import PixelRange, application, load_pretrained
from udal_tf.models.build import check_images_fit
from udal_tf.registry import BACKBONES, Backbone

APPLICATIONS = [name for name, record in BACKBONES.items() if record.keras_name]
# Where Keras has each backbone's own preprocessing.
MODULES = {
    "keras_resnet50": "resnet",
    "resnet101": "resnet",
    "resnet50v2": "resnet_v2",
    "densenet121": "densenet",
    "mobilenetv2": "mobilenet_v2",
    "mobilenetv3small": "mobilenet_v3",
    "mobilenetv3large": "mobilenet_v3",
    "efficientnetv2b0": "efficientnet_v2",
    "efficientnetv2s": "efficientnet_v2",
    "xception": "xception",
    "inceptionv3": "inception_v3",
}
SHAPE = (32, 32, 3)


def pixels(count=2):
    return np.random.RandomState(0).randint(0, 256, (count, *SHAPE)).astype(np.float32)


def as_training_sees(values):
    return (values - 127.5) / 127.5


@pytest.fixture
def tiny(monkeypatch):
    """The tiny backbone as one of Keras Applications, whose weights expect the `caffe` convention."""
    monkeypatch.setattr(keras.applications, "Tiny", tiny_application.tiny, raising=False)
    record = Backbone("tiny", "Tiny", "udal_tf.models.applications:build", keras_name="Tiny", pixels="caffe")
    monkeypatch.setitem(BACKBONES._all(), "tiny", record)
    return tiny_application.tiny


@pytest.mark.parametrize("arch", APPLICATIONS)
def test_pixels_are_what_keras_makes_for_the_published_weights(arch):
    theirs = importlib.import_module(f"keras.applications.{MODULES[arch]}").preprocess_input(pixels())
    ours = PixelRange(BACKBONES[arch].pixels)(as_training_sees(pixels()))
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("arch", APPLICATIONS)
def test_images_that_keras_finds_too_small_are_refused(arch):
    side = BACKBONES[arch].smallest_side
    check_images_fit(ModelConfig(arch=arch), (side, side, 3))
    for shape in ((side - 1, side, 3), (side, side, 1)):
        with pytest.raises(ValueError, match=f"--arch={arch} needs RGB images of {side} pixels"):
            check_images_fit(ModelConfig(arch=arch), shape)
    with pytest.raises(ValueError):
        build = getattr(keras.applications, BACKBONES[arch].keras_name)
        build(weights=None, include_top=False, input_shape=(side - 1, side - 1, 3))


def test_without_its_weights_a_backbone_sees_the_images_as_they_are(tiny):
    assert not any(isinstance(layer, PixelRange) for layer in application("tiny", SHAPE, 5).layers)


def test_a_backbone_that_scales_by_itself_sees_0_to_255():
    model = application("mobilenetv3small", SHAPE, 5)
    reached = keras.Model(model.input, model.get_layer("pixel_range").output)(as_training_sees(pixels()))
    np.testing.assert_allclose(reached, pixels(), atol=1e-4)
    assert model(as_training_sees(pixels())).shape == (2, 5)


def test_batch_norm_has_our_momentum_and_dropout_is_off(tiny):
    model = application("tiny", SHAPE, 5, batch_norm_momentum=0.9, sync_batch_norm=True)
    norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    assert (norm.momentum, norm.synchronized) == (0.9, True)
    x = as_training_sees(pixels())
    np.testing.assert_array_equal(model(x, training=True), model(x, training=True))


def test_a_training_step_moves_weights_averages_and_statistics_and_decays_no_batch_norm(tiny):
    model = application("tiny", SHAPE, 4, batch_norm_momentum=0.9)
    train = TrainConfig(epochs=1, steps_per_epoch=2)
    learner = Learner(
        model, Problem(np.full(4, 0.25, np.float32)), MethodConfig(threshold=0.0), OptimizerConfig(), train
    )
    norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    decayed = {id(v) for v in learner._decayed}
    assert [id(v) in decayed for v in (norm.gamma, norm.beta)] == [False, False]
    assert len(decayed) == len(model.trainable_variables) - 2
    before = [v.numpy() for v in (*model.trainable_variables, norm.moving_mean)]
    x = tf.constant(as_training_sees(pixels(4)), tf.float32)
    labels = tf.range(4, dtype=tf.int64)
    metrics = learner.train_step({"x_l": x, "x_w": x, "x_s": x, "labels_l": labels, "labels_u": labels})
    assert np.isfinite(metrics["loss"])
    for start, variable in zip(before, (*model.trainable_variables, norm.moving_mean), strict=True):
        assert (start != variable.numpy()).any(), variable.path
    for start, average in zip(before, learner.ema, strict=False):
        assert (start != average.numpy()).any()


def saved(tiny, path):
    """The weights of a backbone of its own, and that backbone."""
    backbone = tiny(input_shape=SHAPE)
    backbone.layers[2].set_weights([np.array(values, np.float32) for values in ([2] * 4, [1] * 4, [3] * 4, [4] * 4)])
    backbone.save_weights(path) if path.name.endswith(".weights.h5") else backbone.save(path)
    return backbone


@pytest.mark.parametrize("name", ["file.weights.h5", "older.h5"])
def test_weights_from_a_file_see_the_pixels_that_they_were_trained_with(tiny, tmp_path, name):
    backbone = saved(tiny, tmp_path / name)
    model = application("tiny", SHAPE, 5, published_pixels=True)
    head = model.get_layer("predictions").get_weights()
    load_pretrained(model, "tiny", tmp_path / name)
    features = keras.Model(model.input, model.get_layer("avg_pool").output)
    bgr = pixels()[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)
    expected = backbone(bgr).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(features(as_training_sees(pixels())), expected, rtol=1e-4, atol=1e-3)
    for ours, before in zip(model.get_layer("predictions").get_weights(), head, strict=True):
        np.testing.assert_array_equal(ours, before)


def test_files_that_do_not_fit_are_named_with_the_reason(tiny, tmp_path):
    model = application("tiny", SHAPE, 5)
    (tmp_path / "text.h5").write_text("no weights")
    other = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    other.save_weights(tmp_path / "other.weights.h5")
    for name, words in (
        ("none.h5", "is not a file"),
        ("text.h5", "does not hold the weights of Tiny without its top"),
        ("other.weights.h5", "does not hold the weights of Tiny without its top"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            load_pretrained(model, "tiny", tmp_path / name)
        assert name in str(error.value)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"arch": "wrn", "pretrained": "a.h5"}, "--pretrained needs --arch=keras_resnet50"),
        ({"arch": "wrn", "pretrained": "imagenet"}, "--pretrained=imagenet needs --arch=keras_resnet50"),
        ({"arch": "wrn", "freeze": "backbone"}, "--freeze=backbone needs --pretrained"),
        ({"pixels": "raw"}, "--pixels must be one of auto, plain, published"),
        ({"arch": "resnet50", "pretrained": "a.h5"}, "Keras's weights of ResNet-50 are for --arch=keras_resnet50"),
        ({"arch": "resnet51"}, "--arch must be one of wrn, resnet50"),
    ],
)
def test_networks_and_weights_that_do_not_go_together_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        ModelConfig(**given)
