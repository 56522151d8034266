"""digits-LT: scikit-learn's 1,797 handwritten 8×8 digits, which come with the installation."""

import numpy as np
from sklearn.datasets import load_digits

from udal_tf.data.dataset import Source
from udal_tf.sections import DataConfig

TEST_PER_CLASS = 50
# Fixed, so that the test set does not depend on a run's fold or seed.
HOLD_OUT_SEED = 0
LARGEST_VALUE = 16


def load(config: DataConfig) -> Source:
    """50 images of each class form the test set, the others (124 to 133 per class) the training set.

    Returns:
      Source with images [8, 8, 1] uint8, the 17 gray levels scaled to 0…255.
    """
    digits = load_digits()
    images = np.round(digits.images * (255 / LARGEST_VALUE)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int64)
    generator = np.random.RandomState(HOLD_OUT_SEED)
    held_out = np.zeros(len(labels), bool)
    for c in range(10):
        held_out[generator.choice(np.flatnonzero(labels == c), TEST_PER_CLASS, replace=False)] = True
    parts = [(images[part], labels[part]) for part in (~held_out, held_out)]
    provenance = {"source": "scikit-learn load_digits, 8x8 pixels, 50 test images per class"}
    return Source.of_arrays(parts, tuple(str(c) for c in range(10)), provenance)
