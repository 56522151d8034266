"""Datasets of TensorFlow Datasets by name, on prepared folders made here, and the records made from them."""

import io

import numpy as np
import prepared
import pytest
import tensorflow as tf
from PIL import Image

from udal_tf import registry
from udal_tf.config import resolve
from udal_tf.data import medmnist, settings, sources, tfds_prepared
from udal_tf.data.dataset import ArrayImages, DataError
from udal_tf.data.encoded import EncodedImages
from udal_tf.inference import image_files, real_images
from udal_tf.inference.model_card import training_command
from udal_tf.reporting.names import dataset_name

NAMES = ("ant", "bee", "cow")
TRAIN = [0] * 12 + [1] * 8 + [2] * 4


@pytest.fixture(autouse=True)
def no_other_data(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def colored(labels, blue, side=16):
    """An image for each label whose color is its label, its number and its split."""
    images = np.zeros((len(labels), side, side, 3), np.uint8)
    images[:] = np.array([(10 * label + 10, number, blue) for number, label in enumerate(labels)])[:, None, None]
    return images


def examples(labels, blue, side=16, hidden=False):
    return prepared.examples(colored(labels, blue, side), [-1] * len(labels) if hidden else labels)


def toy(root, name="toy", version="1.0.0", side=16, **splits):
    splits = splits or {
        "train": examples(TRAIN, 1, side),
        "test": examples([0, 1, 2] * 3, 2, side),
        "unlabelled": examples([0, 1] * 5, 3, side, hidden=True),
    }
    return prepared.write(root, name, splits, prepared.features_of(classes=NAMES), version)


def given(tmp_path, dataset="tfds:toy", **further):
    return {"dataset": dataset, "data_dir": str(tmp_path), "cache_dir": str(tmp_path / "cache"), **further}


def loaded(tmp_path, dataset="tfds:toy", **further):
    config = settings.resolve(given(tmp_path, dataset, **further))
    return config, sources.load(config.data)


def pixels(images):
    return images.fetch(tf.range(len(images), dtype=tf.int64)).numpy()[:, 0, 0]


def test_images_come_by_position_with_their_labels_and_the_unlabeled_split_without(tmp_path):
    toy(tmp_path)
    config, data = loaded(tmp_path, beta=0.5)
    assert data.class_names == NAMES and isinstance(data.train, ArrayImages)
    expected = [(10 * c + 10, i, 1) for i, c in enumerate(TRAIN)]
    expected += [(10 * c + 10, i, 3) for i, c in enumerate([0, 1] * 5)]
    assert pixels(data.train).tolist() == [list(color) for color in expected]
    assert data.train_labels.tolist() == TRAIN + [-1] * 10
    assert pixels(data.test)[:, 0].tolist() == [10, 20, 30] * 3 and data.test_labels.tolist() == [0, 1, 2] * 3
    # Half of each class keeps its labels; all images are in the unlabeled pool.
    assert data.provenance["labeled_counts"] == [6, 4, 2] and len(data.unlabeled) == 34
    assert data.provenance["unlabeled_of_unknown_class"] == 10
    np.testing.assert_allclose(data.p_data, [6 / 12, 4 / 12, 2 / 12], rtol=1e-6)
    assert data.provenance["test"] == "test" and data.provenance["unlabeled_split"] == "unlabelled"


def test_long_tailed_subset_of_the_largest_sizes_that_the_classes_have(tmp_path):
    toy(tmp_path)
    config, data = loaded(tmp_path, imbalance=4.0, beta=1.0)
    # N_c = N_1, N_1/2, N_1/4 of 12, 8 and 4 images: N_1 = 12.
    assert config.data.n1 == 12 and data.provenance["labeled_counts"] == [12, 6, 3]
    np.testing.assert_allclose(data.p_data, [4 / 7, 2 / 7, 1 / 7], rtol=1e-6)
    config, data = loaded(tmp_path, imbalance=1.0, n1=4, beta=1.0)
    assert data.provenance["labeled_counts"] == [4, 4, 4]


def test_darps_protocol_takes_all_images_of_unknown_class_or_further_ones(tmp_path):
    toy(tmp_path)
    config, data = loaded(tmp_path, protocol="darp", imbalance=4.0)
    assert (config.data.n1, data.provenance["labeled_counts"]) == (12, [12, 6, 3])
    assert data.labeled.tolist() == [*range(12), *range(12, 18), *range(20, 23)]
    assert data.unlabeled_only.tolist() == list(range(24, 34))
    with pytest.raises(DataError, match="all 10 images without labels, whose classes are unknown"):
        loaded(tmp_path, protocol="darp", imbalance=4.0, unlabeled_shape="reversed")
    toy(tmp_path, "two", train=examples(TRAIN, 1), test=examples([0, 1, 2], 2))
    config, data = loaded(tmp_path, "tfds:two", protocol="darp", imbalance=4.0)
    # Of each class 3 N_c are needed, of the last one 3·int(N_1/4) ≤ 4: N_1 = 4, but 12 images of the first: N_1 = 4.
    assert (config.data.n1, config.data.m1) == (4, 8)
    assert data.provenance["labeled_counts"] == [4, 2, 1] and data.provenance["unlabeled_counts"] == [8, 4, 2]


def test_the_validation_split_or_a_fifth_of_each_class_where_no_test_split_has_labels(tmp_path):
    hidden = {"train": examples(TRAIN, 1), "test": examples([0] * 3, 2, hidden=True)}
    toy(tmp_path, "hidden", **hidden, validation=examples([0, 1, 2], 4))
    _, data = loaded(tmp_path, "tfds:hidden")
    assert pixels(data.test)[:, 2].tolist() == [4] * 3
    assert data.provenance["test"] == "validation: there is no test split with labels"
    assert data.provenance["splits_not_used"] == "test"
    toy(tmp_path, "alone", train=examples([0] * 10 + [1] * 10 + [2] * 5, 1))
    _, data = loaded(tmp_path, "tfds:alone", beta=1.0)
    assert np.bincount(data.test_labels).tolist() == [2, 2, 1] and len(data.train) == 20
    assert set(map(tuple, pixels(data.test))).isdisjoint(map(tuple, pixels(data.train)))
    assert data.provenance["test"] == "20% of each class of train, held out: no other split has labels"


def test_the_newest_version_or_the_one_in_the_name_and_a_config(tmp_path):
    toy(tmp_path, "toy", "1.0.0", train=examples([0, 1, 2] * 2, 1))
    toy(tmp_path, "toy", "1.10.0", train=examples([0, 1, 2] * 4, 1))
    toy(tmp_path, "many/rgb", "2.0.0", train=examples([0, 1, 2] * 3, 1))
    for dataset, count, source in (
        ("tfds:toy", 9, "TFDS toy 1.10.0"),
        ("tfds:toy:1.0.0", 3, "TFDS toy 1.0.0"),
        ("tfds:many/rgb", 6, "TFDS many/rgb 2.0.0"),
        ("tfds:many/rgb:2.0.0", 6, "TFDS many/rgb 2.0.0"),
    ):
        _, data = loaded(tmp_path, dataset, beta=1.0)
        # One image of each class is held out.
        assert (len(data.train), data.provenance["source"]) == (count, source)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("tfds:gone", r"no gone found in .*\nNothing is downloaded.*\n.*tfds\.load\('gone', data_dir="),
        ("tfds:toy:9.9.9", r"no toy:9\.9\.9 found .*\n.*toy has 1\.0\.0\.\n.*\n.*tfds\.load\('toy:9\.9\.9'"),
        ("tfds:many", r"has several configs: choose one of tfds:many/gray, tfds:many/rgb\."),
    ],
)
def test_a_dataset_that_is_not_there_is_refused_with_the_line_that_prepares_it(tmp_path, dataset, message):
    toy(tmp_path)
    for name in ("many/rgb", "many/gray"):
        toy(tmp_path, name)
    with pytest.raises(DataError, match=message):
        settings.resolve(given(tmp_path, dataset))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["tfds:", "tfds:Toy", "tfds:toy:1.0", "tfds:../x", "tfds:toy/", "nix:toy", "tfds"])
