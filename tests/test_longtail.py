"""Class counts, priors, subsets and splits."""

import numpy as np
import pytest

from udal_tf.data import longtail

CIFAR10 = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def labels_of(counts, seed=0):
    return np.random.RandomState(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def test_class_counts_of_cifar10_at_100():
    assert longtail.class_counts(5000, 100, 10) == CIFAR10


@pytest.mark.parametrize(
    "n1, gamma, classes, total",
    [
        (5000, 50, 10, 13_996),
        (5000, 100, 10, 12_406),
        (5000, 200, 10, 11_203),
        (500, 50, 100, 12_608),
        (500, 100, 100, 10_847),
        (1500, 50, 10, 4196),
        (1500, 100, 10, 3720),
        (1500, 150, 10, 3496),
        (3000, 50, 10, 8397),
        (3000, 100, 10, 7443),
        (3000, 150, 10, 6996),
    ],
)
def test_totals_are_the_published_ones(n1, gamma, classes, total):
    assert sum(longtail.class_counts(n1, gamma, classes)) == total


def test_imbalance_one_keeps_classes_balanced():
    assert longtail.class_counts(7, 1, 4) == [7, 7, 7, 7]
    np.testing.assert_allclose(longtail.geometric_prior(1, 4), [0.25] * 4)


def test_last_class_is_n1_over_gamma():
    for gamma in (2, 50, 100, 150):
        assert longtail.class_counts(3000, gamma, 10)[-1] == 3000 // gamma


def test_empty_last_class_is_refused():
    with pytest.raises(ValueError, match="--imbalance=100 leaves no image"):
        longtail.class_counts(50, 100, 10)


def test_geometric_prior_by_hand():
    # Ratio 1/4 over three classes: 1, 1/2, 1/4, divided by their sum 7/4.
    prior = longtail.geometric_prior(4, 3)
    np.testing.assert_allclose(prior, [4 / 7, 2 / 7, 1 / 7], rtol=1e-6)
    assert prior.dtype == np.float32


def test_counted_prior_by_hand():
    prior = longtail.counted_prior([3, 1])
    assert prior.tolist() == [0.75, 0.25] and prior.dtype == np.float32


def test_counted_prior_refuses_an_empty_class():
    with pytest.raises(ValueError, match="class 1 has none"):
        longtail.counted_prior([3, 0, 2])


def test_unlabeled_counts_by_shape():
    assert longtail.unlabeled_counts(400, 100, "same", 3) == [400, 40, 4]
    assert longtail.unlabeled_counts(400, 100, "reversed", 3) == [4, 40, 400]
    assert longtail.unlabeled_counts(400, 100, "uniform", 3) == [400, 400, 400]


def test_middle_puts_the_largest_classes_in_the_middle_and_head_tail_at_both_ends():
    # γ = 10^4 over five classes: each size is a tenth of the one before.
    assert longtail.unlabeled_counts(40_000, 10_000, "same", 5) == [40_000, 4_000, 400, 40, 4]
    assert longtail.unlabeled_counts(40_000, 10_000, "middle", 5) == [4, 400, 40_000, 4_000, 40]
    assert longtail.unlabeled_counts(40_000, 10_000, "head-tail", 5) == [4_000, 40, 4, 400, 40_000]
    # With an even number of classes, and with two.
    assert longtail.unlabeled_counts(4_000, 1_000, "middle", 4) == [40, 4_000, 400, 4]
    assert longtail.unlabeled_counts(4_000, 1_000, "head-tail", 4) == [400, 4, 40, 4_000]
    assert longtail.unlabeled_counts(400, 100, "middle", 2) == [400, 4]
    assert longtail.unlabeled_counts(400, 100, "head-tail", 2) == [4, 400]


def test_an_unknown_shape_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="must be one of same, uniform, reversed, middle, head-tail, got 'tail'"):
        longtail.unlabeled_counts(400, 100, "tail", 3)


