"""augment.rotations: rotations by 90° move pixels and change no value."""

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.augment.rotations import rotate_quarters

IMAGES = np.random.RandomState(0).randint(0, 256, (4, 5, 5, 3)).astype(np.uint8)


def test_the_worked_example():
    image = tf.reshape(tf.constant([1, 2, 3, 4]), [1, 2, 2, 1])
    rotated = rotate_quarters(image, tf.constant([1]))
    np.testing.assert_array_equal(rotated[0, :, :, 0], [[2, 4], [1, 3]])


@pytest.mark.parametrize("rotations", [[0, 1, 2, 3], [3, 3, 0, 2]])
def test_each_image_is_rotated_by_its_own_number(rotations):
    expected = [np.rot90(image, k) for image, k in zip(IMAGES, rotations, strict=True)]
    for call in (rotate_quarters, tf.function(rotate_quarters), tf.function(rotate_quarters, jit_compile=True)):
        np.testing.assert_array_equal(call(tf.constant(IMAGES), tf.constant(rotations)), expected)


def test_images_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="square images, got 4 x 5"):
        rotate_quarters(tf.zeros([2, 4, 5, 1]), tf.constant([0, 1]))
