"""input.pipeline: batches by name, whole and repeatable."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.augment.views import make_views
from udal_tf.config import AugmentConfig
from udal_tf.data.dataset import ArrayImages
from udal_tf.input import pipeline


@dataclasses.dataclass(frozen=True)
class FakeView:
    """Shows an image's own gray level, plus the mean of its random numbers where it takes any."""

    uniforms: int
    crops: bool = False

    def apply(self, images, random):
        values = tf.cast(images, tf.float32)
        return values + tf.reshape(tf.reduce_mean(random, axis=1), [-1, 1, 1, 1]) if self.uniforms else values


@dataclasses.dataclass(frozen=True)
class FakeViews:
    plain: FakeView = FakeView(0)
    weak: FakeView = FakeView(2)
    strong: FakeView = FakeView(3)


REQUESTS = (("x_l", "labeled", "weak"), ("x_w", "unlabeled", "weak"), ("x_s", "unlabeled", "strong"))


@pytest.fixture
def sets():
    """Twenty images whose gray level is their position and whose label is a tenth of it."""
    images = ArrayImages(np.tile(np.arange(20, dtype=np.uint8)[:, None, None, None], (1, 2, 2, 1)))
    labels = np.arange(20) // 10
    return {
        "labeled": pipeline.ImageSet(images, np.array([1, 3, 12]), labels[[1, 3, 12]], 4),
        "unlabeled": pipeline.ImageSet(images, np.arange(20), labels, 8),
    }


def batches(sets, start=0, stop=6, requests=REQUESTS):
    dataset = pipeline.training_batches(pipeline.BatchMaker(sets, requests, FakeViews(), seed=1), start, stop)
    return [{key: value.numpy() for key, value in batch.items()} for batch in dataset]


def test_a_batch_has_the_requested_views_and_the_labels(sets):
    shapes = {key: value.shape for key, value in batches(sets)[0].items()}
    assert shapes == {
        "x_l": (4, 2, 2, 1), "labels_l": (4,), "x_w": (8, 2, 2, 1), "x_s": (8, 2, 2, 1), "labels_u": (8,),
        "rows_l": (4,), "rows_u": (8,), "rotations_u": (8,),
    }  # fmt: skip


def test_views_of_one_set_show_the_same_images_with_other_random_numbers(sets):
    for batch in batches(sets):
        np.testing.assert_array_equal(np.floor(batch["x_w"]), np.floor(batch["x_s"]))
        assert (batch["x_w"] != batch["x_s"]).all()


def test_labels_belong_to_their_images(sets):
    for batch in batches(sets):
        np.testing.assert_array_equal(batch["labels_u"], np.floor(batch["x_w"][:, 0, 0, 0]) // 10)
        np.testing.assert_array_equal(batch["labels_l"], np.floor(batch["x_l"][:, 0, 0, 0]) // 10)


def test_only_labeled_positions_come_as_labeled(sets):
    seen = np.concatenate([np.floor(batch["x_l"][:, 0, 0, 0]) for batch in batches(sets)])
    assert set(seen) == {1, 3, 12}


def test_a_restart_at_a_step_resumes_with_the_same_batches(sets):
    whole, resumed = batches(sets), batches(sets, start=3)
    for expected, batch in zip(whole[3:], resumed, strict=True):
        for key in expected:
            np.testing.assert_array_equal(batch[key], expected[key])


def test_a_base_learner_without_unlabeled_views_gets_none(sets):
    batch = batches({"labeled": sets["labeled"]}, requests=REQUESTS[:1])[0]
    assert sorted(batch) == ["labels_l", "rows_l", "x_l"]


def test_evaluation_keeps_the_order_and_the_last_smaller_batch(sets):
    dataset = pipeline.evaluation_batches(sets["labeled"].images, np.arange(20), FakeViews().plain, 8)
    parts = [part.numpy() for part in dataset]
    assert [len(part) for part in parts] == [8, 8, 4]
    np.testing.assert_array_equal(np.concatenate(parts)[:, 0, 0, 0], np.arange(20))


class CutImages:
    """Hands out images of the value 100 cropped by the uniforms, so that a view shows whether it was given crops."""

    shape = (2, 2, 1)

    def fetch(self, positions):
        return tf.zeros([tf.shape(positions)[0], 2, 2, 1], tf.uint8)

    def fetch_crops(self, positions, uniforms):
        tf.debugging.assert_equal(tf.shape(uniforms), [tf.shape(positions)[0], 4])
        return tf.fill([tf.shape(positions)[0], 2, 2, 1], tf.constant(100, tf.uint8))


def test_a_view_that_crops_gets_crops_and_the_rest_of_its_random_numbers():
    sets = {"labeled": pipeline.ImageSet(CutImages(), np.arange(5), np.arange(5), 4)}
    views = FakeViews(weak=FakeView(6, crops=True))
    batch = pipeline.BatchMaker(sets, REQUESTS[:1], views, seed=1)(tf.constant(0, tf.int64))
    assert (batch["x_l"].numpy() >= 100).all() and (batch["x_l"].numpy() < 101).all()


def test_no_iterator_ends_by_waiting_for_the_tuner_of_tf_data(sets):
    """It can wait until the tuner wakes up, which sleeps as long again as it has been there."""
    maker = pipeline.BatchMaker(sets, REQUESTS, FakeViews(), seed=1)
    evaluated = pipeline.evaluation_batches(sets["labeled"].images, np.arange(5), FakeView(0), 2)
    for dataset in (pipeline.training_batches(maker, 0, 6), evaluated):
        assert dataset.options().autotune.enabled is False


def test_pixels_do_not_depend_on_the_number_of_threads():
    generator = np.random.RandomState(0)
    images = ArrayImages(generator.randint(0, 256, (30, 8, 8, 3)).astype(np.uint8))
    labels = np.arange(30) % 10
    sets = {name: pipeline.ImageSet(images, np.arange(30), labels, 4) for name in ("labeled", "unlabeled")}
    views = make_views(AugmentConfig(crop_padding=2), 8, 8, 3)

    maker = pipeline.BatchMaker(sets, REQUESTS, views, seed=1)
    by_threads = []
    for threads in (1, 4):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        dataset = pipeline.training_batches(maker, 0, 6).with_options(options)
        by_threads.append([{key: value.numpy() for key, value in batch.items()} for batch in dataset])
    for one, four in zip(*by_threads, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], four[key])
