"""Fashion-MNIST from IDX files, plain and compressed, and from a TFDS folder; all made up, in the real formats."""

import dataclasses
import gzip
import struct

import numpy as np
import pytest
from test_data_cifar import write_tfds

from udal_tf.config import resolve
from udal_tf.data import fashion, sources, tfds_folder
from udal_tf.data.dataset import DataError

PER_CLASS, TEST_PER_CLASS = 20, 2
START = (9, 0, 0, 3, 0, 2, 7, 2, 5, 5)


class Fashion:
    """A small Fashion-MNIST in which every image differs and rows differ from columns."""

    name = "fashion_mnist"

    def __init__(self):
        generator = np.random.RandomState(1)
        self.labels = generator.permutation(np.repeat(np.arange(10), PER_CLASS))
        for i, label in enumerate(START):
            j = i + np.flatnonzero(self.labels[i:] == label)[0]
            self.labels[[i, j]] = self.labels[[j, i]]
        self.test_labels = np.repeat(np.arange(10), TEST_PER_CLASS)
        self.images = generator.randint(0, 256, (len(self.labels), 28, 28), np.uint8)
        self.test_images = generator.randint(0, 256, (len(self.test_labels), 28, 28), np.uint8)


@pytest.fixture(scope="module")
def data():
    return Fashion()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch, tmp_path):
    train, test = fashion.PARTS
    parts = (dataclasses.replace(train, per_class=PER_CLASS), dataclasses.replace(test, per_class=TEST_PER_CLASS))
    monkeypatch.setattr(fashion, "PARTS", (parts[0], dataclasses.replace(parts[1], start=(0, 0, 1))))
    monkeypatch.setattr(fashion, "SYSTEM_FOLDERS", (tmp_path / "system",))

    def offline(name, data_dir, url):
        raise OSError("cannot be reached")

    monkeypatch.setattr(tfds_folder, "download", offline)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder, data, compressed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (
        ("train-images-idx3-ubyte", data.images),
        ("train-labels-idx1-ubyte", data.labels.astype(np.uint8)),
        ("t10k-images-idx3-ubyte", data.test_images),
        ("t10k-labels-idx1-ubyte", data.test_labels.astype(np.uint8)),
    ):
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))


def config(data_dir, **given):
    given = {"dataset": "fashionlt", "n1": PER_CLASS, "imbalance": 10.0, "data_dir": str(data_dir)} | given
    return resolve(given).data


def assert_whole(source, data):
    np.testing.assert_array_equal(source.train_labels, data.labels)
    np.testing.assert_array_equal(source.test_labels, data.test_labels)
    np.testing.assert_array_equal(source.train.fetch(np.arange(len(data.labels)))[..., 0], data.images)
    np.testing.assert_array_equal(source.test.fetch(np.arange(len(data.test_labels)))[..., 0], data.test_images)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("place", ["given", "given/fashion-mnist", "system"])
def test_idx_files_are_read_in_order(tmp_path, data, compressed, place):
    (tmp_path / "given").mkdir()
    write(tmp_path / place, data, compressed)
    source = fashion.load(config(tmp_path / "given"))
    assert source.train.shape == (28, 28, 1)
    assert_whole(source, data)


def test_tfds_is_read(tmp_path, data, monkeypatch):
    import test_data_cifar

    class Wide:
        """The same images, as the writer of CIFAR's folder takes them."""

        name, labels = "fashion_mnist", data.labels
        images, test_images = data.images[..., None], data.test_images[..., None]

        def parts(self):
            return (self.images, self.labels), (self.test_images, data.test_labels)

    monkeypatch.setattr(test_data_cifar, "SHAPE", (28, 28, 1))
    write_tfds(tmp_path, Wide(), ids=False)
    source = fashion.load(config(tmp_path))
    found = source.train.fetch(np.arange(200)).numpy()[..., 0]
    assert "order of its files" in source.provenance["source"]
    order = [int(np.flatnonzero((data.images == image).all((1, 2)))[0]) for image in found]
    assert sorted(order) == list(range(200)) and data.labels[order].tolist() == source.train_labels.tolist()


def test_class_sizes_of_the_problem(tmp_path, data):
    write(tmp_path, data)
    problem = sources.load(config(tmp_path))
    # A tenth of 20, 15, 11, 9, 7, 5, 4, 3, 2 and 2, rounded up, is labeled.
    assert problem.provenance["unlabeled_counts"] == [18, 13, 9, 8, 6, 4, 3, 2, 1, 1]
    assert len(problem.provenance["sha256"]) == 4


def refused(data_dir, match):
    before = sorted(data_dir.rglob("*"))
    with pytest.raises(DataError, match=match):
        sources.load(config(data_dir))
    assert sorted(data_dir.rglob("*")) == before


def test_missing_files_name_every_way(tmp_path):
    refused(tmp_path, r"(?s)apt-get install dataset-fashion-mnist.*fashion_mnist/<version>.*cannot be reached")


def test_truncated_compressed_file(tmp_path, data):
    write(tmp_path, data)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    refused(tmp_path, "train-images-idx3-ubyte.gz: truncated or damaged")


def test_truncated_plain_file(tmp_path, data):
    write(tmp_path, data, compressed=False)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    refused(tmp_path, r"t10k-images-idx3-ubyte: 15679 bytes of content, its header states 15680")


def test_file_of_another_format(tmp_path, data):
    write(tmp_path, data, compressed=False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"\x89PNG....")
    refused(tmp_path, "train-labels-idx1-ubyte: not an IDX file")


def test_wrong_class_counts(tmp_path, data):
    write(tmp_path, data, compressed=False)
    labels = np.where(data.labels == 9, 8, data.labels)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels.astype(np.uint8)))
    refused(tmp_path, "wrong class counts in train")


def test_plain_mnist_is_recognized(tmp_path, data):
    write(tmp_path, data, compressed=False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(data.labels[::-1].astype(np.uint8)))
    refused(tmp_path, r"not \(9, 0, 0, 3, 0, 2, 7, 2, 5, 5\) as in Fashion-MNIST")


def test_labels_of_other_images(tmp_path, data):
    write(tmp_path, data, compressed=False)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(data.images[:-1]))
    refused(tmp_path, r"images \[199, 28, 28, 1\] for 200 labels")


def test_a_download_that_leaves_no_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_folder, "download", lambda name, data_dir, url: None)
    with pytest.raises(DataError, match="the download left no such folder"):
        fashion.load(config(tmp_path))