def test_other_names_are_no_datasets(name):
    with pytest.raises(ValueError, match=r"--dataset must be one of .*, tfds:NAME\[/CONFIG\]\[:VERSION\], got"):
        resolve({"dataset": name})


def test_a_name_is_a_record_like_any_other():
    record = registry.DATASETS["tfds:toy/rgb:1.0.0"]
    assert registry.DATASETS["tfds:toy/rgb:1.0.0"] is record and "tfds:toy/rgb:1.0.0" in registry.DATASETS
    assert "tfds:toy/rgb:1.0.0" not in list(registry.DATASETS)
    config = resolve({"dataset": "tfds:toy/rgb:1.0.0"})
    assert config.records.dataset is record and type(config).from_dict(config.to_dict()) == config
    assert config.train.workdir == "runs/tfds_toy_rgb_1.0.0_g1_b0.1_fixmatch_udal_fold1"
    assert dataset_name("tfds:toy/rgb:1.0.0") == "TFDS toy/rgb:1.0.0"


def no_image(f):
    return {"label": f.ClassLabel(num_classes=2), "text": f.Text()}, {"label": 0, "text": "x"}


def several_images(f):
    image = np.zeros((4, 4, 3), np.uint8)
    both = {"left": f.Image(shape=(4, 4, 3)), "right": f.Image(shape=(4, 4, 3)), "label": f.ClassLabel(num_classes=2)}
    return both, {"left": image, "right": image, "label": 0}


