"""DARP: pseudo-labels changed as little as possible to match given class totals. Kim et al. 2020, arXiv 2007.08844.

The files cited below are those of the authors' code, github.com/bbuing9/DARP. One module for the one problem: its
solver with all fallbacks, the filter before it, and the estimate of the class distribution it needs.
"""

import collections
import math

import tensorflow as tf

# A float32 row whose largest entry is the last number below 1 (1 − 6e-8) has an entropy of 1e-6; below that, one-hot.
MIN_ENTROPY = 1e-6
# DARP common.py and training_functions.py: keeps quotients finite, and replaces removed entries.
CODE_EPSILON = 1e-6
# DARP's δ, `--alpha` in its code.
DELTA = 2.0
# Solved: every column sum is within this fraction of M of its total, 1e-4 images of 10,000.
TOLERANCE = 1e-8
# The same where sums of M float32 numbers carry rounding.
SINGLE_TOLERANCE = 1e-6
MAX_ITERATIONS = 100
# A product of float32 totals may exceed an integer by this relative error and still stand for it.
COUNT_ROUNDING = 1e-6
# Levenberg–Marquardt damping, relative to the curvature; start and factors needed the fewest steps on random problems.
# Beyond the maximum no step ascends.
DAMPING_START = 0.1
DAMPING_DECAY = 0.3
DAMPING_GROWTH = 10.0
DAMPING_MIN = 1e-10
DAMPING_MAX = 1e20
# Armijo's condition: fraction of the ascent predicted by the slope.
SUFFICIENT_ASCENT = 1e-4
# Singular values below this fraction of the largest are noise in a float32 confusion matrix.
SINGULAR = 1e-6


class Refined(collections.namedtuple("Refined", ["targets", "residual", "iterations"])):
    """The result of `refine`.

    targets: [M, C] float32, the DARP-refined pseudo-labels, rows sum to 1.
    residual: scalar float32, the largest difference between a column sum and its total, divided by M; 0.001 is one
      image in a thousand.
    iterations: scalar int32, the number of steps tried.
    """

    __slots__ = ()


# The dual function at one ν [C]: its value, its gradient [C], and the X [M, C] that belongs to ν.
_Point = collections.namedtuple("_Point", ["nu", "value", "gradient", "targets"])
_State = collections.namedtuple("_State", ["iteration", "point", "hessian", "damping", "best", "best_residual"])


