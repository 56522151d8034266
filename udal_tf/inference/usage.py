"""How to use an exported model: its inputs and outputs, and a program that runs it."""

import inspect

from udal_tf.data import central_view, decoding
from udal_tf.inference.exporting import IMAGES, PROBS
from udal_tf.inference.image_files import FILE_CHANNELS
from udal_tf.inference.trained import TrainedModel
from udal_tf.registry import DATASETS

# The file in an export that reads images.
READER = "read_image.py"
# How to run each format: the imports, and the lines after `images`.
_RUN = {
    "savedmodel": (
        ["import tensorflow as tf"],
        [
            'serve = tf.saved_model.load("saved_model").signatures["serving_default"]',
            f'probs = serve({IMAGES}=tf.constant(images))["{PROBS}"].numpy()',
        ],
    ),
    "keras": (
        ["import keras"],
        ['probs = keras.models.load_model("model.keras").predict(images, verbose=0)'],
    ),
    "tflite": (
        ["import tensorflow as tf  # Or, smaller: from ai_edge_litert.interpreter import Interpreter"],
        [
            'serve = tf.lite.Interpreter("model.tflite").get_signature_runner("serving_default")',
            f'probs = serve({IMAGES}=images)["{PROBS}"]',
        ],
    ),
    "onnx": (
        ["import onnxruntime"],
        [
            'session = onnxruntime.InferenceSession("model.onnx")',
            f'probs = session.run(["{PROBS}"], {{"{IMAGES}": images}})[0]',
        ],
    ),
}


def program(model: TrainedModel, format_name: str) -> str:
    """A Python program that runs the exported model on one image without udal_tf."""
    height, width, channels = model.input_shape
    imports, run = _RUN[format_name]
    if channels in FILE_CHANNELS:
        gray = ", channels=1" if channels == 1 else ""
        imports = [*imports, f"from {READER.removesuffix('.py')} import decode  # The file beside this card."]
        images = f'decode("image.png", {height}{gray})[None]  # uint8 [1, {height}, {width}, {channels}].'
    else:
        imports = ["import numpy as np", *imports]
        images = f'np.load("images.npy")  # uint8 [N, {height}, {width}, {channels}].'
    lines = [
        "import json",
        "",
        *imports,
        "",
        'with open("classes.json", encoding="utf-8") as file:',
        '    class_names = json.load(file)["class_names"]',
        f"images = {images}",
        *run,
        "print(class_names[probs[0].argmax()], probs[0].max())",
    ]
    return "\n".join(lines)


def reader(model: TrainedModel) -> str:
    """The source of `read_image.py`, which reads an image file as the training did: a module of this package."""
    module = central_view if _streamed(model) else decoding
    return inspect.getsource(module)


def _streamed(model: TrainedModel) -> bool:
    return DATASETS[model.folder.config.data.dataset].streams(model.input_shape[0])


def contract(model: TrainedModel) -> str:
    """The input and the output, in Markdown."""
    height, width, channels = model.input_shape
    colors = "red, green, blue" if channels == 3 else "gray"
    part, needs = (
        ("the center square, 7/8 of the short side", "NumPy and TensorFlow")
        if _streamed(model)
        else ("the center square, as large as the short side", "NumPy and Pillow")
    )
    reading = (
        f", but images must be cropped and resized first: {part}, resized to {width} × {height} pixels, upright, "
        f"transparency on white. `decode` in `{READER}` does this; it needs {needs}."
    )
    if channels not in FILE_CHANNELS:
        colors, reading = f"{channels} channels as in training", "."
    return (
        f"Input: `{IMAGES}`, uint8 [N, {height}, {width}, {channels}], {colors}, 0 to 255. The model scales pixel "
        f"values itself{reading}\n\n"
        f"Output: `{PROBS}`, float32 [N, {len(model.class_names)}], a probability per class in the order of "
        "`classes.json`."
    )
