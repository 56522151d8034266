"""Long-tailed subsets, fold splits and DARP splits agree with the published scripts, entry by entry."""

import hashlib
import json
import re

import numpy as np
import pytest

from udal_tf.config import resolve
from udal_tf.data import longtail
from udal_tf.data.dataset import ArrayImages, Source
from udal_tf.data.problem import make_problem


@pytest.fixture(scope="module")
def vectors(golden):
    return json.loads((golden / "splits.json").read_text())


def sha256(positions) -> str:
    return hashlib.sha256(np.asarray(positions, "<i8").tobytes()).hexdigest()


def assert_equal(positions, entry):
    """The list has the entry's length and hash, and its first and last positions where the entry gives them."""
    assert len(positions) == entry["n"]
    assert positions[:20].tolist() == entry.get("first20", positions[:20].tolist())
    assert positions[len(positions) - 20 :].tolist() == entry.get("last20", positions[len(positions) - 20 :].tolist())
    assert sha256(positions) == entry["sha256"]


def written_labels(text: str, counts=None) -> np.ndarray:
    """The label array that a recipe numpy.repeat(numpy.arange(C), n)[numpy.random.RandomState(s).permutation(N)] is."""
    classes = int(re.search(r"arange\((\d+)\)", text)[1])
    seed, total = map(int, re.search(r"RandomState\((\d+)\)\.permutation\((\d+)\)", text).groups())
    if counts is None:
        counts = int(re.search(r"arange\(\d+\), (\d+)\)", text)[1])
    return np.repeat(np.arange(classes), counts)[np.random.RandomState(seed).permutation(total)]


def canonical_labels(vectors, dataset: str) -> tuple[np.ndarray, int]:
    """The labels of a dataset, and the number of source files they come in."""
    text = vectors["meta"]["label_arrays"][dataset]
    files = re.search(r"b=1\.\.(\d+)", text)
    return written_labels(text), int(files[1]) if files else 1


def setting(name: str, key: str) -> float:
    return float(re.search(rf"{name}=([\d.]+)", key)[1])


