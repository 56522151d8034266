"""`udal_tf.train`: what it accepts, what it refuses by name, and the work folder it leaves."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import udal_tf
from udal_tf import config as config_module
from udal_tf.commands import evaluate, export, predict, report
from udal_tf.data import memory, settings, sources
from udal_tf.data.dataset import DataError
from udal_tf.data.problem import make_problem
from udal_tf.inference.model_card import training_command
from udal_tf.run_dir import RunDir
from udal_tf.run_records import RunDirError

TINY = {"epochs": 1, "steps_per_epoch": 2, "batch_size": 4, "unlabeled_ratio": 2, "depth": 10, "width": 1}
RANDOM = np.random.RandomState(0)
X = RANDOM.randint(0, 256, (12, 16, 16, 3)).astype(np.uint8)
Y = np.arange(12) % 3
X_U = RANDOM.randint(0, 256, (20, 16, 16, 3)).astype(np.uint8)
X_T, Y_T = X[:6] // 2, Y[:6]
DATA = {"labeled": (X, Y), "unlabeled": X_U, "test": (X_T, Y_T), "class_names": ("ant", "bee", "cow")}


def arrays(**changed):
    return memory.arrays_of(memory.as_data(DATA | changed))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, undrawn, small_network):
    folder = tmp_path_factory.mktemp("library") / "run"
    udal_tf.train(DATA, folder, **TINY)
    return folder


def test_the_work_folder_is_one_like_any_other(workdir, tmp_path, call_command):
    result = RunDir(workdir).result()
    assert result.class_names == ["ant", "bee", "cow"] and result.steps == 2
    assert result.data["sha256"] == arrays().sha256 and result.data["labeled_counts"] == [4, 4, 4]
    prediction = udal_tf.load(workdir).predict(X_T)
    assert prediction.probs.shape == (6, 3)
    for name in DATA["class_names"]:
        (tmp_path / "test" / name).mkdir(parents=True)
        Image.fromarray(X[0]).save(tmp_path / "test" / name / "a.png")
    for command, *arguments in (
        (predict, workdir, tmp_path / "test"),
        (evaluate, workdir, tmp_path / "test", f"--out={tmp_path / 'evaluation'}"),
        (report, workdir, f"--out={tmp_path / 'report'}"),
    ):
        code, out, err = call_command(command.main, *arguments)
        assert (code, err) == (0, ""), command.__name__
    code, out, _ = call_command(export.main, workdir, tmp_path / "export", "--format=keras")
    assert code == 0
    # Its own test set is not there, which is said.
    assert (
        "none, because the training data is not available (--dataset=memory is data that a Python program"
        in " ".join(out.split())
    )
    card = (tmp_path / "export" / "MODEL_CARD.md").read_text()
    assert "udal_tf.train(data, base='fixmatch', method='udal'," in card and "run.py --dataset=memory" not in card


def test_the_same_call_returns_the_result_and_other_data_are_refused_by_name(workdir):
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    assert udal_tf.train(DATA, workdir, **TINY).steps == 2
    other = DATA | {"unlabeled": X_U[::-1]}
    with pytest.raises(RunDirError, match="belongs to a run on other images(.|\n)*--images: 3 classes; 12 labeled; 20"):
        udal_tf.train(other, workdir, **TINY)
    with pytest.raises(RunDirError, match="--epochs: 1 there, 2 here"):
        udal_tf.train(DATA, workdir, **TINY | {"epochs": 2})
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before


def test_the_sha_256_is_that_of_images_labels_their_parts_and_names():
    found = {
        arrays().sha256,
        arrays(labeled=(X, (Y + 1) % 3)).sha256,
        arrays(labeled=(X[::-1], Y)).sha256,
        arrays(test=(X_T[::-1], Y_T)).sha256,
        arrays(class_names=("ant", "bee", "dog")).sha256,
        arrays(unlabeled=(X_U, np.zeros(20, np.int64))).sha256,
    }
    assert len(found) == 6 and arrays().sha256 == arrays(labeled=(X.copy(), Y.astype(np.int32))).sha256


def test_data_in_memory_cannot_be_chosen_without_them(workdir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = "--dataset=memory is data that a Python program gives to udal_tf.train"
    with pytest.raises(DataError, match=told):
        sources.load(RunDir(workdir).config().data)
    with pytest.raises(DataError, match=told):
        settings.resolve({"dataset": "memory"})
    assert list(tmp_path.iterdir()) == []


def test_known_labels_of_unlabeled_images_only_serve_to_count_right_pseudo_labels():
    labels = np.arange(20) % 3
    given = arrays(unlabeled=(X_U, labels))
    config = config_module.resolve({"dataset": "memory", "images": memory.give(given)})
    data = make_problem(memory.load(config.data), config.data)
    memory.forget(given)
    assert data.labeled.tolist() != [] and data.provenance["labeled_counts"] == [4, 4, 4]
    assert set(data.labeled.tolist()) == set(range(12)) and data.unlabeled_only.tolist() == list(range(12, 32))
    np.testing.assert_array_equal(data.train_labels[12:], labels)
    np.testing.assert_allclose(data.true_distribution, [11 / 32, 11 / 32, 10 / 32], rtol=1e-6)


def test_unlabeled_images_may_have_no_label_and_names_may_be_bytes():
    names = tf.data.Dataset.from_tensor_slices((X, np.array(["ant", "bee", "cow"])[Y]))
    found = arrays(labeled=names, unlabeled=(X_U, np.array(["ant", None] * 10, object)), class_names=())
    assert found.class_names == ("ant", "bee", "cow") and found.labels[:3].tolist() == [0, 1, 2]
    assert found.labels[12:].tolist() == [0, -1] * 10


def test_without_test_images_a_fifth_of_each_class_is_held_out():
    found = arrays(labeled=(np.repeat(X, 3, axis=0), np.repeat(Y, 3)), test=None)
    assert np.bincount(found.test_labels).tolist() == [2, 2, 2] and found.labeled == 30 and found.held_out
    again = arrays(labeled=(np.repeat(X, 3, axis=0), np.repeat(Y, 3)), test=None)
    np.testing.assert_array_equal(found.test, again.test)


def test_images_of_differing_sizes_are_resized_and_gray_joins_color():
    pictures = [Image.new("L", (20, 30), 40), Image.new("RGB", (24, 24), (10, 20, 30)), Image.new("RGBA", (18, 18))] * 2
    with pytest.raises(DataError, match=r"squares of one size, got .*: give image_size"):
        arrays(labeled=(pictures, Y[:6]), test=None)
    found = memory.arrays_of(memory.as_data(DATA | {"labeled": (pictures, Y[:6])}), image_size=16)
    assert found.images.shape == (26, 16, 16, 3)
    np.testing.assert_array_equal(found.images[:3, 0, 0], [[40] * 3, [10, 20, 30], [255] * 3])
    gray = memory.arrays_of(memory.Data((X[..., 0], Y), X_U[..., 0], (X_T[..., :1], Y_T)))
    assert gray.images.shape == (32, 16, 16, 1)


def endless():
    return tf.data.Dataset.from_tensor_slices((X, Y)).repeat()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labeled": X}, "labeled has no labels"),
        ({"labeled": (X, Y[:-1])}, "labeled has 12 images, but 11 labels"),
        ({"labeled": (X / 255, Y)}, r"the images of labeled must be uint8 \[N, H, W, C\] .*, got float64"),
        ({"labeled": (X, Y / 2)}, r"the labels of labeled must be \[N\] integers or class names, got float64"),
        ({"labeled": (X, np.eye(3)[Y])}, r"got float64 \[12, 3\]; of one-hot rows take the argmax"),
        ({"labeled": (X, Y + 1)}, "label 3 in labeled, but there are 3 classes, 0 to 2"),
        ({"labeled": (X, Y - 1)}, "label -1 in labeled, but there are 3 classes"),
        ({"labeled": (X, np.array(["ant", "bee", "cat"])[Y])}, r"label 'cat' in labeled is none of the class names"),
        ({"labeled": (X[:0], Y[:0])}, "labeled has no images"),
        ({"labeled": (X[:2], Y[:2])}, "no labeled image of class cow"),
        ({"labeled": (X, Y, Y)}, r"labeled must be a pair \(images, labels\), got a tuple of 3"),
        ({"labeled": "photos/"}, "labeled must be arrays .*, got str"),
        ({"labeled": endless()}, r"labeled is a tf\.data set without end: leave out repeat\(\)"),
        ({"labeled": tf.data.Dataset.from_tensors({"a": 1, "b": 2})}, "labeled has no column of images, .* a, b"),
        ({"unlabeled": X_U[:, :8, :8]}, r"must have one size and number of channels, got \[8, 8, 3\], \[16, 16, 3\]"),
        ({"unlabeled": X_U[..., :1]}, r"number of channels, got \[16, 16, 1\], \[16, 16, 3\]"),
        (
            {"unlabeled": [X_U[0], None]},
            r"image 1 of unlabeled must be uint8 .* or a Pillow image, got NoneType",
        ),
        ({"unlabeled": (X_U, np.full(20, 3))}, "label 3 in unlabeled"),
        ({"test": (X_T[:1], Y_T[:1])}, "no test image of class bee"),
        ({"test": (X_T, -Y_T)}, "label -2 in test"),
        ({"class_names": ("ant", "ant", "cow")}, "class_names must be at least two different names, got ant, ant, cow"),
        ({"class_names": ("a\nb", "c", "d")}, r"the class name a\\nb has a line break"),
        ({"unlabeled": None}, "data has no unlabeled images: give unlabeled=…, or beta below 1"),
    ],
)
def test_bad_data_are_refused_by_name_and_nothing_is_written(tmp_path, changed, message):
    with pytest.raises(DataError, match=message):
        udal_tf.train(DATA | changed, tmp_path / "run", **TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, "data must be a udal_tf.Data, a dict with labeled=.*got ndarray"),
        ({"trian": (X, Y)}, "data has no split train and no labeled; its keys are trian"),
        ({"labeled": (X, Y), "valid": (X, Y)}, "data has no split train and no labeled; its keys are labeled, valid"),
    ],
)
def test_other_forms_of_data_are_refused(tmp_path, data, message):
    with pytest.raises(DataError, match=message):
        udal_tf.train(data, tmp_path / "run", **TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "folder"}, "dataset follows from the data"),
        ({"data_dir": "x"}, "data_dir follows from the data"),
        ({"epoch": 3}, "unknown setting epoch"),
        ({"epochs": 0}, "--epochs must be at least 1"),
        ({"protocol": "darp"}, "leave out imbalance and protocol, got imbalance=1, protocol=darp"),
    ],
)
def test_bad_settings_are_refused_by_name_and_nothing_is_written(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        udal_tf.train(DATA, tmp_path / "run", **given)
    assert list(tmp_path.iterdir()) == []


def test_an_unprepared_builder_is_refused(tmp_path):
    class Builder:
        data_dir = "/data/mnist"

        class info:
            full_name = "mnist/3.0.1"
            splits: dict = {}

        def as_dataset(self):
            raise AssertionError("not prepared")

    with pytest.raises(DataError, match=r"mnist/3\.0\.1 is not prepared in /data/mnist: call its download_and_prepare"):
        udal_tf.train(Builder(), tmp_path / "run")


def test_the_recorded_command_is_the_call(workdir):
    call = training_command(RunDir(workdir).config())
    assert call.startswith("udal_tf.train(data, ") and "epochs=1" in call and "images=" not in call
    assert json.loads((workdir / "config.json").read_text())["data"]["dataset"] == "memory"
