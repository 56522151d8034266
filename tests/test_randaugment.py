"""RandAugment: what each operation does, what the uniforms mean, and that no image depends on its batch."""

import numpy as np
import pytest
import tensorflow as tf

from udal_tf import sections
from udal_tf.augment import randaugment

GEOMETRIC = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def random_uniforms(count, layers=2, seed=1):
    return np.random.default_rng(seed).random((count, layers * randaugment.UNIFORMS_PER_LAYER), dtype=np.float32)


def apply_to_row(values, op, level=0.0):
    """The op on one gray image of one row."""
    return (
        randaugment.apply_op(np.array(values, np.uint8).reshape(1, 1, -1, 1), op, level, 1.0).numpy().ravel().tolist()
    )


def test_ops_are_those_that_the_configuration_offers():
    assert randaugment.OPS == sections.RANDAUGMENT_OPS


@pytest.mark.parametrize(
    ("op", "level"),
    [
        ("Identity", 0.7),
        ("SolarizeAdd", 0.0),
        ("Color", 0.5),
        ("Contrast", 0.5),
        ("Brightness", 0.5),
        ("Sharpness", 0.5),
        *((op, 0.0) for op in GEOMETRIC),
    ],
)
def test_neutral_level_changes_nothing(op, level):
    images = random_images(3, 9, 12, 3)
    np.testing.assert_array_equal(randaugment.apply_op(images, op, level, -1.0), images)


@pytest.mark.parametrize(
    ("op", "level", "values", "expected"),
    [
        ("Invert", 0.0, [0, 1, 128, 255], [255, 254, 127, 0]),
        # One bit at levels below 1/2 (below 1/4 CReST asks for none, but a shift by 8 counts as one by 7), two, three.
        ("Posterize", 0.1, [0, 127, 128, 255], [0, 0, 128, 128]),
        ("Posterize", 0.6, [0, 63, 64, 255], [0, 0, 64, 192]),
        ("Posterize", 0.8, [31, 32, 96, 255], [0, 32, 96, 224]),
        ("Solarize", 0.5, [0, 127, 128, 255], [0, 127, 127, 0]),
        ("Solarize", 0.0, [0, 127, 128, 255], [255, 128, 127, 0]),
        # int(0.5 * 110) = 55 onto what is below 128.
        ("SolarizeAdd", 0.5, [0, 127, 128, 255], [55, 182, 128, 255]),
        # Factor 0.1, then 1.9, cut to whole values and to 255.
        ("Brightness", 0.0, [0, 9, 10, 255], [0, 0, 1, 25]),
        ("Brightness", 1.0, [0, 9, 10, 255], [0, 17, 19, 255]),
        # Mean 62.5 counts as 63: 63 + 0.1 * (x - 63).
        ("Contrast", 0.0, [0, 50, 100, 100], [56, 61, 66, 66]),
        # (x - 50) * 255 / 100, cut.
        ("AutoContrast", 0.0, [50, 60, 99, 150], [0, 25, 124, 255]),
        ("AutoContrast", 0.0, [50, 50, 50, 50], [50, 50, 50, 50]),
    ],
)
def test_tone_ops_by_hand(op, level, values, expected):
    assert apply_to_row(values, op, level) == expected


def test_invert_twice_is_the_identity():
    images = random_images(2, 8, 8, 3)
    once = randaugment.apply_op(images, "Invert", 0.0, 1.0)
    np.testing.assert_array_equal(randaugment.apply_op(once, "Invert", 0.0, 1.0), images)


def test_equalize_spreads_ranks_and_leaves_small_or_flat_channels():
    # 1024 pixels each of 10, 20 and 30: step 2048 // 255 = 8; ranks 0, (1024 + 4) // 8, (2048 + 4) // 8 = 256.
    values = np.repeat(np.array([10, 20, 30], np.uint8), 1024).reshape(1, 64, 48, 1)
    equalized = randaugment.apply_op(values, "Equalize", 0.0, 1.0).numpy()
    np.testing.assert_array_equal(equalized, np.repeat(np.array([0, 128, 255], np.uint8), 1024).reshape(1, 64, 48, 1))
    for unchanged in (random_images(1, 8, 8, 3), np.full((1, 32, 32, 3), 77, np.uint8)):
        np.testing.assert_array_equal(randaugment.apply_op(unchanged, "Equalize", 0.0, 1.0), unchanged)


