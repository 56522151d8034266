"""ImageNet-127 from folders and from TFDS, with a small table of groups and made-up images."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from udal_tf.config import resolve
from udal_tf.data import imagenet127, sources
from udal_tf.data.dataset import DataError
from udal_tf.training.experiment import train_and_evaluate

# Three groups of five classes, not sorted by size; the order of the ids is not that of the groups.
NAMES = ("cap", "device", "frog")
GROUP_OF = {"n01": 2, "n02": 1, "n03": 0, "n04": 1, "n05": 1}
TRAIN = {"n01": 4, "n02": 9, "n03": 3, "n04": 8, "n05": 10}
VAL = dict.fromkeys(TRAIN, 2)
SIZE = 16


@pytest.fixture(autouse=True)
def small_table(monkeypatch, tmp_path):
    monkeypatch.setattr(imagenet127, "groups", lambda: (NAMES, GROUP_OF))
    monkeypatch.setattr(imagenet127, "IMAGES", {"train": sum(TRAIN.values()), "validation": sum(VAL.values())})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def pixels(wnid: str, i: int, split: str) -> np.ndarray:
    """One color per image: class, number and split can be read from it."""
    value = [int(wnid[1:]) * 20, i * 20, 200 if split == "train" else 100]
    return np.full((SIZE, SIZE, 3), value, np.uint8)


def encoded(image) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_folders(root):
    for split, counts in (("train", TRAIN), ("val", VAL)):
        for wnid, count in counts.items():
            (root / split / wnid).mkdir(parents=True)
            for i in range(count):
                # A PNG file named .JPEG, as one of ImageNet's images is.
                (root / split / wnid / f"{wnid}_{i:03d}.JPEG").write_bytes(encoded(pixels(wnid, i, split)))
    return root


def write_tfds(root, name, order):
    """A folder as TFDS prepares it; `order` are the class names in the order of its labels."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import dataset_info

    place = root / name / "5.1.0"
    place.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(encoding_format="png"), "label": tfds.features.ClassLabel(names=list(order))}
    )
    identity = dataset_info.DatasetIdentity(
        name=name.split("/")[0],
        version=tfds.core.Version("5.1.0"),
        data_dir=str(place),
        module_name="made.up",
        config_name=None,
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=7)
    writer.initialize_splits(["train", "validation"])
    for split, counts in (("train", TRAIN), ("validation", VAL)):
        short = "train" if split == "train" else "val"
        every = [(wnid, i) for wnid, count in counts.items() for i in range(count)]
        shuffled = [every[j] for j in np.random.RandomState(0).permutation(len(every))]
        writer.add_examples({split: [{"image": pixels(w, i, short), "label": w} for w, i in shuffled]})
    writer.close_all()
    return place


def config(root, tmp_path, **given):
    given = {"dataset": "imagenet127", "data_dir": str(root), "cache_dir": str(tmp_path / "cache")} | given
    return resolve({"image_size": SIZE, "beta": 0.25} | given).data


