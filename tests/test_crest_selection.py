"""methods.crest: how CReST grows its labeled set."""

import numpy as np

from udal_tf.data import longtail
from udal_tf.methods import crest

FOLD, BETA, SELECT_ALPHA = 1, 0.1, 3.0


def test_conformance_of_the_grown_set(golden):
    """Chosen images, then the labeled ones, exactly as the release trains on them (fold 1, β = 0.1, α = 3)."""
    vectors = np.load(golden / "crest_select.npz", allow_pickle=False)
    labels, p_data = vectors["lt_labels"], vectors["gt_p_data"]
    labeled, rest = longtail.fold_split(labels, BETA, FOLD, len(p_data))
    np.testing.assert_array_equal(rest, vectors["unlabeled_indices"])
    chosen, pseudo = crest.select(vectors["scores"], rest, p_data, SELECT_ALPHA)
    np.testing.assert_array_equal(np.concatenate([chosen, labeled]), vectors["train_indices"])
    np.testing.assert_array_equal(np.concatenate([pseudo, labels[labeled]]), vectors["train_labels"])


def test_rates_mirror_the_prior():
    np.testing.assert_allclose(crest.keep_rates(np.float32([0.8, 0.16, 0.04]), 1.0), [0.05, 0.2, 1.0], rtol=1e-6)
    roots = [0.05**0.5, 0.2**0.5, 1.0]
    roots = [0.05**0.5, 0.2**0.5, 1.0]
    np.testing.assert_allclose(crest.keep_rates(np.float32([0.8, 0.16, 0.04]), 2.0), roots, rtol=1e-6)


def test_rates_follow_the_rank_and_not_the_class_id():
    np.testing.assert_allclose(crest.keep_rates(np.float32([0.16, 0.04, 0.8]), 1.0), [0.2, 1.0, 0.05], rtol=1e-6)


def test_a_balanced_prior_keeps_every_image():
    np.testing.assert_array_equal(crest.keep_rates(np.float32([0.25] * 4), 3.0), np.ones(4))


def test_the_most_confident_of_a_class_are_kept_first():
    probs = np.float32([[0.6, 0.4], [0.9, 0.1], [0.7, 0.3], [0.8, 0.2], [0.45, 0.55]])
    chosen, pseudo = crest.select(probs, np.array([10, 11, 12, 13, 14]), np.float32([0.8, 0.2]), 2.0)
    np.testing.assert_array_equal(chosen, [11, 13, 14])
    np.testing.assert_array_equal(pseudo, [0, 0, 1])


def test_a_class_that_is_never_predicted_adds_nothing():
    probs = np.float32([[0.9, 0.1, 0.0]] * 4)
    chosen, pseudo = crest.select(probs, np.arange(4), np.float32([0.5, 0.3, 0.2]), 1.0)
    np.testing.assert_array_equal(chosen, [0])
    np.testing.assert_array_equal(pseudo, [0])
