"""Test scores of hand-made logits, and of a learner whose logits are its images."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.training.evaluation import Evaluator, Predictor, confusion, scores

LOG_2 = float(np.log(2))


class ImagesAreLogits:
    """Stands in for a learner: raw logits are the images [B, 1, C, 1], averaged ones their mirror image."""

    def logits(self, images, use_ema):
        logits = images[:, 0, :, 0]
        return tf.reverse(logits, [1]) if use_ema else logits


def make_evaluator(logits, labels, prior, batch_size=2):
    images = np.asarray(logits, np.float32)[:, np.newaxis, :, np.newaxis]
    batches = tf.data.Dataset.from_tensor_slices(images).batch(batch_size)
    evaluator = Evaluator(ImagesAreLogits(), batches, np.asarray(labels))
    return functools.partial(evaluator, np.asarray(prior, np.float32))


def test_scores_of_hand_made_logits():
    logits = np.array([[2, 1, 0], [2, 1, 0], [2, 1, 0], [0, 2, 1], [2, 1, 0], [0, 1, 2]], np.float32)
    labels = np.array([0, 0, 0, 0, 1, 2])
    found = scores(logits, labels)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["per_class_recall"] == [0.75, 0.0, 1.0]
    assert found["balanced_accuracy"] == pytest.approx(1.75 / 3)


def test_confusion_has_true_classes_in_its_rows():
    logits = np.array([[2, 1, 0], [2, 1, 0], [0, 2, 1], [2, 1, 0], [0, 1, 2]], np.float32)
    assert confusion(logits, np.array([0, 0, 0, 1, 2])) == [[2, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_a_class_without_images_has_no_recall_and_is_left_out_of_the_mean():
    logits = np.array([[2, 1, 0], [2, 1, 0], [0, 1, 2]], np.float32)
    found = scores(logits, np.array([0, 2, 2]))
    assert found["per_class_recall"] == [1.0, None, 0.5]
    assert found["balanced_accuracy"] == 0.75


def test_a_class_that_is_only_predicted_has_no_recall():
    found = scores(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 0]))
    assert found["per_class_recall"] == [0.5, None]


def test_priors_are_compared_on_the_ema_weights():
    # The EMA logits are (0, log 8) and (0, log 2): log 4 turns the second alone, log 10 both.
    evaluator = make_evaluator([[3 * LOG_2, 0], [LOG_2, 0]], [1, 0], prior=[0.5, 0.5]).func
    priors = {"none": None, "labeled": np.array([1 / 11, 10 / 11], np.float32), "own": np.array([0.2, 0.8], np.float32)}
    found = evaluator.by_priors(priors)
    assert {name: one["accuracy"] for name, one in found.items()} == {"none": 0.5, "labeled": 0.5, "own": 1.0}
    assert [found[name]["per_class_recall"] for name in priors] == [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]


def test_la_inf_changes_an_arg_max_that_the_prior_biased():
    # log 0.8/0.2 = log 4 is more than the lead of log 2 that class 0 has in the second image, not in the first.
    evaluator = make_evaluator([[3 * LOG_2, 0], [LOG_2, 0]], [0, 1], prior=[0.8, 0.2])
    found = evaluator()
    assert found["per_class_recall"]["raw"] == [1.0, 0.0]
    assert found["per_class_recall"]["raw_la"] == [1.0, 1.0]
    assert found["accuracy"]["raw"] == 0.5
    assert found["accuracy"]["raw_la"] == 1.0


def test_la_inf_with_a_uniform_prior_changes_nothing():
    logits = np.random.RandomState(0).standard_normal((20, 4))
    found = make_evaluator(logits, np.arange(20) % 4, prior=[0.25] * 4)()
    for measure in found.values():
        assert measure["raw_la"] == measure["raw"]
        assert measure["ema_la"] == measure["ema"]


def test_each_set_of_weights_is_scored_by_itself():
    found = make_evaluator([[1, 0], [1, 0], [1, 0]], [0, 0, 1], prior=[0.5, 0.5])()
    assert found["accuracy"]["raw"] == pytest.approx(2 / 3)
    assert found["accuracy"]["ema"] == pytest.approx(1 / 3)
    assert set(found) == {"accuracy", "balanced_accuracy", "per_class_recall"}
    assert all(list(measure) == ["raw", "ema", "raw_la", "ema_la"] for measure in found.values())


def test_the_last_smaller_batch_is_kept():
    # Only the fifth image, alone in the third batch, is of class 1.
    found = make_evaluator([[1, 0]] * 4 + [[0, 1]], [0, 0, 0, 0, 1], prior=[0.5, 0.5])()
    assert found["per_class_recall"]["raw"] == [1.0, 1.0]


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_scores_do_not_depend_on_the_batch_size(batch_size):
    random = np.random.RandomState(1)
    logits, labels = random.standard_normal((10, 3)), random.randint(0, 3, 10)
    expected = make_evaluator(logits, labels, prior=[0.6, 0.3, 0.1], batch_size=10)()
    assert make_evaluator(logits, labels, prior=[0.6, 0.3, 0.1], batch_size=batch_size)() == expected


def test_no_retrace_for_the_last_batch_or_a_later_epoch():
    evaluator = make_evaluator(np.eye(5), np.arange(5), prior=[0.2] * 5)
    evaluator()
    evaluator()
    assert evaluator.func._logits.traces == 1


def test_predictions_are_the_averaged_weights_probabilities_in_order():
    images = np.array([[0, LOG_2], [LOG_2, 0], [0, 0]], np.float32)[:, np.newaxis, :, np.newaxis]
    batches = tf.data.Dataset.from_tensor_slices(images).batch(2)
    probs = Predictor(ImagesAreLogits())(batches)
    np.testing.assert_allclose(probs, [[2 / 3, 1 / 3], [1 / 3, 2 / 3], [1 / 2, 1 / 2]], rtol=1e-6)
