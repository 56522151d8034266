"""How to use an exported model: its inputs and outputs, and a program that runs it."""

import inspect
from typing import Any

from udal_tf.data import central_view, decoding
from udal_tf.inference.export_check import ANY_SIZE, ENCODED, FIXED
from udal_tf.inference.exporting import BYTES, IMAGES, LITE_SIGNATURE, PROBS, SIGNATURES, reads_files
from udal_tf.inference.trained import TrainedModel
from udal_tf.registry import DATASETS

# The file in an export that reads images.
READER = "read_image.py"
# How to run each format: the imports, and the lines after `images`.
_RUN = {
    "savedmodel": (
        ["import tensorflow as tf"],
        [
            f'serve = tf.saved_model.load("saved_model").signatures["{SIGNATURES[FIXED]}"]',
            f'probs = serve({IMAGES}=tf.constant(images))["{PROBS}"].numpy()',
        ],
    ),
    "keras": (
        ["import keras"],
        ['model = keras.models.load_model("model.keras")', "probs = model.predict(images, verbose=0)"],
    ),
    "tflite": (
        ["import tensorflow as tf  # Or, smaller: from ai_edge_litert.interpreter import Interpreter"],
        [
            f'serve = tf.lite.Interpreter("model.tflite").get_signature_runner("{LITE_SIGNATURE}")',
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
    if reads_files(model):
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


def encoded_program() -> str:
    """A Python program that runs an exported SavedModel on an encoded image, without udal_tf and `read_image.py`."""
    lines = [
        "import json",
        "",
        "import tensorflow as tf",
        "",
        'with open("classes.json", encoding="utf-8") as file:',
        '    class_names = json.load(file)["class_names"]',
        f'serve = tf.saved_model.load("saved_model").signatures["{SIGNATURES[ENCODED]}"]',
        f'probs = serve({BYTES}=tf.constant([tf.io.read_file("image.png").numpy()]))["{PROBS}"].numpy()',
        "print(class_names[probs[0].argmax()], probs[0].max())",
    ]
    return "\n".join(lines)


def without_reader(model: TrainedModel, format_name: str) -> list[str]:
    """What a format takes besides the pixels of `read_image.py`, in paragraphs of Markdown."""
    if not reads_files(model):
        return []
    size, _, channels = model.input_shape
    any_size = (
        f"uint8 [N, any, any, {channels}]: images of any size, upright, all images of a call of one size. The model "
        f"crops and resizes them to {size} × {size} as the training did, to one level of 255."
    )
    if format_name == "keras":
        return [
            f"The model takes {any_size} For values that are no integers from 0 to 255, such as images of 16 bits or "
            "scaled to [0, 1], all probabilities are NaN."
        ]
    if format_name != "savedmodel":
        return ["Images of another size are refused when the model runs."]
    read, differs = (
        ("JPEG and PNG", "EXIF's orientation is not followed and transparency is ignored, as in the training")
        if _streamed(model)
        else (
            "JPEG, PNG, GIF and BMP",
            "EXIF's orientation is followed, transparency lies on white, 16 bits become 8. Of GIF, transparency is not "
            "followed; BMP must have 24 or 32 bits per pixel",
        )
    )
    request = f'{{"signature_name": "{SIGNATURES[ENCODED]}", "instances": [{{"{BYTES}": {{"b64": "…"}}}}]}}'
    return [
        "The SavedModel has three signatures, each with the output above:",
        f"- `{SIGNATURES[FIXED]}`: `{IMAGES}`, as above; other sizes are refused.\n"
        f"- `{SIGNATURES[ANY_SIZE]}`: `{IMAGES}`, {any_size}\n"
        f"- `{SIGNATURES[ENCODED]}`: `{BYTES}`, string [N]: the contents of {read} files of any size; others are "
        f"refused. {differs}. TensorFlow Serving takes `{request}`.",
        f"```python\n{encoded_program()}\n```",
    ]


def inputs(model: TrainedModel, format_name: str) -> dict[str, Any]:
    """The input and, for a SavedModel, the other signatures, JSON-ready."""
    fixed: dict[str, Any] = {"name": IMAGES, "dtype": "uint8", "shape": [None, *model.input_shape]}
    default = fixed | {"shape": [None, None, None, model.input_shape[2]]}
    if not reads_files(model):
        return {"input": fixed}
    if format_name != "savedmodel":
        return {"input": default if format_name == "keras" else fixed}
    encoded = {"name": BYTES, "dtype": "string", "shape": [None]}
    return {"input": default, "signatures": {SIGNATURES[FIXED]: fixed, SIGNATURES[ENCODED]: encoded}}


def _streamed(model: TrainedModel) -> bool:
    return DATASETS[model.folder.config.data.dataset].streams(model.input_shape[0])


def contract(model: TrainedModel, format_name: str) -> str:
    """The input of a format and the output, in Markdown."""
    height, width, channels = model.input_shape
    colors = "red, green, blue" if channels == 3 else "gray"
    part, needs = (
        ("the center square, 7/8 of the short side", "NumPy and TensorFlow")
        if _streamed(model)
        else ("the center square, as large as the short side", "NumPy and Pillow")
    )
    own = ", which this format also does itself, see below" if format_name in ("savedmodel", "keras") else ""
    reading = (
        f". Images are cropped and resized first{own}: {part}, resized to {width} × {height} pixels, upright, "
        f"transparency on white. `decode` in `{READER}` does this with any file as the training did; it needs {needs}."
    )
    if not reads_files(model):
        colors, reading = f"{channels} channels as in training", "."
    return (
        f"Input: `{IMAGES}`, uint8 [N, {height}, {width}, {channels}], {colors}, 0 to 255. The model scales pixel "
        f"values itself{reading}\n\n"
        f"Output: `{PROBS}`, float32 [N, {len(model.class_names)}], a probability per class in the order of "
        "`classes.json`."
    )
