"""Exported models: each format runs where this package cannot be imported, by the program of its card, and agrees."""

import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import udal_tf
from udal_tf.config import resolve
from udal_tf.data import formats, sources
from udal_tf.inference import export_check, exporting, image_files, model_card, quantizing, usage

TARGET = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
# A module that is None in sys.modules cannot be imported, wherever it is installed.
# Isolated, Python also does not look into the current folder, where the card's program has its file.
WITHOUT_US = "import sys; sys.modules['udal_tf'] = None; sys.path.insert(0, '')\n"
SEPARATOR = "<end of a program>"
FORMATS = ("savedmodel", "keras", "tflite", "onnx")
# The images that each format is compared on.
KINDS = {name: {export_check.RANDOM, export_check.REAL} for name in FORMATS}
KINDS["savedmodel"] |= {export_check.SIZES, export_check.FILES}
KINDS["keras"] |= {export_check.SIZES}


@pytest.fixture(scope="module")
def model(tiny_run):
    """The model of the run, made so sure of itself that its class depends on the image."""
    model = udal_tf.load(tiny_run)
    last = model.network.layers[-1]
    images = np.random.RandomState(5).randint(0, 256, (64, 8, 8, 1)).astype(np.uint8)
    last.kernel.assign(60 * last.kernel)
    last.bias.assign_sub(model.logits(images).mean(axis=0) + model.shift(TARGET))
    return model


