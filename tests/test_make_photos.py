"""docs/make_photos.py: the tutorial's folder of photos."""

import importlib.util
import pathlib

import numpy as np
import pytest
from PIL import Image

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "docs" / "make_photos.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_photos", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(script, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "photos"
    script.main([str(out), "--photos=60", "--labels=26", "--imbalance=4", "--test=2"])
    return out


def count(folder, pattern):
    return len(list(folder.glob(pattern)))


def test_classes_have_the_long_tail_and_labels_asked_for(script, folder):
    # 60 and 26 photos, falling by 4^(-1/7) from class to class, each class with at least three.
    in_class, labeled = [14, 11, 9, 7, 6, 5, 4, 3], [6, 5, 4, 3, 3, 3, 3, 3]
    assert (script.sizes(60, 4), script.sizes(26, 4)) == (in_class, labeled)
    assert [count(folder, f"labeled/{name}/*.jpg") for name in script.CLASSES] == labeled
    assert count(folder, "unlabeled/*.jpg") == sum(in_class) - sum(labeled)
    assert [count(folder, f"test/{name}/*.jpg") for name in script.CLASSES] == [2] * 8


def test_photos_are_in_color_and_small_and_their_names_do_not_say_the_class(script, folder):
    paths = sorted(folder.glob("*/**/*.jpg"))
    for path in paths:
        image = Image.open(path)
        assert image.mode == "RGB" and 80 <= min(image.size) <= 140
    numbers = [int(path.stem.removeprefix("photo_")) for path in paths if "test" not in path.parts]
    assert sorted(numbers) == list(range(len(numbers)))
    assert numbers != sorted(numbers)


def test_a_piece_is_filled_by_the_photo_whatever_its_turn(script):
    photo = Image.fromarray(np.full((60, 90, 3), 200, np.uint8))
    random = np.random.default_rng(0)
    for _ in range(20):
        pixels = np.asarray(script.piece(photo, random))
        assert 80 <= min(pixels.shape[:2]) <= 140
        assert np.ptp(pixels) == 0 and 200 * 0.74 < pixels[0, 0, 0] < 200 * 1.26


def test_the_same_seed_cuts_the_same_photos(script, folder, tmp_path):
    script.main([str(tmp_path / "again"), "--photos=60", "--labels=26", "--imbalance=4", "--test=0"])
    for path in tmp_path.glob("again/labeled/**/*.jpg"):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path / "again")).read_bytes()


@pytest.mark.parametrize(
    ("bad", "reason"), [("--labels=61", "--labels=61 must be at most"), ("--photos=3", "--photos must be from 16")]
)
def test_what_cannot_be_made_is_refused(script, tmp_path, capsys, bad, reason):
    with pytest.raises(SystemExit) as stopped:
        script.main([str(tmp_path / "other"), "--photos=60", bad])
    assert stopped.value.code == 2 and reason in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_folder_that_holds_something_is_refused(script, folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main([str(folder)])
    assert stopped.value.code == 2 and "holds something already" in capsys.readouterr().err