def refine(
    probs: tf.Tensor,
    class_totals: tf.Tensor,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
    dtype: tf.DType = tf.float64,
) -> Refined:
    """The pseudo-labels closest to `probs` whose columns sum to `class_totals`. DARP; common.py opt_solver.

    The minimum over X ≥ 0 of Σ_m w_m KL(x_m ‖ p_m), with w_m = 1 / H(p_m) so that confident rows change least, where
    the rows of X sum to 1 and its columns to the totals, which are scaled to sum to M. With one ν_c per class, the
    solution is x_mc = p_mc exp(−ν_c H(p_m)) / Z_m(ν), and ν maximizes the concave dual −Σ_m w_m log Z_m − Σ_c ν_c t_c,
    whose gradient is column sums − totals. DARP's code ascends it class by class for 10 rounds, each an undamped Newton
    iteration, which may diverge; here damped Newton steps for all classes at once run until convergence.

    If the program has no solution or a weight is not finite:

    - A one-hot row (H below 1e-6; its weight would be infinite) is unchanged and its mass leaves the totals.
    - If one-hot rows exceed a total, or it is 0, the other rows give that class nothing and match what remains of the
      other totals, scaled. A row with no mass outside such classes is unchanged.
    - An entry of 0 remains 0. If zeros make the totals unreachable, or max_iterations is too small, the best X that
      was tried is returned, the closest to the totals that one-hot rows allow; its rows sum to 1.

    The residual always refers to the totals given.

    Args:
      probs: [M, C] float32, M ≥ 1, rows sum to 1.
      class_totals: [C] float32 or float64, non-negative, with a positive sum; their scale does not matter.
      tolerance: the residual at which to stop, above 0.
      max_iterations: at least 1.
      dtype: of the arithmetic; tf.float32, with SINGLE_TOLERANCE, where float64 has no hardware (TPUs).

    Returns:
      Refined(targets, residual, iterations); no gradient flows through.

    Raises:
      ValueError: for other shapes, or a tolerance or max_iterations out of range.

    Example: the rows (0.8, 0.2) and (0.5, 0.5) with totals (1, 1) become (0.691, 0.309) and (0.309, 0.691): the
    log-odds 1.386 and 0 fall by 0.581 and 0.805, in the ratio of the entropies 0.500 and 0.693.
    """
    _check(probs, class_totals)
    if tolerance <= 0.0:
        raise ValueError(f"tolerance has to be above 0, got {tolerance}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations has to be at least 1, got {max_iterations}")
    probs = _rows_normalized(tf.cast(tf.stop_gradient(probs), dtype))
    num_rows = tf.cast(tf.shape(probs)[0], dtype)
    totals = tf.cast(class_totals, dtype)
    totals *= num_rows / tf.reduce_sum(totals)

    fixed, remaining = _fixed_and_remaining(probs, totals)
    allowed = (probs > 0.0) & (fixed[:, tf.newaxis] | (remaining > 0.0))
    log_probs = tf.where(allowed, tf.math.log(probs), tf.constant(float("-inf"), dtype))
    # With an entropy of 0 a fixed row is constant in ν and contributes neither to the dual nor to its Hessian.
    entropy = tf.where(fixed, tf.zeros_like(num_rows), _entropy(probs))
    weights = tf.math.divide_no_nan(tf.ones_like(num_rows), entropy)
    reachable = remaining + tf.reduce_sum(tf.where(fixed[:, tf.newaxis], probs, tf.zeros_like(probs)), axis=0)
    largest_entropy = tf.reduce_max(tf.where(allowed, entropy[:, tf.newaxis], tf.zeros_like(probs)), axis=0)

    def point_at(nu):
        logits = log_probs - entropy[:, tf.newaxis] * nu
        log_z = tf.reduce_logsumexp(logits, axis=1)
        targets = tf.exp(logits - log_z[:, tf.newaxis])
        value = -tf.reduce_sum(weights * log_z) - tf.reduce_sum(nu * remaining)
        return _Point(nu, value, tf.reduce_sum(targets, axis=0) - reachable, targets)

    def residual_of(point):
        return tf.reduce_max(tf.abs(point.gradient)) / num_rows

    def hessian_at(point):
        """Of the negative dual: Σ_m H_m (diag(x_m) − x_m x_mᵀ)."""
        scaled = entropy[:, tf.newaxis] * point.targets
        return tf.linalg.diag(tf.reduce_sum(scaled, axis=0)) - tf.matmul(scaled, point.targets, transpose_a=True)

    def unsolved(state):
        return (state.best_residual > tolerance) & (state.damping < DAMPING_MAX)

    def step(state):
        point = state.point
        direction = _damped_newton(state.hessian, point.gradient, state.damping, largest_entropy)
        slope = tf.reduce_sum(direction * point.gradient)
        trial = point_at(point.nu + direction)
        # A slope that is still upward at the trial point proves ascent of a concave function; unlike the difference of
        # the two values it is not lost in rounding near the optimum. A trial that is not finite is never accepted.
        upward = tf.reduce_sum(direction * trial.gradient) >= 0.0
        ascends = upward | (trial.value >= point.value + SUFFICIENT_ASCENT * slope)
        ascends &= tf.reduce_all(tf.math.is_finite(trial.targets))
        point, hessian = tf.cond(ascends, lambda: (trial, hessian_at(trial)), lambda: (point, state.hessian))
        damping = tf.where(
            ascends, tf.maximum(state.damping * DAMPING_DECAY, DAMPING_MIN), state.damping * DAMPING_GROWTH
        )
        residual = residual_of(point)
        best = tf.where(residual < state.best_residual, point.targets, state.best)
        return (_State(state.iteration + 1, point, hessian, damping, best, tf.minimum(residual, state.best_residual)),)

    start = point_at(tf.zeros_like(totals))
    state = _State(
        iteration=tf.constant(0),
        point=start,
        hessian=hessian_at(start),
        damping=tf.constant(DAMPING_START, dtype),
        best=start.targets,
        best_residual=residual_of(start),
    )
    (state,) = tf.while_loop(unsolved, step, (state,), maximum_iterations=max_iterations)
    residual = tf.reduce_max(tf.abs(tf.reduce_sum(state.best, axis=0) - totals)) / num_rows
    return Refined(tf.cast(state.best, tf.float32), tf.cast(residual, tf.float32), state.iteration)