def no_label(f):
    features = {"image": f.Image(shape=(4, 4, 3)), "age": f.Scalar(dtype=np.int64)}
    return features, {"image": np.zeros((4, 4, 3), np.uint8), "age": 1}


def several_labels(f):
    labels = {"color": f.ClassLabel(num_classes=2), "form": f.ClassLabel(num_classes=2)}
    example = {"image": np.zeros((4, 4, 3), np.uint8), "color": 0, "form": 0}
    return {"image": f.Image(shape=(4, 4, 3)), **labels}, example


def multi_label(f):
    features = {"image": f.Image(shape=(4, 4, 3)), "objects": f.Sequence(f.ClassLabel(num_classes=2))}
    return features, {"image": np.zeros((4, 4, 3), np.uint8), "objects": [0, 1]}


def floats(f):
    features = {"image": f.Image(shape=(4, 4, 1), dtype=np.float32), "label": f.ClassLabel(num_classes=2)}
    return features, {"image": np.zeros((4, 4, 1), np.float32), "label": 0}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (no_image, r"no feature Image; its features are label \(ClassLabel\), text \(Text\)"),
        (several_images, r"several features Image; its features are label \(ClassLabel\), left \(Image\), right"),
        (no_label, r"no feature ClassLabel; its features are age \(Scalar\), image \(Image\)"),
        (
            several_labels,
            r"several features ClassLabel; its features are color \(ClassLabel\), form \(ClassLabel\), image",
        ),
        (multi_label, r"images with several labels each \(objects\) are not supported"),
        (floats, r"image has values of type float32, not uint8 or uint16"),
    ],
)
def test_features_of_another_kind_are_refused_by_name(tmp_path, made, message):
    import tensorflow_datasets as tfds

    features, example = made(tfds.features)
    place = prepared.write(tmp_path, "odd", {"train": [example] * 2}, features)
    with pytest.raises(DataError, match=message) as raised:
        settings.resolve(given(tmp_path, "tfds:odd"))
    assert str(place) in str(raised.value) and not (tmp_path / "cache").exists()


def test_the_label_that_the_dataset_states_is_taken_among_several(tmp_path):
    import tensorflow_datasets as tfds

    features = prepared.features_of(classes=NAMES) | {"coarse": tfds.features.ClassLabel(num_classes=2)}
    rows = [{**row, "coarse": 0} for row in examples([0, 1, 2] * 2, 1)]
    prepared.write(tmp_path, "cars", {"train": rows}, features, supervised=("image", "coarse"))
    with pytest.raises(DataError, match="no image of class 1 in train"):
        loaded(tmp_path, "tfds:cars")
    prepared.write(tmp_path, "cars2", {"train": rows}, features)
    assert loaded(tmp_path, "tfds:cars2")[1].class_names == NAMES


