"""The class prior that a method's labeled loss gives the model: what LA (Inf) has to remove from its logits."""

import numpy as np

from udal_tf import registry
from udal_tf.methods.method import Method
from udal_tf.registry import METHODS, P_DATA, P_TARGET, UNIFORM, ZERO

# The source priors of LA (Inf), --source_prior: p_data whatever the method, or the method's own.
LABELED = "labeled"
OWN = "own"


def has_own_prior(record: registry.Method) -> bool:
    """Whether the prior of a method's models is known: p_data, p̃ or uniform."""
    corrects = registry.resolved(record.behavior).inference_shift is not Method.inference_shift
    if record.second_head or corrects or not record.states_prior:
        return False
    shift = record.targets.labeled
    return shift is None or (shift.source == P_DATA and shift.tau == 1.0 and shift.target in (P_TARGET, UNIFORM))


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
    record = METHODS[method]
    if not has_own_prior(record):
        raise ValueError(f"the source prior of --method={method} is unknown: use {LABELED}")
    shift = record.targets.labeled
    if shift is None:
        return p_data
    if shift.alpha == ZERO or shift.target == UNIFORM:
        return np.full(len(p_data), 1 / len(p_data), np.float32)
    if p_target is None:
        raise ValueError(f"the model's own prior is known only after the first finished epoch: use {LABELED} for now")
    return p_target