def assert_images(source):
    """Every image carries its class's group, and all are there once."""
    for images, labels, counts, blue in (
        (source.train, source.train_labels, TRAIN, 200),
        (source.test, source.test_labels, VAL, 100),
    ):
        found = images.fetch(tf.range(len(images), dtype=tf.int64)).numpy()
        assert np.all(found == found[:, :1, :1]) and np.all(found[..., 2] == blue)
        codes = [(f"n{red // 20:02d}", green // 20) for red, green in found[:, 0, 0, :2].tolist()]
        assert sorted(codes) == [(wnid, i) for wnid, count in counts.items() for i in range(count)]
        assert labels.tolist() == [GROUP_OF[wnid] for wnid, _ in codes]
    return codes


def test_folders(tmp_path):
    source = imagenet127.load(config(write_folders(tmp_path / "data"), tmp_path))
    codes = assert_images(source)
    assert codes == sorted(codes)
    assert source.class_names == NAMES


def test_folders_below_imagenet(tmp_path):
    write_folders(tmp_path / "data" / "imagenet")
    assert_images(imagenet127.load(config(tmp_path / "data", tmp_path)))


def test_tfds_imagenet2012(tmp_path):
    write_tfds(tmp_path / "data", "imagenet2012", sorted(TRAIN))
    assert_images(imagenet127.load(config(tmp_path / "data", tmp_path)))


def test_tfds_labels_go_by_name_not_by_number(tmp_path):
    # imagenet_resized numbers the classes in another order than imagenet2012.
    write_tfds(tmp_path / "data", f"imagenet_resized/{SIZE}x{SIZE}", ["n04", "n01", "n05", "n03", "n02"])
    source = imagenet127.load(config(tmp_path / "data", tmp_path))
    assert_images(source)
    assert f"imagenet_resized/{SIZE}x{SIZE}" in source.provenance["source"]


def test_asking_for_a_size_prefers_the_public_files_of_that_size(tmp_path):
    write_folders(tmp_path / "data")
    write_tfds(tmp_path / "data", f"imagenet_resized/{SIZE}x{SIZE}", sorted(TRAIN))
    assert "resized" in imagenet127.load(config(tmp_path / "data", tmp_path)).provenance["source"]
    full = imagenet127.load(config(tmp_path / "data", tmp_path, image_size=0))
    assert "resized" not in full.provenance["source"] and full.train.shape == (224, 224, 3)


def test_problem_takes_the_prior_from_the_labeled_counts(tmp_path):
    data = sources.load(config(write_folders(tmp_path / "data"), tmp_path))
    # Group sizes 3, 27, 4; a quarter of each, rounded up: 1, 7, 1.
    assert data.provenance["unlabeled_counts"] == [2, 20, 3]
    assert data.provenance["labeled_counts"] == [1, 7, 1]
    np.testing.assert_allclose(data.p_data, [1 / 9, 7 / 9, 1 / 9], rtol=1e-6)
    assert data.provenance["imbalance"] == 9.0
    assert "balanced accuracy" in data.provenance["test"]


def test_index_is_kept_and_made_anew_when_a_folder_changes(tmp_path, monkeypatch):
    root = write_folders(tmp_path / "data")
    imagenet127.load(config(root, tmp_path))
    looked_at = []
    monkeypatch.setattr(imagenet127, "file_fault", lambda path: looked_at.append(path) or "")
    assert_images(imagenet127.load(config(root, tmp_path)))
    assert not looked_at
    (root / "train" / "n01" / "n01_003.JPEG").rename(root / "train" / "n01" / "n01_009.JPEG")
    source = imagenet127.load(config(root, tmp_path))
    assert len(looked_at) == sum(TRAIN.values()) and len(source.train) == sum(TRAIN.values())


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-30], lambda content: b"PK" * 50])
def test_a_damaged_index_is_made_again(tmp_path, damage):
    root = write_folders(tmp_path / "data")
    imagenet127.load(config(root, tmp_path))
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(damage(path.read_bytes()))
    assert_images(imagenet127.load(config(root, tmp_path)))
    assert_images(imagenet127.load(config(root, tmp_path)))


def refused(root, tmp_path, match, **given):
    before = sorted(root.rglob("*"))
    with pytest.raises(DataError, match=match):
        sources.load(config(root, tmp_path, **given))
    assert sorted(root.rglob("*")) == before


def test_missing_data_names_every_way(tmp_path):
    (tmp_path / "data").mkdir()
    refused(tmp_path / "data", tmp_path, r"(?s)train/<wnid>.*imagenet2012/<version>.*imagenet_resized")
    assert not (tmp_path / "cache").exists()


def test_validation_missing(tmp_path):
    root = write_folders(tmp_path / "data")
    (root / "val").rename(root / "test")
    refused(root, tmp_path, r"train/ exists, but val/ does not")


def test_validation_not_sorted_into_classes(tmp_path):
    root = write_folders(tmp_path / "data")
    (root / "val").rename(root / "sorted")
    (root / "val").mkdir()
    (root / "val" / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"")
    refused(root, tmp_path, r"sort the images into val/<wnid>/")


def test_class_missing(tmp_path):
    root = write_folders(tmp_path / "data")
    (root / "train" / "n03").rename(root / "n03")
    refused(root, tmp_path, "1 classes of train have no images, the first is n03")


def test_strange_class(tmp_path):
    root = write_folders(tmp_path / "data")
    (root / "train" / "dogs").mkdir()
    (root / "train" / "dogs" / "a.JPEG").write_bytes(encoded(pixels("n01", 0, "train")))
    refused(root, tmp_path, "dogs in train are not WordNet ids")


def test_wrong_number_of_images(tmp_path):
    root = write_folders(tmp_path / "data")
    (root / "train" / "n05" / "n05_000.JPEG").unlink()
    refused(root, tmp_path, "33 images in train, ILSVRC 2012 has 34")


