"""Exports a trained model to formats that do not need udal_tf: uint8 images in, probabilities out."""

import dataclasses
import importlib.util
import json
import pathlib
import warnings
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from udal_tf.augment import views
from udal_tf.inference.trained import TrainedModel
from udal_tf.models.stock import stock_copy

# Names of the input and the output in formats that have names.
IMAGES = "images"
PROBS = "probs"
# Largest allowed difference of a probability; TensorFlow Lite uses its own kernels.
TOLERANCE = 1e-5
LITE_TOLERANCE = 1e-3
# Random images that each export is compared on.
RANDOM_IMAGES = 64
RANDOM_SEED = 0

Run = Callable[[np.ndarray], np.ndarray]


class ExportError(RuntimeError):
    """A model could not be exported, or the exported model does not match; the message says by how much."""


@dataclasses.dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
      file: its name in the export folder.
      write: (network, path, class names) -> None.
      load: path -> a function from uint8 [N, H, W, C] to probabilities [N, C], as a user of the format would run it.
      tolerance: largest allowed difference of a probability.
      packages: what both need besides TensorFlow.
    """

    file: str
    write: Callable[[keras.Model, pathlib.Path, Sequence[str]], None]
    load: Callable[[pathlib.Path], Run]
    tolerance: float = TOLERANCE
    packages: tuple[str, ...] = ()


def exportable(model: TrainedModel, shift: np.ndarray) -> keras.Model:
    """The model from images to probabilities as one network of stock Keras layers.

    Args:
      model: the model.
      shift: [C], what LA (Inf) adds to the logits; it is added to the bias of the last layer.

    Returns:
      Keras model, uint8 [N, H, W, C] -> float32 [N, C], rows sum to 1.

    Raises:
      ExportError: for a network with layers that are not in Keras.
    """
    try:
        network = stock_copy(model.network)
    except ValueError as error:
        raise ExportError(f"this network cannot be exported: {error}") from error
    last = network.layers[-1]
    last.bias.assign_add(shift)
    inputs = keras.Input(model.input_shape, dtype="uint8", name=IMAGES)
    # The same two operations as augment.views.normalize, in the same order.
    x = keras.layers.Rescaling(1.0, -views.MIDDLE, name="center")(inputs)
    x = keras.layers.Rescaling(views.SCALE, name="scale")(x)
    return keras.Model(inputs, keras.layers.Softmax(name=PROBS)(network(x)), name=model.network.name)


def _signature(network: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec(network.input_shape, tf.uint8, name=IMAGES)


def _write_savedmodel(network: keras.Model, path: pathlib.Path, class_names: Sequence[str]) -> None:
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(
        "serve",
        lambda images: {PROBS: network(images, training=False)},
        input_signature=[_signature(network)],
    )
    archive.write_out(str(path), verbose=False)


def _load_savedmodel(path: pathlib.Path) -> Run:
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    return lambda images: serve(**{IMAGES: tf.constant(images)})[PROBS].numpy()


def _write_keras(network: keras.Model, path: pathlib.Path, class_names: Sequence[str]) -> None:
    network.save(path)


def _load_keras(path: pathlib.Path) -> Run:
    network = keras.models.load_model(path)
    return lambda images: network(images, training=False).numpy()


def _write_tflite(network: keras.Model, path: pathlib.Path, class_names: Sequence[str]) -> None:
    folder = path.with_suffix(".saved_model")
    _write_savedmodel(network, folder, class_names)
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())
    tf.io.gfile.rmtree(str(folder))


def _load_tflite(path: pathlib.Path) -> Run:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
        serve = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
    return lambda images: serve(**{IMAGES: images})[PROBS]


def _write_onnx(network: keras.Model, path: pathlib.Path, class_names: Sequence[str]) -> None:
    import onnx

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # From Keras, about NumPy.
        network.export(str(path), format="onnx", input_signature=[_signature(network)], verbose=False)
    model = onnx.load(str(path))
    given = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = [PROBS if name == given else name for name in node.output]
    model.graph.output[0].name = PROBS
    onnx.helper.set_model_props(model, {"class_names": json.dumps(list(class_names), ensure_ascii=False)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _load_onnx(path: pathlib.Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run([PROBS], {IMAGES: images})[0]


FORMATS = {
    "savedmodel": Format("saved_model", _write_savedmodel, _load_savedmodel),
    "keras": Format("model.keras", _write_keras, _load_keras),
    "tflite": Format("model.tflite", _write_tflite, _load_tflite, LITE_TOLERANCE),
    "onnx": Format("model.onnx", _write_onnx, _load_onnx, packages=("onnx", "tf2onnx", "onnxruntime")),
}


def missing_packages(name: str) -> list[str]:
    """The packages that a format needs but that are not installed."""
    return [package for package in FORMATS[name].packages if importlib.util.find_spec(package) is None]


def export(
    model: TrainedModel, shift: np.ndarray, name: str, folder: pathlib.Path, real: np.ndarray
) -> dict[str, float]:
    """Exports the model into a folder, then loads and runs the export to verify it.

    Args:
      model: the model.
      shift: [C], what LA (Inf) adds to the logits.
      name: a key of FORMATS.
      folder: an existing folder.
      real: [N, H, W, C] uint8 images to compare on besides random ones; N may be 0.

    Returns:
      the largest difference of a probability on "random" images and, if there are any, on "real" ones.

    Raises:
      ExportError: if the network cannot be exported to this format, or the probabilities do not match.
    """
    chosen = FORMATS[name]
    path = folder / chosen.file
    chosen.write(exportable(model, shift), path, model.class_names)
    run = chosen.load(path)
    generator = np.random.RandomState(RANDOM_SEED)
    random = generator.randint(0, 256, (RANDOM_IMAGES, *model.input_shape)).astype(np.uint8)
    differences = {}
    for kind, images in (("random", random), ("real", real)):
        if len(images):
            ours = model.prediction(model.logits(images), shift).probs
            differences[kind] = float(np.abs(run(images) - ours).max())
    if max(differences.values()) > chosen.tolerance:
        shown = ", ".join(f"{value:.1e} on {kind} images" for kind, value in differences.items())
        raise ExportError(
            f"the exported model's probabilities differ from the original's by {shown}; "
            f"the limit is {chosen.tolerance:g}"
        )
    return differences
