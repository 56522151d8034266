"""training.unlabeled_prior: given, the labelled one, or estimated from how half the labels predict the other half."""

import json

import numpy as np
import pytest

from udal_tf.config import ESTIMATE, DarpConfig, resolve
from udal_tf.training import experiment, loop, unlabeled_prior
from udal_tf.training.unlabeled_prior import held_out_half, shares_from_predictions, stated_shares

P_DATA = np.float32([0.7, 0.3])
TINY = {"epochs": 2, "steps_per_epoch": 4, "batch_size": 4, "unlabeled_ratio": 2, "threshold": 0.12}


def test_a_given_prior_is_normalised_and_checked():
    np.testing.assert_array_equal(stated_shares(DarpConfig(), P_DATA), P_DATA)
    np.testing.assert_allclose(stated_shares(DarpConfig(darp_prior=("1", "3")), P_DATA), [0.25, 0.75])
    with pytest.raises(ValueError, match="2 shares, one per class, got 3"):
        stated_shares(DarpConfig(darp_prior=("1", "1", "1")), P_DATA)


def test_halves_cover_every_class_of_two_and_leave_a_single_picture_in_training():
    labels = np.array([0, 1, 0, 2, 0, 1])
    first, second = held_out_half(labels, 0), held_out_half(labels, 1)
    np.testing.assert_array_equal(first, [True, True, False, False, True, False])
    np.testing.assert_array_equal(second, [False, False, True, False, False, True])


def test_predictions_that_err_in_a_known_way_give_the_true_shares():
    # Class 0 is predicted as 1 in a fifth of the cases, class 1 as 0 in a tenth; 2 never errs.
    errs = np.array([[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]], np.float32)
    labels, truth = np.repeat([0, 1, 2], 4), np.array([0.2, 0.3, 0.5], np.float32)
    np.testing.assert_allclose(shares_from_predictions(errs[labels], labels, truth @ errs, 1000), truth, atol=1e-4)


def test_a_class_without_held_out_pictures_is_taken_as_predicted_and_none_is_left_without_a_picture():
    labels, truth = np.array([0, 0]), np.array([0.9, 0.1, 0.0], np.float32)
    shares = shares_from_predictions(np.eye(3, dtype=np.float32)[labels], labels, truth, 100)
    np.testing.assert_allclose(shares, np.array([0.9, 0.1, 0.01]) / 1.01, atol=1e-4)


@pytest.fixture(scope="module")
def estimated(tmp_path_factory):
    """A finished DARP run on digits-LT that estimated its prior: config, folder, result."""
    folder = tmp_path_factory.mktemp("estimated")
    config = resolve({**TINY, "method": "darp", "darp_prior": (ESTIMATE,), "workdir": str(folder)})
    return config, folder, experiment.train_and_evaluate(config)


def test_the_estimate_is_recorded_and_trained_with(estimated):
    config, folder, result = estimated
    saved = json.loads((folder / "unlabeled_prior.json").read_text(encoding="utf-8"))
    assert saved["held_out"] == 49  # 50 labelled pictures, the last class has one.
    stated = result["data"]["unlabeled_prior"]
    assert stated["kind"] == "estimate" and result["config"] == config.to_dict()
    np.testing.assert_allclose(stated["shares"], saved["shares"], rtol=1e-6)
    assert not np.allclose(stated["shares"], result["p_data"], atol=1e-3)


def test_an_estimate_cut_between_its_halves_ends_the_same(estimated, tmp_path, monkeypatch):
    config, _, expected = estimated
    config = resolve({**TINY, "method": "darp", "darp_prior": (ESTIMATE,), "workdir": str(tmp_path)})

    class Cut(Exception):
        pass

    def cut_before_the_second(config, data, folder, train=loop.train):
        if folder.name == "unlabeled_prior_1":
            raise Cut
        return train(config, data, folder)

    with monkeypatch.context() as patch:
        patch.setattr(unlabeled_prior.loop, "train", cut_before_the_second)
        with pytest.raises(Cut):
            experiment.train_and_evaluate(config)
    resumed = experiment.train_and_evaluate(config)
    assert resumed["accuracy"] == expected["accuracy"]
    assert resumed["data"] == expected["data"]
