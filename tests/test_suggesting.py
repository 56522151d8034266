"""Which images are suggested: uncertainty by hand, shares of classes, no copies, and a spread over what there is."""

import numpy as np
import pytest

from udal_tf.data.near_duplicates import LENGTH
from udal_tf.inference import suggesting
from udal_tf.inference.embedding import Embedded

NO_LOOKS = np.zeros([0, LENGTH], np.uint8)


def looks(count, seed=0):
    """Of images that do not look alike."""
    draw = np.random.RandomState(seed)
    return np.concatenate([draw.randint(0, 2, (count, 63)), draw.randint(0, 256, (count, LENGTH - 63))], 1).astype(
        np.uint8
    )


def embedded(probs, features=None, seen=None):
    probs = np.array(probs, np.float32)
    features = np.arange(len(probs), dtype=np.float32)[:, None] if features is None else np.array(features, np.float32)
    return Embedded([], probs, features, looks(len(probs)) if seen is None else seen, [])


def test_margin_and_entropy_by_hand():
    probs = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    margin, classes = suggesting.scores(probs, "margin", [1, 1, 1])
    np.testing.assert_allclose(margin, [0.75, 0.0, 1.0], atol=1e-12)
    assert classes.tolist() == [0, 0, 0]
    entropy, _ = suggesting.scores(probs, "entropy", [1, 1, 1])
    # 1.5 bits of log2(3) = 1.585 bits.
    np.testing.assert_allclose(entropy, [1.5 / np.log2(3), 0.0, 1.0], atol=1e-12)


def test_rare_counts_the_most_likely_of_the_rare_classes_alone():
    probs = [[0.7, 0.1, 0.05, 0.1, 0.03, 0.02], [0.1, 0.2, 0.1, 0.1, 0.2, 0.3]]
    score, classes = suggesting.scores(np.array(probs), "rare", [12, 7, 4, 2, 3, 9])
    np.testing.assert_allclose(score, [0.1, 0.2])
    assert classes.tolist() == [3, 4]


def test_the_rarest_third_and_at_least_one():
    assert suggesting.rare_classes([5, 1]).tolist() == [1]
    assert suggesting.rare_classes([0.4, 0.1, 0.1, 0.2, 0.1, 0.1]).tolist() == [5, 4]


def test_shares_follow_the_root_of_the_prior_as_far_as_there_are_images():
    # Weights 1/10, 1/5, 1: of 13 suggestions 1, 2 and 10.
    assert suggesting.quotas([100, 25, 1], [99, 99, 99], 13).tolist() == [1, 2, 10]
    assert suggesting.quotas([100, 25, 1], [99, 99, 4], 7).tolist() == [1, 2, 4]
    assert suggesting.quotas([0.8, 0.2], [1, 1], 9).tolist() == [1, 1]


def test_the_most_uncertain_of_each_predicted_class_are_chosen_in_order():
    certain = [[0.9, 0.1]] * 30 + [[0.1, 0.9]] * 30
    images = embedded([*certain, [0.55, 0.45], [0.4, 0.6]], np.zeros([62, 1]))
    chosen = suggesting.choose(images, NO_LOOKS, [1, 1], "margin", 2)
    assert chosen.tolist() == [60, 61]


def test_more_are_chosen_of_the_rare_class():
    images = embedded([[0.6, 0.4]] * 20 + [[0.4, 0.6]] * 20)
    chosen = suggesting.choose(images, NO_LOOKS, [16, 1], "entropy", 10)
    # Weights 1/4 and 1.
    assert (chosen < 20).sum() == 2
    assert (chosen >= 20).sum() == 8


def test_of_equally_uncertain_images_one_of_each_kind_is_chosen():
    kinds = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], [20, 2, 2], axis=0)
    kinds += np.random.RandomState(0).uniform(0, 0.1, kinds.shape)
    chosen = suggesting.choose(embedded([[0.5, 0.5]] * 24, kinds), NO_LOOKS, [1, 1], "margin", 3)
    assert sorted(np.digitize(chosen, [20, 22])) == [0, 1, 2]
    assert chosen.tolist() == suggesting.choose(
        embedded([[0.5, 0.5]] * 24, kinds), NO_LOOKS, [1, 1], "margin", 3
    ).tolist()  # fmt: skip


def test_copies_of_each_other_and_of_labeled_images_are_left_out():
    seen = looks(6)
    seen[1] = seen[0]  # A copy, and one that was changed a little, each predicted as another class.
    seen[3] = seen[2]
    seen[3, 63:] = np.clip(seen[2, 63:].astype(int) + 1, 0, 255)
    probs = [[0.5, 0.5], [0.45, 0.55], [0.5, 0.5], [0.45, 0.55], [0.5, 0.5], [0.9, 0.1]]
    chosen = suggesting.choose(embedded(probs, seen=seen), seen[4:5], [1, 1], "margin", 6)
    assert len(chosen) == 3
    assert len({0, 1} & set(chosen)) == 1
    assert len({2, 3} & set(chosen)) == 1
    assert chosen[-1] == 5


@pytest.mark.parametrize("by", suggesting.WAYS)
def test_all_are_chosen_if_more_are_wanted(by):
    probs = np.random.RandomState(0).dirichlet([1, 1, 1], 50)
    chosen = suggesting.choose(embedded(probs), NO_LOOKS, [5, 3, 1], by, 1000)
    assert sorted(chosen) == list(range(50))
    informative, _ = suggesting.scores(embedded(probs).probs, by, [5, 3, 1])
    assert (np.diff(informative[chosen]) <= 0).all()


def test_images_with_the_same_features_are_no_obstacle():
    chosen = suggesting.choose(embedded([[0.5, 0.5]] * 40, np.ones([40, 3])), NO_LOOKS, [1, 1], "margin", 4)
    assert len(set(chosen)) == 4
