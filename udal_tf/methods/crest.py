"""CReST and CReST+ (Wei et al. 2021): which pseudo-labeled images join the labeled set, more of rare classes.

The generations are in `training.crest`. Within a generation CReST trains the base learner as it is, and CReST+ aligns
its pseudo-labels.
"""

import numpy as np

from udal_tf.methods.method import Method


class Crest(Method):
    """A method that adds pseudo-labeled images to the labeled set."""

    @classmethod
    def check(cls, settings, data) -> None:
        if not len(data.unlabeled_only):
            raise ValueError("--method=crest and crest+ need unlabeled images to label, and --beta leaves none")


def keep_rates(p_data: np.ndarray, select_alpha: float) -> np.ndarray:
    """(p of the mirrored rank / p of the first rank)^(1/α): 1 for the rarest class, smallest for the most frequent.

    CReST goes by class id, which is the rank if classes are sorted by frequency; here classes are ranked.

    Args:
      p_data: [C] float32, the class prior, every entry above 0.
      select_alpha: CReST's α, above 0; the larger, the more similar the rates.

    Returns:
      [C] float64 in (0, 1].

    Example: prior (0.8, 0.1, 0.1) and α = 1 give rates (1/8, 1/8, 1).
    """
    ranked = np.argsort(-p_data, kind="stable")
    descending = p_data[ranked]
    rates = np.empty(len(p_data))
    rates[ranked] = (descending[::-1] / descending[0]).astype(np.float64) ** (1.0 / select_alpha)
    return rates


def select(
    probs: np.ndarray, positions: np.ndarray, p_data: np.ndarray, select_alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """The images that join the labeled set: the most confident fraction of each predicted class. No threshold.

    Args:
      probs: [n, C] float32, the EMA model's predictions (or logits: only the order within a class matters).
      positions: the images' positions, in the order of `probs`; positions beyond its rows are ignored.
      p_data: [C] float32.
      select_alpha: see `keep_rates`.

    Returns:
      positions [m] int64, class by class and most confident first; their pseudo-labels [m] int64.

    Source: CReST util/semisup.py, data/cifar.py.
    """
    predicted, confidence = probs.argmax(axis=1), probs.max(axis=1)
    chosen, labels = [], []
    for c, rate in enumerate(keep_rates(p_data, select_alpha)):
        rows = np.flatnonzero(predicted == c)
        rows = rows[np.argsort(-confidence[rows], kind="stable")]
        kept = rows[: int(len(rows) * rate)]
        chosen.append(positions[kept])
        labels.append(np.full(len(kept), c))
    return np.concatenate(chosen).astype(np.int64), np.concatenate(labels).astype(np.int64)
