"""A trained model in use: it predicts what the training's evaluation did, whatever images come with an image."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from run_files import read_rows

import udal_tf
from udal_tf.config import DataConfig
from udal_tf.data import digits
from udal_tf.data.dataset import DataError
from udal_tf.inference.workfolder import ModelError

REPOSITORY = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model(tiny_run):
    return udal_tf.load(tiny_run)


@pytest.fixture(scope="module")
def test_set():
    source = digits.load(DataConfig())
    return source.test.fetch(np.arange(len(source.test))).numpy(), source.test_labels


@pytest.fixture(scope="module")
def result(tiny_run):
    return json.loads((tiny_run / "result.json").read_text())


# Batches of another size may round otherwise: classes whose probabilities are closer than this may change places.
TIE = 1e-5


def tied(probs) -> np.ndarray:
    """[N] bool: whether rounding could decide the arg-max."""
    first, second = np.sort(probs, axis=1)[:, :-3:-1].T
    return first - second < TIE


def assert_recalls(found, labels, expected):
    """Each class's recall is the expected one, except what ties there may be among its images."""
    assert tied(found.probs).mean() < 0.01
    for c, recall in enumerate(expected):
        own = labels == c
        assert np.mean(found.labels[own] == c) == pytest.approx(recall, abs=np.mean(tied(found.probs[own])) + 1e-6)


@pytest.mark.parametrize("weights", ["last", "raw"])
def test_predictions_score_as_the_trainings_evaluation_did(tiny_run, test_set, result, weights):
    images, labels = test_set
    model, variant = udal_tf.load(tiny_run, weights), {"last": "ema", "raw": "raw"}[weights]
    plain = model.predict(images)
    adjusted = model.predict(images, target_prior="uniform")
    assert_recalls(plain, labels, result["per_class_recall"][variant])
    assert_recalls(adjusted, labels, result["per_class_recall"][f"{variant}_la"])
    assert not np.array_equal(plain.labels, adjusted.labels)


def test_the_best_weights_score_as_their_epoch_did(tiny_run, test_set, result):
    images, labels = test_set
    model = udal_tf.load(tiny_run, "best")
    row = next(r for r in read_rows(tiny_run / "metrics.jsonl") if r["step"] == result["best"]["step"])
    expected = row["test"]["per_class_recall"]["ema"]
    assert_recalls(model.predict(images), labels, expected)


def test_a_prediction_is_probabilities_their_largest_and_its_name(model, test_set):
    found = model.predict(test_set[0][:5])
    assert found.probs.shape == (5, 10)
    assert found.probs.dtype == np.float32
    np.testing.assert_allclose(found.probs.sum(axis=1), 1, rtol=1e-6)
    assert found.labels.tolist() == found.probs.argmax(axis=1).tolist()
    assert found.names == tuple(str(label) for label in found.labels)


def test_no_images_give_no_predictions(model, test_set):
    assert model.predict(test_set[0][:0]).probs.shape == (0, 10)
    assert model.predict([]).names == ()


def test_the_features_are_what_the_last_layer_is_given(model, test_set):
    images = test_set[0][:100]
    logits, features = model.embed(images)
    kernel, bias = (variable.numpy() for variable in model.network.layers[-1].weights)
    assert features.shape == (100, len(kernel))
    np.testing.assert_allclose(features @ kernel + bias, logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits, model.logits(images), rtol=1e-5, atol=1e-6)


def test_predictions_do_not_depend_on_order_or_company_bit_for_bit(model, test_set):
    images = test_set[0][:150]
    together = model.predict(images, target_prior="uniform").probs
    order = np.random.RandomState(0).permutation(len(images))
    assert np.array_equal(model.predict(images[order], target_prior="uniform").probs, together[order])
    for size in (1, 7, 64, 100):
        parts = [model.predict(images[i : i + size], target_prior="uniform").probs for i in range(0, 150, size)]
        assert np.array_equal(np.concatenate(parts), together)


@pytest.mark.parametrize("batch_size", [1, 7, 128])
def test_predictions_do_not_depend_on_the_batch_size(tiny_run, model, test_set, batch_size):
    images = test_set[0][:60]
    other = udal_tf.load(tiny_run, batch_size=batch_size).predict(images)
    expected = model.predict(images)
    np.testing.assert_allclose(other.probs, expected.probs, atol=1e-6)
    decided = ~tied(expected.probs)
    assert decided.mean() > 0.9
    assert other.labels[decided].tolist() == expected.labels[decided].tolist()