def test_unlabeled_counts_of_the_settings_of_later_work():
    # (N_1, M_1) = (500, 4000), γ_l = γ_u = 100: 20 times over the last reversed class, 5,000 images are enough.
    reversed_counts = longtail.unlabeled_counts(4000, 100, "reversed", 10)
    assert reversed_counts[0] == 40 and reversed_counts[-1] == 4000
    labeled = longtail.class_counts(500, 100, 10)
    assert max(a + b for a, b in zip(labeled, reversed_counts, strict=True)) <= 5000


def test_first_n_takes_each_class_in_order():
    labels = np.array([1, 0, 0, 1, 2, 0, 2, 1])
    assert longtail.subset(labels, [2, 1, 1], "first_n").tolist() == [1, 2, 0, 4]


def test_subset_goes_file_by_file():
    labels = np.array([0, 1, 0, 1])
    assert longtail.subset(labels, [2, 2], "first_n", files=2).tolist() == [0, 1, 2, 3]


def test_draws_differ_by_seed_and_repeat():
    labels = labels_of([30, 30])
    draws = [longtail.subset(labels, [10, 5], f"seed{k}").tolist() for k in (0, 1, 0)]
    assert draws[0] == draws[2] != draws[1]
    assert np.bincount(labels[draws[1]]).tolist() == [10, 5]
    assert len(set(draws[1])) == 15


@pytest.mark.parametrize("draw", ["seed", "seedx", "random", ""])
def test_other_draws_are_refused(draw):
    with pytest.raises(ValueError, match="first_n or seed<k>"):
        longtail.subset(labels_of([3, 3]), [2, 1], draw)


def test_subset_of_a_small_class_is_refused():
    with pytest.raises(ValueError, match="class 1 has 3 images, 4 are requested"):
        longtail.subset(labels_of([9, 3]), [9, 4])


def test_fold_split_labels_the_rounded_up_share():
    labels = labels_of(CIFAR10)
    labeled, rest = longtail.fold_split(labels, 0.1, 1, 10)
    assert np.bincount(labels[labeled]).tolist() == [500, 300, 180, 108, 65, 39, 24, 14, 9, 5]
    assert np.array_equal(np.sort(np.concatenate([labeled, rest])), np.arange(12_406))


def test_folds_differ():
    labels = labels_of([50, 20])
    splits = {tuple(longtail.fold_split(labels, 0.2, fold, 2)[0]) for fold in range(1, 6)}
    assert len(splits) == 5


def test_fold_split_is_one_stream_over_the_classes():
    # A class's choice depends on the classes before it, as with one generator; not on those after it.
    labels = labels_of([20, 20, 20])
    full, _ = longtail.fold_split(labels, 0.5, 3, 3)
    without_last, _ = longtail.fold_split(np.where(labels == 2, -1, labels), 0.5, 3, 2)
    assert full[:20].tolist() == without_last.tolist()
    alone, _ = longtail.fold_split(np.where(labels == 1, 0, -1), 0.5, 3, 1)
    assert full[10:20].tolist() != alone.tolist()


def test_images_without_label_are_in_no_fold():
    labels = np.array([0, -1, 1, 0, -1, 1])
    labeled, rest = longtail.fold_split(labels, 1.0, 1, 2)
    assert sorted(labeled.tolist()) == [0, 2, 3, 5] and len(rest) == 0


def test_darp_split_by_hand():
    labels = np.array([0, 1, 0, 0, 1, 0, 1])
    labeled, unlabeled = longtail.darp_split(labels, [1, 1], [2, 1])
    assert labeled.tolist() == [0, 1] and unlabeled.tolist() == [2, 3, 4]


def test_darp_split_of_a_small_class_is_refused():
    with pytest.raises(ValueError, match="class 1 has 3 images, 2 labeled and 2 unlabeled"):
        longtail.darp_split(labels_of([9, 3]), [2, 2], [4, 2])
