"""methods.darp: DARP's tables and rhythm."""

import types

import numpy as np
import pytest
import tensorflow as tf
from forked import Started

from udal_tf.config import MethodConfig, resolve
from udal_tf.methods.darp import PRIOR, DarpTables
from udal_tf.methods.method import Problem, make_method
from udal_tf.records.methods import DarpConfig
from udal_tf.registry import METHODS

PROBS = np.float32([[0.7, 0.3], [0.6, 0.4], [0.8, 0.2]])


FOUR = np.float32([[0.7, 0.3], [0.6, 0.4], [0.8, 0.2], [0.9, 0.1]])
WARMUP_STEPS = 4


def make_tables(pool=3, every=2):
    return DarpTables(pool, 2, every, delta=10.0)


def call(tables, step, probs=PROBS, rows=(0, 1, 2), shares=(0.5, 0.5)):
    step = tf.constant(step, tf.int64)
    rows = tf.constant(rows, tf.int64)
    return tables(tf.constant(probs), rows, step, tf.constant(shares), WARMUP_STEPS).numpy()


def test_predictions_pass_unchanged_during_the_warm_up_and_are_remembered():
    tables = make_tables()
    np.testing.assert_array_equal(call(tables, 0, PROBS[:2], [2, 0]), PROBS[:2])
    np.testing.assert_array_equal(tables.predictions[2], PROBS[0])
    np.testing.assert_array_equal(tables.predictions[0], PROBS[1])
    np.testing.assert_array_equal(tables.predictions[1], [0.5, 0.5])


def test_after_the_warm_up_columns_sum_to_the_totals():
    refined = call(make_tables(), step=4)
    np.testing.assert_allclose(refined.sum(axis=0), [1.5, 1.5], atol=1e-4)
    np.testing.assert_allclose(refined.sum(axis=1), np.ones(3), atol=1e-5)
    assert (refined.argmax(axis=1) != PROBS.argmax(axis=1)).any()


def test_tables_are_changed_in_place_and_copied_only_to_be_solved():
    """A million rows are not copied for the few hundred of a batch."""
    tables = make_tables(pool=1000)
    function = tf.function(lambda probs, rows, step: tables(probs, rows, step, tf.constant([0.5, 0.5]), WARMUP_STEPS))
    specs = tf.TensorSpec([3, 2]), tf.TensorSpec([3], tf.int64), tf.TensorSpec([], tf.int64)
    for op in function.get_concrete_function(*specs).graph.get_operations():
        assert all(tensor.shape.rank is None or 1000 not in tensor.shape.as_list() for tensor in op.outputs), op.name


def by_two_replicas(folder):
    """Saves each replica's pseudo-labels of a batch of four in the steps of WARMUP_STEPS on, and its two tables."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        tables = make_tables(pool=1000)

    def of_replica(step):
        first = 2 * tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = tf.cast(tf.stack([first, first + 1]), tf.int64)
        return tables(tf.gather(tf.constant(FOUR), rows), rows, step, tf.constant([0.5, 0.5]), WARMUP_STEPS)

    whole = tf.function(lambda step: strategy.run(of_replica, args=(step,)))
    graph = whole.get_concrete_function(tf.TensorSpec([], tf.int64)).graph
    large = [
        op.type for op in graph.get_operations() for tensor in op.outputs if 1000 in (tensor.shape.as_list() or ())
    ]
    refined = [strategy.experimental_local_results(whole(tf.constant(step, tf.int64))) for step in (0, 4, 5)]
    both = [strategy.experimental_local_results(table) for table in (tables.predictions, tables.refined)]
    np.savez(folder / "found.npz", refined=np.array(refined), both=np.array(both), large=np.array(large))


def test_two_replicas_change_their_tables_in_place_as_one_does(tmp_path):
    ended = Started(by_two_replicas, tmp_path, cwd=tmp_path).finish()
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = np.load(tmp_path / "found.npz")
    alone = make_tables(pool=1000)
    for step, ours in zip((0, 4, 5), found["refined"], strict=True):
        expected = call(alone, step, FOUR, (0, 1, 2, 3))
        np.testing.assert_allclose(np.concatenate(ours), expected, atol=1e-6)
    for ours, table in zip(found["both"], (alone.predictions, alone.refined), strict=True):
        np.testing.assert_array_equal(ours[0], ours[1])
        np.testing.assert_allclose(ours[0], table.numpy(), atol=1e-6)
    assert list(found["large"]) == []


def test_it_moves_to_the_distribution_of_the_call():
    tables = make_tables()
    np.testing.assert_allclose(call(tables, step=4, shares=(0.5, 0.5)).sum(axis=0), [1.5, 1.5], atol=1e-4)
    np.testing.assert_allclose(call(tables, step=6, shares=(0.6, 0.4)).sum(axis=0), [1.8, 1.2], atol=1e-4)


@pytest.mark.parametrize(("prepared", "totals"), [({}, [1.8, 1.2]), ({PRIOR: np.float32([0.3, 0.7])}, [0.9, 2.1])])
def test_the_method_takes_a_prior_of_its_own_before_that_of_the_unlabeled_set(prepared, totals):
    problem = Problem(np.float32([0.5, 0.5]), pool_size=3, prepared=prepared)
    own = DarpConfig(darp_warmup=0.5, darp_every=2, darp_delta=10.0)
    method = make_method(METHODS["darp"], own, problem, MethodConfig(method="darp"))
    step = types.SimpleNamespace(
        batch={"rows_u": tf.constant([0, 1, 2], tf.int64)},
        number=tf.constant(4, tf.int64),
        total_steps=8,
        values={"p_unlabeled": tf.constant([0.6, 0.4])},
    )
    np.testing.assert_allclose(method.refined(step, tf.constant(PROBS)).numpy().sum(axis=0), totals, atol=1e-4)
    assert float(method.monitors()["darp_residual"]) < 1e-6


def test_between_refinements_the_last_ones_are_used():
    tables = make_tables()
    first = call(tables, step=4)
    other = PROBS[:, ::-1].copy()
    np.testing.assert_array_equal(call(tables, step=5, probs=other), first)
    assert (call(tables, step=6, probs=other) != first).any()


def test_marginals_that_match_already_change_nothing():
    shares = tuple(PROBS.mean(axis=0))
    np.testing.assert_allclose(call(make_tables(), step=4, shares=shares), PROBS, atol=1e-5)


def test_eager_equals_graph():
    eager, graph = make_tables(), make_tables()
    compiled = tf.function(graph)
    for step in range(8):
        ours = call(eager, step)
        at = tf.constant([0, 1, 2], tf.int64), tf.constant(step, tf.int64)
        theirs = compiled(tf.constant(PROBS), *at, tf.constant([0.5, 0.5]), WARMUP_STEPS)
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("prior", [("a", "b"), ("-1", "2"), ("0", "0"), ("nan", "1")])
def test_a_prior_that_is_none_is_refused(prior):
    with pytest.raises(ValueError, match="--darp_prior"):
        resolve({"method": "darp", "darp_prior": prior})
