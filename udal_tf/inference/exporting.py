"""Exports a trained model to formats that do not need udal_tf: uint8 images in, probabilities out."""

import contextlib
import dataclasses
import importlib.util
import json
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from udal_tf.augment import views
from udal_tf.inference import any_size, encoded_input, export_check
from udal_tf.inference.export_check import ANY_SIZE, ENCODED, FIXED, ExportError, Run, reads_files
from udal_tf.inference.trained import TrainedModel
from udal_tf.models.stock import stock_copy
from udal_tf.registry import DATASETS

# Names of the inputs and the output in formats that have names. TensorFlow Serving takes an input whose name ends in
# _bytes in base 64.
IMAGES = "images"
BYTES = "image_bytes"
PROBS = "probs"
# The signatures of a SavedModel by what they take, and the only one of TensorFlow Lite.
SIGNATURES = {ANY_SIZE: "serving_default", FIXED: "serve_fixed", ENCODED: "serve_bytes"}
LITE_SIGNATURE = "serving_default"
# Largest allowed difference of a probability; TensorFlow Lite uses its own kernels.
TOLERANCE = 1e-5
LITE_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Networks:
    """A model as networks of stock Keras layers with the same weights.

    Attributes:
      network: float32 [N, H, W, C] in [−1, 1] -> logits [N, C].
      fixed: uint8 [N, H, W, C] -> probabilities [N, C].
      any_size: float32 [N, any, any, C] with integers 0 to 255 -> probabilities [N, C]; see `any_size.resizing`. None
        if image files are not read for this network.
      pixels: [N] encoded images -> uint8 [N, H, W, C], in a TensorFlow graph; None as well.
      class_names: C names.
      calibration: uint8 [M, H, W, C], what int8 is calibrated on; None for floating point.
    """

    network: keras.Model
    fixed: keras.Model
    any_size: keras.Model | None
    pixels: Callable[[tf.Tensor], tf.Tensor] | None
    class_names: Sequence[str]
    calibration: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
      file: its name in the export folder.
      write: (networks, path) -> None.
      load: path -> what it takes (FIXED, ANY_SIZE, ENCODED) -> a function from that to probabilities [N, C], as a user
        of the format would run it.
      tolerance: largest allowed difference of a probability.
      packages: what both need besides TensorFlow.
    """

    file: str
    write: Callable[[Networks, pathlib.Path], None]
    load: Callable[[pathlib.Path], Mapping[str, Run]]
    tolerance: float = TOLERANCE
    packages: tuple[str, ...] = ()


def exportable(model: TrainedModel, shift: np.ndarray, calibration: np.ndarray | None = None) -> Networks:
    """The model from images to probabilities in stock Keras layers.

    Args:
      model: the model.
      shift: [C], what LA (Inf) adds to the logits; it is added to the bias of the last layer.
      calibration: see `Networks`.

    Raises:
      ExportError: for a network with layers that are not in Keras.
    """
    try:
        network = stock_copy(model.network)
    except ValueError as error:
        raise ExportError(f"this network cannot be exported: {error}") from error
    network.layers[-1].bias.assign_add(shift)
    size, _, channels = model.input_shape
    central = DATASETS[model.folder.config.data.dataset].streams(model.input_shape[0])

    def probs(images: keras.KerasTensor) -> keras.KerasTensor:
        # The same two operations as augment.views.normalize, in the same order.
        x = keras.layers.Rescaling(1.0, -views.MIDDLE, name="center")(images)
        return keras.layers.Softmax(name=PROBS)(network(keras.layers.Rescaling(views.SCALE, name="scale")(x)))

    fixed = keras.Input(model.input_shape, dtype="uint8", name=IMAGES)
    networks = Networks(
        network, keras.Model(fixed, probs(fixed), name=model.network.name), None, None, model.class_names, calibration
    )
    if not reads_files(model):
        return networks
    images = keras.Input((None, None, channels), name=IMAGES)
    resized = any_size.resizing(size, channels, central)(images)
    return dataclasses.replace(
        networks,
        any_size=keras.Model(images, probs(resized), name=model.network.name),
        pixels=encoded_input.reader(size, channels, central),
    )


def _signature(network: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec(network.input_shape, tf.uint8, name=IMAGES)


def _on_checked(network: keras.Model) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """A graph that refuses other sizes: the shapes of a signature are not checked when it is called."""

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.cast(tf.ensure_shape(images, network.input_shape), network.inputs[0].dtype)
        return {PROBS: network(images, training=False)}

    return serve


def _write_savedmodel(networks: Networks, path: pathlib.Path) -> None:
    archive = keras.export.ExportArchive()
    default, pixels = networks.any_size or networks.fixed, networks.pixels
    archive.track(default)
    for takes, network in ((ANY_SIZE, default), (FIXED, networks.fixed)):
        archive.add_endpoint(SIGNATURES[takes], _on_checked(network), input_signature=[_signature(network)])
    if pixels is not None:
        archive.add_endpoint(
            SIGNATURES[ENCODED],
            lambda image_bytes: {PROBS: networks.fixed(pixels(image_bytes), training=False)},
            input_signature=[tf.TensorSpec([None], tf.string, name=BYTES)],
        )
    archive.write_out(str(path), verbose=False)


def _load_savedmodel(path: pathlib.Path) -> Mapping[str, Run]:
    signatures = tf.saved_model.load(str(path)).signatures

    def runner(takes: str) -> Run:
        name = BYTES if takes == ENCODED else IMAGES
        return lambda images: signatures[SIGNATURES[takes]](**{name: tf.constant(images)})[PROBS].numpy()

    return {takes: runner(takes) for takes, name in SIGNATURES.items() if name in signatures}


def _write_keras(networks: Networks, path: pathlib.Path) -> None:
    (networks.any_size or networks.fixed).save(path)


def _load_keras(path: pathlib.Path) -> Mapping[str, Run]:
    network = keras.models.load_model(path)
    return {ANY_SIZE: lambda images: network(images, training=False).numpy()}


def _write_tflite(networks: Networks, path: pathlib.Path) -> None:
    height, width, channels = networks.fixed.input_shape[1:]

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        # An interpreter takes any size that the operations take: these two take no other number of rows and columns
        # (one alone would be repeated), and no other number of values.
        x = tf.cast(images, tf.float32) - np.full([1, height, width, 1], views.MIDDLE, np.float32)
        flat = tf.reshape(x, tf.stack([tf.shape(images)[0], height * width * channels])) * views.SCALE
        x = tf.reshape(flat, [-1, height, width, channels])
        return {PROBS: tf.nn.softmax(networks.network(x, training=False))}

    archive = keras.export.ExportArchive()
    archive.track(networks.network)
    archive.add_endpoint(LITE_SIGNATURE, serve, input_signature=[_signature(networks.fixed)])
    folder = path.with_suffix(".saved_model")
    archive.write_out(str(folder), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    calibration = networks.calibration
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ({IMAGES: image[np.newaxis]} for image in calibration)
    with _about_the_interpreter():
        path.write_bytes(converter.convert())
    tf.io.gfile.rmtree(str(folder))


@contextlib.contextmanager
def _about_the_interpreter() -> Iterator[None]:
    """Without TensorFlow's warning that its interpreter will be another package."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
        yield