def subset_of(vectors, key: str) -> tuple[np.ndarray, np.ndarray, int]:
    """The labels of an entry's dataset, its long-tailed subset, and the number of classes."""
    dataset, _, draw = key.split("/")[:3]
    labels, files = canonical_labels(vectors, dataset)
    classes = labels.max() + 1
    counts = longtail.class_counts(len(labels) // classes, 1 / setting("ratio", key), classes)
    return labels, longtail.subset(labels, counts, draw, files), classes


def test_label_arrays_are_made_as_stated(vectors):
    for dataset, expected in vectors["meta"]["label_arrays"]["sha256"].items():
        labels, _ = canonical_labels(vectors, dataset)
        assert sha256(labels) == expected
        assert labels[:20].tolist() == vectors["meta"]["label_arrays"]["first20"][dataset]


def test_long_tailed_subsets(vectors):
    for key, entry in vectors["lt"].items():
        labels, pool, classes = subset_of(vectors, key)
        assert np.bincount(labels[pool], minlength=classes).tolist() == entry["class_counts"], key
        assert_equal(pool, entry["indices"])
        assert sha256(labels[pool]) == entry["labels_sha256"], key


def test_fold_splits_of_subsets(vectors):
    for key, entry in vectors["splits"].items():
        labels, pool, classes = subset_of(vectors, key)
        beta, fold = setting("beta", key), int(setting("fold", key))
        labeled, rest = longtail.fold_split(labels[pool], beta, fold, classes)
        assert_equal(labeled, entry["labeled_positions"])
        assert_equal(rest, entry["unlabeled_positions"])
        assert_equal(pool[labeled], entry["labeled_canonical"])
        assert_equal(pool[rest], entry["unlabeled_canonical"])
        counts = np.bincount(labels[pool][labeled], minlength=classes).tolist()
        assert counts == entry.get("labeled_per_class", counts), key


def test_fold_splits_of_label_sequences(vectors):
    for key, entry in vectors["split_only"].items():
        classes = int(re.search(r"arange\((\d+)\)", entry["label_sequence"])[1])
        total = int(re.search(r"permutation\((\d+)\)", entry["label_sequence"])[1])
        gamma = 1 / entry["counts_ratio"]
        # N_1 is the one whose tail has as many images as the sequence.
        tails = (longtail.class_counts(n1, gamma, classes) for n1 in range(int(np.ceil(gamma)), total + 1))
        counts = next(tail for tail in tails if sum(tail) == total)
        labels = written_labels(entry["label_sequence"], counts)
        assert sha256(labels) == entry["label_sequence_sha256"], key
        labeled, rest = longtail.fold_split(labels, setting("beta", key), int(setting("fold", key)), classes)
        assert_equal(labeled, entry["labeled_positions"])
        assert_equal(rest, entry["unlabeled_positions"])


def test_darp_splits(vectors):
    labels, _ = canonical_labels(vectors, "cifar10")
    for key, entry in vectors["darp"].items():
        gamma = setting("gamma", key)
        n = longtail.class_counts(entry["labeled_counts"][0], gamma, 10)
        m = longtail.class_counts(entry["unlabeled_counts"][0], gamma, 10)
        assert (n, m) == (entry["labeled_counts"], entry["unlabeled_counts"]), key
        labeled, unlabeled = longtail.darp_split(labels, n, m)
        assert (len(labeled), len(unlabeled)) == (entry["labeled_total"], entry["unlabeled_total"])
        assert_equal(labeled, entry["labeled"])
        assert_equal(unlabeled, entry["unlabeled"])
        assert_equal(np.concatenate([labeled, unlabeled]), entry["crest_pool_labeled_plus_unlabeled"])
        if own := entry.get("darp_fixmatch_unlabeled_incl_labeled"):
            together, _ = longtail.darp_split(labels, [a + b for a, b in zip(n, m, strict=True)], [0] * 10)
            assert_equal(together, own)


def source_of(vectors, dataset: str) -> Source:
    """A source with these labels and images of one pixel."""
    labels, files = canonical_labels(vectors, dataset)
    pixels = ArrayImages(np.zeros((len(labels), 1, 1, 1), np.uint8))
    names = tuple(str(c) for c in range(labels.max() + 1))
    return Source(pixels, labels, pixels, labels, names, {"source": "made up"}, files=files)


def test_problems_hold_exactly_these_splits(vectors):
    sources = {dataset: source_of(vectors, dataset) for dataset in vectors["meta"]["label_arrays"]["sha256"]}
    for key, entry in vectors["splits"].items():
        dataset, _, draw = key.split("/")[:3]
        given = {"dataset": f"{dataset}lt", "imbalance": 1 / setting("ratio", key), "draw": draw}
        given |= {"beta": setting("beta", key), "fold": int(setting("fold", key))}
        data = make_problem(sources[dataset], resolve(given).data)
        assert_equal(data.labeled, entry["labeled_canonical"])
        assert_equal(data.unlabeled_only, entry["unlabeled_canonical"])
        assert np.array_equal(np.sort(data.unlabeled), np.sort(subset_of(vectors, key)[1])), key
        assert data.provenance["labeled_sha256"] == entry["labeled_canonical"]["sha256"]
    for key, entry in vectors["darp"].items():
        given = {"dataset": "cifar10lt", "protocol": "darp", "imbalance": setting("gamma", key)}
        given |= {"n1": entry["labeled_counts"][0], "m1": entry["unlabeled_counts"][0]}
        data = make_problem(sources["cifar10"], resolve(given).data)
        assert_equal(data.labeled, entry["labeled"])
        assert_equal(data.unlabeled_only, entry["unlabeled"])
        assert_equal(data.unlabeled, entry["crest_pool_labeled_plus_unlabeled"])
