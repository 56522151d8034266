"""core.darp: DARP's convex program, its removal of small entries, its estimate of the class distribution."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize

from udal_tf.core import darp
from udal_tf.training import kernels

PROBS = np.array(
    [
        [0.70, 0.20, 0.10],
        [0.60, 0.30, 0.10],
        [0.50, 0.25, 0.25],
        [0.90, 0.05, 0.05],
        [0.20, 0.50, 0.30],
        [0.30, 0.30, 0.40],
    ]
)


def refine(probs, totals, **kwargs):
    return darp.refine(tf.constant(probs, tf.float32), tf.constant(totals, tf.float64), **kwargs)


def remove(probs, totals, **kwargs):
    kept = darp.remove_small_entries(tf.constant(probs, tf.float32), tf.constant(totals, tf.float64), **kwargs)
    return kept.numpy()


def estimate(confusion, p_model):
    return darp.estimate_class_distribution(tf.constant(confusion, tf.float32), tf.constant(p_model, tf.float32))


def entropy(probs):
    return -(probs * np.log(np.where(probs > 0, probs, 1.0))).sum(axis=1)


def long_tailed(num_rows, num_classes, sharpness, seed=0):
    """Biased, partly overconfident predictions, and totals of the other slope."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0.0, 1.0, num_classes)
    logits = rng.normal(size=(num_rows, num_classes)) - 3.0 * slope
    logits[np.arange(num_rows), rng.integers(num_classes, size=num_rows)] += rng.gamma(2.0, 1.5, size=num_rows)
    logits *= sharpness * rng.uniform(0.3, 1.7, size=(num_rows, 1))
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    totals = 10.0**slope
    return exps / exps.sum(axis=1, keepdims=True), totals * num_rows / totals.sum()


# The convex program


def test_two_rows_of_two_classes_agree_with_the_worked_example():
    """Log odds a − H₁ν and 0 − H₂ν have to be opposite, a = log 4: ν = a / (H₁ + H₂)."""
    h1, h2 = entropy(np.array([[0.8, 0.2], [0.5, 0.5]]))
    second = 1.0 / (1.0 + np.exp(h2 * np.log(4.0) / (h1 + h2)))
    np.testing.assert_allclose(second, 0.309, atol=5e-4)
    refined = refine([[0.8, 0.2], [0.5, 0.5]], [1.0, 1.0])
    np.testing.assert_allclose(refined.targets, [[1 - second, second], [second, 1 - second]], atol=1e-6)


def test_six_by_three_optimum_made_from_chosen_dual_variables():
    """Any ν satisfies the conditions of optimality for the totals that it leads to: the optimum in closed form."""
    expected = PROBS * np.exp(-entropy(PROBS)[:, np.newaxis] * np.array([1.5, -0.5, -1.0]))
    expected /= expected.sum(axis=1, keepdims=True)
    refined = refine(PROBS, expected.sum(axis=0))
    np.testing.assert_allclose(refined.targets, expected, atol=1e-6)
    assert refined.residual <= darp.TOLERANCE


@pytest.mark.parametrize("totals", [[2.0, 2.0, 2.0], [1.0, 1.5, 3.5], [5.0, 0.5, 0.5]])
def test_six_by_three_agrees_with_a_general_optimizer(totals):
    weights = 1.0 / entropy(PROBS)

    def divergence(flat):
        x = flat.reshape(PROBS.shape)
        return (weights[:, np.newaxis] * x * np.log(x / PROBS)).sum()

    found = optimize.minimize(
        divergence,
        np.full(PROBS.size, 1 / 3),
        method="SLSQP",
        bounds=[(1e-9, 1.0)] * PROBS.size,
        # One of the nine constraints follows from the others.
        constraints=[
            {"type": "eq", "fun": lambda flat: flat.reshape(PROBS.shape).sum(axis=1) - 1.0},
            {"type": "eq", "fun": lambda flat: flat.reshape(PROBS.shape).sum(axis=0)[:2] - totals[:2]},
        ],
        options={"maxiter": 500, "ftol": 1e-13},
    )
    assert found.success
    np.testing.assert_allclose(refine(PROBS, totals).targets, found.x.reshape(PROBS.shape), atol=2e-5)


