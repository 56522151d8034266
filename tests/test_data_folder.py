"""A custom dataset: formats, sizes, classes, the cache, and everything that can be wrong with it."""

import json
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from udal_tf.config import resolve
from udal_tf.data import custom_images, decoding, folder_listing, settings, sources
from udal_tf.data.dataset import ArrayImages, DataError
from udal_tf.data.originals import FileOriginals

RED, GREEN, BLUE = (220, 20, 20), (20, 220, 20), (20, 20, 220)


def save(path, color, size=(40, 32), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **options)


def make(root, test=True):
    """Three classes, not sorted by size; unlabeled images at two depths; images to test on."""
    for name, color, count in (("rare", RED, 2), ("common", GREEN, 6), ("seldom", BLUE, 3)):
        for i in range(count):
            save(root / "labeled" / name / f"{i}.png", color)
        for i in range(2 if test else 0):
            save(root / "test" / name / f"{i}.jpg", color)
    for i in range(5):
        save(root / "unlabeled" / ("deep/er" if i % 2 else ".") / f"{i}.webp", (i * 10, 100, 100))
    return root


def config(root, tmp_path, **given):
    given = {"dataset": "folder", "data_dir": str(root), "cache_dir": str(tmp_path / "cache")} | given
    return resolve(given).data


def colors(images, positions):
    return images.fetch(tf.constant(positions, tf.int64)).numpy().mean((1, 2))


def test_labels_and_images_belong_together(tmp_path):
    data = sources.load(config(make(tmp_path / "data"), tmp_path))
    assert data.class_names == ("common", "rare", "seldom")
    expected = np.array([GREEN, RED, BLUE])
    assert np.abs(colors(data.train, data.labeled) - expected[data.train_labels[data.labeled]]).max() < 3
    assert np.abs(colors(data.test, np.arange(6)) - expected[data.test_labels]).max() < 3
    assert data.test_labels.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(data.p_data, [6 / 11, 2 / 11, 3 / 11], rtol=1e-6)


def test_pool_holds_labeled_and_unlabeled_images(tmp_path):
    data = sources.load(config(make(tmp_path / "data"), tmp_path))
    assert (len(data.labeled), len(data.unlabeled_only), len(data.unlabeled)) == (11, 5, 16)
    assert np.all(data.train_labels[data.unlabeled_only] == -1)
    assert sorted(data.unlabeled.tolist()) == list(range(16))
    assert data.provenance["labeled_counts"] == [6, 2, 3]
    # The labels are not shown as those of unlabeled images, whose classes nobody knows.
    assert data.provenance["unlabeled_of_unknown_class"] == 5 and "unlabeled_counts" not in data.provenance
    json.dumps(data.provenance)


def test_beta_below_one_hides_labels(tmp_path):
    data = sources.load(config(make(tmp_path / "data"), tmp_path, beta=0.5))
    assert data.provenance["labeled_counts"] == [3, 1, 2]
    assert len(data.unlabeled_only) == 5 + 5


def test_hold_out_without_test_folder(tmp_path):
    root = make(tmp_path / "data", test=False)
    data = sources.load(config(root, tmp_path))
    assert data.provenance["test_counts"] == [1, 1, 1] and data.provenance["labeled_counts"] == [5, 1, 2]
    other_fold = sources.load(config(root, tmp_path, fold=2))
    np.testing.assert_array_equal(other_fold.test.fetch(np.arange(3)), data.test.fetch(np.arange(3)))


def decoded(image, path, size=8, **options):
    image.save(path, **options)
    return decoding.decode(path, size)


