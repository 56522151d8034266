"""What is read from every image of a folder, and which images are the same."""

import numpy as np
import pytest
from PIL import Image
from test_data_folder import GREEN, RED

from udal_tf.data import folder_listing, inspection

SIZE = 16


def write(root, place, pixels, **options):
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def noise(seed, height=20, width=20):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    """Two classes of 3 and 1 labeled images, 4 unlabeled, 1 and 1 to test on; all of them different."""
    places = ["labeled/cat/0.png", "labeled/cat/1.png", "labeled/cat/2.png", "labeled/dog/0.png"]
    places += [f"unlabeled/{i}.png" for i in range(4)] + ["test/cat/0.png", "test/dog/0.png"]
    for seed, place in enumerate(places):
        write(tmp_path / "pets", place, noise(seed))
    return tmp_path / "pets"


def found_in(root):
    folder = folder_listing.read_folder(root)
    return inspection.summary(folder, inspection.read_images(folder, SIZE))


def test_counts_imbalance_and_labeled_share(root):
    found = found_in(root)
    assert found["classes"] == [
        {"name": "cat", "labeled": 3, "unlabeled": None, "test": 1},
        {"name": "dog", "labeled": 1, "unlabeled": None, "test": 1},
    ]
    assert found["counts"] == {"labeled": 4, "unlabeled": 4, "test": 2}
    assert (found["imbalance"], found["beta"], found["held_out"]) == (3.0, 0.5, False)
    assert (found["duplicates"], found["unreadable"], found["ignored_files"]) == ([], [], 0)


def test_folders_of_unlabeled_images_named_like_classes_are_counted(root):
    for i in range(2):
        write(root, f"unlabeled/dog/{i}.png", noise(90 + i))
    assert [c["unlabeled"] for c in found_in(root)["classes"]] == [0, 2]


def test_sizes_and_kinds(root):
    write(root, "unlabeled/wide.png", noise(50, 8, 40))
    Image.new("L", (30, 30), 9).save(root / "unlabeled" / "gray.png")
    Image.fromarray(np.repeat(noise(51)[..., :1], 3, axis=2)).save(root / "test" / "cat" / "looks_gray.png")
    found = found_in(root)
    assert found["short_side"] == {"min": 8, "median": 20.0, "max": 30}
    assert found["long_by_short"] == {"min": 1.0, "median": 1.0, "max": 5.0}
    assert found["modes"] == {"RGB": 12, "L": 1}
    assert found["gray"] == {"labeled": 0, "unlabeled": 1, "test": 1}


def test_unreadable_files_are_named_and_not_counted(root):
    (root / "labeled" / "cat" / "1.png").write_bytes(b"no image")
    whole = root / "unlabeled" / "2.png"
    whole.write_bytes(whole.read_bytes()[:300])
    found = found_in(root)
    assert [one["file"] for one in found["unreadable"]] == ["labeled/cat/1.png", "unlabeled/2.png"]
    assert all(one["fault"] for one in found["unreadable"])
    assert found["counts"] == {"labeled": 3, "unlabeled": 3, "test": 2}


def test_copies_and_equal_pixels_are_told_apart(root):
    """A copy of a file, the same pixels in another format, and one that differs in a single pixel."""
    original = root / "labeled" / "dog" / "0.png"
    (root / "test" / "dog" / "copy.png").write_bytes(original.read_bytes())
    write(root, "unlabeled/other.webp", noise(4), lossless=True)
    pixels = noise(0)
    pixels[10, 10] ^= 255
    write(root, "unlabeled/almost.png", pixels)
    groups = {frozenset(group["files"]): group for group in found_in(root)["duplicates"]}
    assert list(groups.values()) == [
        {
            "files": ["labeled/dog/0.png", "test/dog/copy.png"],
            "parts": ["labeled", "test"],
            "classes": ["dog", "dog"],
            "same_bytes": True,
            "blank": False,
        },
        {
            "files": ["unlabeled/0.png", "unlabeled/other.webp"],
            "parts": ["unlabeled", "unlabeled"],
            "classes": ["", ""],
            "same_bytes": False,
            "blank": False,
        },
    ]


def test_loose_and_other_files_are_told_apart(root):
    write(root, "labeled/loose.png", noise(60))
    (root / "labeled" / "cat" / "notes.txt").write_text("x")
    found = found_in(root)
    assert (found["loose"], found["ignored_files"]) == (["labeled/loose.png"], 1)


