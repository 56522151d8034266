"""input.stream: images and random numbers as functions of the step."""

import numpy as np
import scipy.stats
import tensorflow as tf

from udal_tf.input import stream


def indices(step, **changes):
    settings = {"batch_size": 32, "count": 50, "seed": 3, "stream": 1, **changes}
    return stream.indices(tf.constant(step, tf.int64), **settings).numpy()


def uniforms(step, **changes):
    settings = {"batch_size": 16, "columns": 3, "seed": 3, "stream": 1, **changes}
    return stream.uniforms(tf.constant(step, tf.int64), **settings).numpy()


def test_every_image_comes_once_a_pass_and_nothing_is_dropped():
    seen = np.concatenate([indices(step) for step in range(25)])
    for start in range(0, 800, 50):
        np.testing.assert_array_equal(np.sort(seen[start : start + 50]), np.arange(50))


def test_each_pass_has_an_order_of_its_own():
    seen = np.concatenate([indices(step) for step in range(25)]).reshape(16, 50)
    assert len({tuple(order) for order in seen}) == 16


def test_streams_and_seeds_have_orders_of_their_own():
    orders = [indices(0), indices(0, stream=0), indices(0, seed=4)]
    assert len({tuple(order) for order in orders}) == 3


def test_a_set_smaller_than_the_batch_is_repeated():
    np.testing.assert_array_equal(np.bincount(indices(7, count=4)), [8, 8, 8, 8])
    np.testing.assert_array_equal(indices(7, count=1), np.zeros(32))


def test_positions_far_beyond_32_bits_still_permute():
    far = np.concatenate([indices(step, batch_size=25) for step in (2**40, 2**40 + 1)])
    np.testing.assert_array_equal(np.sort(far), np.arange(50))


def test_passes_have_unbiased_and_distinct_orders():
    """First and last images of 2,000 passes: chi-square over 10 images, 27.9 is the 0.1 % point at 9 degrees."""
    order_of_pass = tf.function(lambda step: stream.indices(step, 10, 10, 3, 1))
    orders = np.stack([order_of_pass(tf.constant(step, tf.int64)) for step in range(2000)])
    for place in (0, 9):
        counts = np.bincount(orders[:, place], minlength=10)
        assert ((counts - 200.0) ** 2 / 200.0).sum() < 27.9
    assert len({tuple(order) for order in orders}) > 1990


def test_random_numbers_are_uniform_and_repeatable():
    many = uniforms(5, batch_size=20000)
    assert many.min() >= 0 and many.max() < 1
    np.testing.assert_allclose(many.mean(axis=0), [0.5] * 3, atol=0.01)
    np.testing.assert_allclose(np.corrcoef(many.T), np.eye(3), atol=0.03)
    np.testing.assert_array_equal(uniforms(5), uniforms(5))


def test_random_numbers_differ_by_step_stream_and_seed():
    kinds = [uniforms(5), uniforms(6), uniforms(5, stream=2), uniforms(5, seed=4)]
    assert len({kind.tobytes() for kind in kinds}) == 4


def test_eager_graph_and_tf_data_agree():
    def both(step):
        return stream.indices(step, 8, 50, 3, 1), stream.uniforms(step, 8, 2, 3, 1)

    graph = tf.function(both)
    for step, (order, random) in enumerate(tf.data.Dataset.range(3).map(both)):
        for other in (both(tf.constant(step, tf.int64)), graph(tf.constant(step, tf.int64))):
            np.testing.assert_array_equal(order, other[0])
            np.testing.assert_array_equal(random, other[1])


def test_draws_are_uniform_and_the_same_compiled_by_xla():
    def of_step(step):
        return stream.uniforms(step, 5000, 3, seed=4, stream=2)

    step = tf.constant(9, tf.int64)
    plain = of_step(step)
    np.testing.assert_array_equal(plain, tf.function(of_step, jit_compile=True)(step))
    assert plain.numpy().min() >= 0.0 and plain.numpy().max() < 1.0
    np.testing.assert_allclose(np.histogram(plain, 10, (0, 1))[0] / 15000, 0.1, atol=0.01)


def test_beta_weights_follow_their_distribution():
    weights = stream.beta_weights(tf.constant(5, tf.int64), 50000, 0.75, seed=1, stream=5)
    thresholds = [0.01, 0.1, 0.25, 0.5, 0.9]
    expected = scipy.stats.beta.cdf(thresholds, 0.75, 0.75)
    np.testing.assert_allclose([(weights.numpy() < t).mean() for t in thresholds], expected, atol=0.01)


def test_mixing_draws_a_permutation_and_beta_weights():
    """Beta(a, a) has mean 1/2 and variance 1/(4(2a + 1)): 0.1 for a = 0.75."""
    partners = stream.partners(tf.constant(3, tf.int64), 20000, seed=1, stream=5)
    weights = stream.beta_weights(tf.constant(3, tf.int64), 20000, 0.75, seed=1, stream=6)
    np.testing.assert_array_equal(np.sort(partners), np.arange(20000))
    assert (partners.numpy() == np.arange(20000)).mean() < 0.001
    np.testing.assert_allclose([np.mean(weights), np.var(weights)], [0.5, 0.1], atol=0.005)