def test_images_of_differing_sizes_are_resized_and_gray_ones_stay_gray(tmp_path):
    sizes = [(20, 30), (40, 24), (24, 24)] * 4
    rows = [{"image": np.full((*size, 3), 90, np.uint8), "label": i % 3} for i, size in enumerate(sizes)]
    toy(tmp_path, "sizes", train=rows)
    config, data = loaded(tmp_path, "tfds:sizes")
    # Median short side 24; with --image_size, that.
    assert config.data.image_size == 24 and data.train.shape == (24, 24, 3)
    assert loaded(tmp_path, "tfds:sizes", image_size=16)[1].train.shape == (16, 16, 3)
    gray = [{"image": np.full((16, 16, 1), 7 * i, np.uint8), "label": i % 3} for i in range(12)]
    prepared.write(tmp_path, "gray", {"train": gray}, prepared.features_of(1, NAMES))
    _, data = loaded(tmp_path, "tfds:gray", beta=1.0)
    assert data.train.shape == (16, 16, 1)
    assert sorted([*pixels(data.train)[:, 0], *pixels(data.test)[:, 0]]) == [7 * i for i in range(12)]


def test_16_bit_gray_keeps_its_upper_bits_and_transparency_is_on_white(tmp_path):
    rows = [{"image": np.full((16, 16, 1), value, np.uint16), "label": i % 2} for i, value in enumerate([0, 65535] * 3)]
    prepared.write(tmp_path, "deep", {"train": rows}, prepared.features_of(1, NAMES[:2], dtype=np.uint16))
    _, data = loaded(tmp_path, "tfds:deep", beta=1.0)
    assert sorted(pixels(data.train)[:, 0].tolist()) == [0, 0, 255, 255]
    clear = np.zeros((16, 16, 4), np.uint8)
    opaque = np.full((16, 16, 4), 255, np.uint8) * np.array([0, 0, 0, 1], np.uint8)
    rows = [{"image": clear if i % 2 else opaque, "label": i % 2} for i in range(6)]
    prepared.write(tmp_path, "rgba", {"train": rows}, prepared.features_of(4, NAMES[:2]))
    _, data = loaded(tmp_path, "tfds:rgba", beta=1.0)
    assert pixels(data.train)[data.train_labels == 1].tolist() == [[255] * 3] * 2
    assert pixels(data.train)[data.train_labels == 0].tolist() == [[0] * 3] * 2


