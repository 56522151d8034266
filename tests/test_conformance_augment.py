"""Our RandAugment operations give CReST's pixels (augment.npz)."""

import numpy as np
import tensorflow as tf

from udal_tf.augment import randaugment

# Nearest-neighbor ties of these three may fall either way, in at most this share of the pixels.
MAY_DIFFER = {"Rotate": 0.005, "ShearX": 0.005, "ShearY": 0.005}


def test_every_op_gives_crest_pixels(golden):
    with np.load(golden / "augment.npz") as vectors:
        images, levels = vectors["images"], vectors["levels"]
        expected = {op: vectors[op] for op in vectors.files if op not in ("images", "levels")}
    assert expected

    differing = {}
    for op, rows in expected.items():
        # Geometric ops have two rows per level: sign + then sign -.
        signs = (1.0, -1.0) if len(rows) == 2 * len(levels) else (1.0,)
        settings = [(level, sign) for level in levels for sign in signs]
        assert len(rows) == len(settings), op
        level, sign = np.repeat(np.array(settings, np.float32), len(images), axis=0).T
        batch = np.tile(images, (len(settings), 1, 1, 1))
        ours = randaugment.apply_op(tf.constant(batch), op, level, sign).numpy()
        differing[op] = np.mean(np.any(ours != rows.reshape(batch.shape), axis=-1))

    assert {op: share for op, share in differing.items() if share > MAY_DIFFER.get(op, 0.0)} == {}