def test_images_nearly_of_one_color_are_named(root):
    almost = np.full((20, 20, 3), (250, 240, 230), np.uint8)
    almost[0, 0] -= 20
    write(root, "labeled/cat/flat.png", almost)
    write(root, "labeled/dog/flat.png", almost)
    found = found_in(root)
    assert found["blank"] == ["labeled/cat/flat.png", "labeled/dog/flat.png"]
    assert [(group["files"], group["blank"]) for group in found["duplicates"]] == [(found["blank"], True)]
    # All flat images look alike: that says nothing.
    assert found["near_duplicates"] == []


def test_values_of_12_bits_in_files_of_16_are_told_from_dark_images(root):
    values = np.arange(400, dtype=np.uint16).reshape(20, 20)
    write(root, "labeled/cat/twelve.png", values * 10)
    write(root, "labeled/cat/sixteen.png", values * 160)
    write(root, "unlabeled/black.png", values * 0)
    Image.fromarray(values * 10).save(root / "test" / "cat" / "twelve.tif")
    assert found_in(root)["sixteen_bit"] == {"count": 4, "dark": ["labeled/cat/twelve.png", "test/cat/twelve.tif"]}


def test_pairs_that_look_alike_are_told_across_parts_and_classes_alone(root):
    """One image in six places, with other brightness each time: equal to nobody, alike to all."""
    places = ("labeled/cat/a.png", "labeled/cat/b.png", "labeled/dog/c.png", "unlabeled/d.png", "unlabeled/e.png",
              "test/cat/f.png")  # fmt: skip
    for i, place in enumerate(places):
        write(root, place, (noise(70) * (1 - 0.04 * i)).astype(np.uint8))
    found = found_in(root)
    assert found["duplicates"] == []
    parts = {frozenset(pair["parts"]) for pair in found["near_duplicates"]}
    assert parts == {frozenset({"labeled", "test"}), frozenset({"unlabeled", "test"}), frozenset({"labeled"})}
    for pair in found["near_duplicates"]:
        assert set(pair["files"]) <= set(places)
        assert "test" in pair["parts"] or len(set(pair["classes"])) == 2


def test_of_labeled_images_some_of_which_are_held_out_any_two_may_look_alike(tmp_path):
    for place, factor in (("labeled/cat/0.png", 1.0), ("labeled/cat/1.png", 0.9), ("unlabeled/2.png", 0.8)):
        write(tmp_path, place, (noise(70) * factor).astype(np.uint8))
    write(tmp_path, "labeled/dog/0.png", noise(71))
    assert [pair["files"] for pair in found_in(tmp_path)["near_duplicates"]] == [
        ["labeled/cat/0.png", "labeled/cat/1.png"]
    ]


def test_the_imbalance_is_that_of_the_classes_with_labels(root):
    write(root, "test/emu/0.png", noise(80))
    found = found_in(root)
    assert found["imbalance"] == 3.0
    assert found["classes"][2] == {"name": "emu", "labeled": 0, "unlabeled": None, "test": 1}


def test_files_that_are_not_read_are_counted(root):
    for i in range(3):
        (root / "labeled" / "dog" / f"{i}.svg").write_text("x")
    found = found_in(root)
    assert found["not_read"] == [{"folder": "labeled/dog", "suffix": ".svg", "count": 3}]
    assert found["not_read_lines"][0].startswith("3 .svg in labeled/dog not read: ")


def test_the_parts_may_have_other_names(root):
    (root / "unlabeled").rename(root / "Unlabelled")
    write(root, "Unlabelled/dog/0.png", noise(90))
    found = found_in(root)
    assert [c["unlabeled"] for c in found["classes"]] == [0, 1]
    assert found["layout"][0] == "reading Unlabelled/ as unlabeled/"


def test_progress_tells_of_every_image_once(root, monkeypatch):
    monkeypatch.setattr(inspection, "_AT_A_TIME", 4)
    folder, told = folder_listing.read_folder(root), []
    images = inspection.read_images(folder, SIZE, told.append)
    assert told == [4, 4, 2]
    assert [image.part for image in images] == ["labeled"] * 4 + ["unlabeled"] * 4 + ["test"] * 2


def test_a_folder_without_test_images_is_held_out_from(tmp_path):
    for place, color in (("labeled/a/0.png", RED), ("labeled/b/0.png", GREEN)):
        write(tmp_path, place, np.full((4, 4, 3), color, np.uint8))
    found = found_in(tmp_path)
    assert found["held_out"] and found["counts"] == {"labeled": 2, "unlabeled": 0, "test": 0}
