"""The export in CReST's layout, and split manifests read back."""

import json

import numpy as np
import pytest
import tensorflow as tf
import test_data_cifar as made
from test_data_cifar import small_editions, ten  # noqa: F401 (fixtures)

from udal_tf.commands.crest_export import export
from udal_tf.data import longtail, sources
from udal_tf.data.dataset import DataError


@pytest.fixture
def exported(tmp_path, ten):  # noqa: F811
    made.write_archive(tmp_path, ten)
    return export(made.config(tmp_path), tmp_path / "out")


def records(path):
    """(image planes, label) of each record, parsed here."""
    for raw in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        feature = tf.train.Example.FromString(raw).features.feature
        planes = np.frombuffer(feature["image"].bytes_list.value[0], np.uint8)
        yield planes.reshape(3, 32, 32), feature["label"].int64_list.value[0]


def test_files_are_crests(tmp_path, ten, exported):  # noqa: F811
    assert exported == tmp_path / "out" / "cifar-lt" / "cifar-10-data-im-0.1"
    pool = longtail.subset(ten.labels, made.COUNTS, "seed0", files=5)
    for name, images, labels in (
        ("train", ten.images[pool], ten.labels[pool]),
        ("eval", ten.test_images, ten.test_labels),
    ):
        found = list(records(exported / f"{name}.tfrecords"))
        assert [label for _, label in found] == labels.tolist()
        for (planes, _), image in zip(found, images, strict=True):
            for channel in range(3):
                np.testing.assert_array_equal(planes[channel], image[:, :, channel])


def test_manifest_lists_every_fold(ten, exported):  # noqa: F811
    content = json.loads((exported / "split_manifest.json").read_text())
    pool = np.array(content["subset"]["positions"])
    assert sorted(content["folds"]) == ["1", "2", "3", "4", "5"]
    for fold, part in content["folds"].items():
        labeled, _ = longtail.fold_split(ten.labels[pool], 0.2, int(fold), 10)
        assert part["labeled_records"]["positions"] == labeled.tolist()
        assert part["labeled"]["positions"] == pool[labeled].tolist()


@pytest.mark.parametrize("fold", [1, 4])
def test_manifest_gives_the_same_problem(tmp_path, exported, fold):
    plain = sources.load(made.config(tmp_path, fold=fold))
    again = sources.load(made.config(tmp_path, fold=fold, split_manifest=str(exported / "split_manifest.json")))
    for name in ("labeled", "unlabeled", "unlabeled_only", "p_data"):
        np.testing.assert_array_equal(getattr(again, name), getattr(plain, name))
    assert again.provenance["draw"].endswith("from split_manifest.json")


def test_manifest_of_another_draw_is_reused_exactly(tmp_path, ten):  # noqa: F811
    made.write_archive(tmp_path, ten)
    folder = export(made.config(tmp_path, draw="seed7"), tmp_path / "out")
    drawn = sources.load(made.config(tmp_path, draw="seed7"))
    reused = sources.load(made.config(tmp_path, split_manifest=str(folder / "split_manifest.json")))
    np.testing.assert_array_equal(reused.labeled, drawn.labeled)
    assert "seed7" in reused.provenance["draw"]


def test_exported_files_are_not_taken_for_the_published_ones(tmp_path, exported):
    data = sources.load(made.config(tmp_path / "out"))
    assert "crest_export" in data.provenance["source"]
    assert data.provenance["draw"] == "same protocol, different draw (seed0)"


def test_exported_files_hold_the_same_problem(tmp_path, ten, exported):  # noqa: F811
    archive, files = sources.load(made.config(tmp_path)), sources.load(made.config(tmp_path / "out"))
    for name in ("labeled", "unlabeled_only"):
        of_archive = archive.train.fetch(getattr(archive, name))
        np.testing.assert_array_equal(files.train.fetch(getattr(files, name)), of_archive)


def test_changed_export_is_refused(tmp_path, exported):
    path = exported / "train.tfrecords"
    path.write_bytes((exported / "eval.tfrecords").read_bytes())
    with pytest.raises(DataError, match="do not match the hashes in split_manifest.json"):
        sources.load(made.config(tmp_path / "out"))


def altered(path, change):
    content = json.loads(path.read_text())
    change(content)
    other = path.with_name("altered.json")
    other.write_text(json.dumps(content))
    return str(other)


def swap_first_two(content):
    positions = content["folds"]["1"]["labeled"]["positions"]
    positions[0], positions[1] = positions[1], positions[0]


@pytest.mark.parametrize(
    "change, match",
    [
        (swap_first_two, "fold 1, labeled .* do not match their hash"),
        (lambda content: content.pop("subset"), "incomplete"),
        (lambda content: content.update(format="other"), "is not a manifest"),
        (lambda content: content["folds"].pop("1"), "has no fold 1"),
        (lambda content: content.update(train_labels_sha256="0"), "other images, or for another order of the same"),
        (lambda content: content.update(beta=0.3), "made with --beta=0.3, this run has --beta=0.2"),
    ],
)
def test_altered_manifest_is_refused(tmp_path, exported, change, match):
    manifest = altered(exported / "split_manifest.json", change)
    with pytest.raises(DataError, match=match):
        sources.load(made.config(tmp_path, split_manifest=manifest))


def test_manifest_that_is_none(tmp_path, ten):  # noqa: F811
    made.write_archive(tmp_path, ten)
    with pytest.raises(DataError, match="cannot be read"):
        sources.load(made.config(tmp_path, split_manifest=str(tmp_path / "none.json")))
    with pytest.raises(DataError, match="utf-8"):
        sources.load(made.config(tmp_path, split_manifest=str(tmp_path / made.ARCHIVE["cifar10lt"])))


def test_nothing_is_overwritten(tmp_path, exported):
    with pytest.raises(DataError, match="exists already"):
        export(made.config(tmp_path), tmp_path / "out")


def test_other_data_sets_are_refused(tmp_path):
    from udal_tf.config import resolve

    with pytest.raises(DataError, match="got --dataset=digitslt"):
        export(resolve({}).data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
