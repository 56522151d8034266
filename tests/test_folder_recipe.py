"""The recipe of a folder: which network, size and length follow from which images."""

import dataclasses

import pytest

from udal_tf.config import resolve, section_fields
from udal_tf.folder_recipe import FolderFacts, folder_recipe, network_warnings, small_side

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


@pytest.mark.parametrize("side", [96, 100, 400, 4000])
def test_large_images_are_reduced_for_a_small_network_unless_there_are_very_many(side):
    made = recipe(changed(PHOTOGRAPHS, side=side))
    assert (made["arch"], made["depth"], made["width"], made["image_size"]) == ("wrn", 10, 1, 48)
    assert (made["epochs"] * made["steps_per_epoch"], made["batch_size"], made["crop_padding"]) == (1125, 16, 6)
    assert recipe(changed(PHOTOGRAPHS, side=side, unlabeled=99_900))["arch"] == "wrn"


@pytest.mark.parametrize("side, seen", [(96, 96), (130, 128), (400, 224), (4000, 224)])
def test_from_100_000_large_images_on_resnet50_is_trained_on_random_resized_crops(side, seen):
    made = recipe(changed(PHOTOGRAPHS, side=side, unlabeled=99_901))
    assert (made["arch"], made["crop"], made["image_size"]) == ("resnet50", "resized", seen)


def test_published_weights_bring_their_network_and_its_size():
    made = recipe(PHOTOGRAPHS, pretrained="weights.h5")
    assert (made["arch"], made["image_size"], made["freeze"]) == ("keras_resnet50", 224, "none")
    assert recipe(PHOTOGRAPHS, pretrained="none")["arch"] == "wrn"
    assert recipe(PHOTOGRAPHS, pretrained="weights.h5", arch="mobilenetv2")["arch"] == "mobilenetv2"
    assert recipe(FASHION, pretrained="imagenet")["image_size"] == 224
    assert recipe(PHOTOGRAPHS, pretrained="imagenet", arch="efficientnetv2s")["image_size"] == 384
    assert recipe(PHOTOGRAPHS, pretrained="imagenet", image_size=160)["image_size"] == 160
    # Also before anything is known of the images.
    assert resolve({"dataset": "folder", "pretrained": "imagenet"}).model.arch == "mobilenetv3small"


def test_downloaded_weights_of_few_images_stay_and_the_head_trains_for_300_steps():
    made = recipe(PHOTOGRAPHS, pretrained="imagenet")
    assert (made["arch"], made["freeze"]) == ("mobilenetv3small", "backbone")
    assert made["epochs"] * made["steps_per_epoch"] == 300
    assert "learning_rate" not in made and "freeze" not in recipe(PHOTOGRAPHS)


@pytest.mark.parametrize("given", [{"freeze": "none"}, {"pretrained": "weights.h5"}, {"pretrained": "runs/earlier"}])
def test_weights_that_are_trained_further_have_a_tenth_of_the_learning_rate(given):
    made = recipe(PHOTOGRAPHS, **{"pretrained": "imagenet", **given})
    assert (made["freeze"], made["learning_rate"]) == ("none", 0.003)
    assert recipe(changed(PHOTOGRAPHS, unlabeled=20_000), pretrained="imagenet")["freeze"] == "none"


def test_what_a_network_lacks_is_said():
    def said(arch="wrn", pretrained="none", image_size=48, side=100, in_training=548):
        return network_warnings(arch, pretrained, image_size, side, in_training)

    text = said()["reduced"]
    assert "(short side 100 pixels) are reduced to 48 pixels" in text and "--pretrained=imagenet" in text
    assert "548 images are few for a large network" in said(arch="resnet50")["large_without_weights"]
    for change in ({"pretrained": "imagenet"}, {"side": 95}, {"image_size": 100}):
        assert said(**change) == {}
    assert said(arch="resnet50", in_training=100_000) == {}
    assert list(said(arch="resnet50", in_training=99_999)) == ["large_without_weights"]


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
    assert recipe(PHOTOGRAPHS, image_size=64)["image_size"] == 64
    made = recipe(PHOTOGRAPHS, arch="resnet50")
    assert (made["image_size"], made["crop"]) == (224, "resized")
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
