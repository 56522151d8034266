"""Labels that look wrong: flipped ones come first, and what cannot be judged is said."""

import numpy as np
import pytest

from udal_tf.inference import label_issues


def clusters(counts, seed=0):
    """Features of classes that are far apart, and their labels."""
    draw = np.random.RandomState(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    return 8 * np.eye(len(counts))[labels] + draw.normal(size=(len(labels), len(counts))), labels


def test_flipped_labels_come_first_with_the_right_class_suggested():
    features, labels = clusters([40, 30, 20])
    wrong = labels.copy()
    wrong[[3, 50, 80]] = [1, 2, 0]
    found = label_issues.find(features, wrong, 3)
    assert sorted(found.order[:3]) == [3, 50, 80]
    assert sorted(found.order) == list(range(90))
    assert found.suggested[[3, 50, 80]].tolist() == [0, 1, 2]
    assert (found.confidence[[3, 50, 80]] > 0.8).all()
    assert np.flatnonzero(found.marked).tolist() == [3, 50, 80]


def test_right_labels_are_not_marked():
    found = label_issues.find(*clusters([20, 10, 2]), 3)
    assert not found.marked.any()
    assert len(found.alone) == 0


def test_an_only_image_of_a_class_is_not_judged_but_known():
    features, labels = clusters([20, 1, 20])
    found = label_issues.find(features, labels, 3)
    assert found.alone.tolist() == [20]
    assert 20 not in found.order
    assert not found.marked[20]
    probs = label_issues.out_of_fold(features, labels, 3)
    assert probs[20].tolist() == [0, 0, 0]
    np.testing.assert_allclose(np.delete(probs, 20, axis=0).sum(axis=1), 1)


def test_each_image_is_judged_without_its_label():
    """Features that name each image, so that a model that has seen a label repeats it."""
    draw = np.random.RandomState(0)
    labels = draw.randint(0, 2, 40)
    probs = label_issues.out_of_fold(np.eye(40), labels, 2)
    assert probs[np.arange(40), labels].mean() < 0.6


def test_groups_take_turns_in_proportion():
    """Unclear images of one group do not push the wrong label of the other back."""
    features, labels = clusters([40, 40])
    labels[5] = 1
    features[60:] *= 0.1  # Of the second class and hard to tell.
    groups = np.arange(80) >= 60
    found = label_issues.find(features, labels, 2, groups)
    assert found.order[:2].tolist().count(5) == 1
    first_of_each = [next(i for i in found.order if groups[i] == group) for group in (False, True)]
    assert sorted(first_of_each) == sorted(found.order[:2])


def test_too_few_labels_are_refused():
    features, labels = clusters([3, 1])
    with pytest.raises(ValueError, match="at least two classes have two labeled images or more"):
        label_issues.find(features, labels, 2)