def test_bad_image_is_named_then_skipped_then_mended(tmp_path, monkeypatch):
    root = write_folders(tmp_path / "data")
    path = root / "train" / "n05" / "n05_004.JPEG"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    refused(root, tmp_path, r"(?s)1 images cannot be read:.*n05_004.JPEG: truncated or damaged.*--skip_bad_images")
    looked_at, real = [], imagenet127.file_fault
    monkeypatch.setattr(imagenet127, "file_fault", lambda path: looked_at.append(path) or real(path))
    data = sources.load(config(root, tmp_path, skip_bad_images=True))
    # The folder train/ has been looked at before.
    assert [found for found in looked_at if "train" in found.parts] == [path]
    assert data.skipped == ((str(path), "truncated or damaged"),)
    assert data.provenance["skipped_train"] == 1 and len(data.train) == 33
    assert data.provenance["unlabeled_counts"] == [2, 19, 3]
    path.write_bytes(good)
    assert_images(imagenet127.load(config(root, tmp_path)))


def test_truncated_shard(tmp_path):
    place = write_tfds(tmp_path / "data", "imagenet2012", sorted(TRAIN))
    shard = sorted(place.glob("*train*"))[1]
    shard.write_bytes(shard.read_bytes()[:-5])
    refused(tmp_path / "data", tmp_path, f"{shard.name}: truncated")


def test_absent_shard(tmp_path):
    place = write_tfds(tmp_path / "data", "imagenet2012", sorted(TRAIN))
    sorted(place.glob("*train*"))[1].unlink()
    refused(tmp_path / "data", tmp_path, "4 of the 5 files of train exist")


def test_label_names_missing(tmp_path):
    place = write_tfds(tmp_path / "data", "imagenet2012", sorted(TRAIN))
    (place / "label.labels.txt").unlink()
    refused(tmp_path / "data", tmp_path, "cannot read label.labels.txt")


@pytest.mark.parametrize("given", [{"imbalance": 100.0}, {"protocol": "darp"}])
def test_settings_that_do_not_apply(tmp_path, given):
    refused(write_folders(tmp_path / "data"), tmp_path, "naturally imbalanced", **given)


def test_the_real_table(monkeypatch):
    monkeypatch.undo()
    names, group_of = imagenet127.groups()
    sizes = np.bincount(list(group_of.values()), minlength=127)
    assert (len(names), len(group_of), len(set(names))) == (127, 1000, 127)
    assert sizes.min() == 1 and sizes.max() == 218
    # The first class of ILSVRC, tench, is a fish; German shepherd and tabby cat are among other groups.
    assert names[group_of["n01440764"]] == names[group_of["n01443537"]]
    assert len({group_of[wnid] for wnid in ("n01440764", "n02106662", "n02123045")}) >= 2
    assert imagenet127.IMAGES == {"train": 1_281_167, "validation": 50_000}


def test_an_image_that_cannot_be_decoded_in_training_is_named(tmp_path):
    """Its first and last bytes are right, so that it is found only when a batch has it."""
    write_folders(tmp_path / "imagenet")
    for path in (tmp_path / "imagenet" / "train").rglob("*.JPEG"):
        good = path.read_bytes()
        if path.parent.name != "n01":
            path.write_bytes(good[:40] + bytes(len(good) - 60) + good[-20:])
    settings = {
        "dataset": "imagenet127", "data_dir": str(tmp_path / "imagenet"), "image_size": 32, "beta": 0.5,
        "batch_size": 2, "unlabeled_ratio": 2, "epochs": 1, "steps_per_epoch": 1, "workdir": str(tmp_path / "run"),
    }  # fmt: skip
    named = (
        r"^imagenet127: an image cannot be read: .*/train/n0[2-5]/n0\d_\d{3}.JPEG: truncated or damaged.\nReplace it"
    )
    with pytest.raises(DataError, match=named):
        train_and_evaluate(resolve(settings))


def test_the_recipe_trains_its_network_on_random_resized_crops(tmp_path):
    write_folders(tmp_path / "imagenet")
    settings = {
        "dataset": "imagenet127", "data_dir": str(tmp_path / "imagenet"), "image_size": 32, "beta": 0.5,
        "batch_size": 2, "unlabeled_ratio": 2, "epochs": 1, "steps_per_epoch": 1, "workdir": str(tmp_path / "run"),
    }  # fmt: skip
    config = resolve(settings)
    assert (config.model.arch, config.augment.crop) == ("resnet50", "resized")
    result = train_and_evaluate(config)
    assert result.steps == 1
    assert result.class_names == list(NAMES)
    assert result.data["labeled_counts"] == [2, 14, 2]