def remove_small_entries(
    probs: tf.Tensor,
    class_totals: tf.Tensor,
    delta: float = DELTA,
    floor: float = 0.0,
    rescale: bool = False,
    dtype: tf.DType = tf.float64,
) -> tf.Tensor:
    """Keeps, for each class c, only the entries of the δ·t_c rows most confident of it, before `refine`. DARP, δ = 2.

    A row that would lose every entry is unchanged, and ties with the last row kept are kept, so that predictions that
    are still uniform do not change. δ·t_c is rounded up, so that at δ = 1 a class can reach its total; DARP's code
    rounds down, which leaves a class of t_c < 1 / δ without any row.

    floor=1e-6, rescale=True reproduces training_functions.py around its estimate_pseudo: the entries kept are
    multiplied by (t_c + ε) / (their sum + ε), ε = 1e-6, and then 1e-6 is added to every entry, removed or not. Unlike
    zeros this keeps all totals reachable, and it makes a row that would lose every entry uniform.

    Args:
      probs: [M, C] float32, rows sum to 1.
      class_totals: [C] float32 or float64, non-negative, with a positive sum; scaled to sum to M.
      delta: at least 1, finite.
      floor: at least 0, added to each entry before rows are normalized.
      rescale: whether each column is scaled to its total before that.
      dtype: as in `refine`.

    Returns:
      [M, C] float32, rows sum to 1.

    Raises:
      ValueError: for other shapes, or a delta or a floor out of range.

    Example: with totals (1, 1) and δ = 1 the rows (0.8, 0.2) and (0.5, 0.5) become (1, 0) and (0, 1).
    """
    _check(probs, class_totals)
    if not 1.0 <= delta < math.inf:
        raise ValueError(f"delta has to be finite and at least 1, or a class cannot reach its total; got {delta}")
    if floor < 0.0:
        raise ValueError(f"floor has to be at least 0, got {floor}")
    probs = tf.cast(tf.stop_gradient(probs), dtype)
    num_rows = tf.cast(tf.shape(probs)[0], dtype)
    totals = tf.cast(class_totals, dtype)
    totals *= num_rows / tf.reduce_sum(totals)

    num_kept = tf.minimum(tf.math.ceil(delta * totals * (1.0 - COUNT_ROUNDING)), num_rows)
    num_kept = tf.cast(num_kept, tf.int32)
    ranked = tf.sort(probs, axis=0, direction="DESCENDING")
    last_kept = tf.gather(tf.transpose(ranked), tf.maximum(num_kept - 1, 0), batch_dims=1)
    kept = tf.where((probs >= last_kept) & (num_kept > 0), probs, tf.zeros_like(probs))
    if rescale:
        kept *= (totals + CODE_EPSILON) / (tf.reduce_sum(kept, axis=0) + CODE_EPSILON)
    kept += floor
    is_empty = tf.reduce_sum(kept, axis=1, keepdims=True) <= 0.0
    return tf.cast(_rows_normalized(tf.where(is_empty, probs, kept)), tf.float32)


