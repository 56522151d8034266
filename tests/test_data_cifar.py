"""CIFAR from each of its sources, on small made-up archives of the real formats."""

import dataclasses
import hashlib
import io
import json
import shutil
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.config import resolve
from udal_tf.data import cifar, sources, tfds_folder
from udal_tf.data.dataset import DataError

PER_CLASS, TEST_PER_CLASS = 20, 2
SHAPE = (32, 32, 3)
# int(20 · 0.1^(c/9)): the long-tailed set at γ = 10.
COUNTS = [20, 15, 11, 9, 7, 5, 4, 3, 2, 2]


class Cifar:
    """A small CIFAR: every image differs, rows, columns and channels differ; labels start as `start` does."""

    def __init__(self, name, classes, start):
        self.name = name
        generator = np.random.RandomState(classes)
        self.labels = generator.permutation(np.repeat(np.arange(classes), PER_CLASS))
        for i, label in enumerate(start):
            j = i + np.flatnonzero(self.labels[i:] == label)[0]
            self.labels[[i, j]] = self.labels[[j, i]]
        self.test_labels = np.repeat(np.arange(classes), TEST_PER_CLASS)
        self.images = generator.randint(0, 256, (len(self.labels), 32, 32, 3), np.uint8)
        self.test_images = generator.randint(0, 256, (len(self.test_labels), 32, 32, 3), np.uint8)

    def parts(self):
        return (self.images, self.labels), (self.test_images, self.test_labels)


@pytest.fixture(autouse=True)
def small_editions(monkeypatch, tmp_path):
    """The table asks for 20 + 2 images a class; nothing outside the test's folder is read, nothing downloaded."""
    for name, edition in list(cifar.EDITIONS.items()):
        small = dataclasses.replace(
            edition, train_per_class=PER_CLASS, test_per_class=TEST_PER_CLASS, test_start=(0, 0, 1)
        )
        monkeypatch.setitem(cifar.EDITIONS, name, small)

    def offline(name, data_dir, url):
        raise OSError(f"{url} cannot be reached (no network in tests)")

    monkeypatch.setattr(tfds_folder, "download", offline)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def ten():
    return Cifar("cifar10lt", 10, (6, 9, 9, 4, 1, 1, 2, 7, 8, 3))


@pytest.fixture(scope="module")
def hundred():
    return Cifar("cifar100lt", 100, (19,))


