"""methods.refiner: DARP's tables and rhythm."""

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.config import DarpConfig, resolve
from udal_tf.methods.refiner import Refiner

PROBS = np.float32([[0.7, 0.3], [0.6, 0.4], [0.8, 0.2]])


def make_refiner(pool=3, shares=(0.5, 0.5), every=2, warmup=0.5, total_steps=8):
    config = DarpConfig(darp_warmup=warmup, darp_every=every, darp_delta=10.0)
    return Refiner(config, pool, 2, total_steps, None if shares is None else np.float32(shares))


def call(refiner, step, probs=PROBS, rows=(0, 1, 2), shares=(0.9, 0.1)):
    step = tf.constant(step, tf.int64)
    return refiner(tf.constant(probs), tf.constant(rows, tf.int64), step, tf.constant(shares)).numpy()


def test_predictions_pass_unchanged_during_the_warm_up_and_are_remembered():
    refiner = make_refiner()
    np.testing.assert_array_equal(call(refiner, 0, PROBS[:2], [2, 0]), PROBS[:2])
    np.testing.assert_array_equal(refiner.predictions[2], PROBS[0])
    np.testing.assert_array_equal(refiner.predictions[0], PROBS[1])
    np.testing.assert_array_equal(refiner.predictions[1], [0.5, 0.5])


def test_after_the_warm_up_columns_sum_to_the_totals():
    refined = call(make_refiner(), step=4)
    np.testing.assert_allclose(refined.sum(axis=0), [1.5, 1.5], atol=1e-4)
    np.testing.assert_allclose(refined.sum(axis=1), np.ones(3), atol=1e-5)
    assert (refined.argmax(axis=1) != PROBS.argmax(axis=1)).any()


def test_without_shares_of_its_own_it_moves_to_those_of_the_call():
    refiner = make_refiner(shares=None)
    np.testing.assert_allclose(call(refiner, step=4, shares=(0.5, 0.5)).sum(axis=0), [1.5, 1.5], atol=1e-4)
    np.testing.assert_allclose(call(refiner, step=6, shares=(0.6, 0.4)).sum(axis=0), [1.8, 1.2], atol=1e-4)


def test_between_refinements_the_last_ones_are_used():
    refiner = make_refiner()
    first = call(refiner, step=4)
    other = PROBS[:, ::-1].copy()
    np.testing.assert_array_equal(call(refiner, step=5, probs=other), first)
    assert (call(refiner, step=6, probs=other) != first).any()


def test_marginals_that_match_already_change_nothing():
    shares = tuple(PROBS.mean(axis=0))
    np.testing.assert_allclose(call(make_refiner(shares=shares), step=4), PROBS, atol=1e-5)


def test_eager_equals_graph():
    eager, graph = make_refiner(), make_refiner()
    compiled = tf.function(graph)
    for step in range(8):
        ours = call(eager, step)
        at = tf.constant([0, 1, 2], tf.int64), tf.constant(step, tf.int64)
        theirs = compiled(tf.constant(PROBS), *at, tf.constant([0.9, 0.1]))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("prior", [("a", "b"), ("-1", "2"), ("0", "0"), ("nan", "1")])
def test_a_prior_that_is_none_is_refused(prior):
    with pytest.raises(ValueError, match="--darp_prior"):
        resolve({"method": "darp", "darp_prior": prior})
