"""Exported models: each format runs where this package cannot be imported, by the program of its card, and agrees."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from PIL import Image

import udal_tf
from udal_tf.config import resolve
from udal_tf.data import formats, sources
from udal_tf.inference import exporting, image_files, model_card, usage

TARGET = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
# A module that is None in sys.modules cannot be imported, wherever it is installed.
# Isolated, Python also does not look into the current folder, where the card's program has its file.
WITHOUT_US = "import sys; sys.modules['udal_tf'] = None; sys.path.insert(0, '')\n"
SEPARATOR = "<end of a program>"
FORMATS = ("savedmodel", "keras", "tflite", "onnx")


@pytest.fixture(scope="module")
def model(tiny_run):
    return udal_tf.load(tiny_run)


@pytest.fixture(scope="module")
def real():
    return np.random.RandomState(1).randint(0, 256, (3, 8, 8, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def exports(model, real, tmp_path_factory) -> dict[str, pathlib.Path]:
    """Every format's folder, with an image in it as the card's program names it."""
    folders = {name: tmp_path_factory.mktemp(name) for name in FORMATS}
    for name, folder in folders.items():
        differences = exporting.export(model, model.shift(TARGET), name, folder, real)
        assert set(differences) == {"random", "real"}
        facts = model_card.Export(name, TARGET, "labeled", differences, "made up")
        (folder / "classes.json").write_text(json.dumps(model_card.facts(model, facts)))
        (folder / usage.READER).write_text(usage.reader(model))
        Image.fromarray(real[0, ..., 0]).save(folder / "image.png")
    return folders


def write_kinds(root: pathlib.Path) -> list[str]:
    """A file of each color mode, orientation and suffix; their names."""
    pixels = np.random.RandomState(4).randint(0, 256, (21, 26, 4)).astype(np.uint8)
    rgba = Image.fromarray(pixels)
    rgb, gray = rgba.convert("RGB"), rgba.convert("L")
    palette = rgb.quantize(16)
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    rgba.save(root / "rgba.png")
    gray.save(root / "gray.png")
    rgba.convert("LA").save(root / "gray_alpha.png")
    palette.save(root / "palette.png", transparency=bytes(range(0, 256, 16)))
    deep.save(root / "deep.png", transparency=2000)
    deep.save(root / "deep.tif")
    gray.convert("1").save(root / "one_bit.png")
    rgb.convert("CMYK").save(root / "cmyk.jpg")
    rgb.convert("CMYK").save(root / "cmyk.tif")
    rgb.resize((200, 150)).save(root / "large.jpg")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        rgb.save(root / f"turned_{orientation}.jpg", exif=exif)
        rgb.save(root / f"turned_{orientation}.tif", tiffinfo={0x112: orientation})
    for name, suffixes in formats.SUFFIXES.items():
        for suffix in set(suffixes) & set(formats.IMAGE_SUFFIXES):
            kinds = {".pgm": gray, ".pbm": gray.convert("1"), ".pfm": Image.fromarray(pixels[..., 0] / np.float32(255))}
            kinds.get(suffix, rgb).save(root / f"suffix{suffix.upper()}", name)
    return sorted(path.name for path in root.iterdir())


@dataclasses.dataclass
class Reading:
    """A model of which only the reading of images counts, the folder of its export, and the files to read there."""

    model: types.SimpleNamespace
    folder: pathlib.Path
    names: list[str]

    @property
    def program(self) -> str:
        """The card's program up to the line that has the pixels."""
        lines = usage.program(self.model, "onnx").splitlines()
        last = next(i for i, line in enumerate(lines) if line.startswith("images = "))
        return "\n".join(lines[: last + 1]).replace("import onnxruntime", "")


@pytest.fixture(scope="module")
def readings(exports, tmp_path_factory) -> dict[str, Reading]:
    """Of a color and a gray network for a custom dataset, and of one for ImageNet, which reads JPEG and PNG alone."""
    found = {}
    for name, dataset, shape in (
        ("color", "folder", (16, 16, 3)),
        ("gray", "folder", (16, 16, 1)),
        ("imagenet", "imagenet127", (16, 16, 3)),
    ):
        folder = tmp_path_factory.mktemp(name)
        (folder / "images").mkdir()
        config = types.SimpleNamespace(data=types.SimpleNamespace(dataset=dataset))
        model = types.SimpleNamespace(input_shape=shape, folder=types.SimpleNamespace(config=config))
        names = write_kinds(folder / "images")
        if name == "imagenet":
            names = [one for one in names if one.endswith((".jpg", ".png")) and "cmyk" not in one]
        (folder / usage.READER).write_text(usage.reader(model))
        shutil.copy(exports["keras"] / "classes.json", folder)
        found[name] = Reading(model, folder, names)
    return found


@pytest.fixture(scope="module")
def printed(exports, readings, model) -> dict[str, list[str]]:
    """By format, the lines that its card's program prints, and the probabilities of its image: all in one process,
    one after the other and each in its folder, for TensorFlow's import takes longer than they do. The same process
    writes the pixels of `readings` beside their images."""
    programs = {str(exports[name]): usage.program(model, name) for name in FORMATS}
    started = "import json, os, numpy\n" + "".join(
        f"os.chdir({folder!r})\nsys.modules.pop('read_image', None)\nexec({program!r}, own := {{}})\n"
        f"print(json.dumps(own['probs'][0].tolist()) + {SEPARATOR!r})\n"
        for folder, program in programs.items()
    )
    for one in readings.values():
        started += (
            f"os.chdir({str(one.folder)!r})\nsys.modules.pop('read_image', None)\nfor name in {one.names!r}:\n"
            f"    exec({one.program!r}.replace('image.png', 'images/' + name), own := {{}})\n"
            "    numpy.save(name + '.npy', own['images'])\n"
        )
    outputs = run_without_us(started, exports["keras"]).split(SEPARATOR)
    return {name: output.strip().splitlines() for name, output in zip([*FORMATS, "end"], outputs, strict=True)}


