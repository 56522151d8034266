"""input: views of a few images to be looked at."""

import dataclasses

import numpy as np

from udal_tf.augment.views import make_views
from udal_tf.config import AugmentConfig
from udal_tf.input.samples import view_samples

PLAIN = AugmentConfig(crop_padding=0, flip=False, strong_layers=0, cutout=0.0)


def images(side=16):
    return np.random.RandomState(0).randint(0, 256, (3, side, side, 3)).astype(np.uint8)


def samples(config, weak=2, strong=3):
    return view_samples(images(), make_views(config, 16, 16, 3), weak, strong)


def test_views_that_change_nothing_show_the_images_themselves():
    shown = samples(PLAIN)
    assert shown.shape == (3, 6, 16, 16, 3) and shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, np.repeat(images()[:, None], 6, axis=1))


def test_weak_views_come_before_strong_ones_and_differ_from_each_other():
    shown = samples(AugmentConfig())
    np.testing.assert_array_equal(shown[:, 0], images())
    gray = np.all(shown == 128, axis=-1).mean(axis=(0, 2, 3))
    # Cutout leaves gray in the strong views alone.
    assert (gray[:3] < 0.01).all() and (gray[3:] > 0.05).all()
    assert len({view.tobytes() for view in shown[0]}) == 6


def test_the_same_images_give_the_same_sheet():
    np.testing.assert_array_equal(samples(AugmentConfig()), samples(AugmentConfig()))


def test_random_resized_crops_are_shown_where_training_takes_them():
    shown = samples(dataclasses.replace(PLAIN, crop="resized"))
    np.testing.assert_array_equal(shown[:, 0], images())
    assert all((shown[:, column] != images()).any() for column in range(1, 6))
