"""Schedules: α_t (Eqs. 4 and 10) and the learning-rate factors of CReST and FixMatch.

All are pure functions of the step or the progress, which may be tensors, so that no step is traced again.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

# FixMatch writes its schedule as cos(7π/16 · progress): the level is in units of π/16.
HALF_COSINE_UNIT = math.pi / 16


def alpha(progress: tf.Tensor | float, alpha_min: float, k: float) -> tf.Tensor:
    """α = 1 − (1 − α_min)·progress^k. UDAL Eq. 10; Eq. 4 is k = 1.

    Args:
      progress: scalar in [0, 1], t/T.
      alpha_min: scalar in [0, 1], reached at progress 1.
      k: at least 0; 0 gives α_min throughout (Figure 3c), including at progress 0.

    Returns:
      Scalar float32.

    Example:
      >>> print([round(float(alpha(progress, alpha_min=0.1, k=2.0)), 4) for progress in (0.0, 0.5, 1.0)])
      [1.0, 0.775, 0.1]
    """
    return 1.0 - (1.0 - alpha_min) * tf.pow(tf.cast(progress, tf.float32), tf.cast(k, tf.float32))


def epoch_progress(step: tf.Tensor | int, steps_per_epoch: int, epochs: int) -> tf.Tensor:
    """t/T of Eq. 10, with t the epoch counted from 0: it changes once per epoch and is below 1, as in CReST.

    Returns:
      Scalar float32: 0 in the first epoch, (epochs − 1)/epochs in the last.

    Example:
      >>> print([float(epoch_progress(step, steps_per_epoch=100, epochs=4)) for step in (0, 99, 100, 399)])
      [0.0, 0.0, 0.25, 0.75]
    """
    return tf.cast(tf.cast(step, tf.int64) // steps_per_epoch, tf.float32) / epochs


def linear_ramp(step: tf.Tensor | int, ramp_steps: float) -> tf.Tensor:
    """Weight factor min(step / ramp_steps, 1): MixMatch's ramp of the unlabeled loss; constantly 1 for 0 steps.

    Example:
      >>> print([float(linear_ramp(step, ramp_steps=100)) for step in (0, 25, 200)])
      [0.0, 0.25, 1.0]
    """
    if ramp_steps <= 0:
        return tf.constant(1.0)
    return tf.minimum(tf.cast(step, tf.float32) / ramp_steps, 1.0)


def _progress(step: tf.Tensor | float, total_steps: int) -> tf.Tensor:
    return tf.cast(step, tf.float32) / tf.cast(total_steps, tf.float32)


def half_cosine(step: tf.Tensor | float, total_steps: int, level: float) -> tf.Tensor:
    """Learning-rate factor cos(π·(level/16)·step/total_steps), at least 0.

    Args:
      step: steps done, 0 to total_steps.
      total_steps: length of the run.
      level: 7 in FixMatch (ends at 0.195), 1 in CReST (ends at 0.981), 8 at most (ends at 0).

    Returns:
      Scalar float32 in [0, 1].

    Example:
      >>> print([round(float(half_cosine(step, total_steps=100, level=7)), 4) for step in (0, 50, 100)])
      [1.0, 0.773, 0.1951]
    """
    return tf.maximum(tf.cos(HALF_COSINE_UNIT * level * _progress(step, total_steps)), 0.0)


def cosine(step: tf.Tensor | float, total_steps: int) -> tf.Tensor:
    """Learning-rate factor (1 + cos(π·step/total_steps))/2, from 1 to 0.

    Example:
      >>> print([round(float(cosine(step, total_steps=100)), 4) for step in (0, 25, 50)])
      [1.0, 0.8536, 0.5]
    """
    return 0.5 * (1.0 + tf.cos(math.pi * _progress(step, total_steps)))


def linear(step: tf.Tensor | float, total_steps: int) -> tf.Tensor:
    """Learning-rate factor 1 − step/total_steps, at least 0.

    Example:
      >>> print([float(linear(step, total_steps=100)) for step in (0, 25, 200)])
      [1.0, 0.75, 0.0]
    """
    return tf.maximum(1.0 - _progress(step, total_steps), 0.0)


def constant(step: tf.Tensor | float, total_steps: int) -> tf.Tensor:
    """Learning-rate factor 1 throughout.

    Example:
      >>> float(constant(50, total_steps=100))
      1.0
    """
    return tf.ones_like(_progress(step, total_steps))


def boundary_steps(boundaries: Sequence[float], total_steps: int) -> tuple[int, ...]:
    """The first step at or after each boundary: ⌈boundary·total_steps⌉.

    Args:
      boundaries: fractions of the run in (0, 1); a `fractions.Fraction` avoids rounding.
      total_steps: length of the run.

    Example:
      >>> from fractions import Fraction
      >>> boundary_steps((Fraction(1, 6), Fraction(1, 3)), total_steps=3000)
      (500, 1000)
    """
    return tuple(math.ceil(boundary * total_steps) for boundary in boundaries)


def steps(step: tf.Tensor | int, boundaries: Sequence[int], decay: float) -> tf.Tensor:
    """Learning-rate factor decay^n, a staircase: n is the number of boundaries at or before `step`.

    Args:
      step: steps done, an integer.
      boundaries: steps, as returned by `boundary_steps`; a boundary's own step already has the lower rate.
      decay: factor per boundary, in (0, 1].

    Returns:
      Scalar float32 in (0, 1].

    Example:
      >>> print([round(float(steps(step, (500, 1000), 0.1)), 4) for step in (499, 500, 1000)])
      [1.0, 0.1, 0.01]

    Source: FixMatch imagenet/utils/learning_rate.py, where the boundaries are `decay_epochs` apart.
    """
    passed = [tf.cast(step, tf.int64) >= boundary for boundary in boundaries]
    return tf.pow(tf.constant(decay, tf.float32), tf.reduce_sum(tf.cast(tf.stack(passed), tf.float32)))


def learning_rate_factor(
    name: str,
    step: tf.Tensor | float,
    total_steps: int,
    level: float = 0.0,
    warmup: float = 0.0,
    boundaries: Sequence[float] = (),
    decay: float = 1.0,
) -> tf.Tensor:
    """The factor of the named schedule, times min(step/(warmup·total_steps), 1).

    Args:
      name: half_cosine, steps, cosine, linear or constant.
      step: steps done, 0 to total_steps.
      total_steps: length of the run.
      level: for half_cosine only.
      warmup: fraction of the run over which the factor rises linearly from 0; 0 for none.
      boundaries: for steps only: fractions of the run.
      decay: for steps only: the factor at each boundary.

    Returns:
      Scalar float32 in [0, 1].

    Raises:
      ValueError: for an unknown name, or for steps without boundaries.

    Example:
      >>> staircase = {"boundaries": (0.5, 0.75), "decay": 0.1, "warmup": 0.1}
      >>> print([round(float(learning_rate_factor("steps", step, 100, **staircase)), 4) for step in (5, 10, 50, 75)])
      [0.5, 1.0, 0.1, 0.01]
    """
    simple = {"cosine": cosine, "linear": linear, "constant": constant}
    if name == "half_cosine":
        factor = half_cosine(step, total_steps, level)
    elif name == "steps":
        if not boundaries:
            raise ValueError("schedule steps needs at least one boundary, got none")
        factor = steps(step, boundary_steps(boundaries, total_steps), decay)
    elif name in simple:
        factor = simple[name](step, total_steps)
    else:
        raise ValueError(f"schedule must be one of half_cosine, steps, {', '.join(simple)}, got {name!r}")
    return factor * linear_ramp(step, warmup * total_steps) if warmup else factor
