"""Logit adjustment at inference, LA (Inf) of the paper's §2.2: replaces the source prior by a target prior.

  logits − log p_source + log p_target

p_source is the prior that the model's predictions are assumed to follow, p_target the stated class distribution of the
new images. Which p_source is right depends on the method. Trained with plain cross-entropy a model follows p_data;
trained with UDAL's labeled loss, p̃_α (Eqs. 6 to 8); with logit adjustment in training, the uniform distribution:
`own`. The paper removes p_data from every method, UDAL included ("UDAL & LA (Inf)", Table 1): `labeled`.
"""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from udal_tf import class_distribution, registry
from udal_tf.core import alignment
from udal_tf.methods.method import Method
from udal_tf.registry import METHODS, P_DATA, P_TARGET, ZERO
from udal_tf.registry import UNIFORM as UNIFORM_TARGET

UNIFORM, TRAIN = "uniform", "train"
LABELED, OWN = "labeled", "own"
# What a user may state: a keyword, a file, numbers by class name, numbers in class order.
Stated = str | os.PathLike | Mapping[str, float] | Sequence[float]


def target_prior(stated: Stated, class_names: Sequence[str], p_data: np.ndarray) -> np.ndarray:
    """The class distribution that a user states for the images to predict.

    Args:
      stated: `uniform`; `train`, p_data; a file as read by `class_distribution.read`; or the numbers themselves, in
        class order or by name. They need not sum to 1; counts work too.
      class_names: C names.
      p_data: [C] float32.

    Returns:
      [C] float32, sums to 1.

    Raises:
      ValueError: if that is not one number per class.
    """
    count = len(class_names)
    if isinstance(stated, str) and stated == UNIFORM:
        return np.full(count, 1 / count, np.float32)
    if isinstance(stated, str) and stated == TRAIN:
        return p_data
    if isinstance(stated, (str, os.PathLike)):
        if not os.path.exists(stated):
            raise ValueError(
                f"a target prior must be {UNIFORM}, {TRAIN} or a file with a class distribution, got {str(stated)!r}"
            )
        entries, source = class_distribution.read(os.fspath(stated)), f"{stated}: "
    else:
        entries = (
            tuple(f"{n}={float(s)!r}" for n, s in stated.items())
            if isinstance(stated, Mapping)
            else tuple(repr(float(number)) for number in stated)
        )
        source = "target prior: "
    try:
        return np.array(class_distribution.as_distribution(entries, class_names), np.float32)
    except ValueError as error:
        raise ValueError(f"{source}{error}") from error


def own_prior(method: str, p_data: np.ndarray, p_target: np.ndarray | None) -> np.ndarray:
    """The prior that a method's labeled loss gives the model: p̃ (Eq. 6), uniform (Eq. 3), or p_data. [C] float32.

    The same as `methods.aligner.Aligner.p_own`, from the run's records.

    Args:
      method: a run's --method.
      p_data: [C], the class prior of the labeled data.
      p_target: [C], p̃ at the weights' epoch; None if no epoch is finished.

    Raises:
      ValueError: if p̃ is needed and not known, or the method has a second head, a correction at inference, estimates
        of its own, or a labeled loss that is weighted or sampled by class.
    """
    record, unknown = METHODS[method], f"the source prior of --method={method} is unknown: use {LABELED}"
    shift = record.targets.labeled
    corrects = registry.resolved(record.behavior).inference_shift is not Method.inference_shift
    if record.second_head or corrects or not record.states_prior:
        raise ValueError(unknown)
    if shift is None:
        return p_data
    if shift.source != P_DATA or shift.tau != 1.0 or shift.target not in (P_TARGET, UNIFORM_TARGET):
        raise ValueError(unknown)
    if shift.alpha == ZERO or shift.target == UNIFORM_TARGET:
        return np.full(len(p_data), 1 / len(p_data), np.float32)
    if p_target is None:
        raise ValueError(f"the model's own prior is known only after the first finished epoch: use {LABELED} for now")
    return p_target


def shift(p_source: np.ndarray, p_target: np.ndarray) -> np.ndarray:
    """[C] float32, what LA (Inf) adds to logits: log p_target − log p_source, finite even for a probability of zero.

    Example: from (0.8, 0.2) to (0.5, 0.5): (−log 1.6, log 2.5).
    """
    return -alignment.log_ratio(tf.constant(p_source), tf.constant(p_target)).numpy()