def test_kinds_of_images(tmp_path):
    flat = np.full((8, 8, 3), (200, 100, 50))
    palette = Image.new("RGB", (16, 16), (200, 100, 50)).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(decoded(palette, tmp_path / "palette.png"), flat)
    gray = Image.new("L", (16, 16), 90)
    np.testing.assert_array_equal(decoded(gray, tmp_path / "gray.png"), np.full((8, 8, 3), 90))
    deep = Image.fromarray(np.full((16, 16), 90 * 257, np.uint16))
    np.testing.assert_array_equal(decoded(deep, tmp_path / "deep.png"), np.full((8, 8, 3), 90))
    clear = Image.new("RGBA", (16, 16), (200, 100, 50, 0))
    np.testing.assert_array_equal(decoded(clear, tmp_path / "clear.png"), np.full((8, 8, 3), 255))
    opaque = Image.new("RGBA", (16, 16), (200, 100, 50, 255))
    np.testing.assert_array_equal(decoded(opaque, tmp_path / "opaque.png"), flat)
    inks = Image.new("RGB", (16, 16), (200, 100, 50)).convert("CMYK")
    assert np.abs(decoded(inks, tmp_path / "inks.jpg", quality=95).astype(int) - flat).max() < 6


def test_rotation_of_the_camera_is_undone(tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 250
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # Orientation: turn a quarter to the right.
    upright = decoded(image, tmp_path / "turned.jpg", exif=exif, quality=95)
    assert upright[:, 5:].min() > 200 and upright[:, :3].max() < 60


def test_center_of_the_long_side_is_kept(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = (10, 200, 90)
    view = decoded(Image.fromarray(pixels), tmp_path / "wide.png", size=10)
    np.testing.assert_array_equal(view[:, 1:-1], np.broadcast_to((10, 200, 90), (10, 8, 3)))


@pytest.mark.parametrize("side, expected", [(9, 16), (33, 32), (45, 48), (400, 64)])
def test_default_size_follows_the_images(tmp_path, side, expected):
    for i in range(3):
        save(tmp_path / f"{i}.png", RED, (side * 2, side))
    assert custom_images.default_size(FileOriginals(sorted(tmp_path.iterdir()))) == expected


def test_image_size_is_kept_to(tmp_path):
    data = sources.load(config(make(tmp_path / "data"), tmp_path, image_size=20))
    assert data.train.shape == (20, 20, 3) and data.provenance["image_size"] == 20


def test_cache_is_used_and_rebuilt(tmp_path, monkeypatch):
    root = make(tmp_path / "data")
    sources.load(config(root, tmp_path))
    decodings = counted(monkeypatch)
    sources.load(config(root, tmp_path))
    assert not decodings
    save(root / "labeled" / "rare" / "0.png", (1, 2, 3), (41, 33))
    data = sources.load(config(root, tmp_path))
    # Of the 22 images, the one that has changed.
    assert decodings == [root / "labeled" / "rare" / "0.png"]
    assert [1, 2, 3] in colors(data.train, data.labeled).round().tolist()


def test_big_sets_stay_on_disk(tmp_path, monkeypatch):
    root = make(tmp_path / "data")
    small = sources.load(config(root, tmp_path))
    monkeypatch.setattr(custom_images, "IN_MEMORY_BYTES", 1000)
    big = sources.load(config(root, tmp_path))
    assert isinstance(small.train, ArrayImages) and isinstance(big.train, custom_images.MappedImages)
    for split in ("train", "test"):
        at = np.arange(len(getattr(small, split)))
        np.testing.assert_array_equal(getattr(big, split).fetch(at), getattr(small, split).fetch(at))


def test_links_to_folders_are_followed_once(tmp_path):
    root = make(tmp_path / "data")
    os.symlink(root / "unlabeled", root / "unlabeled" / "loop")
    assert len(sources.load(config(root, tmp_path)).unlabeled_only) == 5


def test_other_files_are_counted(tmp_path):
    root = make(tmp_path / "data")
    (root / "labeled" / "rare" / "notes.txt").write_text("x")
    (root / "unlabeled" / "Thumbs.db").write_text("x")
    (root / "labeled" / ".DS_Store").write_text("x")
    assert sources.load(config(root, tmp_path)).provenance["ignored_files"] == 1


def refused(root, tmp_path, match, kept=0, **given):
    """Loading fails with a DataError that matches; it leaves nothing in the folder, and in the cache `kept` images."""
    before = sorted(root.rglob("*")) if root.exists() else []
    with pytest.raises(DataError, match=match):
        sources.load(config(root, tmp_path, **given))
    assert (sorted(root.rglob("*")) if root.exists() else []) == before
    assert [len(np.load(path)) for path in (tmp_path / "cache").rglob("images.npy")] == ([kept] if kept else [])


def remove(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def test_no_data_dir(tmp_path):
    with pytest.raises(DataError, match=r"(?s)--data_dir must name your folder.*labeled/<class>/"):
        sources.load(config("", tmp_path))


def test_no_such_folder(tmp_path):
    refused(tmp_path / "nowhere", tmp_path, "cannot read the folder")


def test_no_labeled_folder(tmp_path):
    save(tmp_path / "data" / "cat" / "1.png", RED)
    refused(tmp_path / "data", tmp_path, r"(?s)has no folder labeled/.*Expected: ")


@pytest.mark.parametrize(
    "places, said",
    [
        ([], "has no folder labeled/: it is empty"),
        (["a.png", "b.jpg"], "has no folder labeled/ .images directly in it, outside any class folder: 2"),
        (["cat/a.png", "dog/a.png"], "the folders cat, dog: if these are your classes, move them into"),
        (["labeled/a.png"], "class folders: 0, at least two are needed .images outside any class folder: 1"),
    ],
)
def test_another_layout_is_described(tmp_path, places, said):
    (tmp_path / "data").mkdir()
    for place in places:
        save(tmp_path / "data" / place, RED)
    refused(tmp_path / "data", tmp_path, said)


def test_every_reason_to_refuse_a_folder_is_listed(tmp_path):
    root = make(tmp_path / "data")
    remove(root / "unlabeled")
    remove(root / "test" / "seldom")
    (root / "test" / "seldom").rmdir()
    (root / "labeled" / "empty").mkdir()
    found = folder_listing.problems(folder_listing.read_folder(root))
    for reason, words in zip(
        found, ["labeled/empty: no images", "class empty", "class seldom", "no unlabeled images"], strict=True
    ):
        assert words in reason
    assert "no unlabeled" not in " ".join(folder_listing.problems(folder_listing.read_folder(root), beta=0.5))


def test_empty_class(tmp_path):
    root = make(tmp_path / "data")
    (root / "labeled" / "empty").mkdir()
    refused(root, tmp_path, r"labeled/empty: no images of this class")


def test_class_in_test_only(tmp_path):
    root = make(tmp_path / "data")
    save(root / "test" / "unseen" / "1.png", RED)
    refused(root, tmp_path, "class unseen has no images in labeled/")


def test_class_missing_in_test(tmp_path):
    root = make(tmp_path / "data")
    remove(root / "test" / "seldom")
    (root / "test" / "seldom").rmdir()
    refused(root, tmp_path, "no folder for class seldom")


def test_one_class(tmp_path):
    for i in range(4):
        save(tmp_path / "data" / "labeled" / "cat" / f"{i}.png", RED)
        save(tmp_path / "data" / "unlabeled" / f"{i}.png", RED)
    refused(tmp_path / "data", tmp_path, "class folders: 1, at least two")


def test_no_unlabeled_images(tmp_path):
    root = make(tmp_path / "data")
    remove(root / "unlabeled")
    with pytest.raises(DataError, match=r"(?s)no unlabeled images in unlabeled/.*--beta"):
        settings.resolve({"dataset": "folder", "data_dir": str(root)})


def test_single_image_cannot_be_held_out(tmp_path):
    root = make(tmp_path / "data", test=False)
    (root / "labeled" / "rare" / "1.png").unlink()
    refused(root, tmp_path, r"labeled/rare: 1 image and no test/ folder")


def test_unreadable_folder(tmp_path, monkeypatch):
    root = make(tmp_path / "data")
    real = type(root).iterdir

    # The rights of a folder do not bind the superuser, as whom tests may run.
    def iterdir(path):
        if path.name == "deep":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(type(root), "iterdir", iterdir)
    with pytest.raises(DataError, match=r"cannot read the folder .*unlabeled/deep \(Permission denied\)"):
        sources.load(config(root, tmp_path))


@pytest.mark.parametrize("given", [{"imbalance": 10.0}, {"protocol": "darp"}])
def test_settings_that_do_not_apply(tmp_path, given):
    refused(make(tmp_path / "data"), tmp_path, "leave out --imbalance and --protocol", **given)


def spoil(root):
    """A truncated image, a text under an image's name, and an empty file."""
    whole = root / "labeled" / "common" / "3.png"
    save(whole, GREEN, (300, 300))
    whole.write_bytes(whole.read_bytes()[:-60])
    (root / "unlabeled" / "broken.jpg").write_text("<html>")
    (root / "test" / "rare" / "empty.webp").write_bytes(b"")


def test_bad_images_are_named(tmp_path):
    root = make(tmp_path / "data")
    spoil(root)
    said = r"(?s)3 images cannot be read:.*common/3.png.*broken.jpg.*empty.webp.*--skip_bad_images"
    refused(root, tmp_path, said, kept=21)


def counted(monkeypatch):
    """The paths of the images that are decoded from now on."""
    decodings = []
    real = custom_images.pixels_or_fault
    monkeypatch.setattr(
        custom_images, "pixels_or_fault", lambda path, *shape: decodings.append(path) or real(path, *shape)
    )
    return decodings


def test_after_a_refusal_the_second_start_decodes_only_what_could_not_be_read(tmp_path, monkeypatch):
    root = make(tmp_path / "data")
    spoil(root)
    with pytest.raises(DataError, match="3 images cannot be read"):
        sources.load(config(root, tmp_path))
    decodings = counted(monkeypatch)
    skipped = sources.load(config(root, tmp_path, skip_bad_images=True)).skipped
    bad = [root / "labeled/common/3.png", root / "unlabeled/broken.jpg", root / "test/rare/empty.webp"]
    assert [pathlib.Path(path) for path, _ in skipped] == bad
    assert [fault for _, fault in skipped][1:] == ["not recognized as an image"] * 2
    assert set(decodings) <= set(bad)


def test_after_the_bad_images_are_gone_the_others_are_not_decoded_again(tmp_path, monkeypatch):
    root = make(tmp_path / "data")
    spoil(root)
    with pytest.raises(DataError, match="3 images cannot be read"):
        sources.load(config(root, tmp_path))
    for name in ("labeled/common/3.png", "unlabeled/broken.jpg", "test/rare/empty.webp"):
        (root / name).unlink()
    decodings = counted(monkeypatch)
    data = sources.load(config(root, tmp_path))
    assert decodings == []
    expected = np.array([GREEN, RED, BLUE])
    assert np.abs(colors(data.train, data.labeled) - expected[data.train_labels[data.labeled]]).max() < 3
    assert np.abs(colors(data.test, np.arange(6)) - expected[data.test_labels]).max() < 3


def test_an_interrupted_start_keeps_what_it_decoded(tmp_path, monkeypatch):
    root = make(tmp_path / "data")
    listed = folder_listing.make_listing(folder_listing.read_folder(root))
    stops = [*listed.train, *listed.test][12]
    real, decodings = custom_images.pixels_or_fault, []

    def interrupted(path, *shape):
        if path == stops:
            raise KeyboardInterrupt
        return real(path, *shape)

    monkeypatch.setattr(custom_images, "pixels_or_fault", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sources.load(config(root, tmp_path))
    monkeypatch.setattr(
        custom_images, "pixels_or_fault", lambda path, *shape: decodings.append(path) or real(path, *shape)
    )
    data = sources.load(config(root, tmp_path))
    assert sorted(decodings) == sorted([*listed.train, *listed.test][12:])
    assert colors(data.train, [0]).round().tolist() == [list(GREEN)]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_file_that_becomes_readable_without_a_change_of_its_state_is_read(tmp_path, monkeypatch):
    root = make(tmp_path / "data")
    locked, real = root / "unlabeled" / "0.webp", custom_images.pixels_or_fault

    def rights(path, *shape):
        return "cannot be read (Permission denied)" if path == locked else real(path, *shape)

    monkeypatch.setattr(custom_images, "pixels_or_fault", rights)
    refused(root, tmp_path, r"0.webp: cannot be read \(Permission denied\)", kept=21)
    monkeypatch.setattr(custom_images, "pixels_or_fault", real)
    (before,) = (tmp_path / "cache").iterdir()
    assert len(sources.load(config(root, tmp_path)).unlabeled_only) == 5
    # Another process may be reading the folder without that image.
    assert sorted((tmp_path / "cache").iterdir()) == [before, before.with_name(f"{before.name}-2")]
    assert len(sources.load(config(root, tmp_path)).unlabeled_only) == 5


def test_a_cache_that_another_process_makes_meanwhile_stays(tmp_path, monkeypatch):
    root, finish = make(tmp_path / "data"), custom_images._finish
    places = []

    def meanwhile(file, folder, *arguments):
        finish(file, folder, *arguments)
        if not places:
            places.append(folder)
            sources.load(config(root, tmp_path))
            places.extend(path.stat().st_ino for path in (tmp_path / "cache").iterdir() if path != folder)

    monkeypatch.setattr(custom_images, "_finish", meanwhile)
    assert len(sources.load(config(root, tmp_path)).unlabeled_only) == 5
    assert [path.stat().st_ino for path in (tmp_path / "cache").iterdir()] == places[1:]


DAMAGE = {
    "cut": lambda content: content[:40] + b"\0",
    "empty": lambda content: b"",
    "another header": lambda content: content[:11] + b"(" * 60 + content[71:],
    "an archive": lambda content: b"PK\x03\x04" + content,
    "not UTF-8": lambda content: b"\xff" + content,
    "a list": lambda content: b"[]",
    "a number": lambda content: b"7",
    "nested": lambda content: b"[" * 100_000,
    "infinite": lambda content: b'{"version": 2, "size": Infinity, "bad": {}}',
    "faults of no file": lambda content: content.replace(b"{}", b'{"99": "gone"}'),
    "one byte": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
}


@pytest.mark.parametrize(
    "name, damage",
    [(name, damage) for name in ("facts.json", "images.npy", "states.npy") for damage in DAMAGE
     if (name, damage) != ("images.npy", "one byte")],
)  # fmt: skip
def test_a_damaged_cache_is_made_again(tmp_path, name, damage):
    root = make(tmp_path / "data")
    before = sources.load(config(root, tmp_path))
    (damaged,) = (tmp_path / "cache").rglob(name)
    damaged.write_bytes(DAMAGE[damage](damaged.read_bytes()))
    after = sources.load(config(root, tmp_path))
    np.testing.assert_array_equal(after.train.fetch(np.arange(16)), before.train.fetch(np.arange(16)))


def test_bad_images_are_skipped_and_counted(tmp_path):
    root = make(tmp_path / "data")
    spoil(root)
    for _ in range(2):  # The second time from the cache.
        data = sources.load(config(root, tmp_path, skip_bad_images=True))
        assert data.provenance["skipped_bad_images"] == 3
        assert data.provenance["labeled_counts"] == [5, 2, 3]
        assert len(data.unlabeled_only) == 5 and len(data.test) == 6
        expected = np.array([GREEN, RED, BLUE])
        assert np.abs(colors(data.train, data.labeled) - expected[data.train_labels[data.labeled]]).max() < 3
        assert np.abs(colors(data.test, np.arange(6)) - expected[data.test_labels]).max() < 3
    with pytest.raises(DataError, match="3 images cannot be read"):
        sources.load(config(root, tmp_path))


def test_class_of_bad_images_alone(tmp_path):
    root = make(tmp_path / "data")
    for path in (root / "labeled" / "rare").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="class rare has no readable images in labeled"):
        sources.load(config(root, tmp_path, skip_bad_images=True))


def test_full_disk_is_said_before(tmp_path, monkeypatch):
    root = make(tmp_path / "data")
    monkeypatch.setattr(custom_images.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    refused(root, tmp_path, "choose a smaller --image_size or another --cache_dir")


def test_cache_folder_that_cannot_be_written(tmp_path):
    root = make(tmp_path / "data")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another folder with --cache_dir"):
        sources.load(config(root, tmp_path, cache_dir=str(tmp_path / "file" / "cache")))
