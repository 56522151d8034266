"""core.alignment: Eqs. 1, 2, 3 and 6–9."""

import numpy as np
import tensorflow as tf

from udal_tf.core import alignment

P_DATA = tf.constant([0.8, 0.2])
UNIFORM = tf.constant([0.5, 0.5])
LOGITS = tf.constant([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
P3 = tf.constant([0.6, 0.3, 0.1])


def test_tempered_interpolates_between_the_data_and_the_uniform_distribution():
    np.testing.assert_allclose(alignment.tempered(P_DATA, 1.0), [0.8, 0.2], rtol=1e-6)
    np.testing.assert_allclose(alignment.tempered(P_DATA, 0.5), [2 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(alignment.tempered(P_DATA, 0.0), [0.5, 0.5], rtol=1e-6)


def test_tempered_keeps_a_class_of_zero_probability_finite():
    with_zero = tf.constant([0.7, 0.3, 0.0])
    np.testing.assert_allclose(alignment.tempered(with_zero, 1.0), [0.7, 0.3, 0.0], rtol=1e-6)
    assert np.isfinite(alignment.tempered(with_zero, 0.3)).all()


def test_align_probs_agrees_with_the_worked_example():
    aligned = alignment.align_probs(tf.constant([[0.6, 0.4]]), UNIFORM, tf.constant([0.75, 0.25]))
    np.testing.assert_allclose(aligned, [[1 / 3, 2 / 3]], rtol=1e-5)


def test_align_probs_changes_an_arg_max_and_rows_sum_to_one():
    probs = tf.constant([[0.55, 0.45], [0.95, 0.05]])
    aligned = alignment.align_probs(probs, UNIFORM, P_DATA)
    np.testing.assert_array_equal(tf.argmax(aligned, axis=1), [1, 0])
    np.testing.assert_allclose(tf.reduce_sum(aligned, axis=1), [1.0, 1.0], rtol=1e-6)


def test_align_probs_to_the_models_own_distribution_changes_nothing():
    probs = tf.constant([[0.55, 0.45], [0.95, 0.05]])
    np.testing.assert_allclose(alignment.align_probs(probs, P_DATA, P_DATA), probs, rtol=1e-6)


def test_log_ratio_of_equal_distributions_is_exactly_zero():
    np.testing.assert_array_equal(alignment.log_ratio(P3, P3), np.zeros(3))
    np.testing.assert_array_equal(alignment.log_ratio(tf.constant([1.0, 0.0]), tf.constant([1.0, 0.0])), np.zeros(2))


def test_log_ratio_is_finite_at_a_zero_class_count():
    assert np.isfinite(alignment.log_ratio(tf.constant([1.0, 0.0]), UNIFORM)).all()
    assert np.isfinite(alignment.log_ratio(UNIFORM, tf.constant([1.0, 0.0]))).all()


def test_log_ratio_to_uniform_is_logit_adjustment_up_to_a_constant():
    """Eq. 3: log p_data − log Unif and log p_data give the same cross-entropy."""
    uniform = tf.fill([3], 1 / 3)
    shifted = tf.nn.log_softmax(LOGITS + alignment.log_ratio(P3, uniform))
    np.testing.assert_allclose(shifted, tf.nn.log_softmax(LOGITS + np.log([0.6, 0.3, 0.1])), atol=1e-5)


def test_undoing_the_shift_of_the_loss_is_distribution_alignment_of_the_softmax():
    """Eqs. 7 and 8: softmax(h + log(p̃/p_data)) = Normalize(softmax(h)·p̃/p_data)."""
    p_target = alignment.tempered(P3, 0.4)
    left = tf.nn.softmax(LOGITS + alignment.log_ratio(p_target, P3))
    right = tf.nn.softmax(LOGITS).numpy() * (p_target / P3).numpy()
    np.testing.assert_allclose(left, right / right.sum(axis=1, keepdims=True), atol=1e-6)


def test_eager_equals_graph():
    def all_of_it(probs, alpha):
        p_target = alignment.tempered(P3, alpha)
        return alignment.align_probs(probs, p_target, P3), alignment.log_ratio(P3, p_target)

    probs = tf.nn.softmax(LOGITS)
    for eager, graph in zip(all_of_it(probs, 0.3), tf.function(all_of_it)(probs, tf.constant(0.3)), strict=True):
        np.testing.assert_allclose(eager, graph, rtol=1e-6)


def test_a_power_is_that_of_pow_and_its_slope_at_zero_is_finite():
    """Slopes e·v^(e − 1): at v = 0 it is 1 for e = 1 and 0 above; the infinite one of e = 1/2 is taken as 0."""
    expected = {
        0.0: ([1, 1], [0, 0]),
        0.5: ([0, 2], [0, 0.25]),
        1.0: ([0, 4], [1, 1]),
        2.0: ([0, 16], [0, 8]),
    }
    for exponent, (powers, slopes) in expected.items():
        for given in (exponent, tf.constant(exponent)):
            values = tf.constant([0.0, 4.0])
            with tf.GradientTape() as tape:
                tape.watch(values)
                powered = alignment.power(values, given)
            np.testing.assert_allclose(powered, powers, rtol=1e-6, err_msg=str(exponent))
            np.testing.assert_allclose(tape.gradient(powered, values), slopes, rtol=1e-6, err_msg=str(exponent))


def test_the_gradient_of_the_target_is_finite_at_a_class_of_zero_probability():
    for alpha in (0.0, 0.3, 1.0):
        p_data, exponent = tf.constant([0.7, 0.3, 0.0]), tf.constant(alpha)
        with tf.GradientTape() as tape:
            tape.watch([p_data, exponent])
            first = alignment.tempered(p_data, exponent)[0]
        for gradient in tape.gradient(first, [p_data, exponent]):
            assert np.isfinite(gradient).all(), alpha


def test_a_shift_in_log_space_is_the_normalized_product_and_leaves_zeros_alone():
    probs = tf.constant([[0.6, 0.4, 0.0], [0.0, 1.0, 0.0]])
    shifted = alignment.shifted(probs, tf.constant([np.log(2), 0.0, 200.0], tf.float32))
    np.testing.assert_allclose(shifted, [[0.75, 0.25, 0], [0, 1, 0]], rtol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(probs)
        first = alignment.shifted(probs, tf.zeros(3))[:, 0]
    # ∂s_0/∂p_j = s_0·(δ_0j − s_j) / p_j.
    np.testing.assert_allclose(tape.gradient(first, probs), [[0.4, -0.6, 0], [0, 0, 0]], rtol=1e-6, atol=1e-8)
