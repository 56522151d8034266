"""CReST and CReST+ (Wei et al. 2021): which pseudo-labeled images join the next generation; rare classes keep more.

The generations themselves are in `training.crest`. Inside one CReST trains plain, and CReST+ aligns pseudo-labels.
"""

import numpy as np

from udal_tf.methods.method import Method


class Crest(Method):
    """A method that labels what has no label."""

    @classmethod
    def check(cls, settings, data) -> None:
        if not len(data.unlabeled_only):
            raise ValueError("--method=crest and crest+ label images that have no label, and --beta leaves none")


def keep_rates(p_data: np.ndarray, select_alpha: float) -> np.ndarray:
    """(p of the mirrored rank / p of the first rank)^(1/α): 1 for the rarest class, smallest for the most frequent.

    CReST counts by class id, which is the rank where classes are sorted by frequency; here classes are ranked.

    Args:
      p_data: [C] float32, the class prior, every entry above 0.
      select_alpha: CReST's α, above 0; the larger, the more alike the rates.

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
    """The images that join the labeled set: of each predicted class the most confident share. No threshold.

    Args:
      probs: [n, C] float32, the EMA model's predictions (or logits: only order counts inside a class).
      positions: the images' positions, in the order of `probs`; more positions than rows are left alone.
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
