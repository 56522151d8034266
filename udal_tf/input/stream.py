"""A stream without state: which pictures step s sees, and the random numbers of their views, follow from s alone.

Restarting at step s needs no iterator state, and each replica can compute its slice of the global batch by itself.
"""

import tensorflow as tf

# Philox on every device, so that a CPU and a GPU draw the same numbers.
_ALGORITHM = "philox"
# With 4 rounds the order of a set of ten is measurably biased (chi-square), with 8 it is not.
_SHUFFLE_ROUNDS = 8


def _key(seed: int, stream: int, number: tf.Tensor) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(tf.constant([seed, stream], tf.int64), number)


def _shuffle_seed(seed: int, stream: int, number: tf.Tensor) -> tf.Tensor:
    """Seed of a pass's permutation. RandomIndexShuffle takes small integers for seeds but then has 256 orders only."""
    return tf.random.stateless_uniform([3], _key(seed, stream, number), None, None, tf.uint32, _ALGORITHM)


def indices(step: tf.Tensor, batch_size: int, count: int, seed: int, stream: int) -> tf.Tensor:
    """Positions 0…count−1 of the batch at `step`: one endless stream of permutations, each picture once a pass.

    Args:
      step: scalar int64, from 0.
      batch_size: B. count: pictures in the set, at least 1.
      seed: the run's seed. stream: a number per kind of stream (labelled, unlabelled), so that they differ.

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


def draws(step: tf.Tensor, batch_size: int, columns: int, seed: int, stream: int) -> tf.Tensor:
    """Uniform numbers in [0, 1) for the batch at `step`, a row for each picture.

    Args:
      step: scalar int64. batch_size: B. columns: numbers that a view needs per picture.
      seed, stream: as in `indices`.

    Returns:
      [B, columns] float32.
    """
    key = _key(seed, stream, tf.cast(step, tf.int64))
    return tf.random.stateless_uniform([batch_size, columns], key, alg=_ALGORITHM)


def mixing(step: tf.Tensor, size: int, beta: float, seed: int, stream: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Partners and raw weights of MixUp for the global batch of `step`.

    Args:
      step: scalar int64. size: examples in the global batch. beta: a of Beta(a, a).
      seed, stream: as in `indices`.

    Returns:
      partners [size] int64, a permutation of 0…size−1; draws of Beta(beta, beta) [size] float32.
    """
    partners = indices(step, size, size, seed, stream)
    key = _key(seed, stream, tf.cast(step, tf.int64))
    gammas = tf.random.stateless_gamma([2, size], key, alpha=beta)
    return partners, gammas[0] / (gammas[0] + gammas[1])