def test_one_trace_serves_all(tiny_run, test_set):
    model = udal_tf.load(tiny_run)
    for count in (1, 64, 100, 3):
        model.predict(test_set[0][:count])
    assert model._run.experimental_get_tracing_count() == 1


def test_files_are_predicted_as_their_pixels(model, test_set, tmp_path):
    images = test_set[0][:70]
    paths = [tmp_path / f"{i:02}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[..., 0]).save(path)
    expected = model.predict(images).probs
    assert np.array_equal(model.predict(paths).probs, expected)
    assert np.array_equal(model.predict([str(path) for path in paths[::-1]]).probs, expected[::-1])


def test_files_that_cannot_be_read_are_named(model, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "notes.png").write_text("no image")
    with pytest.raises(DataError, match=r"(?s)2 images cannot be read:.*notes\.png.*missing\.png"):
        model.predict([tmp_path / "notes.png", tmp_path / "good.png", tmp_path / "missing.png"])


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros([2, 8, 8, 3], np.uint8), r"uint8 \[N, 8, 8, 1\], got uint8 \[2, 8, 8, 3\]"),
        (np.zeros([2, 9, 8, 1], np.uint8), r"got uint8 \[2, 9, 8, 1\]; to predict files of any size"),
        (np.zeros([2, 8, 8, 1], np.float32), r"got float32"),
        (np.zeros([8, 8, 1], np.uint8), r"got uint8 \[8, 8, 1\]"),
        ("photo.png", "a list of paths, got 'photo.png'"),
    ],
)
def test_images_of_another_kind_are_refused(model, images, said):
    with pytest.raises(ValueError, match=said):
        model.predict(images)


def test_a_target_prior_moves_probabilities_from_the_source_prior(model, test_set):
    images, target = test_set[0][:20], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    plain = model.predict(images).probs.astype(np.float64)
    for kind in ("labeled", "own"):
        expected = plain * np.array(target) / model.source_prior(kind)
        expected /= expected.sum(axis=1, keepdims=True)
        found = model.predict(images, target_prior=target, source_prior=kind).probs
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_source_priors(tiny_run, model, result):
    assert model.source_prior("labeled").tolist() == model.source_prior().tolist() == model.p_data.tolist()
    row = read_rows(tiny_run / "metrics.jsonl")[-1]
    np.testing.assert_allclose(model.source_prior("own"), row["p_target"], rtol=1e-6)
    # α of the second of two epochs: 1 − 0.9·(1/2)² = 0.775.
    tempered = np.array(result["p_data"]) ** 0.775
    np.testing.assert_allclose(model.source_prior("own"), tempered / tempered.sum(), rtol=1e-5)


def with_la_prior(run, kind):
    for name in ("config.json", "result.json"):
        if (run / name).exists():
            text = json.loads((run / name).read_text())
            text.get("config", text)["method"]["la_prior"] = kind
            if "la_prior" in text:
                text["la_prior"]["distribution"] = [0.1] * 5 + [0.0, 0.2, 0.1, 0.1, 0.1]
            (run / name).write_text(json.dumps(text))
    return run


@pytest.mark.parametrize("kind", ["label_average", "target"])
def test_the_source_prior_is_by_default_what_the_evaluation_took_away(tiny_run, tmp_path, kind):
    run = with_la_prior(shutil.copytree(tiny_run, tmp_path / "run"), kind)
    np.testing.assert_allclose(udal_tf.load(run).source_prior(), [0.1] * 5 + [0.0, 0.2, 0.1, 0.1, 0.1], rtol=1e-6)
    (run / "result.json").unlink()
    with pytest.raises(ModelError, match=f"--la_prior={kind} is known only at the end of training"):
        udal_tf.load(run, unfinished=True).source_prior()


def test_damaged_weights_are_named(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    data = next((run / "checkpoints").glob("ckpt-4.data*"))
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"checkpoints/ckpt-4 cannot be read.*last, best, raw"):
        udal_tf.load(run)


def test_weights_of_another_network_are_refused(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["arch_settings"]["width"] = 2
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="cannot be read"):
        udal_tf.load(run)


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, udal_tf; udal_tf.load; print('tensorflow' in sys.modules, 'numpy' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["False", "False"]