def test_large_images_are_decoded_when_they_are_needed_and_files_read_alike(tmp_path):
    toy(tmp_path, side=120)
    config, data = loaded(tmp_path)
    assert config.data.image_size == 48 and config.model.arch == "wrn" and isinstance(data.train, ArrayImages)
    config, data = loaded(tmp_path, image_size=128, arch="resnet50")
    assert config.augment.crop == "resized"
    assert isinstance(data.train, EncodedImages) and data.train.shape == (128, 128, 3)
    assert pixels(data.test)[:, 0].tolist() == [10, 20, 30] * 3
    noise = np.random.RandomState(0).randint(0, 256, (150, 120, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    rows = [{"image": noise, "label": label} for label in (0, 1, 2)]
    toy(tmp_path, "noise", train=rows * 2)
    _, data = loaded(tmp_path, "tfds:noise", image_size=96)
    read = image_files.reader("tfds:noise", (96, 96, 3))(tmp_path / "noise.png")
    np.testing.assert_array_equal(read, data.test.fetch(tf.constant([0], tf.int64)).numpy()[0])


def test_a_damaged_image_is_named_or_skipped(tmp_path):
    place = toy(tmp_path)
    shard = sorted(place.glob("*-train.tfrecord-*"))[0]
    content = bytearray(shard.read_bytes())
    at = content.index(b"IDAT")
    content[at : at + 4] = b"XXXX"
    shard.write_bytes(bytes(content))
    config = settings.resolve(given(tmp_path, beta=1.0))
    with pytest.raises(DataError, match=r"1 images cannot be read:\n  image at byte \d+ of .*train\.tfrecord"):
        sources.load(config.data)
    _, data = loaded(tmp_path, beta=1.0, skip_bad_images=True)
    assert data.provenance["labeled_counts"] == [11, 8, 4] and len(data.skipped) == 1
    assert [11, 20, 30] not in pixels(data.train).tolist() and len(data.train) == 33


def test_other_files_are_another_run_and_missing_ones_are_refused(tmp_path):
    place = toy(tmp_path)
    before = settings.resolve(given(tmp_path)).data.images
    assert before.startswith("TFDS toy 1.0.0: 3 classes; 24 train; 10 unlabelled; 9 test; labels and file sizes ")
    assert settings.resolve(given(tmp_path)).data.images == before
    toy(tmp_path / "other", train=examples(TRAIN, 1), test=examples([0, 1, 2] * 3, 2))
    assert settings.resolve(given(tmp_path / "other")).data.images != before
    sorted(place.glob("*-train.tfrecord-*"))[1].unlink()
    with pytest.raises(DataError, match="3 of the 4 files of train exist"):
        settings.resolve(given(tmp_path))


def test_no_train_split_no_such_imbalance_and_images_without_labels_are_refused(tmp_path):
    toy(tmp_path, "untrained", test=examples([0, 1, 2], 1))
    with pytest.raises(DataError, match="no split train, only test"):
        settings.resolve(given(tmp_path, "tfds:untrained"))
    toy(tmp_path, "partly", train=examples([0, 1, 2], 1) + examples([0], 1, hidden=True))
    with pytest.raises(DataError, match="1 images of train have no label"):
        settings.resolve(given(tmp_path, "tfds:partly"))
    toy(tmp_path)
    with pytest.raises(DataError, match="the classes have 4 to 12 images, too few for --imbalance=1000"):
        settings.resolve(given(tmp_path, imbalance=1000.0))


def test_a_class_may_be_missing_in_the_test_split_but_not_in_training(tmp_path):
    toy(tmp_path, train=examples([0, 1, 2] * 2, 1), test=examples([0, 1], 2))
    assert loaded(tmp_path, beta=1.0)[1].provenance["test_counts"] == [1, 1, 0]
    toy(tmp_path, "single", train=examples([0, 0, 0, 1, 1, 2], 1))
    with pytest.raises(DataError, match="no image of class cow is left to train on"):
        loaded(tmp_path, "tfds:single")


def test_real_images_of_an_export_are_those_of_the_test_split(tmp_path):
    toy(tmp_path)
    config = settings.resolve(given(tmp_path))

    class Folder:
        own = None

    folder = Folder()
    folder.config = config
    model = type("Model", (), {"folder": folder, "input_shape": (16, 16, 3)})()
    found = real_images.find(model, [])
    assert found.words == "9 test images of tfds:toy" and found.images[:, 0, 0, 2].tolist() == [2] * 9


SMALL = {
    "stl10lt": ("stl10", {"train": 5, "test": 2, "unlabelled": 7}),
    "svhnlt": ("svhn_cropped", {"train": 12, "test": 2}),
    "eurosatlt": ("eurosat/rgb", {"train": 15}),
    "food101lt": ("food101", {"train": 12, "validation": 2}),
}


@pytest.mark.parametrize("dataset", SMALL)
def test_records_of_tfds_datasets(tmp_path, monkeypatch, dataset):
    """The published protocols, with few images of each class."""
    name, per_class = SMALL[dataset]
    classes = registry.DATASETS[dataset].num_classes
    side = 32 if dataset == "stl10lt" else 16
    labels = {split: list(range(classes)) * count for split, count in per_class.items()}
    splits = {split: examples(labels[split], 1, side, hidden=split == "unlabelled") for split in labels}
    prepared.write(tmp_path, name, splits, prepared.features_of(classes=[f"c{c}" for c in range(classes)]))
    with pytest.raises(DataError, match=r"images in train, expected"):
        sources.load(resolve(given(tmp_path, dataset)).data)
    counts = {split: len(found) for split, found in labels.items()}
    monkeypatch.setitem(tfds_prepared.EDITIONS, dataset, tfds_prepared.Edition(name, counts))
    config = resolve(given(tmp_path, dataset, n1=4, m1=8, imbalance=4.0))
    assert config.data.protocol == "darp" and config.train.workdir.startswith(f"runs/{dataset}_g4_darp_")
    data = sources.load(config.data)
    assert data.num_classes == classes and data.train.shape == (config.data.image_size,) * 2 + (3,)
    assert data.provenance["labeled_counts"][0] == 4 and data.provenance["labeled_counts"][-1] == 1
    further = len(data.unlabeled_only)
    assert further == (70 if dataset == "stl10lt" else sum(data.provenance["unlabeled_counts"]))


def test_published_sizes_of_the_protocols():
    expected = {
        "stl10lt": (450, 3000, 10.0),
        "svhnlt": (1000, 3948, 100.0),
        "eurosatlt": (700, 1400, 100.0),
        "food101lt": (250, 500, 50.0),
        "tissuemnistlt": (6500, 13000, 100.0),
    }
    for name, sizes in expected.items():
        data = resolve({"dataset": name}).data
        assert (data.n1, data.m1, data.imbalance) == sizes and data.protocol == "darp", name
    assert resolve({"dataset": "stl10lt", "protocol": "crest"}).data.beta == 1.0
    assert resolve({"dataset": "food101lt"}).data.image_size == 224


def test_a_recorded_command_names_the_protocol_where_it_is_not_the_datasets_own():
    assert "--protocol" not in training_command(resolve({"dataset": "stl10lt"}))
    crest = resolve({"dataset": "stl10lt", "protocol": "crest"})
    assert training_command(crest) == "python run.py --dataset=stl10lt --base=fixmatch --method=udal --protocol=crest"
    assert "--protocol=darp" in training_command(resolve({"dataset": "cifar10lt", "protocol": "darp"}))


def write_tissue(path, monkeypatch, **changed):
    sizes = np.array([30, 4, 3, 9, 7, 5, 20, 15])
    labels = np.repeat(np.arange(8), sizes)
    arrays = {
        "train_images": np.tile(labels.astype(np.uint8)[:, None, None], (1, 28, 28)),
        "train_labels": labels[:, None].astype(np.uint8),
        "val_images": np.zeros((1, 28, 28), np.uint8),
        "val_labels": np.zeros((1, 1), np.uint8),
        "test_images": np.tile(np.arange(8, dtype=np.uint8)[:, None, None], (1, 28, 28)),
        "test_labels": np.arange(8, dtype=np.uint8)[:, None],
    }
    np.savez(path, **{name: array for name, array in (arrays | changed).items() if array is not None})
    monkeypatch.setattr(medmnist, "IMAGES", {"train": 93, "val": 1, "test": 8})


def test_tissuemnist_has_its_classes_in_the_order_of_their_size(tmp_path, monkeypatch):
    write_tissue(tmp_path / "tissuemnist.npz", monkeypatch)
    data = sources.load(resolve(given(tmp_path, "tissuemnistlt", n1=4, m1=8, imbalance=4.0)).data)
    assert data.class_names[:2] == ("collecting duct, connecting tubule", "proximal tubule segments")
    assert data.class_names[-1] == "glomerular endothelial cells" and data.train.shape == (28, 28, 1)
    # Images hold MedMNIST's own number of their class.
    assert pixels(data.test)[:, 0].tolist() == list(range(8))
    assert data.test_labels.tolist() == [0, 6, 7, 3, 4, 5, 1, 2]
    assert data.provenance["labeled_counts"] == [4, 3, 2, 2, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_labels": None}, "no train_labels: not MedMNIST's file"),
        (
            {"train_images": np.zeros((93, 28, 28), np.float32)},
            r"train_images must be uint8 \[93, 28, 28\], got float32",
        ),
        ({"test_images": np.zeros((7, 28, 28), np.uint8)}, r"test_images must be uint8 \[8, 28, 28\], got uint8 \[7"),
        ({"test_labels": np.zeros((8, 1), np.uint8)}, r"the labels of test are \[0\], not all of 0 to 7"),
        ({"train_labels": np.array([{}] * 93)}, "truncated or damaged"),
    ],
)
def test_another_tissuemnist_file_is_refused(tmp_path, monkeypatch, changed, message):
    write_tissue(tmp_path / "tissuemnist.npz", monkeypatch, **changed)
    with pytest.raises(DataError, match=message):
        sources.load(resolve(given(tmp_path, "tissuemnistlt")).data)


def test_tissuemnist_that_is_missing_or_truncated_is_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"no tissuemnist\.npz in .*Nothing is downloaded: get it from"):
        sources.load(resolve(given(tmp_path, "tissuemnistlt")).data)
    write_tissue(tmp_path / "tissuemnist.npz", monkeypatch)
    content = (tmp_path / "tissuemnist.npz").read_bytes()
    (tmp_path / "tissuemnist.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"tissuemnist\.npz: truncated or damaged"):
        sources.load(resolve(given(tmp_path, "tissuemnistlt")).data)
