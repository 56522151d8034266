"""Logit adjustment at inference, LA (Inf) of the paper's §2.2: the prior taken away and the one put in its place.

  logits − log p_source + log p_target

p_source is what the model's own predictions are taken to follow, p_target what the new images are said to follow.
Which p_source is right depends on the method. Trained by plain cross-entropy a model follows p_data. UDAL's labeled
loss leaves it with p̃_α (Eqs. 6 to 8), logit adjustment in training with the uniform distribution: `own`. The paper
takes p_data away from every method, UDAL included ("UDAL & LA (Inf)", Table 1): `labeled`.
"""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from udal_tf import class_distribution
from udal_tf.core import alignment
from udal_tf.registry import METHODS, P_DATA, P_TARGET, ZERO
from udal_tf.registry import UNIFORM as UNIFORM_TARGET

UNIFORM, TRAIN = "uniform", "train"
LABELED, OWN = "labeled", "own"
# What a person may state: a word, a file, shares by class name, shares in the order of the classes.
Stated = str | os.PathLike | Mapping[str, float] | Sequence[float]


def target_prior(stated: Stated, class_names: Sequence[str], p_data: np.ndarray) -> np.ndarray:
    """The distribution that a person states for the images to come.

    Args:
      stated: `uniform`; `train`, p_data; a file as `class_distribution.read` takes it; or the
        numbers themselves, in the order of the classes or by name. They need not sum to 1: counts do as well.
      p_data: [C] float32.

    Returns:
      [C] float32, sums to 1.

    Raises:
      ValueError: where that is not one share for each class.
    """
    count = len(class_names)
    if isinstance(stated, str) and stated == UNIFORM:
        return np.full(count, 1 / count, np.float32)
    if isinstance(stated, str) and stated == TRAIN:
        return p_data
    if isinstance(stated, (str, os.PathLike)):
        if not os.path.exists(stated):
            raise ValueError(f"a target prior must be {UNIFORM}, {TRAIN} or a file with shares, got {str(stated)!r}")
        entries, source = class_distribution.read(os.fspath(stated)), f"{stated}: "
    else:
        entries = (
            tuple(f"{n}={float(s)!r}" for n, s in stated.items())
            if isinstance(stated, Mapping)
            else tuple(repr(float(share)) for share in stated)
        )
        source = "target prior: "
    try:
        return np.array(class_distribution.as_distribution(entries, class_names), np.float32)
    except ValueError as error:
        raise ValueError(f"{source}{error}") from error


def own_prior(method: str, p_data: np.ndarray, p_target: np.ndarray | None) -> np.ndarray:
    """What a method's labeled loss leaves the model with: p̃ (Eq. 6), uniform (Eq. 3), or p_data. [C] float32.

    `methods.aligner.Aligner.p_own` by what the run wrote down.

    Args:
      method: a run's --method. p_target: [C], p̃ at the weights' epoch; None where no epoch is finished.

    Raises:
      ValueError: where p̃ is needed and not known.
    """
    shift = METHODS[method].targets.labeled
    if shift is None:
        return p_data
    if shift.source != P_DATA or shift.tau != 1.0 or shift.target not in (P_TARGET, UNIFORM_TARGET):
        raise ValueError(f"what --method={method} leaves the model with is not known: use {LABELED}")
    if shift.alpha == ZERO or shift.target == UNIFORM_TARGET:
        return np.full(len(p_data), 1 / len(p_data), np.float32)
    if p_target is None:
        raise ValueError(f"the model's own prior is known from the first finished epoch on: use {LABELED} for now")
    return p_target


def shift(p_source: np.ndarray, p_target: np.ndarray) -> np.ndarray:
    """[C] float32, what LA (Inf) adds to logits: log p_target − log p_source, finite for a share of zero.

    Example: from (0.8, 0.2) to (0.5, 0.5): (−log 1.6, log 2.5).
    """
    return -alignment.log_ratio(tf.constant(p_source), tf.constant(p_target)).numpy()
