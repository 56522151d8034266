"""The problem that a protocol makes of a source, and the settings that choose it."""

import dataclasses

import numpy as np
import pytest

from udal_tf import registry
from udal_tf.config import DataConfig, resolve
from udal_tf.data import sources
from udal_tf.data.dataset import ArrayImages, DataError, Source
from udal_tf.data.problem import make_problem


def source(counts, **fields):
    """A source with that many images of each class; every image's pixel is its position."""
    labels = np.random.RandomState(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    pixels = ArrayImages((np.arange(len(labels)) % 256).astype(np.uint8).reshape(-1, 1, 1, 1))
    names = tuple(f"class{c}" for c in range(len(counts)))
    return Source(pixels, labels, pixels, labels, names, {"source": "made up"}, **fields)


def config(**given):
    return DataConfig(**({"n1": 40, "imbalance": 4.0, "beta": 0.25} | given))


def counts_of(data, positions):
    return np.bincount(data.train_labels[positions], minlength=data.num_classes).tolist()


def test_crest_pool_holds_the_labeled_images_too():
    data = make_problem(source([50, 50, 50]), config())
    assert counts_of(data, data.unlabeled) == [40, 20, 10]
    assert counts_of(data, data.labeled) == [10, 5, 3]
    assert set(data.unlabeled) == set(data.labeled) | set(data.unlabeled_only)
    assert not set(data.labeled) & set(data.unlabeled_only)
    np.testing.assert_allclose(data.p_data, [4 / 7, 2 / 7, 1 / 7], rtol=1e-6)


def test_digits_are_the_embedded_default():
    data = sources.load(resolve({}).data)
    assert data.provenance["labeled_counts"] == [12, 10, 7, 6, 4, 3, 3, 2, 2, 1]
    assert np.bincount(data.test_labels).tolist() == [50] * 10
    assert data.train.shape == (8, 8, 1)
    assert len({data.provenance["labeled_sha256"], data.provenance["unlabeled_sha256"]}) == 2


def test_the_pools_shares_and_what_is_known_of_them():
    """40, 20, 10 in the pool, of which 10, 5, 3 are labeled; then a class of the others is not told."""
    made_up = source([50, 50, 50])
    data = make_problem(made_up, config())
    np.testing.assert_allclose(data.true_distribution, [4 / 7, 2 / 7, 1 / 7], rtol=1e-6)
    np.testing.assert_allclose(data.known_distribution, [10 / 70, 5 / 70, 3 / 70], rtol=1e-6)
    np.testing.assert_array_equal(data.labeled_rows, [True] * 18 + [False] * 52)
    labels = data.train_labels.copy()
    labels[data.unlabeled_only[0]] = -1
    partly = dataclasses.replace(data, train_labels=labels)
    assert partly.true_distribution is None
    np.testing.assert_array_equal(partly.known_distribution, data.known_distribution)
    all_labeled = make_problem(made_up, config(beta=1.0))
    np.testing.assert_array_equal(all_labeled.known_distribution, all_labeled.true_distribution)


@pytest.mark.parametrize(
    "given, unlabeled",
    [
        ({}, [32, 16, 8]),
        ({"imbalance_u": 16.0}, [32, 8, 2]),
        ({"unlabeled_shape": "reversed"}, [8, 16, 32]),
        ({"unlabeled_shape": "reversed", "imbalance_u": 16.0}, [2, 8, 32]),
        ({"unlabeled_shape": "uniform"}, [32, 32, 32]),
    ],
)
def test_darp_with_an_unlabeled_set_of_its_own(given, unlabeled):
    data = make_problem(source([50, 50, 50]), config(protocol="darp", n1=12, m1=32, **given))
    assert counts_of(data, data.labeled) == [12, 6, 3]
    assert counts_of(data, data.unlabeled_only) == unlabeled
    # CReST's pool: labeled, then unlabeled.
    np.testing.assert_array_equal(data.unlabeled, np.concatenate([data.labeled, data.unlabeled_only]))
    np.testing.assert_allclose(data.p_data, [4 / 7, 2 / 7, 1 / 7], rtol=1e-6)


def test_darp_takes_the_first_images_and_no_fold():
    made = source([50, 50, 50])
    data, other = (make_problem(made, config(protocol="darp", n1=12, m1=32, fold=fold)) for fold in (1, 5))
    np.testing.assert_array_equal(data.labeled, other.labeled)
    assert data.labeled[:12].tolist() == np.flatnonzero(made.train_labels == 0)[:12].tolist()


def test_draw_is_taken_and_stated():
    made = source([50, 50, 50], draw="same protocol, different draw ({draw})")
    first, other = (make_problem(made, config(draw=draw)) for draw in ("first_n", "seed3"))
    assert first.provenance["draw"] == "same protocol, different draw (first_n)"
    assert other.provenance["draw"] == "same protocol, different draw (seed3)"
    assert sorted(first.unlabeled[np.isin(first.unlabeled, np.flatnonzero(made.train_labels == 2))]) == (
        np.flatnonzero(made.train_labels == 2)[:10].tolist()
    )


def test_prior_of_counted_data_has_no_zero():
    data = make_problem(source([3, 90, 1], long_tailed=True, geometric=False), config())
    np.testing.assert_allclose(data.p_data, np.array([1, 23, 1]) / 25, rtol=1e-6)
    assert np.all(np.isfinite(np.log(data.p_data)))


def test_unknown_labels_are_unlabeled():
    made = source([8, 8], long_tailed=True, geometric=False)
    made.train_labels[:6] = -1
    data = make_problem(made, config(beta=1.0))
    assert sorted(data.unlabeled_only.tolist()) == list(range(6))
    assert data.provenance["unlabeled_of_unknown_class"] == 6 and "unlabeled_counts" not in data.provenance


def test_counts_of_unlabeled_images_leave_out_the_labeled_and_the_validation_images():
    made = source([8, 8], long_tailed=True, geometric=False)
    made.train_labels[0] = -1
    data = make_problem(made, config(beta=0.5, validation=0.5))
    provenance = data.provenance
    counts = [provenance[f"{name}_counts"] for name in ("labeled", "validation", "unlabeled")]
    assert counts == [[2, 2], [2, 2], [3, 4]] and provenance["unlabeled_of_unknown_class"] == 1


@pytest.mark.parametrize(
    "made, given, match",
    [
        (source([9]), {}, "only one class"),
        (source([30, 30]), {"n1": 40}, "class 0 has 30 images, 40 are requested"),
        (source([50, 50]), {"imbalance": 100.0}, "leaves no image in the last class"),
        (source([50, 0, 50], long_tailed=True, geometric=False), {}, "no labeled image of class class1"),
        (source([50, 9]), {"protocol": "darp", "m1": 20}, "class 0 has 50 images, 40 labeled and 20"),
    ],
)
def test_impossible_problems_are_refused(made, given, match):
    with pytest.raises(DataError, match=match):
        make_problem(made, config(**given))


@pytest.mark.parametrize(
    "given, match",
    [
        ({"draw": "seedling"}, "--draw must be first_n or seed<k>"),
        ({"imbalance_u": 0.5, "protocol": "darp"}, "--imbalance_u must be 0 or at least 1"),
        ({"imbalance_u": 10.0}, "need --protocol=darp"),
        ({"unlabeled_shape": "reversed"}, "need --protocol=darp"),
        ({"unlabeled_shape": "uniform", "imbalance_u": 5.0, "protocol": "darp"}, "leave out --imbalance_u"),
        ({"unlabeled_shape": "round"}, "--unlabeled_shape must be one of same, uniform, reversed"),
        ({"image_size": -1}, "--image_size must be at least 0"),
    ],
)
def test_settings_that_contradict_each_other(given, match):
    with pytest.raises(ValueError, match=match):
        config(**given)


def test_image_settings_are_refused_where_they_do_nothing():
    with pytest.raises(DataError, match="only apply to imagenet127, .*folder, tfds:NAME"):
        sources.load(resolve({"skip_bad_images": True}).data)


def test_every_recipe_names_a_source():
    for dataset, record in registry.DATASETS.items():
        assert callable(registry.resolved(record.load))
        resolve({"dataset": dataset})


def test_beta_one_labels_every_image_and_keeps_them_all_in_the_pool():
    data = make_problem(source([50, 50]), config(n1=50, imbalance=1.0, beta=1.0))
    assert (len(data.labeled), len(data.unlabeled), len(data.unlabeled_only)) == (100, 100, 0)
    np.testing.assert_array_equal(data.labels_l, data.train_labels[data.labeled])
