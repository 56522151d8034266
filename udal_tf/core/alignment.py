"""Distribution alignment: of probabilities (Eq. 1) and as a shift of logits (Eqs. 3, 6–9), UDAL §2.2–3.1."""

import tensorflow as tf

# Keeps the ratio of Eq. 1 finite; CReST util/semisup.py.
PROBS_EPSILON = 1e-6
# Algorithm 1 divides by (target + 1e-9). Adding it to both distributions also keeps the shift finite for a class
# of zero probability, and exactly zero where the two are equal.
LOG_EPSILON = 1e-9


def power(values: tf.Tensor, exponent: tf.Tensor | float) -> tf.Tensor:
    """values^exponent for values and exponents that are not negative, with a finite gradient at a value of 0.

    There the slope of an exponent below 1 is infinite, and times a gradient of 0 it would be NaN; it is taken as 0.

    Args:
      values: [...] float, non-negative.
      exponent: scalar, at least 0; 0^0 is 1.

    Returns:
      [...] of the type of `values`.

    Example:
      >>> print(power(tf.constant([0.0, 4.0]), 0.5).numpy())
      [0. 2.]
    """
    exponent = tf.cast(exponent, values.dtype)
    regular = (values > 0.0) | (exponent >= 1.0)
    powered = tf.pow(tf.where(regular, values, tf.ones_like(values)), exponent)
    return tf.where(regular, powered, tf.cast(exponent == 0.0, values.dtype))


def tempered(p_data: tf.Tensor, alpha: tf.Tensor | float) -> tf.Tensor:
    """The target distribution p̃_α = Normalize(p_data^α): p_data itself at α = 1, uniform at α = 0. UDAL Eq. 2.

    Args:
      p_data: [C] float32, non-negative; a zero entry remains zero unless α = 0.
      alpha: scalar in [0, 1].

    Returns:
      [C] float32, sums to 1.

    Example:
      >>> print(tempered(tf.constant([0.8, 0.2]), 0.5).numpy().round(4))
      [0.6667 0.3333]
    """
    powered = power(p_data, alpha)
    return powered / tf.reduce_sum(powered)


def shifted(probs: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Normalize(probs · exp(shift)) = softmax(log probs + shift), finite for every finite shift.

    Args:
      probs: [..., C] float32, rows sum to 1; a zero entry remains zero, and the gradient there is 0.
      shift: [C] float32, finite, such as a multiple of `log_ratio`.

    Returns:
      [..., C] float32, rows sum to 1.

    Example:
      >>> print(shifted(tf.constant([0.5, 0.5, 0.0]), tf.constant([0.0, 0.0, 1000.0])).numpy())
      [0.5 0.5 0. ]
    """
    positive = probs > 0.0
    logs = tf.math.log(tf.where(positive, probs, tf.ones_like(probs)))
    return tf.nn.softmax(tf.where(positive, logs, tf.constant(float("-inf"), probs.dtype)) + shift)


def align_probs(probs: tf.Tensor, p_target: tf.Tensor, p_model: tf.Tensor) -> tf.Tensor:
    """Predictions rescaled by p_target / p_model and renormalized by row. UDAL Eq. 1; CReST util/semisup.py.

    Args:
      probs: [B, C] float32, rows sum to 1.
      p_target: [C] float32, the distribution to align to.
      p_model: [C] float32, the moving average q̂ of the model's predictions.

    Returns:
      [B, C] float32, rows sum to 1.

    Example:
      >>> uniform = tf.constant([0.5, 0.5])
      >>> print(align_probs(tf.constant([[0.6, 0.4]]), uniform, p_model=tf.constant([0.75, 0.25])).numpy().round(4))
      [[0.3333 0.6667]]
    """
    aligned = probs * (PROBS_EPSILON + p_target) / (PROBS_EPSILON + p_model)
    return aligned / tf.reduce_sum(aligned, axis=-1, keepdims=True)


def log_ratio(p_source: tf.Tensor, p_target: tf.Tensor, epsilon: float = LOG_EPSILON) -> tf.Tensor:
    """log(p_source / p_target): the shift of the logits in aligned losses, finite for a class of zero probability.

    With p_source = p_data it is the shift of Eq. 6 (of Eq. 3 where p_target is uniform), with p_source = q̂ that of
    Eq. 9; with source and target swapped it is Eq. 7, the inverse of that alignment. UDAL §3.1, Algorithm 1.

    Args:
      p_source: [C] float32, the distribution aligned from.
      p_target: [C] float32, the distribution aligned to.
      epsilon: added to both.

    Returns:
      [C] float32, exactly zero where the two are equal.

    Example:
      >>> print(log_ratio(tf.constant([0.8, 0.2]), tf.constant([0.5, 0.5])).numpy().round(4))
      [ 0.47   -0.9163]
    """
    return tf.math.log(p_source + epsilon) - tf.math.log(p_target + epsilon)
