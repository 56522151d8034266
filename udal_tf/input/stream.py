"""A stream without state: which pictures step s sees, and the random numbers of their views, follow from s alone.

Restarting at step s needs no iterator state, and each replica can compute its slice of the global batch by itself.
"""

import tensorflow as tf

# The integer type of RandomIndexShuffle's seeds has to hold the epoch of the longest run.
_SEED_DTYPE = tf.int64
# Philox on every device, so that a CPU and a GPU draw the same numbers.
_ALGORITHM = "philox"


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
    seeds = tf.stack([tf.fill([batch_size], tf.cast(seed, _SEED_DTYPE)), passes, tf.fill([batch_size], tf.cast(stream, _SEED_DTYPE))], axis=1)
    return tf.raw_ops.RandomIndexShuffle(
        index=position % count, seed=seeds, max_index=tf.constant(count - 1, tf.int64), rounds=4
    )


def draws(step: tf.Tensor, batch_size: int, columns: int, seed: int, stream: int) -> tf.Tensor:
    """Uniform numbers in [0, 1) for the batch at `step`, a row for each picture.

    Args:
      step: scalar int64. batch_size: B. columns: numbers that a view needs per picture.
      seed, stream: as in `indices`.

    Returns:
      [B, columns] float32.
    """
    key = tf.random.experimental.stateless_fold_in(tf.constant([seed, stream], tf.int64), tf.cast(step, tf.int64))
    return tf.random.stateless_uniform([batch_size, columns], key, alg=_ALGORITHM)
