"""The ways in which data in memory comes: NumPy arrays, `tf.data` sets, Hugging Face datasets; all become arrays.

Hugging Face's package is not needed: its datasets are known by their `features` and read row by row.
"""

import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from udal_tf.data import decoding
from udal_tf.data.dataset import DataError, without_tuning
from udal_tf.shown_names import shown

# The usual names of the two parts of an example, by preference.
IMAGE = ("image", "img", "images", "x", "pixel_values")
LABEL = ("label", "labels", "y", "fine_label", "class")


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the data that has been read.

    images: [N, H, H, C] uint8.
    labels: [N], as given, integers or strings; None without labels.
    class_names: those that the data states; () if it states none.
    """

    images: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...] = ()


def read(part: Any, name: str, image_size: int, needs_labels: bool) -> Part:
    """Reads a part.

    Args:
      part: a pair of arrays (images, labels), images alone, a `tf.data.Dataset`, or a Hugging Face dataset.
      name: of the part, for messages.
      image_size: side to resize to; 0: the images have one size.
      needs_labels: whether it must have labels.

    Raises:
      DataError: naming the part, and what is wrong with it.
    """
    images, labels, class_names = _columns(part, name)
    if needs_labels and labels is None:
        raise DataError(f"data: {name} has no labels: give (images, labels)")
    if labels is not None and len(labels) != len(images):
        raise DataError(f"data: {name} has {len(images)} images, but {len(labels)} labels")
    if not len(images):
        raise DataError(f"data: {name} has no images")
    return Part(_stacked(images, name, image_size), labels, class_names)


def has_labels(part: Any) -> bool:
    """Whether a split can be tested on: all of its images have a label. Hidden ones are −1 in both libraries."""
    labels = _labels_alone(part)
    return labels is not None and len(labels) > 0 and not (labels.dtype.kind in "iu" and labels.min() < 0)


def images_alone(part: Any, name: str) -> Any:
    """The part without its labels."""
    return _columns(part, name)[0]


def names_of(labels: np.ndarray) -> tuple[str, ...]:
    """Class names of data that states none: of integers the numbers from 0 to the largest, of strings all of them.

    >>> names_of(np.array([2, 0, 1])), names_of(np.array(["dog", "cat"]))
    (('0', '1', '2'), ('cat', 'dog'))
    """
    if labels.dtype.kind in "iu":
        return tuple(map(str, range(int(labels.max()) + 1)))
    return tuple(sorted(set(map(_text, labels.tolist()))))


def numbered(labels: np.ndarray | None, names: Sequence[str], part: str, unknown: bool = False) -> np.ndarray:
    """Labels as int64 numbers of classes.

    Args:
      labels: [N] integers, or strings among the names.
      names: C class names.
      part: for messages.
      unknown: whether −1 is allowed, for a label that is not known.

    Raises:
      DataError: naming a label that is not one of them.
    """
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iuUSO":
        got = "none" if labels is None else f"{labels.dtype} {list(labels.shape)}"
        hint = "; of one-hot rows take the argmax" if labels is not None and labels.ndim == 2 else ""
        raise DataError(f"data: the labels of {part} must be [N] integers or class names, got {got}{hint}")
    if labels.dtype.kind in "iu":
        low = -1 if unknown else 0
        if len(labels) and (labels.min() < low or labels.max() >= len(names)):
            strange = labels.min() if labels.min() < low else labels.max()
            raise DataError(
                f"data: label {strange} in {part}, but there are {len(names)} classes, 0 to {len(names) - 1}"
            )
        return labels.astype(np.int64)
    numbers = {name: number for number, name in enumerate(names)}
    if unknown:
        numbers[_text(None)] = -1
    texts = [_text(one) for one in labels.tolist()]
    if strangers := [text for text in texts if text not in numbers]:
        there = ", ".join(map(shown, names[:5]))
        raise DataError(f"data: label {shown(strangers[0])!r} in {part} is none of the class names ({there}, …)")
    return np.array([numbers[text] for text in texts], np.int64)


def _text(label: Any) -> str:
    """A label as a class name; `tf.data` gives bytes."""
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)


def _labels_alone(part: Any) -> np.ndarray | None:
    """The labels of a split, of a Hugging Face dataset without decoding its images."""
    if hasattr(part, "features") and hasattr(part, "select_columns"):
        image, label = _hugging_face_columns(part, "data")
        return np.array([row[label] for row in part.select_columns([label])]) if label else None
    return _columns(part, "data")[1]


def _columns(part: Any, name: str) -> tuple[Any, np.ndarray | None, tuple[str, ...]]:
    """Images (an array, or a list of arrays and Pillow images), labels, class names."""
    if isinstance(part, tf.data.Dataset):
        return *_of_tf_data(part, name), ()
    if hasattr(part, "features") and hasattr(part, "column_names"):
        return _of_hugging_face(part, name)
    if isinstance(part, tuple):
        if len(part) != 2:
            raise DataError(f"data: {name} must be a pair (images, labels), got a tuple of {len(part)}")
        labels = np.asarray(part[1])
        return _as_images(part[0], name), labels, ()
    return _as_images(part, name), None, ()


def _as_images(images: Any, name: str) -> Any:
    if isinstance(images, (list, np.ndarray)):
        return images
    if isinstance(images, tf.Tensor):
        return images.numpy()
    raise DataError(
        f"data: {name} must be arrays (images, labels), a tf.data.Dataset or a Hugging Face dataset, got "
        f"{type(images).__name__}"
    )


def _of_tf_data(dataset: tf.data.Dataset, name: str) -> tuple[Any, np.ndarray | None]:
    if dataset.cardinality().numpy() == tf.data.INFINITE_CARDINALITY:
        raise DataError(f"data: {name} is a tf.data set without end: leave out repeat()")
    spec = dataset.element_spec
    if isinstance(spec, Mapping):
        image, label = _named(list(spec), name)
        dataset = dataset.map(lambda row: (row[image], row[label]) if label else (row[image],))
    elif not isinstance(spec, tuple):
        dataset = dataset.map(lambda image: (image,))
    spec = dataset.element_spec
    if not 1 <= len(spec) <= 2 or not all(isinstance(one, tf.TensorSpec) for one in spec):
        raise DataError(f"data: {name} must be a tf.data set of images, or of images and labels, got {spec}")
    if spec[0].shape.rank == 4:
        dataset = dataset.unbatch()
    rows = list(without_tuning(dataset).as_numpy_iterator())
    return [row[0] for row in rows], np.array([row[1] for row in rows]) if len(spec) == 2 else None


def _of_hugging_face(dataset: Any, name: str) -> tuple[Any, np.ndarray | None, tuple[str, ...]]:
    image, label = _hugging_face_columns(dataset, name)
    rows = [(row[image], row[label] if label else None) for row in dataset]
    class_names = tuple(getattr((dataset.features or {}).get(label), "names", None) or ())
    return [row[0] for row in rows], np.array([row[1] for row in rows]) if label else None, class_names


def _hugging_face_columns(dataset: Any, name: str) -> tuple[str, str | None]:
    features = dataset.features or {}
    kinds = {column: type(feature).__name__ for column, feature in features.items()}
    images = [column for column, kind in kinds.items() if kind == "Image"]
    classes = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    return _named(list(features) or list(dataset.column_names or ()), name, images, classes)


def _named(
    columns: Sequence[str], name: str, images: Sequence[str] = (), classes: Sequence[str] = ()
) -> tuple[str, str | None]:
    """The columns of images and labels: the only one of its type, or one with a usual name."""
    usual = [column for column in IMAGE if column in (images or columns)]
    image = images[0] if len(images) == 1 else next(iter(usual), None)
    if image is None:
        raise DataError(f"data: {name} has no column of images, or several; its columns are {', '.join(columns)}")
    found = [column for column in LABEL if column in (classes or columns)]
    if len(classes) > 1 and not found:
        raise DataError(f"data: {name} has several columns of labels, {', '.join(classes)}: keep one")
    return image, classes[0] if len(classes) == 1 else next(iter(found), None)


def _stacked(images: Any, name: str, image_size: int) -> np.ndarray:
    """[N, H, H, C] uint8."""
    if isinstance(images, np.ndarray) and images.dtype != object:
        images = images[..., np.newaxis] if images.ndim == 3 else images
        if images.ndim != 4 or images.dtype != np.uint8:
            raise DataError(
                f"data: the images of {name} must be uint8 [N, H, W, C] or [N, H, W] from 0 to 255, got {images.dtype} "
                f"{list(images.shape)}"
            )
        if images.shape[1] == images.shape[2] and image_size in (0, images.shape[1]):
            return np.ascontiguousarray(images)
    pixels = [_pixels(image, name, position) for position, image in enumerate(images)]
    shapes = {one.shape for one in pixels}
    if not image_size and (len(shapes) > 1 or any(height != width for height, width, _ in shapes)):
        first = ", ".join(str(list(shape)) for shape in sorted(shapes)[:3])
        raise DataError(
            f"data: the images of {name} must be squares of one size, got {first}: give image_size, to which the "
            "center of each is resized"
        )
    channels = max(shape[-1] for shape in shapes)
    if image_size:
        resize = _resizer(image_size, channels, name)
        pixels = [one if one.shape == (image_size, image_size, channels) else resize(one) for one in pixels]
    return np.stack([np.repeat(one, channels, axis=-1) if one.shape[-1] < channels else one for one in pixels])


def _pixels(image: Any, name: str, position: int) -> np.ndarray:
    """One image as [H, W, C] uint8. Pillow's keep their gray; other modes become RGB."""
    if isinstance(image, Image.Image):
        image = np.asarray(image if image.mode == "L" else _decoded(image, name, position))
    elif isinstance(image, tf.Tensor):
        image = image.numpy()
    if isinstance(image, np.ndarray) and image.ndim == 2:
        image = image[..., np.newaxis]
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.dtype != np.uint8:
        what = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"data: image {position} of {name} must be uint8 [H, W, C] or a Pillow image, got {what}")
    return image


def _decoded(image: Image.Image, name: str, position: int) -> Image.Image:
    """In RGB, with transparency on white."""
    try:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            opaque = Image.new("RGB", image.size, decoding.BACKGROUND)
            opaque.paste(image, mask=image.getchannel("A"))
            return opaque
        if image.mode.startswith("I") or image.mode == "F":
            raise ValueError(f"Pillow's mode {image.mode}: convert it to 8 bits")
        return image.convert("RGB")
    except (OSError, ValueError) as error:
        raise DataError(f"data: image {position} of {name} cannot be read ({error})") from error


def _resizer(size: int, channels: int, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Resizes the center square, as a file of a custom dataset is."""
    if channels not in (1, 3):
        raise DataError(f"data: the images of {name} have {channels} channels: resize them to {size}×{size} before")

    def resize(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG", compress_level=0)
        file.seek(0)
        return decoding.decode(file, size, channels)

    return resize
