"""docs/make_images.py: the tutorial's folder, from a small made-up Fashion-MNIST in the real format."""

import importlib.util
import pathlib

import numpy as np
import pytest
from PIL import Image
from test_data_fashion import Fashion, small_parts, write  # noqa: F401 (small_parts applies to every test here)

from udal_tf.config import resolve
from udal_tf.data import fashion, sources

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "docs" / "make_images.py"
SIZES = ("--n1=20", "--imbalance=4", "--beta=0.3", "--test=2")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_images", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made(script, tmp_path):
    """The dataset, and the folder made from it."""
    data = Fashion()
    write(tmp_path / "idx", data)
    script.main([str(tmp_path / "images"), f"--data_dir={tmp_path / 'idx'}", *SIZES])
    return data, tmp_path / "images"


def test_classes_have_the_long_tail_and_labels_asked_for(made, tmp_path):
    _, folder = made
    given = {"dataset": "folder", "data_dir": str(folder), "cache_dir": str(tmp_path / "cache")}
    facts = sources.load(resolve(given).data).provenance
    names = sorted(name.replace(" ", "_") for name in fashion.CLASS_NAMES)
    # 20·4^(−c/9) images of class c, of which three tenths, rounded up, are labeled.
    labeled = dict(zip(fashion.CLASS_NAMES, [6, 6, 5, 4, 3, 3, 3, 2, 2, 2], strict=True))
    assert facts["labeled_counts"] == [labeled[name.replace("_", " ")] for name in names]
    assert facts["labeled_counts"] != sorted(facts["labeled_counts"], reverse=True)
    assert facts["test_counts"] == [2] * 10
    assert len(list((folder / "unlabeled").iterdir())) == sum([20, 17, 14, 12, 10, 9, 7, 6, 5, 5]) - 36


def test_images_are_those_of_the_data_set_and_their_names_do_not_say_the_class(made):
    data, folder = made
    for path in (folder / "labeled" / "ankle_boot").iterdir():
        position = int(path.stem)
        assert data.labels[position] == fashion.CLASS_NAMES.index("ankle boot")
        np.testing.assert_array_equal(np.asarray(Image.open(path)), data.images[position])
    for path in (folder / "unlabeled").iterdir():
        np.testing.assert_array_equal(np.asarray(Image.open(path)), data.images[int(path.stem)])


def test_a_folder_that_holds_something_is_refused(made, script, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main([str(tmp_path / "images"), f"--data_dir={tmp_path / 'idx'}", *SIZES])
    assert stopped.value.code == 2
    assert "holds something already" in capsys.readouterr().err


@pytest.mark.parametrize(("bad", "reason"), [("--beta=0", "--beta must be above 0"), ("--test=3", "has 2 images")])
def test_what_cannot_be_made_is_refused(script, tmp_path, capsys, bad, reason):
    write(tmp_path / "idx", Fashion())
    with pytest.raises(SystemExit) as stopped:
        script.main([str(tmp_path / "other"), f"--data_dir={tmp_path / 'idx'}", *SIZES, bad])
    assert stopped.value.code == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