def test_the_conditions_of_optimality_hold_for_a_large_case():
    """w_m log(x_mc / p_mc) = −ν_c − λ_m: after its row means and column means nothing is left."""
    probs, totals = long_tailed(500, 7, sharpness=0.5)
    targets = refine(probs, totals).targets.numpy().astype(np.float64)
    tilt = np.log(targets / probs) / entropy(probs)[:, np.newaxis]
    tilt -= tilt.mean(axis=1, keepdims=True)
    assert np.abs(tilt).max() > 0.5
    np.testing.assert_allclose(tilt - tilt.mean(axis=0), 0.0, atol=2e-4)
    np.testing.assert_allclose(targets.sum(axis=0), totals, rtol=1e-5)


def test_in_float32_the_solution_is_close_and_nothing_is_computed_in_float64():
    probs, totals = (tf.constant(values, tf.float32) for values in long_tailed(500, 7, sharpness=0.5))

    def solved(probs, totals):
        kept = darp.remove_small_entries(probs, totals, floor=darp.CODE_EPSILON, rescale=True, dtype=tf.float32)
        return darp.refine(kept, totals, darp.SINGLE_TOLERANCE, dtype=tf.float32)

    function = tf.function(solved, autograph=False)
    found = function(probs, totals)
    kept = darp.remove_small_entries(probs, totals, floor=darp.CODE_EPSILON, rescale=True)
    np.testing.assert_allclose(found.targets, darp.refine(kept, totals).targets, atol=5e-3)
    # A hundredth of an image in 500; in float64 it is a hundred-thousandth.
    assert found.residual < 1e-4
    types = {
        kind
        for _, kinds in kernels.operations(function.get_concrete_function(probs, totals).graph)
        for _, kind in kinds
    }
    assert "float32" in types and "float64" not in types


def test_confident_rows_move_less():
    probs = np.array([[0.99, 0.01], [0.6, 0.4]] * 5)
    moved = probs - refine(probs, [6.0, 4.0]).targets.numpy()
    assert moved[1, 0] > 5 * moved[0, 0] > 0.0


def test_totals_that_match_already_change_nothing():
    refined = refine(PROBS, PROBS.sum(axis=0))
    np.testing.assert_allclose(refined.targets, PROBS, atol=1e-6)
    probs, _ = long_tailed(300, 10, sharpness=3.0)
    probs = probs.astype(np.float32)
    np.testing.assert_allclose(refine(probs, probs.astype(np.float64).sum(axis=0)).targets, probs, atol=1e-6)


def test_totals_count_up_to_their_scale():
    probs = np.concatenate([np.eye(3), PROBS])
    shares, counts = refine(probs, [0.2, 0.3, 0.5]), refine(probs, [1.8, 2.7, 4.5])
    np.testing.assert_allclose(shares.targets, counts.targets, atol=1e-7)
    assert shares.residual <= darp.TOLERANCE


def test_permuted_rows_and_classes_permute_the_targets():
    probs, totals = long_tailed(60, 5, sharpness=1.0)
    rows, classes = np.random.default_rng(1).permutation(60), np.array([3, 0, 4, 1, 2])
    targets = refine(probs, totals).targets.numpy()
    permuted = refine(probs[rows][:, classes], totals[classes]).targets.numpy()
    np.testing.assert_allclose(permuted, targets[rows][:, classes], atol=1e-6)


# Cases without a finite weight, or without a solution