def _load_tflite(path: pathlib.Path) -> Mapping[str, Run]:
    with _about_the_interpreter():
        serve = tf.lite.Interpreter(str(path)).get_signature_runner(LITE_SIGNATURE)
    return {FIXED: lambda images: serve(**{IMAGES: images})[PROBS]}


def _write_onnx(networks: Networks, path: pathlib.Path) -> None:
    import onnx

    network, class_names = networks.fixed, networks.class_names
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


def _load_onnx(path: pathlib.Path) -> Mapping[str, Run]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return {FIXED: lambda images: session.run([PROBS], {IMAGES: images})[0]}


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
    model: TrainedModel,
    shift: np.ndarray,
    name: str,
    folder: pathlib.Path,
    real: export_check.Real,
    calibration: np.ndarray | None = None,
) -> dict[str, float]:
    """Exports the model into a folder, then loads and runs the export to verify it.

    Args:
      model: the model.
      shift: [C], what LA (Inf) adds to the logits.
      name: a key of FORMATS.
      folder: an existing folder.
      real: real images to compare on besides random ones.
      calibration: for int8 of TensorFlow Lite, uint8 [M, H, W, C]; its probabilities are not compared.

    Returns:
      the largest difference of a probability by kind of image; see `export_check.compare`.

    Raises:
      ExportError: if the network cannot be exported to this format, or the probabilities do not match.
    """
    chosen = FORMATS[name]
    path = folder / chosen.file
    chosen.write(exportable(model, shift, calibration), path)
    limit = chosen.tolerance if calibration is None else np.inf
    return export_check.compare(model, shift, chosen.load(path), real, limit)
