"""Stateless input: the images of step s and the random numbers of their views are functions of s and the seed alone.

Resuming at step s needs no iterator state, and each replica can compute its slice of the global batch by itself.
"""

import dataclasses

import numpy as np
import scipy.special
import tensorflow as tf

# Philox on every device, so that CPUs and GPUs give the same numbers.
_ALGORITHM = "philox"
# With 4 rounds the order of ten images is measurably biased (chi-square); with 8 it is not.
_SHUFFLE_ROUNDS = 8
# Random bits of a float32 in [0, 1): the length of its mantissa.
_RANDOM_BITS = 23
# Of the random numbers that choose an image of a class; beyond the streams of views.
_WITHIN_CLASS_STREAM = 900
# Size of the quantile table that Beta samples are looked up in.
_BETA_POINTS = 2**14


def _key(seed: int, stream: int, number: tf.Tensor) -> tf.Tensor:
    # XLA uses only 32 bits of a seed, and treats negative ones differently from TensorFlow's own kernel.
    key = tf.random.experimental.stateless_fold_in(tf.constant([seed, stream]), tf.cast(number, tf.int32))
    return key & tf.int32.max


def _shuffle_seed(seed: int, stream: int, number: tf.Tensor) -> tf.Tensor:
    """Seed of an epoch's permutation. RandomIndexShuffle accepts small integers but has only 256 orders for them."""
    return tf.random.stateless_uniform([3], _key(seed, stream, number), None, None, tf.uint32, _ALGORITHM)


def indices(step: tf.Tensor, batch_size: int, count: int, seed: int, stream: int, first: int = 0) -> tf.Tensor:
    """Indices 0…count−1 of the batch at `step`, from an endless stream of permutations: each image once per pass.

    Args:
      step: scalar int64, from 0.
      batch_size: B.
      count: images in the set, at least 1.
      seed: the run's seed.
      stream: the stream's number; streams of different numbers are independent.
      first: where in the stream step 0 would begin; below 0 if earlier batches were smaller.

    Returns:
      [B] int64. A batch may span two passes; CReST drops the remainder of a pass.
    """
    position = first + tf.cast(step, tf.int64) * batch_size + tf.range(batch_size, dtype=tf.int64)
    passes = position // count
    most_passes = (batch_size - 1) // count + 2
    seeds = tf.stack([_shuffle_seed(seed, stream, passes[0] + number) for number in range(most_passes)])
    return tf.raw_ops.RandomIndexShuffle(
        index=position % count,
        seed=tf.gather(seeds, passes - passes[0]),
        max_index=tf.constant(count - 1, tf.int64),
        rounds=_SHUFFLE_ROUNDS,
    )


@dataclasses.dataclass(frozen=True)
class ByClass:
    """Indices of a set of images, class after class, from which class-balanced batches are sampled.

    rows: [n] int64. starts, sizes: [K] int64, where each class with images begins in `rows`, and how many it has.
    """

    rows: tf.Tensor
    starts: tf.Tensor
    sizes: tf.Tensor

    @classmethod
    def of(cls, labels: np.ndarray) -> "ByClass":
        """labels: [n] int64."""
        sizes = np.bincount(labels)
        starts, present = np.cumsum(sizes) - sizes, sizes > 0
        arrays = np.argsort(labels, kind="stable"), starts[present], sizes[present]
        return cls(*(tf.constant(values, tf.int64) for values in arrays))

    def indices(self, step: tf.Tensor, batch_size: int, seed: int, stream: int) -> tf.Tensor:
        """[B] int64: the batch at `step`: classes equally often, by permutations, and of each a random image.

        The arguments are those of the function `indices`.
        """
        classes = indices(step, batch_size, len(self.sizes), seed, stream)
        sizes = tf.gather(self.sizes, classes)
        random = uniforms(step, batch_size, 1, seed, _WITHIN_CLASS_STREAM + stream)[:, 0]
        within = tf.cast(tf.cast(random, tf.float64) * tf.cast(sizes, tf.float64), tf.int64)
        return tf.gather(self.rows, tf.gather(self.starts, classes) + within)


def uniforms(step: tf.Tensor, batch_size: int, columns: int, seed: int, stream: int) -> tf.Tensor:
    """Uniform random numbers in [0, 1) for the batch at `step`, one row per image.

    Args:
      step: scalar int64.
      batch_size: B.
      columns: numbers per image.
      seed: as in `indices`.
      stream: as in `indices`.

    Returns:
      [B, columns] float32.
    """
    key = _key(seed, stream, step)
    # From bits: under XLA the generator makes its floats of other bits of the same integers.
    bits = tf.random.stateless_uniform([batch_size, columns], key, None, None, tf.uint32, _ALGORITHM)
    return tf.cast(tf.bitcast(bits, tf.int32) & (2**_RANDOM_BITS - 1), tf.float32) * 2.0**-_RANDOM_BITS


def partners(step: tf.Tensor, size: int, seed: int, stream: int) -> tf.Tensor:
    """MixUp partners in the global batch of `step`: a permutation of 0…size−1, [size] int64.

    Args:
      step: scalar int64.
      size: examples in the global batch.
      seed: as in `indices`.
      stream: as in `indices`.
    """
    return indices(step, size, size, seed, stream)


def beta_weights(step: tf.Tensor, size: int, beta: float, seed: int, stream: int) -> tf.Tensor:
    """Samples of Beta(beta, beta) for the global batch of `step`, [size] float32.

    By the quantile function, tabulated in steps of 2⁻¹⁴: rejection sampling would give other numbers under XLA.

    Args:
      step: scalar int64.
      size: examples in the global batch.
      beta: both parameters of the distribution, above 0.
      seed: as in `indices`.
      stream: as in `indices`.
    """
    middles = (np.arange(_BETA_POINTS) + 0.5) / _BETA_POINTS
    quantiles = tf.constant(scipy.special.betaincinv(beta, beta, middles), tf.float32)
    uniform = uniforms(step, size, 1, seed, stream)[:, 0]
    return tf.gather(quantiles, tf.cast(uniform * _BETA_POINTS, tf.int32))
