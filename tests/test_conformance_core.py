"""Pseudo-labels, their moving averages and the learning-rate schedules agree with the CReST release."""

import json
import re

import numpy as np
import tensorflow as tf

from udal_tf.core import alignment, moving_average, pseudo_labels, schedules

THRESHOLD = 0.8
BASE_RATE, TOTAL_STEPS = 0.03, 65536


def moving_averages(vectors) -> tuple[tf.Tensor, tf.Tensor]:
    num_classes = vectors["logits"].shape[1]
    history = moving_average.uniform_history(num_classes)
    label_average = tf.ones([num_classes]) / num_classes
    for probs, labels in zip(vectors["probs_updates"], vectors["label_updates"], strict=True):
        history = moving_average.push(history, tf.constant(probs))
        label_average = moving_average.decayed(label_average, tf.constant(labels))
    return moving_average.distribution(history), label_average / tf.reduce_sum(label_average)


def test_moving_averages(golden):
    vectors = np.load(golden / "pseudo.npz", allow_pickle=False)
    p_model, p_labels = moving_averages(vectors)
    np.testing.assert_allclose(p_model, vectors["p_model"], atol=1e-6)
    np.testing.assert_allclose(p_labels, vectors["p_data_ema"], atol=1e-6)


def settings_of(case: str) -> tuple[float, float | str | None]:
    """(temperature, alignment) that a case's name states; the soft aligned case uses t = 0.8 (the vectors' README)."""
    temperature = re.search(r"T([\d.]+)", case)
    exponent = re.search(r"_t([\d.]+)", case)
    if case.endswith("_ma"):
        target = "labels"
    elif exponent:
        target = float(exponent[1])
    else:
        target = 0.8 if case.endswith("_da") else None
    return (float(temperature[1]) if temperature else 0.0), target


def test_pseudo_labels_of_every_case(golden):
    vectors = np.load(golden / "pseudo.npz", allow_pickle=False)
    p_model, p_labels = moving_averages(vectors)
    probs = tf.nn.softmax(tf.constant(vectors["logits"]))
    probs2 = tf.nn.softmax(tf.constant(vectors["logits2"]))
    cases = sorted({key.split("/")[0] for key in vectors if key.endswith("/target")})
    assert cases
    for case in cases:
        temperature, target = settings_of(case)
        for prefix, predicted, views in (
            (case, probs, 1),
            (f"{case}/two_views", pseudo_labels.average_views([probs, probs2]), 2),
        ):
            if target is not None:
                prior = tf.constant(vectors["gt_p_data"])
                p_target = p_labels if target == "labels" else alignment.tempered(prior, target)
                predicted = alignment.align_probs(predicted, p_target, p_model)
            targets, mask = pseudo_labels.pseudo_labels(predicted, THRESHOLD, temperature)
            np.testing.assert_allclose(np.tile(targets, (views, 1)), vectors[f"{prefix}/target"], atol=1e-5)
            np.testing.assert_array_equal(np.tile(mask, views), vectors[f"{prefix}/mask"], err_msg=prefix)


def test_learning_rates_of_every_schedule(golden):
    for name, vector in json.loads((golden / "vectors.json").read_text())["schedules"].items():
        level = re.fullmatch(r"halfcos([\d.]+)", name)
        ours = [
            BASE_RATE
            * float(
                schedules.learning_rate_factor(
                    "half_cosine" if level else name, step, TOTAL_STEPS, float(level[1]) if level else 0.0
                )
            )
            for step in vector["steps"]
        ]
        np.testing.assert_allclose(ours, vector["lr"], rtol=1e-6, atol=1e-9, err_msg=name)