@pytest.fixture(scope="module")
def real():
    return np.random.RandomState(1).randint(0, 256, (3, 8, 8, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def camera(tmp_path_factory) -> pathlib.Path:
    """Files as they come from cameras and other programs, of several classes."""
    folder = tmp_path_factory.mktemp("camera")
    generator = np.random.RandomState(6)
    for i in range(4):
        small = Image.fromarray(generator.randint(0, 256, (8, 8, 3)).astype(np.uint8))
        small.resize((100, 100)).save(folder / f"{i}_100x100.png")
        small.resize((37, 80)).convert("L").save(folder / f"{i}_37x80.png")
        rgba = small.resize((64, 48))
        rgba.putalpha(Image.linear_gradient("L").resize((64, 48)))
        rgba.save(folder / f"{i}_rgba.png")
        Image.fromarray(np.asarray(small.convert("L").resize((50, 50))).astype(np.uint16) * 257).save(
            folder / f"{i}_deep.png"
        )
        exif = Image.Exif()
        exif[0x112] = 6
        small.resize((300, 200)).save(folder / f"{i}_turned.jpg", exif=exif)
    return folder


# Arrays that a user might give, by what they are.
ARRAYS = {
    "100x100": np.random.RandomState(7).randint(0, 256, (3, 100, 100, 1)).astype(np.uint8),
    "37x80": np.random.RandomState(8).randint(0, 256, (3, 80, 37, 1)).astype(np.uint8),
    "rgba": np.zeros((1, 8, 8, 4), np.uint8),
    "deep": np.full((1, 8, 8, 1), 40_000, np.uint16),
}
# Runs the lines of a card's program that read and predict again with other files, and the latter with other arrays.
# A SavedModel is loaded once for the programs that use it.
OTHER_IMAGES = """
import functools, glob, json, os, sys, numpy, tensorflow
tensorflow.saved_model.load = functools.cache(tensorflow.saved_model.load)
def outcome(call):
    try:
        return call()["probs"].tolist()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
def other_images(program, own, files, arrays):
    steps = [line for line in program.splitlines() if line.startswith(("images = ", "probs = "))]
    def run(code, **given):
        exec(code, own.update(given) or own)
        return own
    found = {os.path.basename(name): outcome(lambda: run("\\n".join(steps).replace("image.png", name)))
             for name in sorted(glob.glob(files + "/*"))}
    if len(steps) == 2:
        found |= {kind: outcome(lambda: run(steps[1], images=array)) for kind, array in arrays.items()}
    return found
"""


@pytest.fixture(scope="module")
def exports(model, real, tmp_path_factory) -> dict[str, pathlib.Path]:
    """Every format's folder, with an image in it as the card's program names it."""
    folders = {name: tmp_path_factory.mktemp(name) for name in FORMATS}
    for name, folder in folders.items():
        differences = exporting.export(model, model.shift(TARGET), name, folder, export_check.Real(real))
        assert set(differences) == KINDS[name]
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
def elsewhere(printed, exports) -> dict[str, dict]:
    """By program, what it makes of the files of `camera` and of ARRAYS: probabilities or an error's text."""
    return json.loads((exports["keras"].parent / "elsewhere.json").read_text())


@pytest.fixture(scope="module")
def printed(exports, readings, model, camera) -> dict[str, list[str]]:
    """By format, the lines that its card's program prints, and the probabilities of its image: all in one process,
    one after the other and each in its folder, for TensorFlow's import takes longer than they do. The same process
    writes the pixels of `readings` beside their images."""
    programs = {name: (str(exports[name]), usage.program(model, name)) for name in FORMATS}
    programs["serve_bytes"] = (str(exports["savedmodel"]), usage.encoded_program())
    any_size = usage.program(model, "savedmodel").replace("serve_fixed", "serving_default")
    programs["serving_default"] = (str(exports["savedmodel"]), any_size)
    arrays, found = (exports["keras"].parent / name for name in ("arrays.npz", "elsewhere.json"))
    np.savez(arrays, **ARRAYS)
    started = f"{OTHER_IMAGES}\narrays, found = numpy.load({str(arrays)!r}), {{}}\n" + "".join(
        f"os.chdir({folder!r})\nsys.modules.pop('read_image', None)\nexec({program!r}, own := {{}})\n"
        f"print(json.dumps(own['probs'][0].tolist()) + {SEPARATOR!r})\n"
        f"found[{name!r}] = other_images({program!r}, own, {str(camera)!r}, arrays)\n"
        for name, (folder, program) in programs.items()
    )
    started += f"json.dump(found, open({str(found)!r}, 'w'))\n"
    for one in readings.values():
        started += (
            f"os.chdir({str(one.folder)!r})\nsys.modules.pop('read_image', None)\nfor name in {one.names!r}:\n"
            f"    exec({one.program!r}.replace('image.png', 'images/' + name), own := {{}})\n"
            "    numpy.save(name + '.npy', own['images'])\n"
        )
    outputs = run_without_us(started, exports["keras"]).split(SEPARATOR)
    return {name: output.strip().splitlines() for name, output in zip([*programs, "end"], outputs, strict=True)}


def run_without_us(program: str, folder: pathlib.Path) -> str:
    process = subprocess.run(
        [sys.executable, "-I", "-B", "-c", WITHOUT_US + program], cwd=folder, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_the_blocker_keeps_this_package_out(tmp_path):
    with pytest.raises(AssertionError, match="udal_tf"):
        run_without_us("import udal_tf", tmp_path)


@pytest.mark.parametrize("name", [*FORMATS, "serve_bytes"])
def test_the_cards_program_agrees_in_a_process_without_this_package(printed, model, real, name):
    output = printed[name]
    expected = model.predict(real[:1], target_prior=TARGET)
    assert output[-2].split()[0] == expected.names[0]
    tolerance = 1e-3 if name == "tflite" else 1e-5
    np.testing.assert_allclose(json.loads(output[-1]), expected.probs[0], atol=tolerance)


@pytest.mark.parametrize("program", [*FORMATS, "serve_bytes", "serving_default"])
def test_files_of_a_camera_have_the_classes_of_predict(elsewhere, model, camera, program):
    paths = sorted(camera.iterdir())
    expected = model.predict(paths, target_prior=TARGET)
    assert len(set(expected.names)) > 3
    found = np.array([elsewhere[program][path.name][0] for path in paths])
    np.testing.assert_array_equal(found.argmax(axis=1), expected.labels)
    np.testing.assert_allclose(found, expected.probs, atol=0.02 if program == "serve_bytes" else 1e-3)


@pytest.mark.parametrize("program", ["serving_default", "keras"])
@pytest.mark.parametrize("size", ["100x100", "37x80"])
def test_arrays_of_any_size_have_the_classes_of_predict(elsewhere, model, tmp_path, program, size):
    for i, array in enumerate(ARRAYS[size]):
        Image.fromarray(array[..., 0]).save(tmp_path / f"{i}.png")
    expected = model.predict(sorted(tmp_path.iterdir()), target_prior=TARGET)
    found = np.array(elsewhere[program][size])
    np.testing.assert_array_equal(found.argmax(axis=1), expected.labels)
    np.testing.assert_allclose(found, expected.probs, atol=0.02)


@pytest.mark.parametrize("program", ["savedmodel", "tflite", "onnx"])
@pytest.mark.parametrize("size", ["100x100", "37x80"])
def test_graphs_of_a_fixed_size_refuse_others(elsewhere, program, size):
    said = {"savedmodel": "not compatible with expected shape", "tflite": "failed to prepare", "onnx": "Expected: 8"}
    assert said[program] in elsewhere[program][size]


@pytest.mark.parametrize("program", [*FORMATS, "serving_default"])
def test_arrays_of_other_channels_and_16_bits_are_refused(elsewhere, program):
    assert ": " in elsewhere[program]["rgba"]
    if program == "keras":  # Keras converts what it is given; no class is then the most probable.
        assert np.isnan(elsewhere[program]["deep"]).all()
    else:
        assert re.search("uint8|UINT8", elsewhere[program]["deep"])


def test_serve_bytes_follows_the_convention_of_tensorflow_serving(exports):
    serve = tf.saved_model.load(str(exports["savedmodel"] / "saved_model")).signatures["serve_bytes"]
    (spec,) = serve.structured_input_signature[1].values()
    assert (spec.name, spec.dtype, spec.shape.as_list()) == ("image_bytes", tf.string, [None])
    with pytest.raises(tf.errors.InvalidArgumentError, match="image_bytes must be JPEG, PNG, GIF, or BMP"):
        serve(image_bytes=tf.constant([b"RIFF\0\0\0\0WEBP"]))


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
    runs = chosen.load(exports[name] / chosen.file)
    for takes in {export_check.FIXED, export_check.ANY_SIZE} & set(runs):
        found = runs[takes](images)
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
        exporting.exportable(model, model.shift(prior)).fixed(images, training=False).numpy()
        for prior in (None, TARGET)
    )
    np.testing.assert_allclose(plain, model.predict(images).probs, atol=1e-6)
    np.testing.assert_allclose(adjusted, model.predict(images, target_prior=TARGET).probs, atol=1e-6)
    assert np.abs(plain - adjusted).max() > 0.01


def test_the_model_in_use_is_not_changed_by_an_export(model, real):
    before = model.logits(real)
    exporting.exportable(model, model.shift(TARGET))
    assert np.array_equal(model.logits(real), before)


def change(monkeypatch, name: str, write) -> None:
    monkeypatch.setitem(exporting.FORMATS, name, dataclasses.replace(exporting.FORMATS[name], write=write))


def test_a_model_that_does_not_agree_is_refused(model, real, tmp_path, monkeypatch):
    def wrong(networks: exporting.Networks, path: pathlib.Path) -> None:
        networks.network.layers[-1].bias.assign_add(np.linspace(0, 1, 10))
        networks.any_size.save(path)

    change(monkeypatch, "keras", wrong)
    with pytest.raises(
        exporting.ExportError, match=r"differ from the original's by .* on random images, .* on real images"
    ):
        exporting.export(model, model.shift(None), "keras", tmp_path, export_check.Real(real))


def test_an_export_that_resizes_in_another_way_is_refused(model, real, tmp_path, monkeypatch):
    def wrong(networks: exporting.Networks, path: pathlib.Path) -> None:
        images = keras.Input((None, None, 1))
        keras.Model(images, networks.fixed(keras.layers.Resizing(8, 8, "nearest")(images))).save(path)

    change(monkeypatch, "keras", wrong)
    with pytest.raises(exporting.ExportError, match="other classes for .* of 9 images of other sizes"):
        exporting.export(model, model.shift(None), "keras", tmp_path, export_check.Real(real))


def test_a_graph_of_a_fixed_size_that_takes_others_is_refused(model, real):
    def loose(images: np.ndarray) -> np.ndarray:
        return model.predict(images[:, :8, :8, :1]).probs

    runs = {export_check.FIXED: loose}
    with pytest.raises(
        export_check.ExportError, match=r"takes images of \[16, 16, 1\] although it is made for \[8, 8, 1"
    ):
        export_check.compare(model, model.shift(None), runs, export_check.Real(real), 1e-4)


def test_without_real_images_random_ones_are_compared(model, real, tmp_path):
    differences = exporting.export(model, model.shift(None), "keras", tmp_path, export_check.Real(real[:0]))
    assert set(differences) == {export_check.RANDOM, export_check.SIZES}
    assert differences[export_check.RANDOM] < 1e-5


def test_int8_is_smaller_and_its_loss_is_counted(model, tmp_path):
    chosen = quantizing.images(model, False, export_check.Real(np.zeros((0, 8, 8, 1), np.uint8)))
    assert (len(chosen.calibration), len(chosen.compared)) == (256, 500)
    shift = model.shift(None)
    exporting.export(model, shift, "tflite", tmp_path, export_check.Real(chosen.compared[:5]), chosen.calibration)
    content = (tmp_path / "model.tflite").read_bytes()
    run = exporting.FORMATS["tflite"].load(tmp_path / "model.tflite")[export_check.FIXED]
    details = tf.lite.Interpreter(model_content=content).get_tensor_details()
    assert sum(one["dtype"] == np.int8 for one in details) > 10
    loss = quantizing.loss(model, shift, run, chosen)
    before, after = (model.predict(chosen.compared).labels, run(chosen.compared).argmax(axis=1))
    assert loss.count == 500 and loss.words == "the test images of digitslt"
    assert loss.agreement == pytest.approx(np.mean(before == after))
    assert loss.agreement > 0.8
    assert loss.accuracy == pytest.approx((np.mean(before == chosen.labels), np.mean(after == chosen.labels)))


def test_what_int8_loses_is_said():
    same = "the same class for 90.0 % of 1,000 images (given)"
    assert quantizing.Loss(1000, 0.9, None, "given").said() == f"int8 and the float model predict {same}."
    assert quantizing.Loss(1000, 0.9, (0.8, 0.75), "given").said() == (
        f"int8 has an accuracy of 75.0 %, the float model 80.0 %; they predict {same}."
    )


def test_packages_that_are_not_installed_are_named(monkeypatch):
    assert exporting.missing_packages("keras") == []
    needs = exporting.Format("m", None, None, packages=("numpy", "a_package_that_is_not_there"))
    monkeypatch.setitem(exporting.FORMATS, "made_up", needs)
    assert exporting.missing_packages("made_up") == ["a_package_that_is_not_there"]