def test_one_hot_rows_stay_and_the_others_make_up_for_them():
    probs = np.concatenate([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], PROBS])
    refined = refine(probs, [3.0, 2.0, 3.0])
    np.testing.assert_array_equal(refined.targets[:2], probs[:2])
    np.testing.assert_allclose(refined.targets[2:], refine(PROBS, [2.0, 1.0, 3.0]).targets, atol=1e-6)
    assert refined.residual <= darp.TOLERANCE


def test_one_hot_rows_alone_come_back_with_their_residual():
    refined = refine(np.eye(4), [4.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(refined.targets, np.eye(4))
    np.testing.assert_allclose(refined.residual, 0.75)
    assert refined.iterations == 0


def test_a_class_of_total_zero_gets_nothing():
    refined = refine(PROBS, [3.0, 3.0, 0.0])
    two_classes = refined.targets.numpy()
    np.testing.assert_array_equal(two_classes[:, 2], np.zeros(6))
    np.testing.assert_allclose(two_classes.sum(axis=0), [3.0, 3.0, 0.0], atol=1e-5)
    # Of the two classes left the log odds still move by H(p_m)·(ν_1 − ν_0), H of all three.
    shift = np.log(two_classes[:, 1] / two_classes[:, 0]) - np.log(PROBS[:, 1] / PROBS[:, 0])
    np.testing.assert_allclose(shift / entropy(PROBS), np.full(6, shift[0] / entropy(PROBS)[0]), rtol=1e-4)


def test_a_row_with_nothing_outside_a_class_of_total_zero_stays():
    probs = np.array([[0.0, 0.5, 0.5], [0.6, 0.2, 0.2], [0.3, 0.3, 0.4]])
    refined = refine(probs, [3.0, 0.0, 0.0])
    np.testing.assert_allclose(refined.targets, [[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], atol=1e-7)
    np.testing.assert_allclose(refined.residual, 1 / 3, rtol=1e-6)


def test_one_hot_rows_above_a_total_leave_the_other_totals_in_proportion():
    """Three rows for a class of total 2: the six others share (0, 3, 4)·6/7 and not one of them stays in class 0."""
    probs = np.concatenate([np.tile([[1.0, 0.0, 0.0]], [3, 1]), PROBS])
    refined = refine(probs, [2.0, 3.0, 4.0])
    np.testing.assert_array_equal(refined.targets[:3], probs[:3])
    np.testing.assert_allclose(refined.targets.numpy().sum(axis=0), [3.0, 18 / 7, 24 / 7], rtol=1e-6)
    np.testing.assert_allclose(refined.residual, 1 / 9, rtol=1e-6)


def test_zeros_stay_zero():
    probs = np.array([[0.7, 0.3, 0.0], [0.4, 0.0, 0.6], [0.2, 0.5, 0.3]])
    refined = refine(probs, [1.0, 1.0, 1.0])
    assert (refined.targets.numpy()[probs == 0.0] == 0.0).all()
    np.testing.assert_allclose(refined.targets.numpy().sum(axis=0), np.ones(3), atol=1e-6)


def test_totals_out_of_reach_because_of_zeros_end_in_distributions_and_a_residual():
    """Only the first row may take class 0, whose total is 2 of 3."""
    probs = np.array([[0.5, 0.5, 0.0], [0.0, 0.4, 0.6], [0.0, 0.7, 0.3]])
    refined = refine(probs, [2.0, 0.5, 0.5])
    assert np.isfinite(refined.targets).all()
    np.testing.assert_allclose(refined.targets.numpy().sum(axis=1), np.ones(3), rtol=1e-6)
    # Before, it is 1/2.
    np.testing.assert_allclose(refined.residual, 1 / 3, atol=1e-3)


def test_too_few_iterations_report_a_residual_and_give_distributions():
    probs, totals = long_tailed(200, 10, sharpness=3.0)
    few, enough = refine(probs, totals, max_iterations=2), refine(probs, totals)
    assert few.iterations == 2
    np.testing.assert_allclose(few.targets.numpy().sum(axis=1), np.ones(200), rtol=1e-6)
    before = np.abs(probs.sum(axis=0) - totals).max() / 200
    assert darp.TOLERANCE < few.residual <= before
    np.testing.assert_allclose(np.abs(few.targets.numpy().sum(axis=0) - totals).max() / 200, few.residual, rtol=1e-4)
    assert enough.residual <= darp.TOLERANCE and enough.iterations < darp.MAX_ITERATIONS


def test_more_iterations_never_end_further_from_the_totals():
    """Each step raises the dual, while the distance from the totals more than doubles at step 9 here."""
    probs, totals = long_tailed(40, 5, sharpness=3.0, seed=2)
    probs = (probs + 1e-6) / (probs + 1e-6).sum(axis=1, keepdims=True)
    residuals = [refine(probs, totals, max_iterations=steps).residual.numpy() for steps in (1, 2, 4, 6, 8, 9, 10, 12)]
    assert residuals == sorted(residuals, reverse=True)


def test_an_entry_of_as_good_as_nothing_is_raised_to_its_total():
    """A single row has to become its totals; where an entry is 1e-30, so is the curvature of the dual."""
    refined = refine([[0.9, 0.1, 1e-30]], [0.3, 0.3, 0.4])
    np.testing.assert_allclose(refined.targets, [[0.3, 0.3, 0.4]], atol=1e-6)


def test_rounding_of_the_dual_does_not_end_the_ascent():
    """Its value has no digits left this close to the optimum; its slope has."""
    probs, totals = long_tailed(2000, 10, sharpness=1.0, seed=1)
    refined = refine(probs, totals, tolerance=1e-13)
    assert refined.residual <= 1e-13 and refined.iterations < 20


@pytest.mark.parametrize("sharpness", [1.0, 8.0])
@pytest.mark.parametrize("num_classes", [10, 100])
def test_thousands_of_rows_converge(num_classes, sharpness):
    """Without the 1e-6 that DARP's code adds to each entry, many rows would be one-hot at sharpness 8."""
    probs, totals = long_tailed(4000, num_classes, sharpness)
    assert sharpness < 8 or (entropy(probs) < darp.MIN_ENTROPY).mean() > 0.1
    probs = (probs + 1e-6) / (probs + 1e-6).sum(axis=1, keepdims=True)
    refined = refine(probs, totals)
    assert refined.residual <= darp.TOLERANCE and refined.iterations < darp.MAX_ITERATIONS
    np.testing.assert_allclose(refined.targets.numpy().sum(axis=0), totals, rtol=1e-3)


def test_no_gradient_flows_into_the_predictions():
    probs = tf.Variable(tf.constant(PROBS, tf.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(darp.refine(probs, tf.constant([1.0, 2.0, 3.0])).targets ** 2)
    assert tape.gradient(total, probs) is None


@pytest.mark.parametrize(
    "totals, options, message",
    [
        ([1.0, 2.0], {}, "same C"),
        ([1.0, 2.0, 3.0], {"tolerance": 0.0}, "tolerance"),
        ([1.0, 2.0, 3.0], {"max_iterations": 0}, "max_iterations"),
    ],
)
def test_refine_names_a_wrong_argument(totals, options, message):
    with pytest.raises(ValueError, match=message):
        refine(PROBS, totals, **options)


# Small entries


def test_removal_keeps_the_surest_rows_of_each_class():
    np.testing.assert_allclose(remove([[0.8, 0.2], [0.5, 0.5]], [1.0, 1.0], delta=1.0), [[1, 0], [0, 1]], atol=1e-7)
    # δ·t = (4, 2, 2): rows 0 to 3 for class 0, row 4 and the tie of 1 and 5 for class 1, rows 4 and 5 for class 2.
    mask = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 1, 1]])
    expected = PROBS * mask
    kept = remove(PROBS, [3.0, 1.5, 1.5], delta=4 / 3)
    np.testing.assert_allclose(kept, expected / expected.sum(axis=1, keepdims=True), atol=1e-6)


def test_removal_changes_nothing_where_every_row_is_kept():
    np.testing.assert_allclose(remove(PROBS, [2.0, 2.0, 2.0], delta=3.0), PROBS, atol=1e-6)


def test_removal_leaves_uniform_rows_as_they_are():
    np.testing.assert_allclose(remove(np.full([8, 4], 0.25), [5.0, 1.0, 1.0, 1.0], delta=1.0), np.full([8, 4], 0.25))


def test_a_row_that_would_lose_every_entry_stays_as_it_is():
    """δ·t = (1, 1, 1) goes to row 1, row 1 and row 2."""
    probs = [[0.4, 0.3, 0.3], [0.5, 0.4, 0.1], [0.3, 0.1, 0.6]]
    expected = [[0.4, 0.3, 0.3], [5 / 9, 4 / 9, 0.0], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(remove(probs, [1.0, 1.0, 1.0], delta=1.0), expected, atol=1e-6)


def test_a_count_is_rounded_up_but_not_for_the_rounding_of_a_total():
    """2·0.7 rows of class 1 are two; 2·(1 + 1e-7) are two as well, and not three."""
    probs = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]
    np.testing.assert_array_equal(remove(probs, [3.3, 0.7])[:, 1] > 0, [False, False, True, True])
    np.testing.assert_array_equal(remove(probs, [3 - 1e-7, 1 + 1e-7])[:, 1] > 0, [False, False, True, True])


def test_a_class_of_total_zero_loses_every_entry():
    np.testing.assert_array_equal(remove(PROBS, [3.0, 3.0, 0.0])[:, 2], np.zeros(6))


def test_removal_as_the_code_does_it():
    """training_functions.py: mask·p·(t + ε)/(Σ mask·p + ε) + ε, rows normalized; 6, 3 and 3 rows are kept."""
    totals = np.array([3.0, 1.5, 1.5])
    mask = np.zeros_like(PROBS)
    mask[:, 0] = 1.0
    mask[[1, 4, 5], 1] = 1.0
    mask[[2, 4, 5], 2] = 1.0
    code = PROBS * mask * (totals + 1e-6) / ((PROBS * mask).sum(axis=0) + 1e-6) + 1e-6
    kept = remove(PROBS, totals, floor=darp.CODE_EPSILON, rescale=True)
    np.testing.assert_allclose(kept, code / code.sum(axis=1, keepdims=True), rtol=1e-5)


def test_with_a_floor_removed_entries_keep_the_totals_reachable():
    probs, totals = long_tailed(1000, 10, sharpness=8.0)
    without = refine(remove(probs, totals), totals)
    floored = refine(remove(probs, totals, floor=darp.CODE_EPSILON), totals)
    assert without.residual > 1e-3
    assert floored.residual <= darp.TOLERANCE


@pytest.mark.parametrize("options, message", [({"delta": 0.5}, "delta"), ({"floor": -1.0}, "floor")])
def test_removal_names_a_wrong_argument(options, message):
    with pytest.raises(ValueError, match=message):
        remove(PROBS, [2.0, 2.0, 2.0], **options)


# The class distribution


def test_soft_confusion_agrees_with_the_worked_example_and_adds_up_over_batches():
    probs, labels = tf.constant([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]]), tf.constant([0, 0, 1])
    confusion = darp.soft_confusion(probs, labels, 2)
    np.testing.assert_allclose(confusion, [[1.4, 0.1], [0.6, 0.9]], rtol=1e-6)
    parts = [darp.soft_confusion(probs[part], labels[part], 2) for part in (slice(0, 1), slice(1, 3))]
    np.testing.assert_allclose(parts[0] + parts[1], confusion, rtol=1e-6)


def test_estimate_agrees_with_the_worked_example():
    np.testing.assert_allclose(estimate([[9.0, 2.0], [1.0, 8.0]], [0.55, 0.45]), [0.5, 0.5], rtol=1e-5)


def test_estimate_recovers_the_distribution_behind_the_mean_prediction():
    rng = np.random.default_rng(0)
    confusion = (np.eye(10) * 5.0 + rng.uniform(size=(10, 10))) * rng.uniform(1.0, 100.0, size=10)
    q = 0.6 ** np.arange(10)
    q /= q.sum()
    np.testing.assert_allclose(estimate(confusion, confusion / confusion.sum(axis=0) @ q), q, atol=1e-5)


def test_estimate_sets_a_negative_share_to_zero():
    """The inverse gives (1.5, −0.5); of the first class alone the least-squares share is positive."""
    np.testing.assert_allclose(estimate([[0.6, 0.4], [0.4, 0.6]], [0.7, 0.3]), [1.0, 0.0], atol=1e-6)


def test_estimate_agrees_with_non_negative_least_squares():
    rng = np.random.default_rng(3)
    confusion = np.eye(5) + rng.uniform(size=(5, 5))
    p_model = np.array([0.5, 0.02, 0.2, 0.03, 0.25])
    q, _ = optimize.nnls(confusion / confusion.sum(axis=0), p_model)
    assert (q == 0.0).any()
    np.testing.assert_allclose(estimate(confusion, p_model), q / q.sum(), atol=1e-5)


def test_estimate_shares_equally_between_classes_it_cannot_tell_apart():
    """Classes 1 and 2 are predicted alike, so the matrix is singular."""
    confusion = [[8.0, 1.0, 10.0], [1.0, 5.0, 50.0], [1.0, 4.0, 40.0]]
    columns = np.array(confusion) / np.sum(confusion, axis=0)
    np.testing.assert_allclose(estimate(confusion, columns @ [0.4, 0.3, 0.3]), [0.4, 0.3, 0.3], atol=1e-5)


def test_estimate_is_a_distribution_without_labeled_images_of_a_class():
    q = estimate([[3.0, 0.0, 1.0], [1.0, 0.0, 3.0], [0.0, 0.0, 0.0]], [0.5, 0.4, 0.1])
    assert q[1] == 0.0 and (q.numpy() >= 0.0).all()
    np.testing.assert_allclose(tf.reduce_sum(q), 1.0, rtol=1e-6)
    np.testing.assert_allclose(estimate(np.zeros([2, 2]), [0.7, 0.3]), [0.7, 0.3], rtol=1e-6)


def test_estimate_names_wrong_shapes():
    with pytest.raises(ValueError, match=r"\[C, C\]"):
        estimate([[1.0, 0.0], [0.0, 1.0]], [0.2, 0.3, 0.5])


# Graphs


def test_eager_equals_graph():
    def all_of_it(probs, totals, labels):
        kept = darp.remove_small_entries(probs, totals, floor=1e-6, rescale=True)
        confusion = darp.soft_confusion(probs, labels, 5)
        p_model = tf.reduce_mean(probs, axis=0)
        return darp.refine(kept, totals), darp.estimate_class_distribution(confusion, p_model)

    probs, totals = long_tailed(60, 5, sharpness=2.0)
    tensors = tf.constant(probs, tf.float32), tf.constant(totals, tf.float32), tf.argmax(probs, axis=1)
    # Any number of rows: one trace for every size of the pool.
    signature = [tf.TensorSpec([None, 5]), tf.TensorSpec([5]), tf.TensorSpec([None], tf.int64)]
    eager, graph = all_of_it(*tensors), tf.function(all_of_it, input_signature=signature)(*tensors)
    assert isinstance(graph[0], darp.Refined)
    np.testing.assert_allclose(eager[0].targets, graph[0].targets, atol=1e-6)
    assert eager[0].iterations == graph[0].iterations
    np.testing.assert_allclose(eager[1], graph[1], atol=1e-6)
