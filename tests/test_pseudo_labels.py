"""core.pseudo_labels."""

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.core import pseudo_labels

PROBS = tf.constant([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]])


def test_hard_targets_are_one_hot_and_the_mask_counts_the_threshold_itself():
    targets, mask = pseudo_labels.pseudo_labels(PROBS, threshold=0.8)
    np.testing.assert_array_equal(targets, [[1, 0], [1, 0], [0, 1]])
    np.testing.assert_array_equal(mask, [1, 0, 1])


def test_sharpening_agrees_with_the_worked_example():
    np.testing.assert_allclose(pseudo_labels.sharpen(PROBS, 0.5)[0], [16 / 17, 1 / 17], rtol=1e-6)
    np.testing.assert_allclose(pseudo_labels.sharpen(PROBS, 1.0), PROBS, rtol=1e-6)


def test_the_mask_of_soft_targets_is_taken_before_sharpening():
    targets, mask = pseudo_labels.pseudo_labels(PROBS, threshold=0.85, temperature=0.5)
    np.testing.assert_allclose(tf.reduce_sum(targets, axis=1), np.ones(3), rtol=1e-6)
    np.testing.assert_array_equal(mask, [0, 0, 1])


def test_views_are_averaged_row_by_row():
    averaged = pseudo_labels.average_views([PROBS, tf.reverse(PROBS, axis=[1])])
    np.testing.assert_allclose(averaged, np.full((3, 2), 0.5), rtol=1e-6)


def test_no_gradient_flows_through_targets():
    logits = tf.Variable([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        targets, _ = pseudo_labels.pseudo_labels(tf.nn.softmax(logits), 0.0, temperature=0.5)
        total = tf.reduce_sum(targets**2)
    assert tape.gradient(total, logits) is None


WRAPPED = [lambda f: f, tf.function, tf.function(jit_compile=True)]
WRAPPED_NAMES = ["eager", "graph", "xla"]
DTYPES = [tf.float32, tf.float64]


@pytest.mark.parametrize("wrapped", WRAPPED, ids=WRAPPED_NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sharpening_at_a_small_temperature_shares_between_the_largest(dtype, wrapped):
    """0.3^100 is 0 in float32, and so is every other entry's power: 0 / 0."""
    rows = tf.constant([[0.3, 0.3, 0.2, 0.2], [0.4, 0.6, 0.0, 0.0]], dtype)
    sharpened = wrapped(lambda rows: pseudo_labels.sharpen(rows, 0.01))(rows)
    np.testing.assert_allclose(sharpened, [[0.5, 0.5, 0, 0], [0, 1, 0, 0]], atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("temperature", [1e-4, 0.01, 0.5, 1.0, 3.0, 10.0])
def test_a_uniform_row_stays_uniform(temperature, dtype):
    for num_classes in (2, 3, 10, 127, 1000):
        uniform = tf.fill([1, num_classes], tf.constant(1 / num_classes, dtype))
        sharpened = pseudo_labels.sharpen(uniform, temperature).numpy()
        np.testing.assert_allclose(sharpened, uniform, rtol=1e-6)
        assert (sharpened == sharpened[:, :1]).all()


@pytest.mark.parametrize("temperature", [1e-4, 0.01, 0.5, 1.0, 3.0, 10.0])
def test_sharpening_agrees_with_logarithms_in_float64_and_zeros_stay_zeros(temperature):
    probs = np.random.RandomState(0).dirichlet([0.3] * 7, 50).astype(np.float32)
    probs[:, 2] = 0.0
    probs /= probs.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        logs = np.log(np.float64(probs)) / temperature
    expected = np.exp(logs - logs.max(axis=1, keepdims=True))
    sharpened = pseudo_labels.sharpen(tf.constant(probs), temperature).numpy()
    # A relative error of 1e-7 in a probability is one of 1e-7 / T in its power.
    tolerance = 3e-7 * max(1.0, 1.0 / temperature)
    np.testing.assert_allclose(sharpened, expected / expected.sum(axis=1, keepdims=True), rtol=tolerance, atol=1e-7)
    assert (sharpened[:, 2] == 0.0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_of_sharpening_is_worked_by_hand_and_finite_at_zeros(dtype):
    """s = p^e / Σ p^e, e = 1/T: ∂s_0/∂p_j = e·s_0·(δ_0j − s_j) / p_j; at p_j = 0 the slope for e < 1 is taken as 0."""
    rows = tf.constant([[0.8, 0.2, 0.0]], dtype)
    sixteen = np.array([16 / 17, 1 / 17])
    halves = np.array([2 / 3, 1 / 3])  # √0.8 = 2·√0.2.
    expected = {
        0.5: [2 * sixteen[0] * (1 - sixteen[0]) / 0.8, -2 * sixteen[0] * sixteen[1] / 0.2, 0],
        1.0: [0.2, -0.8, -0.8],
        2.0: [0.5 * halves[0] * (1 - halves[0]) / 0.8, -0.5 * halves[0] * halves[1] / 0.2, 0],
        1e-4: [0, 0, 0],
        10.0: None,
    }
    for temperature, gradient in expected.items():
        with tf.GradientTape() as tape:
            tape.watch(rows)
            first = pseudo_labels.sharpen(rows, temperature)[0, 0]
        found = tape.gradient(first, rows)[0].numpy()
        assert np.isfinite(found).all(), temperature
        if gradient is not None:
            np.testing.assert_allclose(found, gradient, rtol=1e-5, atol=1e-7, err_msg=str(temperature))
