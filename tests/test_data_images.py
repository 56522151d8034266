"""Images by position: in memory, in an array file, encoded in files and shards; whole and as random crops."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from udal_tf.data import tfrecords
from udal_tf.data.crops import crop_and_resize, crop_boxes, gathered_crops
from udal_tf.data.custom_images import MappedImages
from udal_tf.data.dataset import ArrayImages, DataError
from udal_tf.data.encoded import EncodedImages, FileReader, ShardReader, file_fault


def random_uniforms(n, seed=0):
    return np.random.RandomState(seed).random_sample((n, 4)).astype(np.float32)


def smooth(height, width, seed=0):
    """An image that JPEG keeps well: a few colors, blended."""
    coarse = np.random.RandomState(seed).randint(0, 256, (3, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels, kind) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def test_crops_lie_inside_with_areas_and_aspects_in_range():
    generator = np.random.RandomState(1)
    heights, widths = generator.randint(100, 400, 2000), generator.randint(100, 400, 2000)
    top, left, rows, columns = crop_boxes(heights, widths, random_uniforms(2000)).numpy().T
    assert top.min() >= 0 and left.min() >= 0
    assert np.all(top + rows <= heights) and np.all(left + columns <= widths)
    share = rows * columns / (heights * widths)
    # Sides are whole pixels, so both bounds are met within a pixel or two.
    assert share.min() > 0.075 and share.max() <= 1
    aspect = columns / rows
    assert aspect.min() > 0.75 * 0.95 and aspect.max() < 4 / 3 * 1.05


def test_crop_at_the_middle_by_hand():
    # At 0.5: aspect 1. The largest square of 100x50 covers half; the area lies midway between 8 % and 50 %: 29 %,
    # 1450 pixels, side 38. Corners: floor(0.5·63) = 31 of 62 and floor(0.5·13) = 6 of 12.
    assert crop_boxes([100], [50], np.full([1, 4], 0.5, np.float32)).numpy().tolist() == [[31, 6, 38, 38]]


def test_each_uniform_decides_one_thing():
    middle = np.full([5, 4], 0.5, np.float32)
    middle[1, 2], middle[2, 3] = 0.25, 0.75
    middle[3, 0], middle[4, 1] = 0.75, 0.9
    boxes = crop_boxes([100] * 5, [50] * 5, middle).numpy()
    # floor(0.25·63) = 15 and floor(0.75·13) = 9, sides as before.
    assert boxes[1].tolist() == [15, 6, 38, 38] and boxes[2].tolist() == [31, 9, 38, 38]
    # Aspect exp(0.5·log(4/3)) = 1.1547: at most 43.3 % of the image, midway 25.7 %: 1283 pixels, 33 by 38.
    assert boxes[3, 2:].tolist() == [33, 38]
    # Area 8 % + 0.9 · 42 % = 45.8 %: 2290 pixels, side 48.
    assert boxes[4, 2:].tolist() == [48, 48]


def test_extreme_uniforms_stay_inside():
    uniforms = np.array(np.meshgrid(*[[0.0, np.float32(1 - 2**-24)]] * 4), np.float32).reshape(4, -1).T
    for height, width in ((1, 1), (1, 500), (500, 1), (7, 3), (375, 500)):
        top, left, rows, columns = crop_boxes([height] * 16, [width] * 16, uniforms).numpy().T
        assert np.all(rows >= 1) and np.all(columns >= 1) and np.all(top >= 0) and np.all(left >= 0)
        assert np.all(top + rows <= height) and np.all(left + columns <= width)


def test_corners_are_reached():
    boxes = crop_boxes([9] * 2000, [9] * 2000, random_uniforms(2000)).numpy()
    ends = boxes[:, :2] + boxes[:, 2:]
    assert boxes[:, :2].min() == 0 and ends.max() == 9


def test_whole_image_as_crop_is_unchanged():
    images = np.random.RandomState(0).randint(0, 256, (3, 8, 6, 3), np.uint8)
    boxes = tf.constant([[0, 0, 8, 6]] * 3)
    np.testing.assert_array_equal(crop_and_resize(tf.constant(images), boxes), images)


def test_crop_is_the_half_pixel_bilinear_enlargement():
    images = np.random.RandomState(0).randint(0, 256, (1, 8, 8, 1), np.uint8)
    # Top left 4x4 at twice the size; inside, positions are (i + 0.5)/2 − 0.5, and at the border they are clamped.
    at = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, None)
    low, part = np.floor(at).astype(int), at - np.floor(at)
    plane = images[0, :, :, 0].astype(float)
    rows = plane[low] * (1 - part)[:, None] + plane[low + 1] * part[:, None]
    expected = rows[:, low] * (1 - part) + rows[:, low + 1] * part
    found = crop_and_resize(tf.constant(images), tf.constant([[0, 0, 4, 4]]))[0, :, :, 0].numpy()
    assert np.abs(found - expected).max() <= 0.51


@pytest.mark.parametrize("shape", [(32, 32, 3), (17, 33, 1), (1, 5, 3)])
@pytest.mark.parametrize("jit", [None, True])
def test_crops_of_operations_that_xla_has_are_those_of_the_kernel_to_the_last_bit(shape, jit):
    images = tf.constant(np.random.RandomState(0).randint(0, 256, (200, *shape)), tf.uint8)
    boxes = crop_boxes(tf.fill([200], shape[0]), tf.fill([200], shape[1]), random_uniforms(200))
    found = tf.function(gathered_crops, jit_compile=jit)(images, boxes)
    np.testing.assert_array_equal(found, crop_and_resize(images, boxes))


def test_images_on_the_device_are_cropped_there_as_on_the_host():
    images = ArrayImages(np.stack([smooth(24, 24, seed) for seed in range(12)]))
    positions, uniforms = tf.range(12, dtype=tf.int64), tf.constant(random_uniforms(12))
    compiled = tf.function(images.on_device().fetch_crops, jit_compile=True)
    np.testing.assert_array_equal(compiled(positions, uniforms), images.fetch_crops(positions, uniforms))


@pytest.fixture(params=["array", "mapped", "files", "shards"])
def image_set(request, tmp_path):
    """12 images of 24x24 behind every implementation, and their pixels."""
    images = np.stack([smooth(24, 24, seed) for seed in range(12)])
    if request.param == "array":
        return ArrayImages(images), images
    if request.param == "mapped":
        np.save(tmp_path / "images.npy", images)
        return MappedImages(np.load(tmp_path / "images.npy", mmap_mode="r")), images
    contents = [encoded(image, "PNG") for image in images]
    if request.param == "files":
        for i, content in enumerate(contents):
            (tmp_path / f"image {i:02d} é.png").write_bytes(content)
        names = sorted(path.name for path in tmp_path.iterdir())
        return EncodedImages(FileReader(tmp_path, names), 24), images
    write_shards(tmp_path, contents, range(12))
    shards = sorted(tmp_path.iterdir())
    where = tfrecords.index(shards)
    where.pop("label")
    return EncodedImages(ShardReader(shards, **where), 24), images


def write_shards(folder, contents, labels, per_shard=5):
    """TFRecords of tf.train.Examples as TFDS writes them, with a feature more."""
    for start in range(0, len(contents), per_shard):
        with tf.io.TFRecordWriter(str(folder / f"part-{start:03d}")) as writer:
            for content, label in list(zip(contents, labels, strict=True))[start : start + per_shard]:
                feature = {
                    "file_name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x" * 200])),
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[content])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def test_fetch_by_position(image_set):
    found, images = image_set
    assert len(found) == 12 and tuple(found.shape) == (24, 24, 3)
    at = np.array([7, 0, 11, 7])
    np.testing.assert_array_equal(found.fetch(tf.constant(at, tf.int64)), images[at])


def test_fetch_inside_tf_data_and_tf_function(image_set):
    found, images = image_set
    at = np.array([[3, 1], [9, 3]])
    batches = tf.data.Dataset.from_tensor_slices(at).map(found.fetch, num_parallel_calls=2)
    assert batches.element_spec.shape[1:] == (24, 24, 3) and batches.element_spec.dtype == tf.uint8
    np.testing.assert_array_equal(np.stack([batch.numpy() for batch in batches]), images[at])
    np.testing.assert_array_equal(tf.function(found.fetch)(tf.constant(at[0], tf.int64)), images[at[0]])


def test_crops_depend_on_position_and_uniforms_alone(image_set):
    found, images = image_set
    at, uniforms = tf.constant([3, 3, 8], tf.int64), random_uniforms(3)
    crops = found.fetch_crops(at, uniforms).numpy()
    assert crops.shape == (3, 24, 24, 3) and crops.dtype == np.uint8
    assert not np.array_equal(crops[0], crops[1])
    np.testing.assert_array_equal(found.fetch_crops(at[::-1], uniforms[::-1]).numpy()[::-1], crops)
    dataset = tf.data.Dataset.from_tensors((at, uniforms)).map(found.fetch_crops)
    np.testing.assert_array_equal(next(iter(dataset)), crops)


def test_crops_are_the_part_that_the_uniforms_name(image_set):
    found, images = image_set
    uniforms = random_uniforms(12, seed=4)
    crops = found.fetch_crops(tf.range(12, dtype=tf.int64), uniforms).numpy()
    boxes = crop_boxes([24] * 12, [24] * 12, uniforms).numpy()
    for image, crop, (top, left, rows, columns) in zip(images, crops, boxes, strict=True):
        part = Image.fromarray(image[top : top + rows, left : left + columns])
        expected = np.asarray(part.resize((24, 24), Image.Resampling.BICUBIC), float)
        # Implementations differ at the crop's own border by half a pixel of this smooth image.
        assert np.abs(crop[2:-2, 2:-2] - expected[2:-2, 2:-2]).mean() < 3


def test_same_crop_from_jpeg_and_png(tmp_path):
    pixels = smooth(90, 120)
    for kind in ("JPEG", "PNG"):
        (tmp_path / kind).write_bytes(encoded(pixels, kind))
    found = EncodedImages(FileReader(tmp_path, ["JPEG", "PNG"]), 32)
    uniforms = np.repeat(random_uniforms(1, seed=3), 2, axis=0)
    jpeg, png = found.fetch_crops(tf.range(2, dtype=tf.int64), uniforms).numpy().astype(float)
    assert np.abs(jpeg - png).mean() < 3


def test_evaluation_view_is_the_middle(tmp_path):
    # 256 high, 512 wide; red in the middle 224x224, black around: the view at any size is red.
    pixels = np.zeros((256, 512, 3), np.uint8)
    pixels[16:240, 144:368, 0] = 200
    (tmp_path / "wide.png").write_bytes(encoded(pixels, "PNG"))
    (tmp_path / "high.png").write_bytes(encoded(pixels.transpose(1, 0, 2), "PNG"))
    for size in (224, 56):
        views = EncodedImages(FileReader(tmp_path, ["wide.png", "high.png"]), size).fetch(tf.constant([0, 1]))
        np.testing.assert_array_equal(views, np.broadcast_to([200, 0, 0], (2, size, size, 3)))


def test_images_are_resized_bicubically(tmp_path):
    """The middle 14 of 16 columns at twice their size. Keys's kernel (a = -1/2) has 0.8672, 0.2266, -0.0703 and -0.0234
    at the distances 1/4, 3/4, 5/4 and 7/4, so the edge from 100 to 150 overshoots: 100 - 0.0234 * 50 = 98.8, and so on.
    """
    pixels = np.full((16, 16, 3), 100, np.uint8)
    pixels[:, 8:] = 150
    (tmp_path / "edge.png").write_bytes(encoded(pixels, "PNG"))
    view = EncodedImages(FileReader(tmp_path, ["edge.png"]), 28).fetch(tf.constant([0])).numpy()
    np.testing.assert_array_equal(view[0, 14, 10:18, 0], [100, 99, 96, 110, 140, 154, 151, 150])


def test_gray_images_come_as_rgb(tmp_path):
    (tmp_path / "gray.jpg").write_bytes(encoded(np.full((20, 30), 77, np.uint8), "JPEG"))
    view = EncodedImages(FileReader(tmp_path, ["gray.jpg"]), 16).fetch(tf.constant([0]))
    np.testing.assert_array_equal(view, np.full((1, 16, 16, 3), 77))


def test_images_can_be_left_out(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}").write_bytes(encoded(np.full((8, 8, 3), i, np.uint8), "PNG"))
    found = EncodedImages(FileReader(tmp_path, ["0", "1", "2"]), 8, np.array([0, 2]))
    assert len(found) == 2 and found.fetch(tf.constant([1])).numpy().max() == 2


def test_file_that_vanished_or_changed_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"hello")
    found = EncodedImages(FileReader(tmp_path, ["a.png", "gone.png"]), 8)
    with pytest.raises(tf.errors.OpError, match="a.png: neither JPEG nor PNG"):
        found.fetch(tf.constant([0]))
    with pytest.raises(tf.errors.OpError, match="gone.png"):
        found.fetch(tf.constant([1]))


def test_faults_of_files(tmp_path):
    pixels = smooth(60, 80)
    jpeg, png = encoded(pixels, "JPEG"), encoded(pixels, "PNG")
    for name, content, fault in (
        ("good.jpg", jpeg, ""),
        ("good.png", png, ""),
        ("with more behind it.jpg", jpeg + b"maker's notes " * 50, ""),
        ("short.jpg", jpeg[: len(jpeg) // 2], "truncated or damaged"),
        ("short.png", png[: len(png) // 2], "truncated or damaged"),
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"<html>", "neither JPEG nor PNG"),
    ):
        (tmp_path / name).write_bytes(content)
        assert file_fault(tmp_path / name) == fault, name
    assert "No such file" in file_fault(tmp_path / "none.jpg")


def test_index_locates_every_record(tmp_path):
    contents = [bytes([i]) * (i * 40) for i in range(1, 8)]
    write_shards(tmp_path, contents, [0, 999, 5, 127, 128, 0, 1], per_shard=3)
    shards = sorted(tmp_path.iterdir())
    where = tfrecords.index(shards)
    assert where["label"].tolist() == [0, 999, 5, 127, 128, 0, 1]
    assert where["shard"].tolist() == [0, 0, 0, 1, 1, 1, 2]
    for i, content in enumerate(contents):
        with open(shards[where["shard"][i]], "rb") as file:
            file.seek(where["offset"][i])
            assert file.read(where["length"][i]) == content


def test_truncated_shard_is_named(tmp_path):
    write_shards(tmp_path, [b"x" * 100] * 3, [0, 1, 2])
    shard = next(tmp_path.iterdir())
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(DataError, match="part-000: truncated"):
        tfrecords.index([shard])


def test_shard_of_other_records_is_named(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "other")) as writer:
        writer.write(tf.train.Example().SerializeToString())
    with pytest.raises(DataError, match="a record without image"):
        tfrecords.index([tmp_path / "other"])


def test_array_images_refuse_other_arrays():
    with pytest.raises(ValueError, match="must be uint8"):
        ArrayImages(np.zeros((2, 3, 3, 1), np.float32))


def test_array_images_outlive_their_array():
    images = np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3)
    held, expected = ArrayImages(images), images.copy()
    images[:] = 0
    del images
    np.testing.assert_array_equal(held.fetch(tf.range(4)), expected)