def members(data: Cifar) -> dict[str, bytes]:
    """The archive's files: label bytes, then the three color planes."""
    result = {}
    for images, labels in data.parts():
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        if data.name == "cifar10lt":
            rows = np.concatenate([labels[:, None].astype(np.uint8), planes], 1)
        else:
            coarse = (labels // 5)[:, None].astype(np.uint8)
            rows = np.concatenate([coarse, labels[:, None].astype(np.uint8), planes], 1)
        if data.name == "cifar100lt":
            result["train.bin" if images is data.images else "test.bin"] = rows.tobytes()
        elif images is data.images:
            result |= {f"data_batch_{b + 1}.bin": part.tobytes() for b, part in enumerate(np.split(rows, 5))}
        else:
            result["test_batch.bin"] = rows.tobytes()
    return result


INNER = {"cifar10lt": "cifar-10-batches-bin", "cifar100lt": "cifar-100-binary"}
ARCHIVE = {"cifar10lt": "cifar-10-binary.tar.gz", "cifar100lt": "cifar-100-binary.tar.gz"}


def write_archive(folder, data: Cifar, replaced=()):
    """The members in an order of their own, among others, as the real archive has them."""
    content = members(data) | {"batches.meta.txt": b"airplane\n"} | dict(replaced)
    with tarfile.open(folder / ARCHIVE[data.name], "w:gz") as archive:
        for name in sorted(content, reverse=True):
            entry = tarfile.TarInfo(f"{INNER[data.name]}/{name}")
            entry.size = len(content[name])
            archive.addfile(entry, io.BytesIO(content[name]))
    return folder / ARCHIVE[data.name]


def write_extracted(folder, data: Cifar):
    (folder / INNER[data.name]).mkdir()
    for name, content in members(data).items():
        (folder / INNER[data.name] / name).write_bytes(content)


def write_tfds(folder, data: Cifar, ids=True, prefix="train_", drop=0):
    """A folder as TFDS prepares it: PNG images in shards, in a shuffled order."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import dataset_info

    name = data.name.removesuffix("lt")
    place = folder / name / "3.0.2"
    place.mkdir(parents=True)
    classes = data.labels.max() + 1
    features = {
        "image": tfds.features.Image(shape=SHAPE),
        "label": tfds.features.ClassLabel(names=[f"c{c}" for c in range(classes)]),
    }
    if ids:
        features["id"] = tfds.features.Text()
    identity = dataset_info.DatasetIdentity(
        name=name, version=tfds.core.Version("3.0.2"), data_dir=str(place), module_name="made.up", config_name=None
    )
    info = tfds.core.DatasetInfo(builder=identity, features=tfds.features.FeaturesDict(features))
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=150)
    writer.initialize_splits(["train", "test"])
    for split, start, (images, labels) in zip(("train", "test"), (prefix, "test_"), data.parts(), strict=True):
        order = np.random.RandomState(0).permutation(len(labels))[drop if split == "train" else 0 :]
        examples = [
            {"image": images[i], "label": labels[i]} | ({"id": f"{start}{i:05d}"} if ids else {}) for i in order
        ]
        writer.add_examples({split: examples})
    writer.close_all()
    return place


def write_crest(folder, data: Cifar, positions, suffix="0.1"):
    """Files as CReST reads them, written without the package's own writer."""
    place = folder / f"cifar-{'100' if data.labels.max() > 9 else '10'}-data-im-{suffix}"
    place.mkdir(parents=True)
    for name, images, labels in (
        ("train", data.images[positions], data.labels[positions]),
        ("eval", data.test_images, data.test_labels),
    ):
        with tf.io.TFRecordWriter(str(place / f"{name}.tfrecords")) as writer:
            for image, label in zip(images, labels, strict=True):
                planes = b"".join(image[:, :, c].tobytes() for c in range(3))
                feature = {
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[planes])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return place


def crest_positions(data):
    """Positions of a long-tailed set, class by class."""
    return np.concatenate([np.flatnonzero(data.labels == c)[:n] for c, n in enumerate(COUNTS)])


def config(data_dir, name="cifar10lt", **given):
    given = {"dataset": name, "n1": PER_CLASS, "imbalance": 10.0, "beta": 0.2, "data_dir": str(data_dir)} | given
    return resolve(given).data


def assert_whole(source, data: Cifar):
    """All images with all labels in canonical order."""
    np.testing.assert_array_equal(source.train_labels, data.labels)
    np.testing.assert_array_equal(source.test_labels, data.test_labels)
    np.testing.assert_array_equal(source.train.fetch(np.arange(len(data.labels))), data.images)
    np.testing.assert_array_equal(source.test.fetch(np.arange(len(data.test_labels))), data.test_images)


@pytest.mark.parametrize("data", ["ten", "hundred"])
@pytest.mark.parametrize("write", [write_archive, write_extracted, write_tfds])
def test_sources_give_the_same_images_in_canonical_order(tmp_path, request, data, write):
    data = request.getfixturevalue(data)
    write(tmp_path, data)
    source = cifar.load(config(tmp_path, data.name))
    assert_whole(source, data)
    assert source.files == (5 if data.name == "cifar10lt" else 1)
    assert not source.long_tailed


def test_archive_is_named_with_its_hash_and_draw(tmp_path, ten):
    path = write_archive(tmp_path, ten)
    facts = sources.load(config(tmp_path)).provenance
    assert facts["source"] == "binary archive cifar-10-binary.tar.gz"
    assert facts["sha256"] == {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    assert facts["draw"] == "same protocol, different draw (seed0)"
    assert facts["class_counts"] == [PER_CLASS] * 10
    together = np.add(facts["labeled_counts"], facts["unlabeled_counts"]).tolist()
    assert together == [20, 15, 11, 9, 7, 5, 4, 3, 2, 2]
    json.dumps(facts)


def test_nothing_is_written_beside_the_archive(tmp_path, ten):
    write_archive(tmp_path, ten)
    sources.load(config(tmp_path))
    assert [path.name for path in tmp_path.rglob("*")] == [ARCHIVE["cifar10lt"]]


def test_tfds_of_the_default_folder_is_found(tmp_path, ten):
    write_tfds(tmp_path / "home" / "tensorflow_datasets", ten)
    (tmp_path / "empty").mkdir()
    assert_whole(cifar.load(config(tmp_path / "empty")), ten)
    assert_whole(cifar.load(config("")), ten)


@pytest.mark.parametrize("where", ["cifar-lt", "."])
def test_crest_files_are_taken_as_they_are(tmp_path, ten, where):
    positions = crest_positions(ten)[::-1]
    place = write_crest(tmp_path / where, ten, positions)
    write_archive(tmp_path, ten)
    data = sources.load(config(tmp_path))
    assert data.provenance["source"] == "CReST's published files" and data.provenance["draw"] == "as published"
    hashed = hashlib.sha256((place / "train.tfrecords").read_bytes()).hexdigest()
    assert data.provenance["sha256"]["train.tfrecords"] == hashed
    np.testing.assert_array_equal(data.train_labels, ten.labels[positions])
    np.testing.assert_array_equal(data.train.fetch(np.arange(len(positions))), ten.images[positions])
    np.testing.assert_array_equal(data.test.fetch(np.arange(20)), ten.test_images)
    assert np.array_equal(np.sort(data.unlabeled), np.arange(len(positions)))


def test_crest_files_may_lie_in_data_dir_itself_being_cifar_lt(tmp_path, ten):
    positions = crest_positions(ten)
    write_crest(tmp_path / "cifar-lt", ten, positions)
    assert cifar.load(config(tmp_path / "cifar-lt")).long_tailed


@pytest.mark.parametrize("given", [{"draw": "seed1"}, {"n1": 15}, {"protocol": "darp", "n1": 5, "m1": 10}])
def test_other_settings_pass_over_crest_files(tmp_path, ten, given):
    positions = crest_positions(ten)
    write_crest(tmp_path, ten, positions)
    write_archive(tmp_path, ten)
    assert_whole(cifar.load(config(tmp_path, imbalance=5.0 if "protocol" in given else 10.0, **given)), ten)


def test_folder_suffix_is_pythons_float():
    from udal_tf.data.crest_files import folder_name

    assert folder_name("cifar-10-data-im-", 100.0) == "cifar-10-data-im-0.01"
    assert folder_name("cifar-10-data-im-", 200.0) == "cifar-10-data-im-0.005"
    assert folder_name("cifar-10-data-im-", 1.0) == "cifar-10-data-im-1.0"


def test_imbalance_one_takes_every_image(tmp_path, ten):
    write_archive(tmp_path, ten)
    data = sources.load(config(tmp_path, imbalance=1.0))
    assert data.provenance["unlabeled_counts"] == [PER_CLASS - n for n in data.provenance["labeled_counts"]]
    np.testing.assert_allclose(data.p_data, [0.1] * 10, rtol=1e-6)


def refused(data_dir, match, **given):
    """Loading fails with a DataError that matches, and leaves no file behind."""
    before = sorted(data_dir.rglob("*"))
    with pytest.raises(DataError, match=match):
        sources.load(config(data_dir, **given))
    assert sorted(data_dir.rglob("*")) == before


def test_missing_data_names_every_way_to_provide_it(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError) as error:
        sources.load(config(tmp_path / "data"))
    text = str(error.value)
    for part in ("cifar-lt/cifar-10-data-im-0.1", "cifar10/<version>", "cifar-10-binary.tar.gz", "--data_dir"):
        assert part in text
    assert str(tmp_path / "data") in text and "cannot be reached" in text


def test_pickled_archive_is_not_read(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"whatever")
    refused(tmp_path, "cifar-10-python.tar.gz holds Python pickles.*not read")


def test_missing_data_dir(tmp_path):
    with pytest.raises(DataError, match="cannot read the folder .*nowhere"):
        sources.load(config(tmp_path / "nowhere"))


def test_truncated_archive(tmp_path, ten):
    path = write_archive(tmp_path, ten)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(tmp_path, "truncated")


def test_archive_that_is_none(tmp_path, ten):
    (tmp_path / ARCHIVE["cifar10lt"]).write_bytes(b"<html>not found</html>")
    refused(tmp_path, "truncated or damaged")


def test_short_member(tmp_path, ten):
    content = members(ten)["data_batch_3.bin"]
    write_archive(tmp_path, ten, {"data_batch_3.bin": content[:-1]})
    refused(tmp_path, r"data_batch_3.bin has \d+ bytes")


def test_absent_member(tmp_path, ten):
    with tarfile.open(tmp_path / ARCHIVE["cifar10lt"], "w:gz") as archive:
        content = members(ten)["test_batch.bin"]
        entry = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    refused(tmp_path, "data_batch_1.bin, .* not found")


def test_link_in_archive_is_not_followed(tmp_path, ten):
    with tarfile.open(tmp_path / ARCHIVE["cifar10lt"], "w:gz") as archive:
        for name, content in members(ten).items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            if name == "test_batch.bin":
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    refused(tmp_path, "test_batch.bin not found")


def test_wrong_class_counts(tmp_path, ten):
    content = bytearray(members(ten)["data_batch_5.bin"])
    content[0] = (content[0] + 1) % 10
    write_archive(tmp_path, ten, {"data_batch_5.bin": bytes(content)})
    refused(tmp_path, "wrong class counts")


def test_label_out_of_range(tmp_path, ten):
    content = bytearray(members(ten)["data_batch_5.bin"])
    content[0] = 77
    write_archive(tmp_path, ten, {"data_batch_5.bin": bytes(content)})
    refused(tmp_path, "labels from 0 to 77")


def test_order_that_is_not_canonical(tmp_path, ten):
    content = members(ten)
    swapped = {"data_batch_1.bin": content["data_batch_2.bin"], "data_batch_2.bin": content["data_batch_1.bin"]}
    write_archive(tmp_path, ten, swapped)
    refused(tmp_path, r"not in canonical order.*expected \(6, 9, 9, 4, 1, 1, 2, 7, 8, 3\)")


def test_the_real_table_is_that_of_cifar():
    # Read from the class itself: the fixture has replaced the counts alone.
    ten, hundred = cifar.EDITIONS["cifar10lt"], cifar.EDITIONS["cifar100lt"]
    assert ten.train_start == (6, 9, 9, 4, 1, 1, 2, 7, 8, 3) and hundred.train_start == (19,)
    assert len(set(hundred.class_names)) == 100 and list(hundred.class_names) == sorted(hundred.class_names)
    assert len(ten.train) == 5 and len(hundred.train) == 1


def test_tfds_without_ids(tmp_path, ten):
    write_tfds(tmp_path, ten, ids=False)
    refused(tmp_path, "have no id; this is an old or modified version")


def test_tfds_with_other_ids(tmp_path, ten):
    write_tfds(tmp_path, ten, prefix="valid_")
    refused(tmp_path, r"id 'valid_\d+' is not train_<number>")


def test_tfds_with_images_missing(tmp_path, ten):
    write_tfds(tmp_path, ten, drop=3)
    refused(tmp_path, "197 images in train, expected 200")


def test_tfds_with_a_truncated_shard(tmp_path, ten):
    place = write_tfds(tmp_path, ten)
    shard = sorted(place.glob("*train.tfrecord*"))[0]
    shard.write_bytes(shard.read_bytes()[:-100])
    refused(tmp_path, "truncated or damaged")


def test_newest_version_of_tfds_is_taken(tmp_path, ten):
    place = write_tfds(tmp_path, ten)
    (place.parent / "2.9.0").mkdir()
    (place.parent / "2.9.0" / "dataset_info.json").write_text("{}")
    assert cifar.load(config(tmp_path)).provenance["source"] == "TFDS cifar10 3.0.2"


def spoiled(kind: str):
    """From the text of a metadata file to what another version of TFDS, or a broken copy, would have left."""

    def spoil(text: str) -> str:
        content = json.loads(text)
        if kind == "unknown field":
            return json.dumps({**content, "fieldOfTheFuture": 1})
        if kind == "splits of another form":
            return json.dumps({**content, "splits": {"train": 10}})
        return {"empty": "", "truncated": text[: len(text) // 2], "NUL bytes": "\0" * 50, "a list": "[]"}[kind]

    return spoil


DAMAGE = ["empty", "truncated", "NUL bytes", "a list"]
METADATA = [(name, kind) for name in ("dataset_info.json", "features.json") for kind in DAMAGE]
METADATA += [("dataset_info.json", kind) for kind in ("unknown field", "splits of another form")]


@pytest.mark.parametrize(("name", "kind"), METADATA)
def test_tfds_with_metadata_that_it_does_not_understand_is_prepared_again(tmp_path, ten, name, kind):
    path = write_tfds(tmp_path, ten) / name
    path.write_text(spoiled(kind)(path.read_text()))
    refused(tmp_path, "(?s)cifar10/3.0.2.*Prepare it again with a current tensorflow-datasets")


def test_tfds_with_features_of_other_kinds(tmp_path, ten):
    path = write_tfds(tmp_path, ten) / "features.json"
    text = path.read_text()
    features = json.loads(text)["featuresDict"]["features"]
    label_as_id = {**features, "label": features["id"]}
    image_as_id = {**features, "image": features["id"]}
    for changed in (label_as_id, image_as_id):
        path.write_text(json.dumps({**json.loads(text), "featuresDict": {"features": changed}}))
        refused(tmp_path, "(?s)cifar10/3.0.2.*Prepare it again with a current tensorflow-datasets")


def test_a_good_older_version_is_found_behind_bad_newer_ones(tmp_path, ten, caplog):
    place = write_tfds(tmp_path, ten)
    for version, name in (("4.0.0", "dataset_info.json"), ("3.1.0", "features.json"), ("10.0.0", None)):
        newer = place.parent / version
        shutil.copytree(place, newer)
        if name:
            (newer / name).write_text('{"name": ')
        else:  # An interrupted copy.
            sorted(newer.glob("*train.tfrecord*"))[0].write_bytes(b"")
    with caplog.at_level("WARNING", logger="absl"):
        source = cifar.load(config(tmp_path))
    assert_whole(source, ten)
    assert source.provenance["source"] == "TFDS cifar10 3.0.2"
    assert source.provenance["folder"] == str(place)
    (record,) = caplog.records
    message = record.getMessage()
    places = [message.index(f"cifar10/{version}") for version in ("10.0.0", "4.0.0", "3.1.0")]
    assert places == sorted(places)
    assert message.endswith(f"Using the older version {place}.")


def test_crest_files_with_wrong_counts(tmp_path, ten):
    write_crest(tmp_path, ten, crest_positions(ten)[1:])
    refused(tmp_path, "wrong class counts: 77 images, expected 78; class 0 has 19, expected 20")


def test_truncated_crest_files(tmp_path, ten):
    path = write_crest(tmp_path, ten, crest_positions(ten)) / "train.tfrecords"
    path.write_bytes(path.read_bytes()[:-10])
    refused(tmp_path, "train.tfrecords: truncated, damaged")


def test_crest_files_of_another_kind(tmp_path, ten):
    place = write_crest(tmp_path, ten, crest_positions(ten))
    with tf.io.TFRecordWriter(str(place / "eval.tfrecords")) as writer:
        writer.write(b"no example")
    refused(tmp_path, "eval.tfrecords: truncated, damaged or not CReST's")


def test_image_size_does_not_apply(tmp_path, ten):
    write_archive(tmp_path, ten)
    refused(
        tmp_path,
        "--image_size and --skip_bad_images only apply to imagenet127, stl10lt",
        image_size=64,
    )


def test_download_is_tried_only_where_nothing_is_found(tmp_path, ten, monkeypatch):
    (tmp_path / "data").mkdir()
    asked = []

    def prepare(name, data_dir, url):
        asked.append((name, data_dir, url))
        write_tfds(data_dir, ten)

    monkeypatch.setattr(tfds_folder, "download", prepare)
    assert_whole(cifar.load(config(tmp_path / "data")), ten)
    assert_whole(cifar.load(config(tmp_path / "data")), ten)
    assert asked == [("cifar10", tmp_path / "data", "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz")]
