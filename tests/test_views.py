"""The plain, weak and strong views: what they do to an image, and what the uniforms mean."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.augment import views
from udal_tf.config import AugmentConfig

DEFAULT = AugmentConfig()


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def random_uniforms(count, columns, seed=1):
    return np.random.default_rng(seed).random((count, columns), dtype=np.float32)


def test_plain_view_maps_pixels_to_minus_one_to_one():
    view = views.make_views(DEFAULT, 8, 8, 1).plain
    image = np.zeros((1, 8, 8, 1), np.uint8)
    image[0, 0, :4, 0] = 0, 51, 204, 255
    result = view.apply(image, np.zeros((1, view.uniforms), np.float32)).numpy()
    np.testing.assert_allclose(result[0, 0, :4, 0], [-1.0, -0.6, 0.6, 1.0], rtol=1e-6)
    assert result.min() == -1.0 and result.max() == 1.0


def test_weak_view_is_reflect_pad_crop_and_flip():
    height, width, padding = 7, 10, 2
    settings = list(itertools.product(range(5), range(5), (False, True)))
    images = random_images(len(settings), height, width, 3)
    # The middle of the interval that stands for each offset; below 1/2 means flip.
    uniforms = np.array([[(top + 0.5) / 5, (left + 0.5) / 5, 0.25 if flip else 0.75] for top, left, flip in settings])
    view = views.make_views(dataclasses.replace(DEFAULT, crop_padding=padding), height, width, 3).weak
    result = view.apply(images, uniforms.astype(np.float32))

    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode="reflect")
    for image, ours, (top, left, flip) in zip(padded, result, settings, strict=True):
        cropped = image[top : top + height, left : left + width]
        expected = cropped[:, ::-1] if flip else cropped
        np.testing.assert_allclose(ours, expected / 127.5 - 1.0, atol=1e-6)


def test_weak_view_without_padding_and_flip_is_the_plain_view():
    made = views.make_views(dataclasses.replace(DEFAULT, crop_padding=0, flip=False), 8, 8, 3)
    images = random_images(16, 8, 8, 3)
    weak = made.weak.apply(images, random_uniforms(16, made.weak.uniforms))
    np.testing.assert_allclose(weak, images / 127.5 - 1.0, atol=1e-6)


def test_strong_view_translates_by_no_more_than_it_is_told():
    images, moved = random_images(8, 32, 32, 3), []
    for largest in (0.0, 10 / 32):
        settings = {"strong_ops": ("TranslateX",), "strong_probability": 1.0, "cutout": 0.0, "max_translation": largest}
        made = views.make_views(dataclasses.replace(DEFAULT, **settings), 32, 32, 3)
        uniforms = random_uniforms(8, made.strong.uniforms)
        weak = made.weak.apply(images, uniforms[:, : made.weak.uniforms])
        moved.append((made.strong.apply(images, uniforms).numpy() != weak.numpy()).any())
    assert moved == [False, True]


def test_strong_view_without_ops_and_cutout_is_the_weak_view():
    # CReST makes 47 of the values one darker here, by its way over float and back.
    made = views.make_views(dataclasses.replace(DEFAULT, strong_probability=0.0, cutout=0.0), 32, 32, 3)
    images, uniforms = random_images(16, 32, 32, 3), random_uniforms(16, made.strong.uniforms)
    np.testing.assert_array_equal(made.strong.apply(images, uniforms), made.weak.apply(images, uniforms[:, :3]))


def test_strong_view_cuts_a_mid_gray_square_out_after_the_ops():
    made = views.make_views(dataclasses.replace(DEFAULT, strong_ops=("Invert",), strong_probability=1.0), 32, 24, 3)
    images = np.full((3, 32, 24, 3), 255, np.uint8)
    uniforms = np.zeros((3, made.strong.uniforms), np.float32)
    uniforms[:, -2:] = [[0.5, 0.5], [0.0, 0.999], [0.25, 0.125]]
    result = made.strong.apply(images, uniforms).numpy()
    # Half of 32 and of 24 pixels wide around (16, 12), (0, 24) and (8, 3), inside the image. Invert twice: white.
    expected = np.ones((3, 32, 24, 3))
    expected[0, 8:24, 6:18] = 0.0
    expected[1, 0:8, 18:24] = 0.0
    expected[2, 0:16, 0:9] = 0.0
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("kind", ["plain", "weak", "strong"])
def test_views_are_the_same_alone_and_in_every_mode(kind):
    view = getattr(views.make_views(dataclasses.replace(DEFAULT, crop_padding=2), 16, 16, 3), kind)
    images, uniforms = random_images(24, 16, 16, 3), random_uniforms(24, view.uniforms)
    eager = view.apply(images, uniforms).numpy()
    alone = np.concatenate([view.apply(images[i : i + 1], uniforms[i : i + 1]) for i in range(24)])
    graph = tf.function(view.apply)(images, uniforms)
    compiled = tf.function(view.apply, jit_compile=True)(images, uniforms)
    dataset = tf.data.Dataset.from_tensor_slices((images, uniforms)).batch(7).map(view.apply)
    assert eager.dtype == np.float32 and np.abs(eager).max() <= 1.0
    np.testing.assert_array_equal(alone, eager)
    np.testing.assert_array_equal(graph, eager)
    np.testing.assert_array_equal(compiled, eager)
    np.testing.assert_array_equal(np.concatenate(list(dataset.as_numpy_iterator())), eager)


@pytest.mark.parametrize(("shape", "padding"), [((8, 8, 1), 1), ((32, 24, 3), 4), ((224, 224, 3), 28)])
def test_views_run_at_this_size(shape, padding):
    made = views.make_views(dataclasses.replace(DEFAULT, crop_padding=padding), *shape)
    for view in (made.plain, made.weak, made.strong):
        result = view.apply(random_images(4, *shape), random_uniforms(4, view.uniforms))
        assert result.shape == (4, *shape) and result.dtype == tf.float32


def test_crop_and_flip_are_uniform():
    top, left, flip = (x.numpy() for x in views.crop_flip_choices(tf.constant(random_uniforms(100_000, 3)), 4, True))
    # 81 pairs of offsets, 80 degrees of freedom: chi-square exceeds 134.8 once in 10,000 tries.
    counts = np.bincount(top * 9 + left, minlength=81)
    assert len(counts) == 81 and ((counts - 100_000 / 81) ** 2 / (100_000 / 81)).sum() < 134.8
    assert abs(flip.sum() - 50_000) < 3.9 * np.sqrt(100_000 / 4)
    assert not views.crop_flip_choices(tf.constant(random_uniforms(1000, 3)), 4, False)[2].numpy().any()


def test_cutout_centres_are_rounded_uniforms_and_the_square_is_clipped():
    first, behind = (x.numpy() for x in views.cutout_bounds(random_uniforms(100_000, 1)[:, 0], 32, 0.5))
    assert first.min() == 0 and behind.max() == 32
    # The center is known from the edge that is not clipped. 0 and 32 stand for half an interval each.
    center = np.where(first > 0, first + 8, behind - 8).astype(int)
    np.testing.assert_array_equal(first, np.maximum(center - 8, 0))
    np.testing.assert_array_equal(behind, np.minimum(center + 8, 32))
    expected = np.array([0.5] + [1.0] * 31 + [0.5]) * 100_000 / 32
    # 33 values, 32 degrees of freedom: exceeded once in 10,000 tries.
    assert ((np.bincount(center, minlength=33) - expected) ** 2 / expected).sum() < 69.0


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ({"crop_padding": 8}, (8, 9, 3), "less than the shorter side of 8 x 9, got 8"),
        ({"cutout": 0.2}, (8, 8, 3), "use 0 or at least 0.25"),
        ({}, (32, 32, 0), "at least one channel, got 0"),
    ],
)
def test_settings_that_do_not_fit_the_size_are_refused(settings, shape, message):
    with pytest.raises(ValueError, match=message):
        views.make_views(dataclasses.replace(DEFAULT, **settings), *shape)


def test_batches_of_another_kind_are_refused():
    made = views.make_views(DEFAULT, 32, 32, 3)
    uniforms = np.zeros((1, 3), np.float32)
    with pytest.raises(ValueError, match=r"images must be uint8 \[any, 32, 32, 3\], got float32"):
        made.weak.apply(np.zeros((1, 32, 32, 3), np.float32), uniforms)
    with pytest.raises(ValueError, match=r"images must be uint8 .*got uint8 \(1, 16, 16, 3\)"):
        made.weak.apply(np.zeros((1, 16, 16, 3), np.uint8), uniforms)
    with pytest.raises(ValueError, match=r"uniforms must be float32 \[any, 13\], got float32 \(1, 3\)"):
        made.strong.apply(np.zeros((1, 32, 32, 3), np.uint8), uniforms)


def test_views_of_random_resized_crops_ask_for_them_and_only_flip():
    made = views.make_views(dataclasses.replace(DEFAULT, crop="resized", strong_probability=0.0, cutout=0.0), 8, 8, 3)
    assert (made.plain.crops, made.weak.crops, made.strong.crops) == (False, True, True)
    assert made.weak.uniforms == views.CROP_UNIFORMS + views.CROP_FLIP_UNIFORMS
    images = random_images(16, 8, 8, 3)
    uniforms = random_uniforms(16, made.weak.uniforms)[:, views.CROP_UNIFORMS :]
    expected = np.where((uniforms[:, 2] < 0.5)[:, None, None, None], images[:, :, ::-1], images)
    np.testing.assert_allclose(made.weak.apply(images, uniforms), expected / 127.5 - 1.0, atol=1e-6)