def test_sharpness_blends_with_the_smoothed_inner_pixels():
    image = np.zeros((1, 5, 5, 1), np.uint8)
    image[0, 2, 2, 0] = 130
    blurred = randaugment.apply_op(image, "Sharpness", 0.0, 1.0).numpy()[0, :, :, 0]
    # Smoothed: 5/13 and 1/13 of 130, that is 50 and 10; then smooth + 0.1 * (x - smooth).
    np.testing.assert_array_equal(blurred[1:4, 1:4], [[9, 9, 9], [9, 58, 9], [9, 9, 9]])
    assert blurred.sum() == 58 + 8 * 9


def test_the_largest_translation_can_be_another_fraction():
    """FixMatch's for ImageNet: 100 of 224 pixels. At level 1/2, 50."""
    images = random_images(1, 224, 224, 1)
    for op, moved in (("TranslateX", images[:, :, 50:]), ("TranslateY", images[:, 50:])):
        result = randaugment.apply_op(images, op, 0.5, 1.0, max_translation=100 / 224).numpy()
        np.testing.assert_array_equal(result[:, : moved.shape[1], : moved.shape[2]], moved)
    uniforms = random_uniforms(1)
    uniforms[:, :4] = [0.0, 0.0, 0.5, 0.9]
    for static in (False, True):
        one = randaugment.rand_augment(images, uniforms[:, :4], ["TranslateX"], 1, 1.0, static, 100 / 224).numpy()
        np.testing.assert_array_equal(one[:, :, :174], images[:, :, 50:])


@pytest.mark.parametrize(("sign", "pixels"), [(1.0, 5), (-1.0, -5)])
def test_translate_at_half_level_moves_five_of_32_pixels(sign, pixels):
    images = random_images(2, 32, 32, 3)
    padded = np.pad(images, ((0, 0), (5, 5), (5, 5), (0, 0)), constant_values=128)
    along_x = randaugment.apply_op(images, "TranslateX", 0.5, sign)
    along_y = randaugment.apply_op(images, "TranslateY", 0.5, sign)
    np.testing.assert_array_equal(along_x, padded[:, 5:37, 5 + pixels : 37 + pixels])
    np.testing.assert_array_equal(along_y, padded[:, 5 + pixels : 37 + pixels, 5:37])


@pytest.mark.parametrize("op", ["Rotate", "ShearX", "ShearY"])
def test_warps_follow_the_matrix_in_float64(op):
    height, width, amount = 21, 30, -0.83
    images = random_images(1, height, width, 3)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    if op == "Rotate":
        angle = np.deg2rad(30 * amount)
        from_centre_x, from_centre_y = x - (width - 1) / 2, y - (height - 1) / 2
        source_x = np.cos(angle) * from_centre_x - np.sin(angle) * from_centre_y + (width - 1) / 2
        source_y = np.sin(angle) * from_centre_x + np.cos(angle) * from_centre_y + (height - 1) / 2
    else:
        source_x = x + 0.3 * amount * y * (op == "ShearX")
        source_y = y + 0.3 * amount * x * (op == "ShearY")
    column, row = np.rint(source_x).astype(int), np.rint(source_y).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    expected = np.where(inside[..., None], images[0, row.clip(0, height - 1), column.clip(0, width - 1)], 128)
    ours = randaugment.apply_op(images, op, abs(amount), np.sign(amount))
    np.testing.assert_array_equal(ours[0], expected)


def test_gray_images_stay_gray_and_equal_their_one_channel_form():
    gray = random_images(4, 16, 16, 1)
    for op in randaugment.OPS:
        level, sign = [0.0, 0.3, 0.6, 0.95], [1.0, -1.0, 1.0, -1.0]
        three = randaugment.apply_op(np.repeat(gray, 3, axis=3), op, level, sign).numpy()
        one = randaugment.apply_op(gray, op, level, sign).numpy()
        np.testing.assert_array_equal(three, np.repeat(one, 3, axis=3), err_msg=op)


