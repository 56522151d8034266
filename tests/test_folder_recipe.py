"""The recipe of a folder: which network, size and length follow from which images."""

import dataclasses

import pytest

from udal_tf.config import resolve, section_fields
from udal_tf.folder_recipe import FolderFacts, folder_recipe, small_side

FASHION = FolderFacts(
    classes=10, labeled=420, smallest=3, unlabeled=3776, side=28, one_size=True, images="fashion as it lies"
)
PHOTOGRAPHS = FolderFacts(
    classes=4, labeled=100, smallest=12, unlabeled=500, side=400, one_size=False, images="photographs"
)


def changed(facts, **fields):
    return dataclasses.replace(facts, **fields)


def recipe(facts, **given):
    return folder_recipe(facts, given)


def test_every_setting_of_a_recipe_exists_and_is_allowed():
    for pool in (10, 5_000, 20_000, 200_000):
        for side in (0, 5, 28, 70, 400):
            facts = changed(FASHION, unlabeled=pool, side=side)
            made = recipe(facts)
            assert set(made) - {"bases"} <= set(section_fields())
            resolve({"dataset": "folder"}, facts)


def test_small_images_of_one_size_keep_it_and_train_a_wide_resnet():
    made = recipe(FASHION)
    assert (made["arch"], made["depth"], made["width"], made["image_size"]) == ("wrn", 10, 1, 28)
    assert made["epochs"] * made["steps_per_epoch"] == 2250
    # 4 of 32 pixels, rounded down.
    assert made["crop_padding"] == 3


@pytest.mark.parametrize("side, seen", [(0, 64), (5, 16), (28, 32), (45, 48), (95, 64)])
def test_small_images_of_many_sizes_are_brought_to_a_multiple_of_eight(side, seen):
    assert recipe(changed(FASHION, side=side, one_size=False))["image_size"] == seen


@pytest.mark.parametrize("side, seen", [(96, 96), (130, 128), (400, 224), (4000, 224)])
def test_large_images_train_resnet50_on_random_resized_crops(side, seen):
    made = recipe(changed(PHOTOGRAPHS, side=side))
    assert (made["arch"], made["crop"], made["image_size"]) == ("resnet50", "resized", seen)


def test_published_weights_need_keras_own_network():
    made = recipe(PHOTOGRAPHS, pretrained="weights.h5")
    assert made["arch"] == "keras_resnet50"
    assert recipe(PHOTOGRAPHS, pretrained="none")["arch"] == "resnet50"
    assert recipe(PHOTOGRAPHS, pretrained="weights.h5", arch="mobilenetv2")["arch"] == "mobilenetv2"


def test_more_images_train_larger_networks_for_longer():
    networks, steps = [], []
    for pool in (5_000, 20_000, 50_000, 50_001):
        made = recipe(changed(FASHION, unlabeled=pool - FASHION.labeled))
        networks.append((made["depth"], made["width"]))
        steps.append(made["epochs"] * made["steps_per_epoch"])
    assert networks == [(10, 1), (10, 2), (16, 2), (28, 2)]
    assert steps == sorted(steps) and steps[-1] == 64 * 1024


def test_many_classes_take_the_next_larger_network():
    assert recipe(changed(FASHION, classes=49))["width"] == 1
    assert recipe(changed(FASHION, classes=50))["width"] == 2
    assert recipe(changed(FASHION, classes=500, unlabeled=10**6))["depth"] == 28


def test_a_given_size_or_network_decides_the_rest():
    assert recipe(PHOTOGRAPHS, image_size=64)["arch"] == "wrn"
    made = recipe(PHOTOGRAPHS, arch="wrn")
    assert (made["image_size"], made["depth"]) == (64, 10)
    made = recipe(FASHION, arch="mobilenetv2")
    assert (made["arch"], made["image_size"], made["crop"]) == ("mobilenetv2", 96, "resized")
    assert recipe(PHOTOGRAPHS, image_size=160)["image_size"] == 160


def test_the_threshold_is_lower_for_fixmatch_alone_where_a_class_has_few_labels():
    few, enough = changed(FASHION, smallest=4), changed(FASHION, smallest=5)
    assert resolve({"dataset": "folder"}, few).method.threshold == 0.8
    assert resolve({"dataset": "folder"}, enough).method.threshold == 0.95
    assert resolve({"dataset": "folder", "base": "mixmatch"}, few).method.threshold == 0.0


def test_what_the_user_gives_wins_over_what_the_folder_says():
    config = resolve({"dataset": "folder", "depth": 22, "epochs": 3, "threshold": 0.9}, FASHION)
    assert (config.own.arch.depth, config.train.epochs, config.method.threshold) == (22, 3, 0.9)
    assert (config.own.arch.width, config.data.images) == (1, "fashion as it lies")


def test_without_facts_a_folder_has_one_recipe():
    config = resolve({"dataset": "folder"})
    assert (config.own.arch.depth, config.data.image_size, config.data.images) == (16, 0, "")


def test_small_side_is_within_what_a_wide_resnet_takes():
    assert [small_side(side) for side in (1, 20, 61.5, 1000)] == [16, 16, 64, 64]