def soft_confusion(probs: tf.Tensor, labels: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Predictions summed by true class, to be added up over batches. DARP train_base_estim.py.

    Args:
      probs: [B, C] float32, rows sum to 1.
      labels: [B] int, the true classes.
      num_classes: C.

    Returns:
      [C, C] float32, predicted class by true class; column c sums to the number of images of class c.

    Example: the rows (0.8, 0.2), (0.6, 0.4), (0.1, 0.9) of classes 0, 0, 1 give ((1.4, 0.1), (0.6, 0.9)).
    """
    return tf.matmul(probs, tf.one_hot(labels, num_classes, dtype=probs.dtype), transpose_a=True)


def estimate_class_distribution(confusion: tf.Tensor, p_model: tf.Tensor) -> tf.Tensor:
    """The unlabeled class distribution q that explains the mean prediction: P(predicted | true) q = p_model. DARP.

    train_base_estim.py (estimate_q_y) inverts the confusion matrix, discards a result with a negative entry or a
    condition number of 100 or more, and averages the others over the epochs. Here q is the least-squares solution, the
    minimum-norm one if the matrix is singular; while it has negative entries these classes are set to 0 and the others
    solved again, and q is normalized. A class without labeled images gets 0. If no positive entry is left, q is
    p_model.

    Args:
      confusion: [C, C] float32, non-negative, predicted class by true class, of held-out images: `soft_confusion`.
      p_model: [C] float32, the mean prediction for the unlabeled images.

    Returns:
      [C] float32, non-negative, sums to 1.

    Raises:
      ValueError: for other shapes.

    Example: confusion ((9, 2), (1, 8)) and p_model (0.55, 0.45) give (0.5, 0.5).
    """
    if confusion.shape.rank != 2 or p_model.shape.rank != 1 or list(confusion.shape) != 2 * list(p_model.shape):
        raise ValueError(f"confusion has to be [C, C] and p_model [C], got {confusion.shape} and {p_model.shape}")
    confusion = tf.cast(confusion, tf.float64)
    columns = tf.math.divide_no_nan(confusion, tf.reduce_sum(confusion, axis=0))
    p_model = tf.cast(p_model, tf.float64)

    # An excluded class is never readmitted, so this ends within C rounds.
    def solve_without_negatives(_, q):
        support = tf.cast(q > 0.0, tf.float64)
        q = support * tf.linalg.matvec(tf.linalg.pinv(columns * support, rcond=SINGULAR), p_model)
        return tf.reduce_any(q < 0.0), q

    _, q = tf.while_loop(
        lambda unsolved, _: unsolved, solve_without_negatives, (tf.constant(True), tf.ones_like(p_model))
    )
    q = tf.where(tf.reduce_sum(q) > 0.0, q, p_model)
    return tf.cast(q / tf.reduce_sum(q), tf.float32)


def _check(probs, class_totals):
    if probs.shape.rank != 2 or class_totals.shape.rank != 1 or probs.shape[1] != class_totals.shape[0]:
        raise ValueError(
            f"probs have to be [M, C] and class_totals [C] of the same C, got {probs.shape} and {class_totals.shape}"
        )


def _rows_normalized(rows):
    return rows / tf.reduce_sum(rows, axis=1, keepdims=True)


def _entropy(probs):
    return -tf.reduce_sum(tf.math.xlogy(probs, probs), axis=1)


def _fixed_and_remaining(probs, totals):
    """The rows that are unchanged, [M] bool, and the totals [C] that remain for the other rows.

    A class whose total is used up is closed, which may leave a row without mass outside closed classes, which is then
    fixed as well. Closed classes never reopen, so this ends within C rounds.
    """

    def remaining_without(fixed):
        kept = tf.reduce_sum(tf.where(fixed[:, tf.newaxis], probs, tf.zeros_like(probs)), axis=0)
        remaining = tf.maximum(totals - kept, 0.0)
        rows = tf.reduce_sum(tf.cast(~fixed, probs.dtype))
        return remaining * tf.math.divide_no_nan(rows, tf.reduce_sum(remaining))

    def close(_, fixed, remaining):
        is_open = tf.cast(remaining > 0.0, probs.dtype)
        now_fixed = fixed | (tf.reduce_sum(probs * is_open, axis=1) <= 0.0)
        return tf.reduce_any(now_fixed != fixed), now_fixed, remaining_without(now_fixed)

    fixed = _entropy(probs) < MIN_ENTROPY
    _, fixed, remaining = tf.while_loop(
        lambda changed, *_: changed, close, (tf.constant(True), fixed, remaining_without(fixed))
    )
    return fixed, remaining


def _damped_newton(hessian, gradient, damping, largest_entropy):
    """(Hessian + damping·D)⁻¹ gradient, solved at the scale of the diagonal D; 0 for a class that nothing can move.

    D is the diagonal of the Hessian plus |gradient|·largest entropy of each class: 1 / damping then bounds the change
    of every exponent. If all predictions of a class are almost 0, so is its Hessian, which alone would bound nothing.
    """
    diagonal = tf.linalg.diag_part(hessian) + tf.abs(gradient) * largest_entropy
    scale = tf.math.divide_no_nan(tf.ones_like(diagonal), tf.sqrt(diagonal))
    matrix = scale[:, tf.newaxis] * hessian * scale + damping * tf.eye(tf.size(scale), dtype=scale.dtype)
    return scale * tf.linalg.solve(matrix, (scale * gradient)[:, tf.newaxis])[:, 0]
