"""SavedFigure files for a trained network: how they become pixels, which ones are meant, and that few are held."""

import os
import threading

import numpy as np
import pytest
from PIL import Image

from udal_tf.data.decoding import decode
from udal_tf.data.encoded import EncodedImages, FileReader
from udal_tf.inference import image_files


def save(path, height=20, width=30, mode="RGB", seed=0):
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.RandomState(seed).randint(0, 256, (height, width, *channels)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("dataset", ["folder", "cifar10lt"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_images_of_a_folder_are_read_as_in_training(tmp_path, dataset, mode):
    path = save(tmp_path / "a.png", mode=mode)
    found = image_files.reader(dataset, (16, 16, 3))(path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, decode(path, 16))


def test_imagenet_is_read_as_in_its_evaluation(tmp_path):
    sizes = {"a.jpg": (300, 200), "b.png": (50, 90), "c.png": (64, 64)}
    for seed, (name, (height, width)) in enumerate(sizes.items()):
        save(tmp_path / name, height, width, seed=seed)
    expected = EncodedImages(FileReader(tmp_path, list(sizes)), 64).fetch(np.arange(3)).numpy()
    read = image_files.reader("imagenet127", (64, 64, 3))
    for name, image in zip(sizes, expected, strict=True):
        assert np.array_equal(read(tmp_path / name), image)


def test_a_network_of_one_channel_gets_gray_images(tmp_path):
    read = image_files.reader("fashionlt", (28, 28, 1))
    gray = save(tmp_path / "gray.png", 28, 28, mode="L")
    assert np.array_equal(read(gray), np.asarray(Image.open(gray))[..., np.newaxis])
    Image.new("RGB", (28, 28), (100, 150, 200)).save(tmp_path / "color.png")
    # ITU-R 601: 0.299·100 + 0.587·150 + 0.114·200 = 140.75.
    assert np.all(read(tmp_path / "color.png") == 141)


@pytest.mark.parametrize("dataset", ["folder", "imagenet127"])
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, dataset):
    read = image_files.reader(dataset, (16, 16, 3))
    (tmp_path / "notes.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    cut = save(tmp_path / "cut.jpg", 200, 200)
    cut.write_bytes(cut.read_bytes()[:900])
    for name in ("notes.png", "empty.png", "cut.jpg", "missing.png", "."):
        fault = read(tmp_path / name)
        assert isinstance(fault, str)
        assert fault
        assert "\n" not in fault


def test_reading_ahead_keeps_the_order_and_a_bounded_number():
    started, lock = [], threading.Lock()

    def read(path):
        with lock:
            started.append(path)
        return path + "!"

    paths = [str(i) for i in range(3 * image_files.AHEAD)]
    found = image_files.read_ahead(iter(paths), read, threads=4)
    assert next(found) == ("0", "0!")
    assert len(started) <= image_files.AHEAD
    assert list(found) == [(path, path + "!") for path in paths[1:]]


@pytest.fixture
def photos(tmp_path):
    """Images at two depths beside other files, hidden ones, and links that lead in circles."""
    for name in ("b.png", "a.JPG", "deep/c.webp", "deep/er/d.jpeg", ".hidden.png", ".cache/e.png"):
        save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("mine")
    (tmp_path / "photos" / "deep" / "up").symlink_to(tmp_path / "photos", target_is_directory=True)
    return tmp_path / "photos"


def test_all_visible_images_below_a_folder_once_in_order_of_their_names(photos):
    found = [os.path.relpath(path, photos) for path in image_files.below(str(photos))]
    assert found == ["a.JPG", "b.png", "deep/c.webp", "deep/er/d.jpeg"]


def test_folders_files_and_patterns_are_named(photos):
    other = save(photos.parent / "scan.bmp")
    odd = save(photos.parent / "a[1].png")
    found = list(image_files.named([str(other), str(odd), f"{photos}/**/*.jpeg", str(photos / "deep"), "missing.png"]))
    deep = [str(photos / "deep" / "c.webp"), str(photos / "deep" / "er" / "d.jpeg")]
    assert found[:3] == [str(other), str(odd), deep[1]]
    assert found[3:5] == deep
    assert found[-1] == "missing.png"


def test_an_empty_folder_and_a_pattern_without_match_are_refused(photos):
    (photos / "empty" / "er").mkdir(parents=True)
    (photos / "empty" / "er" / "a.zip").touch()
    with pytest.raises(ValueError, match=r"no images below .*empty \(looked for \.jpg.*: 1 \.zip in .*unpack it"):
        image_files.check_named([str(photos), str(photos / "empty")])
    with pytest.raises(ValueError, match=r"no file matches .*\*\.gif"):
        image_files.check_named([f"{photos}/*.gif"])
    image_files.check_named([str(photos), f"{photos}/*.png", "missing.png"])


def test_a_folder_that_cannot_be_listed_comes_as_a_path_that_cannot_be_read(photos, monkeypatch):
    listdir = os.listdir

    def refusing(place):
        if str(place).endswith("er"):
            raise PermissionError(13, "Permission denied", place)
        return listdir(place)

    monkeypatch.setattr(os, "listdir", refusing)
    found = list(image_files.below(str(photos)))
    assert found[-1] == str(photos / "deep" / "er")
    assert isinstance(image_files.reader("folder", (16, 16, 3))(found[-1]), str)


def test_images_of_classes_by_the_models_order(tmp_path):
    for name in ("dog/1.png", "dog/2.png", "cat/deep/3.png"):
        save(tmp_path / name)
    (tmp_path / "cow").mkdir()
    paths, labels, unknown = image_files.by_class(tmp_path, ("dog", "cow", "cat"))
    assert [os.path.relpath(path, tmp_path) for path in paths] == ["dog/1.png", "dog/2.png", "cat/deep/3.png"]
    assert labels == [0, 0, 2]
    assert unknown == []


def test_folders_of_unknown_classes_are_refused_or_left_out(tmp_path):
    for name in ("dog/1.png", "wolf/2.png"):
        save(tmp_path / name)
    with pytest.raises(ValueError, match=r"knows no class wolf \(it knows dog, cat\).*--skip_unknown"):
        image_files.by_class(tmp_path, ("dog", "cat"))
    paths, labels, unknown = image_files.by_class(tmp_path, ("dog", "cat"), skip_unknown=True)
    assert (len(paths), labels, unknown) == (1, [0], ["wolf"])


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a folder with one folder per class"):
        image_files.by_class(tmp_path / "missing", ("dog",))
    (tmp_path / "test" / "dog").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"named like one of the model's classes \(dog\); did you mean .*test\?"):
        image_files.by_class(tmp_path, ("dog",))
    (tmp_path / "test" / "dog" / "a.psd").touch()
    with pytest.raises(ValueError, match=r"no images below the class folders.*: 1 .psd in dog not read: not a format"):
        image_files.by_class(tmp_path / "test", ("dog",))
