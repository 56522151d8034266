"""Logit adjustment at inference, LA (Inf) of the paper's §2.2: replaces the source prior by a target prior.

  logits − log p_source + log p_target

p_source is the prior that the model's predictions are assumed to follow, p_target the stated class distribution of the
new images. Which p_source is right depends on the method. Trained with plain cross-entropy a model follows p_data;
trained with UDAL's labeled loss, p̃_α (Eqs. 6 to 8); with logit adjustment in training, the uniform distribution:
`own`, see `methods.own_prior`. The paper removes p_data from every method, UDAL included ("UDAL & LA (Inf)", Table 1):
`labeled`.
"""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from udal_tf import class_distribution
from udal_tf.core import alignment
from udal_tf.methods.own_prior import has_own_prior
from udal_tf.registry import METHODS

UNIFORM, TRAIN = "uniform", "train"
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


def caution(method: str) -> str:
    """What a user of LA (Inf) should know about models of a method; "" where they follow p_data.

    Args:
      method: a run's --method.
    """
    record = METHODS[method]
    if has_own_prior(record) and record.targets.labeled is None:
        return ""
    balanced = f"{record.label or method} has balanced this model already, at least in part"
    if has_own_prior(record):
        return (
            f"{balanced}: LA (Inf) from the prior of the labeled images can lower its accuracy, even where classes are "
            "equally frequent. --source_prior=own removes only what is left of that prior."
        )
    return f"{balanced}: LA (Inf) corrects it a second time and can lower its accuracy."


def shift(p_source: np.ndarray, p_target: np.ndarray) -> np.ndarray:
    """[C] float32, what LA (Inf) adds to logits: log p_target − log p_source, finite even for a probability of zero.

    Example: from (0.8, 0.2) to (0.5, 0.5): (−log 1.6, log 2.5).
    """
    return -alignment.log_ratio(tf.constant(p_source), tf.constant(p_target)).numpy()
