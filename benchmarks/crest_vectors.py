"""Writes what CReST's own image operations give: the file augment.npz that ours are held to, for any seed and levels.

    BIN benchmarks/crest_vectors.py --crest=DIR --out=FOLDER/augment.npz
    UDAL_GOLDEN=FOLDER python -m pytest tests/test_conformance_augment.py

DIR is a checkout of google-research/crest, BIN a Python with TensorFlow 2.15 and tensorflow-addons 0.23. The file
holds `images` [N, S, S, 3], `levels` [L], and one array per operation, [L, N, S, S, 3], or [2L, ...] for the geometric
ones: level by level, sign + then sign -.
"""

import argparse
import sys

import numpy as np
import tensorflow as tf

# Where CReST's largest translation is the 10/32 of the side that ours is.
SIZES = (32, 96, 128)
SIGNED = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crest", required=True, help="Checkout of google-research/crest.")
    parser.add_argument("--out", required=True, help="The .npz file to write.")
    parser.add_argument("--seed", type=int, default=0, help="Of the images.")
    parser.add_argument("--images", type=int, default=6, help="How many images.")
    parser.add_argument("--size", type=int, default=32, choices=SIZES, help="Their side in pixels.")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.0, 0.15, 0.4, 0.65, 0.97], help="In [0, 1].")
    args = parser.parse_args()

    sys.path.insert(0, args.crest)
    from data import augment_ops as crest_views
    from third_party import augment_ops, rand_augment

    # Making one sets the translation for this size and names the operations.
    names = crest_views.RandAugment(num_layers=2, prob_to_apply=0.5, size=args.size).ra_ops
    images = random_images(args.seed, args.images, args.size)
    levels = np.array(args.levels, np.float32)

    def row(name: str, level: np.float32, sign: float) -> np.ndarray:
        # CReST draws the sign inside its level functions; the vectors need both.
        rand_augment._randomly_negate_tensor = lambda amount: amount * sign
        arguments = rand_augment.LEVEL_TO_ARG[name](tf.constant(level))
        return np.stack([augment_ops.NAME_TO_FUNC[name](tf.constant(image), *arguments) for image in images])

    vectors = {}
    for name in names:
        signs = (1.0, -1.0) if name in SIGNED else (1.0,)
        vectors[name] = np.stack([row(name, level, sign) for level in levels for sign in signs])
    np.savez_compressed(args.out, images=images, levels=levels, **vectors)


def random_images(seed: int, count: int, size: int) -> np.ndarray:
    """[count, size, size, 3] uint8: in turn noise, blocks, a gradient, little contrast, gray, and a flat channel."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        noise = rng.integers(0, 256, (size, size, 3))
        blocks = rng.integers(0, 256, (size // 4, size // 4, 3)).repeat(4, axis=0).repeat(4, axis=1)
        slope = np.add.outer(np.arange(size), np.arange(size))[..., None] * rng.uniform(0.3, 1.0, 3) * 127 / size
        flat = noise * [1, 0, 1] + [0, rng.integers(0, 256), 0]
        made.append((noise, blocks, slope, 90 + blocks // 5, noise[..., :1].repeat(3, axis=2), flat)[number % 6])
    return np.stack(made).astype(np.uint8)


if __name__ == "__main__":
    main()
