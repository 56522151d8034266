"""Weights that --pretrained names: those that Keras publishes, files of weights, and whole Keras models."""

import contextlib
import pathlib
import socket
from collections.abc import Callable, Iterator

import h5py
import keras

from udal_tf.models import applications
from udal_tf.registry import BACKBONES, Backbone
from udal_tf.sections import IMAGENET, ModelConfig
from udal_tf.shown_names import shown

# Seconds without an answer after which a download is given up.
PATIENCE = 30.0
WHOLE_MODEL = ".keras"


def described(record: Backbone) -> str:
    """The address and the hash of a backbone's published weights, for people."""
    return f"{record.weights} ({f'MD5 {record.weights_md5}' if record.weights_md5 else 'Keras states no hash'})"


def published_file(record: Backbone) -> pathlib.Path:
    """The file of a backbone's published weights, from Keras's own cache or downloaded into it.

    The cache is $KERAS_HOME/models, by default ~/.keras/models, which Keras Applications use, too. The hash is checked
    either way; a file with another one is downloaded again.

    Raises:
      ValueError: if it cannot be downloaded or has another hash, naming the address and what to do.
    """
    name = record.weights.rpartition("/")[2]
    try:
        with _answer_within(PATIENCE):
            path = keras.utils.get_file(
                name, record.weights, cache_subdir="models", file_hash=record.weights_md5 or None, hash_algorithm="md5"
            )
    except Exception as error:  # Keras raises a bare Exception where there is no connection.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"--pretrained={IMAGENET}: the weights of {record.keras_name} cannot be downloaded ({reason}). Without a "
            f"network, download {described(record)} elsewhere and place the file in $KERAS_HOME/models (by default "
            f"~/.keras/models), or give --pretrained={name}"
        ) from error
    return pathlib.Path(path)


@contextlib.contextmanager
def _answer_within(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_file(model: keras.Model, config: ModelConfig, rebuilt: Callable[[int], keras.Model]) -> None:
    """Loads the file of --pretrained into all layers of a model but the last.

    Args:
      model: made by `build_model` of `config`.
      config: names the file: weights of a Keras Application without its top; or, for every backbone, `.weights.h5` of
        a whole network made by `build_model`, or `.keras`, such as an export.
      rebuilt: number of classes -> a network like `model`.

    Raises:
      ValueError: if the file cannot be read or is of another network.
    """
    path = pathlib.Path(config.pretrained).expanduser()
    if not path.is_file():
        raise ValueError(f"--pretrained={shown(path)} is not a file")
    try:
        if path.suffix == WHOLE_MODEL:
            _copy(keras.models.load_model(path, compile=False), model, config)
        elif classes := _classes_of_whole(path, model.layers[-1].kernel.shape[0]):
            whole = rebuilt(classes)
            whole.load_weights(path)
            _copy(whole, model, config)
        elif BACKBONES[config.arch].keras_name:
            applications.load_pretrained(model, config.arch, path)
        else:
            raise ValueError(f"no dense layer on its {model.layers[-1].kernel.shape[0]} features")
    except (OSError, ValueError, TypeError, KeyError) as error:  # What Keras and h5py raise for other files.
        if str(error).startswith("--pretrained"):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"--pretrained={shown(path)} does not hold the weights of the network of --arch={config.arch} ({reason})"
        ) from error


def _classes_of_whole(path: pathlib.Path, features: int) -> int:
    """Number of classes of the one Dense layer on so many features in a `.weights.h5`; 0 for a file without one."""
    if not path.name.endswith(".weights.h5"):
        return 0
    found: list[int] = []

    def visit(name: str, value: object) -> None:
        if isinstance(value, h5py.Dataset) and len(value.shape) == 2 and value.shape[0] == features:
            found.append(value.shape[1])

    with h5py.File(path) as file:
        file.visititems(visit)
    return found[0] if len(found) == 1 else 0


def _copy(source: keras.Model, model: keras.Model, config: ModelConfig) -> None:
    """Copies the weights of all layers but the last, which must have the same shapes in the same order."""
    theirs, ours = _with_weights(source)[:-1], _with_weights(model)[:-1]
    for place, layer in enumerate(ours):
        shapes = [tuple(v.shape) for v in layer.weights]
        found = [tuple(v.shape) for v in theirs[place].weights] if place < len(theirs) else "no more layers"
        if shapes != found:
            raise ValueError(f"{layer.name} has weights {shapes}, the file has {found}")
    if len(theirs) > len(ours):
        raise ValueError(f"the file has {len(theirs) - len(ours)} layers more, the first {theirs[len(ours)].name}")
    if _scales(source) != _scales(model):
        raise ValueError(
            f"it was trained on {'published' if _scales(source) else 'plain'} pixels, add "
            f"--pixels={'published' if _scales(source) else 'plain'}"
        )
    for layer, other in zip(ours, theirs, strict=True):
        layer.set_weights(other.get_weights())


def _with_weights(model: keras.Model) -> list[keras.layers.Layer]:
    layers = model._flatten_layers(include_self=False)
    return [layer for layer in layers if layer.weights and not isinstance(layer, keras.Model)]


def _scales(model: keras.Model) -> bool:
    """Whether the network scales the pixels that it is given."""
    return any(layer.name.startswith(applications.PIXEL_RANGE) for layer in model._flatten_layers(include_self=False))
