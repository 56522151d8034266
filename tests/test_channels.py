"""Images with other than 1 or 3 channels: each channel is augmented as an image of its own, all of them alike."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import udal_tf
from udal_tf import registry
from udal_tf.augment import randaugment, views
from udal_tf.augment.layer import RandAugment
from udal_tf.config import AugmentConfig, resolve
from udal_tf.data.dataset import DataError, Source
from udal_tf.inference import export_check, exporting, usage
from udal_tf.run_dir import RESULT
from udal_tf.training.experiment import train_and_evaluate

CHANNELS = (2, 4, 13)
SHORT = {"epochs": 1, "steps_per_epoch": 1, "depth": 10, "width": 1}
OPS = tuple(op for op in randaugment.OPS if op != "Color")
LEVELS = np.array([0.0, 0.3, 0.6, 0.95], np.float32)
SIGNS = np.array([1.0, -1.0, 1.0, -1.0], np.float32)


def images(*shape, seed=0):
    """Bright and dark channels differ, as those of a sensor do."""
    most = np.linspace(60, 255, shape[-1])
    return (np.random.RandomState(seed).uniform(size=shape) * most).astype(np.uint8)


def uniforms(*shape):
    return np.random.RandomState(1).uniform(size=shape).astype(np.float32)


@pytest.mark.parametrize("channels", CHANNELS)
def test_an_op_changes_each_channel_as_it_would_change_that_channel_alone(channels):
    batch = images(len(LEVELS), 33, 24, channels)
    for op in OPS:
        together = randaugment.apply_op(batch, op, LEVELS, SIGNS).numpy()
        alone = [randaugment.apply_op(batch[..., c : c + 1], op, LEVELS, SIGNS).numpy() for c in range(channels)]
        np.testing.assert_array_equal(together, np.concatenate(alone, axis=-1), err_msg=op)
        assert op == "Identity" or (together != batch).any(), op


def test_contrast_of_many_channels_by_hand():
    """Means 50 and 101 instead of one for both; factor 0.1: mean + 0.1 · (x − mean)."""
    image = np.array([[[[0, 100], [100, 102], [0, 100], [100, 102]]]], np.uint8)
    padded = np.concatenate([image, image], axis=-1)
    blended = randaugment.apply_op(padded, "Contrast", 0.0, 1.0).numpy()
    np.testing.assert_array_equal(blended[0, 0, :2, :2], [[45, 100], [55, 101]])


@pytest.mark.parametrize("channels", CHANNELS)
def test_randaugment_is_that_of_each_channel_eagerly_in_a_graph_and_under_xla(channels):
    batch, random = images(40, 12, 12, channels), uniforms(40, 8)
    eager = randaugment.rand_augment(batch, random).numpy()
    for channel in (0, channels - 1):
        alone = randaugment.rand_augment(batch[..., channel : channel + 1], random, OPS)
        np.testing.assert_array_equal(eager[..., channel : channel + 1], alone)
    np.testing.assert_array_equal(tf.function(randaugment.rand_augment)(batch, random), eager)
    compiled = tf.function(randaugment.rand_augment, jit_compile=True)
    np.testing.assert_array_equal(compiled(batch, random, static_shapes=True), eager)


@pytest.mark.parametrize("channels", CHANNELS)
def test_views_crop_flip_and_cut_all_channels_alike(channels):
    one = images(16, 12, 10, 1, seed=2)
    config = AugmentConfig(crop_padding=2, strong_ops=("Rotate", "ShearX", "TranslateY"), strong_probability=1.0)
    made, of_one = (views.make_views(config, 12, 10, number) for number in (channels, 1))
    for kind in ("plain", "weak", "strong"):
        ours, theirs = getattr(made, kind), getattr(of_one, kind)
        assert ours.uniforms == theirs.uniforms
        random = uniforms(16, ours.uniforms)
        seen = ours.apply(np.repeat(one, channels, axis=-1), random).numpy()
        np.testing.assert_array_equal(seen, np.repeat(theirs.apply(one, random), channels, axis=-1))
    without = views.make_views(dataclasses.replace(config, cutout=0.0), 12, 10, channels).strong
    bright = np.full((16, 12, 10, channels), 250, np.uint8)
    cut = made.strong.apply(bright, random).numpy() == 0.0
    assert not (without.apply(bright, random[:, : without.uniforms]).numpy() == 0.0).any()
    assert cut.any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(cut.any(axis=-1), cut.all(axis=-1))


def test_operations_that_mix_colors_are_left_out_of_the_choice_and_named():
    assert (
        randaugment.for_channels(randaugment.OPS, 3) == randaugment.for_channels(randaugment.OPS, 1) == randaugment.OPS
    )
    assert randaugment.for_channels(("Color", "Invert", "Color"), 4) == ("Invert",)
    assert randaugment.left_out_text(("Color", "Invert"), 3) == ""
    want = "RandAugment leaves out Color, which mixes colors: the images have 4 channels"
    assert randaugment.left_out_text(("Color", "Invert", "Color"), 4) == want
    batch = images(3, 8, 8, 4)
    inverted = randaugment.rand_augment(batch, uniforms(3, 4), ("Color", "Invert"), layers=1, probability=1.0)
    np.testing.assert_array_equal(inverted, 255 - batch)
    layer = RandAugment(("Color", "Invert"), layers=1, probability=1.0)
    np.testing.assert_array_equal(layer(batch, training=True), 255 - batch)
    with pytest.warns(UserWarning, match=want):
        udal_tf.batches(batch, np.arange(3), batch, augment={"crop_padding": 1})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: randaugment.apply_op(images(1, 8, 8, 13), "Color", 0.5, 1.0), "Color needs images with 1 or 3"),
        (lambda: views.make_views(AugmentConfig(strong_ops=("Color",)), 8, 8, 4), "and these have 4: name another"),
        (lambda: views.make_views(AugmentConfig(), 8, 8, 0), "at least one channel, got 0"),
    ],
)
def test_what_has_no_meaning_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def bands(config):
    labels = np.arange(40) % 4
    test = np.arange(8) % 4
    parts = [(images(40, 8, 8, 4), labels), (images(8, 8, 8, 4, seed=1), test)]
    return Source.of_arrays(parts, tuple("abcd"), {"source": "random numbers"})


def test_the_program_trains_on_them_and_prints_once_what_is_left_out(
    undrawn, small_network, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(registry.DATASETS, "_records", dict(registry.DATASETS._records))
    recipe = {"imbalance": 2.0, "n1": 8, "beta": 0.5, "crop_padding": 1, "batch_size": 4, "unlabeled_ratio": 1}
    registry.register(
        registry.Dataset(name="bands", label="Bands", load=bands, image_side=8, num_classes=4, recipe=recipe)
    )
    workdir = tmp_path / "run"
    train_and_evaluate(resolve({"dataset": "bands", **SHORT, "workdir": str(workdir)}))
    assert capsys.readouterr().out.count("RandAugment leaves out Color, which mixes colors") == 1
    assert (workdir / RESULT).is_file()
    model = udal_tf.load(workdir)
    assert model.predict(images(3, 8, 8, 4)).probs.shape == (3, 4)
    with pytest.raises(DataError, match=r"a\.png: the network takes images with 4 channels, which are not read from"):
        model.predict(["a.png"])
    assert 'np.load("images.npy")  # uint8 [N, 8, 8, 4].' in usage.program(model, "savedmodel")
    assert "4 channels as in training, 0 to 255" in usage.contract(model, "savedmodel")
    # Files are not read for such a network, so an export has neither an endpoint for them nor another size.
    real = export_check.Real(images(3, 8, 8, 4))
    for name in ("savedmodel", "keras"):
        found = exporting.export(model, model.shift(None), name, tmp_path, real)
        assert set(found) == {export_check.RANDOM, export_check.REAL}
        assert usage.without_reader(model, name) == []
        assert usage.inputs(model, name) == {"input": {"name": "images", "dtype": "uint8", "shape": [None, 8, 8, 4]}}
    signatures = tf.saved_model.load(str(tmp_path / "saved_model")).signatures
    assert set(signatures) == {"serving_default", "serve_fixed"}
