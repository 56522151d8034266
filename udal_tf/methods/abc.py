"""ABC (Lee, Shin & Kim 2021): a second head on the same features that sees every class equally often."""

import numpy as np
import tensorflow as tf

from udal_tf.core import losses
from udal_tf.methods.losses import Auxiliary
from udal_tf.methods.method import Method, Setup
from udal_tf.methods.step import Step
from udal_tf.records.later_methods import AbcConfig
from udal_tf.settings import of_kind

# Streams of a step's random numbers, for the labeled and the unlabeled images.
_LABELED, _UNLABELED = 0, 1


def keep_rates(counts: np.ndarray) -> np.ndarray:
    """Smallest class / class: [C] float32, the fraction of each class's images [C] that the second head sees.

    The release divides the last class by each, which is the same where classes are sorted. A class without images has
    1.

    Example: 40, 10 and 20 images give rates (1/4, 1, 1/2).
    """
    counts = np.asarray(counts, np.float64)
    return np.where(counts > 0, counts[counts > 0].min() / np.maximum(counts, 1e-30), 1.0).astype(np.float32)


class Abc(Method):
    """FixMatch for the first head; for the second, each image counts by chance, the rarer its class the more often.

    The labeled images of a class c are kept at its rate r_c, the unlabeled ones at 1 − progress·(1 − r_c), c their
    pseudo-label by the second head itself, which is soft. One random number of an image is for all of its views.

    Source: the release's `ABCfix.py`.
    """

    def __init__(self, setup: Setup):
        super().__init__(setup)
        counts = setup.problem.p_data if setup.problem.labeled_counts is None else setup.problem.labeled_counts
        self.rates = tf.constant(keep_rates(counts))
        self._threshold = of_kind(AbcConfig, setup.settings).abc_threshold

    def auxiliary(self, step: Step) -> dict[str, Auxiliary]:
        head, labels = step.second_head, step.batch["labels_l"]
        labeled = losses.weighted(self.keep_labeled(step), losses.cross_entropy(labels, head["x_l"]))
        parts = {"abc": Auxiliary(labeled, 1.0, ramped=False)}
        probs, mask = self.guesses(step)
        kept = mask * self.keep_unlabeled(step)
        for name, view in (("abc_strong", "x_s"), ("abc_strong2", "x_s2")):
            values = losses.weighted(kept, losses.cross_entropy(probs, head[view]))
            parts[name] = Auxiliary(values, self.setup.config.unlabeled_weight, ramped=True)
        return parts

    def guesses(self, step: Step) -> tuple[tf.Tensor, tf.Tensor]:
        """The second head's soft pseudo-labels [U, C], and the mask [U] of confident ones."""
        probs = tf.stop_gradient(tf.nn.softmax(step.second_head["x_w"]))
        return probs, tf.cast(tf.reduce_max(probs, axis=-1) >= self._threshold, tf.float32)

    def chances(self, step: Step) -> tuple[tf.Tensor, tf.Tensor]:
        """The chances of the labeled [B] and of the unlabeled images [U] to be kept."""
        rates = tf.gather(self.rates, tf.argmax(self.guesses(step)[0], axis=-1))
        return tf.gather(self.rates, step.batch["labels_l"]), 1.0 - step.progress * (1.0 - rates)

    def keep_labeled(self, step: Step) -> tf.Tensor:
        """[B] of 0 and 1: which labeled images the second head learns from."""
        chances, _ = self.chances(step)
        return tf.cast(step.uniform(chances.shape[0], _LABELED) < chances, tf.float32)

    def keep_unlabeled(self, step: Step) -> tf.Tensor:
        """[U] of 0 and 1: which unlabeled ones."""
        _, chances = self.chances(step)
        return tf.cast(step.uniform(chances.shape[0], _UNLABELED) < chances, tf.float32)
