"""examples/keras_fit.py and examples/multispectral.py, for a few steps."""

import importlib
import pathlib
import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def example(monkeypatch):
    """The module of an example by its name, imported from its folder, as Python does when it is run."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module
    for name in ("keras_fit", "multispectral"):
        sys.modules.pop(name, None)


def test_arrays_to_a_trained_model_in_at_most_15_lines():
    text = (EXAMPLES / "keras_fit.py").read_text(encoding="utf-8")
    core = re.search(r"# From arrays to a trained model\.\n(.*?)\n\n", text, re.S)[1].splitlines()
    assert core[0].startswith("    model = udal_tf.SemiSupervisedModel(") and "model.fit(" in core[-1]
    assert len(core) <= 15


def test_an_own_network_is_trained_and_its_best_epoch_saved(example, tmp_path, capsys):
    history, accuracy = example("keras_fit").main(epochs=2, steps_per_epoch=2, folder=tmp_path)
    assert len(history["val_balanced_accuracy"]) == 2 and history["alpha"] == pytest.approx([1.0, 0.775])
    best = keras.models.load_model(tmp_path / "best.keras")
    assert int(best._learner.step.numpy()) == 2 * (1 + int(np.argmax(history["val_balanced_accuracy"])))
    assert f"balanced accuracy {accuracy:.1%}, with LA (Inf)" in capsys.readouterr().out


def test_images_of_13_bands_are_trained_on_with_own_views(example, capsys):
    multispectral = example("multispectral")
    accuracy = multispectral.main(epochs=1, steps_per_epoch=2)
    assert 0.0 < accuracy < 1.0
    assert f"13 bands, balanced accuracy {accuracy:.1%}" in capsys.readouterr().out


def test_the_views_of_13_bands_move_all_bands_alike_and_are_repeated_by_their_seed(example):
    multispectral = example("multispectral")
    images = multispectral.as_bands(np.random.RandomState(0).randint(0, 256, (6, 8, 8, 1)).astype(np.uint8))
    assert images.shape == (6, 8, 8, 13) and images.dtype == np.float32
    assert len(np.unique(images.reshape(-1, 13), axis=1)[0]) == 13
    same = np.repeat(images[..., :1], 13, axis=-1)
    seen = multispectral.weak(tf.constant(same), tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(seen, np.repeat(seen[..., :1], 13, axis=-1))
    for view in (multispectral.weak, multispectral.strong):
        once, again, other = (view(tf.constant(images), tf.constant(seed)).numpy() for seed in ([1, 2], [1, 2], [1, 3]))
        np.testing.assert_array_equal(once, again)
        assert once.shape == images.shape and (once != other).any()
