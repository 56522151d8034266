"""Which changes of an image leave it a near duplicate, and which images are none however alike they are."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from udal_tf.data import near_duplicates
from udal_tf.data.near_duplicates import Described, describe, nearest

SIZE = 64


def photo(seed):
    """A picture of blurred spots: smooth and full of contrast, as photographs are."""
    spots = np.random.RandomState(seed).randint(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(spots).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def described(images, excluded=None):
    table = np.arange(len(images))[:, None] if excluded is None else np.asarray(excluded)
    return Described([describe(np.asarray(image.convert("RGB").resize((SIZE, SIZE)))) for image in images], table)


def jpeg(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


PHOTOS = [photo(seed) for seed in range(30)]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: jpeg(image, 40),
        lambda image: image.resize((SIZE // 2, SIZE // 2)),
        lambda image: image.convert("L"),
        lambda image: ImageEnhance.Contrast(image).enhance(0.7),
        lambda image: image.point(lambda value: value * 0.8),
    ],
)
def test_a_copy_that_was_changed_a_little_is_found(change):
    copies = described([change(image) for image in PHOTOS[:10]], 100 + np.arange(10)[:, None])
    assert nearest(copies, described(PHOTOS)).tolist() == list(range(10))


def test_other_images_are_not_found():
    assert nearest(described(PHOTOS[:15], 100 + np.arange(15)[:, None]), described(PHOTOS[15:])).tolist() == [-1] * 15


def test_flat_images_have_no_look_to_compare():
    noise = np.random.RandomState(0).randint(126, 130, (SIZE, SIZE, 3)).astype(np.uint8)
    flat = [Image.fromarray(noise), Image.new("RGB", (SIZE, SIZE), (127, 127, 127)), Image.fromarray(noise[::-1])]
    assert nearest(described(flat), described(flat, [[7], [8], [9]])).tolist() == [-1, -1, -1]


def test_images_that_are_equal_in_an_excluded_column_are_passed_over():
    """Three versions of one image: the first two have the same pixels, the last two the same class."""
    versions = [PHOTOS[0], PHOTOS[0], jpeg(PHOTOS[0], 30)]
    found = described(versions, [[1, 5], [1, 6], [2, 6]])
    assert nearest(found, found).tolist() == [2, -1, 0]


def test_of_several_the_nearest_is_given():
    references = described([jpeg(PHOTOS[0], 10), jpeg(PHOTOS[0], 95), PHOTOS[1]])
    assert nearest(described([PHOTOS[0]], [[9]]), references).tolist() == [1]


def test_blocks_do_not_change_what_is_found(monkeypatch):
    many = [*PHOTOS, *(jpeg(image, 40) for image in PHOTOS)]
    whole = nearest(described(many), described(many))
    assert whole.tolist() == [*range(30, 60), *range(30)]
    monkeypatch.setattr(near_duplicates, "_QUERIES", 7)
    monkeypatch.setattr(near_duplicates, "_REFERENCES", 11)
    np.testing.assert_array_equal(nearest(described(many), described(many)), whole)


def test_without_images_nothing_is_found():
    assert nearest(described([]), described(PHOTOS)).tolist() == []
    assert nearest(described(PHOTOS), described([])).tolist() == [-1] * 30


def test_of_images_that_look_alike_the_first_remains():
    images = [PHOTOS[0], PHOTOS[1], jpeg(PHOTOS[0], 40), PHOTOS[1], PHOTOS[2], PHOTOS[0].convert("L"), PHOTOS[1]]
    stacked = np.stack([describe(np.asarray(image.convert("RGB"))) for image in images])
    assert near_duplicates.distinct(stacked).tolist() == [0, 1, 4]
    assert near_duplicates.distinct(stacked[:0]).tolist() == []


def test_a_gray_image_looks_as_its_rgb_form():
    gray = np.asarray(PHOTOS[0].convert("L"))
    assert (describe(gray[..., None]) == describe(np.repeat(gray[..., None], 3, axis=2))).all()