def run_without_us(program: str, folder: pathlib.Path) -> str:
    process = subprocess.run(
        [sys.executable, "-I", "-B", "-c", WITHOUT_US + program], cwd=folder, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_the_blocker_keeps_this_package_out(tmp_path):
    with pytest.raises(AssertionError, match="udal_tf"):
        run_without_us("import udal_tf", tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_the_cards_program_agrees_in_a_process_without_this_package(printed, model, real, name):
    output = printed[name]
    expected = model.predict(real[:1], target_prior=TARGET)
    assert output[-2].split()[0] == expected.names[0]
    tolerance = 1e-3 if name == "tflite" else 1e-5
    np.testing.assert_allclose(json.loads(output[-1]), expected.probs[0], atol=tolerance)


@pytest.mark.parametrize("kind", ["color", "gray", "imagenet"])
def test_the_cards_program_has_the_pixels_of_predict_evaluate_and_export(printed, readings, kind):
    one = readings[kind]
    read = image_files.reader(one.model.folder.config.data.dataset, one.model.input_shape)
    assert len(one.names) > 10
    for name in one.names:
        expected = read(one.folder / "images" / name)
        assert not isinstance(expected, str), (name, expected)
        np.testing.assert_array_equal(np.load(one.folder / f"{name}.npy"), expected[None], err_msg=name)


def test_the_cards_program_has_the_pixels_of_training(printed, readings, tmp_path):
    one = readings["color"]
    for name in ("a", "b"):
        (tmp_path / "data" / "labeled" / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (16, 16)).save(tmp_path / "data" / "labeled" / name / f"{i}.png")
    shutil.copytree(one.folder / "images", tmp_path / "data" / "unlabeled")
    given = {"dataset": "folder", "data_dir": str(tmp_path / "data"), "cache_dir": str(tmp_path), "image_size": 16}
    data = sources.load(resolve(given).data)
    assert len(data.unlabeled_only) == len(one.names)
    # The unlabeled images come last, by name.
    expected = data.train.fetch(data.unlabeled_only).numpy()
    for name, pixels in zip(one.names, expected, strict=True):
        np.testing.assert_array_equal(np.load(one.folder / f"{name}.npy")[0], pixels, err_msg=name)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_images_is_taken(exports, model, name, count):
    images = np.random.RandomState(2).randint(0, 256, (count, 8, 8, 1)).astype(np.uint8)
    chosen = exporting.FORMATS[name]
    found = chosen.load(exports[name] / chosen.file)(images)
    np.testing.assert_allclose(found, model.predict(images, target_prior=TARGET).probs, atol=chosen.tolerance)


def test_each_export_is_one_file_or_folder(exports):
    for name, folder in exports.items():
        names = {path.name for path in folder.iterdir()}
        assert names == {exporting.FORMATS[name].file, "classes.json", "image.png", "read_image.py"}


def test_the_classes_are_inside_of_onnx(exports, model):
    import onnx

    written = onnx.load(exports["onnx"] / "model.onnx")
    properties = {one.key: one.value for one in written.metadata_props}
    assert json.loads(properties["class_names"]) == list(model.class_names)
    assert [one.name for one in written.graph.input] == ["images"]
    assert [one.name for one in written.graph.output] == ["probs"]


def test_la_inf_is_inside(model):
    images = np.random.RandomState(3).randint(0, 256, (4, 8, 8, 1)).astype(np.uint8)
    plain, adjusted = (
        exporting.exportable(model, model.shift(prior))(images, training=False).numpy() for prior in (None, TARGET)
    )
    np.testing.assert_allclose(plain, model.predict(images).probs, atol=1e-6)
    np.testing.assert_allclose(adjusted, model.predict(images, target_prior=TARGET).probs, atol=1e-6)
    assert np.abs(plain - adjusted).max() > 0.01


def test_the_model_in_use_is_not_changed_by_an_export(model, real):
    before = model.logits(real)
    exporting.exportable(model, model.shift(TARGET))
    assert np.array_equal(model.logits(real), before)


def test_a_model_that_does_not_agree_is_refused(model, real, tmp_path, monkeypatch):
    def wrong(network: keras.Model, path: pathlib.Path, class_names) -> None:
        network.layers[-2].layers[-1].bias.assign_add(np.linspace(0, 0.01, 10))
        network.save(path)

    changed = exporting.Format("model.keras", wrong, exporting.FORMATS["keras"].load)
    monkeypatch.setitem(exporting.FORMATS, "keras", changed)
    with pytest.raises(
        exporting.ExportError, match=r"differ from the original's by .* on random images, .* on real images"
    ):
        exporting.export(model, model.shift(None), "keras", tmp_path, real)


def test_without_real_images_random_ones_are_compared(model, real, tmp_path):
    differences = exporting.export(model, model.shift(None), "keras", tmp_path, real[:0])
    assert set(differences) == {"random"}
    assert differences["random"] < 1e-5


def test_packages_that_are_not_installed_are_named(monkeypatch):
    assert exporting.missing_packages("keras") == []
    needs = exporting.Format("m", None, None, packages=("numpy", "a_package_that_is_not_there"))
    monkeypatch.setitem(exporting.FORMATS, "made_up", needs)
    assert exporting.missing_packages("made_up") == ["a_package_that_is_not_there"]
