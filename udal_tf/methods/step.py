"""One training step, as its base learner and its method see it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from udal_tf.core import pseudo_labels
from udal_tf.methods.aligner import Aligner
from udal_tf.methods.losses import Losses
from udal_tf.methods.network import SECOND_HEAD, Network

# Beyond the streams of `input.pipeline`, so that a method's random numbers differ from those of the order and views.
_FIRST_STREAM = 1000
_RANDOM_BITS = 23

if TYPE_CHECKING:
    from udal_tf.methods.method import Method


# Digits of a step, which hide that 0.1 · 30 is 3.0000000000000004.
_STEP_DIGITS = 6


def first_step(fraction: float, total_steps: int) -> int:
    """The first step at or after this fraction of a run."""
    return math.ceil(round(fraction * total_steps, _STEP_DIGITS))


class Step:
    """The data of one step on one replica. Base learners fill in what they compute, for methods to use.

    Attributes:
      batch: this replica's part, as `input.pipeline` describes it.
      number: scalar int64, steps done before.
      total_steps: length of the run.
      progress: scalar, t/T of Eq. 10.
      network: the model and its heads.
      values: the distributions and numbers that `aligner` reads by name; a method may change them within a step.
      logits: view -> its logits [n, C], for each view that went through `forward`.
      heads: head -> view -> its logits.
      targets: [U, C], the pseudo-labels.
      mask: [U], which of them are confident.
      losses: returned by the base learner.
    """

    def __init__(
        self,
        batch: dict[str, tf.Tensor],
        number: tf.Tensor,
        total_steps: int,
        progress: tf.Tensor,
        network: Network,
        method: Method,
        values: dict[str, tf.Tensor],
        seed: int,
    ):
        self.batch, self.number, self.total_steps = batch, number, total_steps
        self.progress, self.network = progress, network
        self.logits: dict[str, tf.Tensor] = {}
        self.heads: dict[str, dict[str, tf.Tensor]] = {name: {} for name in network.heads}
        self.targets: Any = None
        self.mask: Any = None
        self.losses: Losses | None = None
        self.values = values
        self._method, self._seed = method, seed
        self.values.update(method.values(self))
        self.aligner = Aligner(method.targets, self.values)

    @property
    def second_head(self) -> dict[str, tf.Tensor]:
        """Logits [n, C] of the second head by view, if the method has one."""
        return self.heads[SECOND_HEAD]

    def forward(self, all_heads: bool = False, /, **views: tf.Tensor) -> list[tf.Tensor]:
        """Logits [n, C] of each view's images, from one pass in training mode, so that batch norm sees all together.

        all_heads: whether the base learner's own heads are applied, too; a second head always is.
        """
        sizes = [images.shape[0] for images in views.values()]
        joined = tf.concat(list(views.values()), axis=0) if len(views) > 1 else next(iter(views.values()))
        logits, others = self.network(joined, all_heads)
        self.logits.update(zip(views, self._split(logits, sizes), strict=True))
        for name, of_head in others.items():
            self.heads[name].update(zip(views, self._split(of_head, sizes), strict=True))
        return [self.logits[name] for name in views]

    @staticmethod
    def _split(values: tf.Tensor, sizes: list[int]) -> list[tf.Tensor]:
        return tf.split(values, sizes) if len(sizes) > 1 else [values]

    def labeled_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """Logits [B, C] for the labeled loss."""
        return self._method.labeled_logits(self, logits)

    def unlabeled_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """Logits [U, C] for the unlabeled loss."""
        return self._method.unlabeled_logits(self, logits)

    def cross_entropy(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Losses [n] of logits [n, C] for targets [n] or [n, C], as the method has them."""
        return self._method.cross_entropy(targets, logits)

    def pseudo_labels(
        self, probs: tf.Tensor, threshold: float, temperature: float, refine_sharpened: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Pseudo-labels and the mask of confident ones, made from predictions by the method.

        Args:
          probs: [U, C] float32, rows sum to 1, without gradient.
          threshold: of `core.pseudo_labels`.
          temperature: of `core.pseudo_labels`.
          refine_sharpened: whether `Method.refined` is applied after sharpening instead of before.

        Returns:
          targets [U, C], mask [U].
        """
        guesses = self._method.pseudo_probs(self, probs)
        if not refine_sharpened:
            guesses = self._method.refined(self, guesses)
        targets, mask = pseudo_labels.pseudo_labels(guesses, threshold, temperature)
        if refine_sharpened:
            targets = self._method.refined(self, targets)
        self.targets, self.mask = self._method.pseudo_labels(self, targets, mask)
        return self.targets, self.mask

    def uniform(self, count: int, stream: int = 0) -> tf.Tensor:
        """[count] float32 in [0, 1): random numbers that depend only on the run's seed, the step and `stream`.

        They are this replica's part of those of the global batch.
        """
        context = tf.distribute.get_replica_context()
        key = tf.random.experimental.stateless_fold_in(
            tf.constant([self._seed, _FIRST_STREAM + stream]), tf.cast(self.number, tf.int32)
        )
        # As `input.stream.uniforms`: the same numbers on every device, with XLA and without.
        everywhere = [count * context.num_replicas_in_sync]
        bits = tf.random.stateless_uniform(everywhere, key & tf.int32.max, None, None, tf.uint32, "philox")
        numbers = tf.cast(tf.bitcast(bits, tf.int32) & (2**_RANDOM_BITS - 1), tf.float32) * 2.0**-_RANDOM_BITS
        return tf.slice(numbers, [count * tf.cast(context.replica_id_in_sync_group, tf.int32)], [count])
