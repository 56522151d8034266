"""A stream without state: which images step s sees, and the random numbers of their views, follow from s alone.

Restarting at step s needs no iterator state, and each replica can compute its slice of the global batch by itself.
"""

import numpy as np
import scipy.special
import tensorflow as tf

# Philox on every device, so that a CPU and a GPU draw the same numbers.
_ALGORITHM = "philox"
# With 4 rounds the order of a set of ten is measurably biased (chi-square), with 8 it is not.
_SHUFFLE_ROUNDS = 8
# A float32 in [0, 1) has 23 bits of its own to be random.
_RANDOM_BITS = 23
# Points of the table that a Beta distribution is drawn from.
_BETA_POINTS = 2**14


def _key(seed: int, stream: int, number: tf.Tensor) -> tf.Tensor:
    # Of a seed XLA looks at 32 bits only, and at a negative one otherwise than TensorFlow's own kernel does.
    key = tf.random.experimental.stateless_fold_in(tf.constant([seed, stream]), tf.cast(number, tf.int32))
    return key & tf.int32.max


def _shuffle_seed(seed: int, stream: int, number: tf.Tensor) -> tf.Tensor:
    """Seed of a pass's permutation. RandomIndexShuffle takes small integers for seeds but then has 256 orders only."""
    return tf.random.stateless_uniform([3], _key(seed, stream, number), None, None, tf.uint32, _ALGORITHM)


def indices(step: tf.Tensor, batch_size: int, count: int, seed: int, stream: int) -> tf.Tensor:
    """Positions 0…count−1 of the batch at `step`: one endless stream of permutations, each image once a pass.

    Args:
      step: scalar int64, from 0.
      batch_size: B. count: images in the set, at least 1.
      seed: the run's seed. stream: a number per kind of stream (labeled, unlabeled), so that they differ.

    Returns:
      [B] int64. A batch may reach over the end of a pass; CReST drops that remainder.
    """
    position = tf.cast(step, tf.int64) * batch_size + tf.range(batch_size, dtype=tf.int64)
    passes = position // count
    most_passes = (batch_size - 1) // count + 2
    seeds = tf.stack([_shuffle_seed(seed, stream, passes[0] + number) for number in range(most_passes)])
    return tf.raw_ops.RandomIndexShuffle(
        index=position % count,
        seed=tf.gather(seeds, passes - passes[0]),
        max_index=tf.constant(count - 1, tf.int64),
        rounds=_SHUFFLE_ROUNDS,
    )


def uniforms(step: tf.Tensor, batch_size: int, columns: int, seed: int, stream: int) -> tf.Tensor:
    """Uniform numbers in [0, 1) for the batch at `step`, a row for each image.

    Args:
      step: scalar int64. batch_size: B. columns: numbers that a view needs per image.
      seed, stream: as in `indices`.

    Returns:
      [B, columns] float32.
    """
    key = _key(seed, stream, step)
    # From bits, for the generator's own floats take other bits of the same integers under XLA than elsewhere.
    bits = tf.random.stateless_uniform([batch_size, columns], key, None, None, tf.uint32, _ALGORITHM)
    return tf.cast(tf.bitcast(bits, tf.int32) & (2**_RANDOM_BITS - 1), tf.float32) * 2.0**-_RANDOM_BITS


def partners(step: tf.Tensor, size: int, seed: int, stream: int) -> tf.Tensor:
    """Who is mixed with whom in the global batch of `step`: a permutation of 0…size−1, [size] int64.

    Args:
      step: scalar int64. size: examples in the global batch. seed, stream: as in `indices`.
    """
    return indices(step, size, size, seed, stream)


def beta_weights(step: tf.Tensor, size: int, beta: float, seed: int, stream: int) -> tf.Tensor:
    """Draws of Beta(beta, beta) for the global batch of `step`, [size] float32.

    By the quantile function in steps of 2⁻¹⁴: rejection sampling would give other numbers under XLA.

    Args:
      step: scalar int64. size: examples in the global batch. beta: a of Beta(a, a). seed, stream: as in `indices`.
    """
    middles = (np.arange(_BETA_POINTS) + 0.5) / _BETA_POINTS
    quantiles = tf.constant(scipy.special.betaincinv(beta, beta, middles), tf.float32)
    uniform = uniforms(step, size, 1, seed, stream)[:, 0]
    return tf.gather(quantiles, tf.cast(uniform * _BETA_POINTS, tf.int32))
