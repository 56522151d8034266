"""How good predictions are: by hand for a few images, and the same with files as with their pixels."""

import numpy as np
import pytest
from PIL import Image

import udal_tf
from udal_tf.inference.assessment import ADJUSTED, PLAIN, assess, calibration, predict, worst_mistakes


def probs_of(predicted, confidence, num_classes=3):
    """Predictions of these classes with this confidence, the rest shared alike."""
    probs = np.full([len(predicted), num_classes], 0.0)
    for row, c, p in zip(probs, predicted, confidence, strict=True):
        row[:] = (1 - p) / (num_classes - 1)
        row[c] = p
    return probs.astype(np.float32)


def test_scores_by_hand():
    # Class 0: 3 of 4 found, 3 of 5 such predictions right. Class 1: 1 of 3 found, 1 of 2 right.
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    found = assess(probs_of([0, 0, 0, 1, 0, 0, 1], [0.9] * 7, num_classes=2), labels)
    assert found["accuracy"] == pytest.approx(4 / 7)
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 3) / 2)
    assert found["per_class"]["precision"] == pytest.approx([3 / 5, 1 / 2])
    assert found["per_class"]["recall"] == pytest.approx([3 / 4, 1 / 3])
    assert found["per_class"]["f1"] == pytest.approx([2 / 3, 2 / 5])
    assert found["per_class"]["support"] == [4, 3]
    assert found["confusion"] == [[3, 1], [2, 1]]
    assert found["log_loss"] == pytest.approx(-(4 * np.log(0.9) + 3 * np.log(0.1)) / 7, rel=1e-5)


def test_classes_without_images_or_predictions_have_no_figure():
    # Class 1 has images and is never predicted, class 2 is predicted and has none, class 3 is neither.
    found = assess(probs_of([0, 2, 0], [0.9] * 3, num_classes=4), np.array([0, 0, 1]))["per_class"]
    assert found["recall"] == [0.5, 0.0, None, None]
    assert found["precision"] == [0.5, None, 0.0, None]
    assert found["f1"] == [0.5, 0.0, 0.0, None]


def test_a_class_without_images_is_left_out_of_the_mean_recall():
    found = assess(probs_of([0, 2, 0], [0.9] * 3, num_classes=4), np.array([0, 0, 1]))
    assert found["balanced_accuracy"] == pytest.approx((0.5 + 0.0) / 2)


def test_calibration_by_hand():
    # Two bins: confidences 0.4 and 0.5 (one right of two), 0.8 and 0.9 (two right of two).
    probs = probs_of([0, 1, 2, 0], [0.4, 0.5, 0.8, 0.9])
    found = calibration(probs, np.array([0, 0, 2, 0]), bins=2)
    low, high = found["bins"]
    assert (low["low"], low["high"], low["count"]) == (0.0, 0.5, 2)
    assert (low["confidence"], low["accuracy"]) == pytest.approx((0.45, 0.5))
    assert (high["confidence"], high["accuracy"]) == pytest.approx((0.85, 1.0))
    assert found["ece"] == pytest.approx(0.5 * 0.05 + 0.5 * 0.15)


def test_certain_and_right_predictions_are_calibrated():
    found = calibration(np.eye(3, dtype=np.float32), np.arange(3))
    assert found["ece"] == 0
    assert [one["high"] for one in found["bins"]] == [1.0]


def test_the_worst_mistakes_are_the_most_confident_wrong_ones():
    probs = probs_of([0, 1, 2, 0, 1], [0.9, 0.6, 0.99, 0.7, 0.8])
    # Wrong are images 1 (0.6), 3 (0.7) and 4 (0.8).
    assert worst_mistakes(probs, np.array([0, 0, 2, 1, 2]), 2).tolist() == [4, 3]
    assert worst_mistakes(probs, np.array([0, 1, 2, 0, 1]), 2).tolist() == []


def test_files_are_predicted_both_ways_and_unreadable_ones_told(tiny_run, tmp_path):
    model = udal_tf.load(tiny_run)
    images = np.random.RandomState(0).randint(0, 256, (3, 8, 8, 1)).astype(np.uint8)
    paths = [str(tmp_path / f"{i}.png") for i in range(4)]
    for path, image in zip([paths[0], paths[1], paths[3]], images, strict=True):
        Image.fromarray(image[..., 0]).save(path)
    told = {}
    shift = model.shift("uniform")
    found = predict(model, paths, [5, 6, 7, 8], shift, told.__setitem__)
    assert found.paths == [paths[0], paths[1], paths[3]]
    assert found.labels.tolist() == [5, 6, 8]
    assert found.unreadable == [paths[2]]
    assert [path for path, fault in told.items() if fault] == [paths[2]]
    assert list(told) == paths
    assert np.array_equal(found.probs[PLAIN], model.predict(images).probs)
    assert np.array_equal(found.probs[ADJUSTED], model.predict(images, target_prior="uniform").probs)
    with pytest.raises(ValueError, match="none of the 1 files"):
        predict(model, paths[2:3], [0], shift)