def test_rand_augment_applies_the_drawn_ops_to_each_image_alone():
    images, uniforms = random_images(80, 32, 32, 3), random_uniforms(80)
    together = randaugment.rand_augment(images, uniforms).numpy()
    for image, row, result in zip(images, uniforms, together, strict=True):
        expected = image[None]
        for which, applies, level, sign in row.reshape(2, 4):
            if applies < 0.5:
                op = randaugment.OPS[int(16 * which)]
                expected = randaugment.apply_op(expected, op, level, -1.0 if sign < 0.5 else 1.0)
        np.testing.assert_array_equal(result, expected[0])


def test_rand_augment_is_the_same_in_every_mode():
    images, uniforms = random_images(40, 16, 16, 3), random_uniforms(40)
    eager = randaugment.rand_augment(images, uniforms).numpy()
    graph = tf.function(randaugment.rand_augment)(images, uniforms)
    compiled = tf.function(randaugment.rand_augment, jit_compile=True)(images, uniforms)
    dataset = tf.data.Dataset.from_tensor_slices((images, uniforms)).batch(7).map(randaugment.rand_augment)
    np.testing.assert_array_equal(graph, eager)
    np.testing.assert_array_equal(compiled, eager)
    np.testing.assert_array_equal(np.concatenate(list(dataset.as_numpy_iterator())), eager)


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 24, 3), (224, 224, 3), (224, 224, 1)])
def test_all_ops_run_at_this_size(shape):
    images, uniforms = random_images(16, *shape), random_uniforms(16, layers=1)
    uniforms[:, 0], uniforms[:, 1] = np.arange(16) / 16, 0.0
    result = randaugment.rand_augment(images, uniforms, layers=1)
    assert result.shape == (16, *shape) and result.dtype == tf.uint8


def test_no_layer_or_probability_zero_changes_nothing():
    images = random_images(8, 8, 8, 3)
    np.testing.assert_array_equal(randaugment.rand_augment(images, np.zeros((8, 0), np.float32), layers=0), images)
    np.testing.assert_array_equal(randaugment.rand_augment(images, random_uniforms(8), probability=0.0), images)


def test_uniforms_give_the_specified_distributions():
    uniforms = random_uniforms(100_000, layers=1)
    op, applied, level, sign = (x.numpy() for x in randaugment.layer_choices(uniforms, 16, 0.3))
    # Chi-square with 15 degrees of freedom exceeds 44.3 once in 10,000 tries; 3.9 standard deviations likewise.
    counts = np.bincount(op, minlength=16)
    assert len(counts) == 16 and ((counts - 6250) ** 2 / 6250).sum() < 44.3
    assert abs(applied.sum() - 30_000) < 3.9 * np.sqrt(100_000 * 0.3 * 0.7)
    assert abs((sign == 1.0).sum() - 50_000) < 3.9 * np.sqrt(100_000 / 4)
    assert set(sign) == {-1.0, 1.0}
    tenths = np.bincount((level * 16).astype(int), minlength=16)
    assert level.min() >= 0.0 and level.max() < 1.0 and ((tenths - 6250) ** 2 / 6250).sum() < 44.3
    # Every pair of op, application and sign is as frequent as independence says: 64 cells, 63 degrees, 112.3.
    cells = np.bincount(op * 4 + applied * 2 + (sign > 0), minlength=64)
    expected = 6250 * np.tile([0.35, 0.35, 0.15, 0.15], 16)
    assert ((cells - expected) ** 2 / expected).sum() < 112.3


def test_largest_uniform_is_the_last_op():
    uniforms = np.full((1, 4), np.nextafter(np.float32(1), np.float32(0)))
    for num_ops in range(1, 17):
        assert randaugment.layer_choices(uniforms, num_ops, 0.5)[0].numpy() == [num_ops - 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ops": ("Rotate", "Blur")}, "must be among AutoContrast, .*got 'Blur'"),
        ({"ops": ()}, "at least one operation"),
        ({"layers": -1}, "at least 0, got -1"),
        ({"probability": 1.5}, r"in \[0, 1\], got 1.5"),
        ({"images": np.zeros((2, 8, 8, 3), np.float32)}, r"images must be uint8 \[.*got float32"),
        ({"uniforms": np.zeros((2, 3), np.float32)}, r"uniforms must be float32 \[2, 8\], got float32 \(2, 3\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    given = {"images": np.zeros((2, 8, 8, 3), np.uint8), "uniforms": np.zeros((2, 8), np.float32), **arguments}
    with pytest.raises(ValueError, match=message):
        randaugment.rand_augment(**given)
