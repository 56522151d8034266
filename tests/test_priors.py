"""LA (Inf): stated target priors, the prior that a method leaves its model with, and the shift between two priors."""

import json

import numpy as np
import pytest

from udal_tf.inference import priors
from udal_tf.methods import own_prior
from udal_tf.registry import METHODS

CLASSES = ("cat", "dog")
P_DATA = np.array([0.8, 0.2], np.float32)


def stated(value):
    return priors.target_prior(value, CLASSES, P_DATA).tolist()


def test_words_for_target_priors():
    assert stated("uniform") == [0.5, 0.5]
    assert stated("train") == P_DATA.tolist()


def test_shares_in_order_by_name_and_from_a_file(tmp_path):
    (tmp_path / "shares.json").write_text(json.dumps({"dog": 3, "cat": 1}))
    (tmp_path / "shares.txt").write_text("dog 30\ncat 10\n")
    for value in ([1, 3], np.array([0.25, 0.75]), {"dog": 0.75, "cat": 0.25}):
        assert stated(value) == [0.25, 0.75]
    assert stated(tmp_path / "shares.json") == stated(str(tmp_path / "shares.txt")) == [0.25, 0.75]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("balanced", "uniform, train or a file with a class distribution, got 'balanced'"),
        ([1, 2, 3], "target prior: expected 2 proportions, one per class, got 3"),
        ({"cat": 1}, "target prior: the proportion of dog is missing"),
        ({"cat": 1, "cow": 1}, "no class is called cow"),
        ([0, 0], "positive sum"),
        ([1, -1], "at least 0"),
        ([], "no proportions"),
    ],
)
def test_what_is_no_share_for_each_class_is_refused(value, said):
    with pytest.raises(ValueError, match=said):
        stated(value)


def test_a_file_that_does_not_fit_is_named(tmp_path):
    (tmp_path / "shares").write_text("cat 1\ncow 1\n")
    with pytest.raises(ValueError, match=r"shares: no class is called cow; the proportion of dog is missing"):
        stated(tmp_path / "shares")


def test_the_shift_by_hand():
    # log(0.5/0.8) and log(0.5/0.2).
    found = priors.shift(P_DATA, np.array([0.5, 0.5], np.float32))
    np.testing.assert_allclose(found, [-0.47000363, 0.91629073], rtol=1e-6)


def test_equal_priors_shift_nothing_and_a_share_of_zero_is_finite():
    assert priors.shift(P_DATA, P_DATA).tolist() == [0, 0]
    found = priors.shift(P_DATA, np.array([1.0, 0.0], np.float32))
    assert np.isfinite(found).all()
    assert found[1] < -15


def test_probabilities_move_by_the_ratio_of_the_priors():
    logits, target = np.array([1.0, -0.5]), np.array([0.3, 0.7], np.float32)
    before = np.exp(logits) / np.exp(logits).sum()
    expected = before * target / P_DATA
    moved = np.exp(logits + priors.shift(P_DATA, target))
    np.testing.assert_allclose(moved / moved.sum(), expected / expected.sum(), rtol=1e-6)


# Of estimates of their own, of a second head, of a correction at inference, or of a labeled loss by class.
UNKNOWN = ("flexda", "simpro", "cdmad", "acr", "abc", "class_balanced", "balanced_sampling", "crt", "ldam_drw", "focal")


@pytest.mark.parametrize("method", UNKNOWN)
def test_the_prior_of_a_method_that_does_not_state_it_is_refused(method):
    with pytest.raises(ValueError, match=f"the source prior of --method={method} is unknown: use labeled"):
        own_prior.own_prior(method, P_DATA, np.array([0.6, 0.4], np.float32))


@pytest.mark.parametrize("method", [method for method in METHODS if method not in UNKNOWN])
def test_the_prior_that_a_method_leaves_its_model_with(method):
    p_target = np.array([0.6, 0.4], np.float32)
    expected = {"udal": [0.6, 0.4], "hybrid": [0.6, 0.4], "la": [0.5, 0.5], "da_la": [0.5, 0.5]}
    found = own_prior.own_prior(method, P_DATA, p_target)
    np.testing.assert_allclose(found, expected.get(method, P_DATA), rtol=1e-6)


def test_an_own_prior_that_is_not_known_yet_is_refused():
    with pytest.raises(ValueError, match="only after the first finished epoch"):
        own_prior.own_prior("udal", P_DATA, None)
    assert own_prior.own_prior("none", P_DATA, None) is P_DATA


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("none", ""),
        ("da", ""),
        ("darp", ""),
        ("crest+", ""),
        ("udal", "--source_prior=own removes only what is left"),
        ("la", "--source_prior=own removes only what is left"),
        ("cdmad", "corrects it a second time"),
        ("acr", "corrects it a second time"),
    ],
)
def test_caution_is_said_where_a_method_has_balanced_the_model(method, said):
    caution = priors.caution(method)
    assert said in caution and bool(caution) == bool(said)
