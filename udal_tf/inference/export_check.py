"""The check of an export: its probabilities beside those of the model, on images as they come from users.

An export takes one or more of three things: images of the network's size (FIXED), images of any size (ANY_SIZE), and
encoded images (ENCODED). Each is compared on random and real images, and what takes more than one size on images of
other sizes, transparent ones, ones of 16 bits and ones turned by EXIF, made of images of several classes. What takes
one size must refuse others.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from udal_tf.inference.image_files import FILE_CHANNELS
from udal_tf.inference.trained import TrainedModel
from udal_tf.shown_names import shown

FIXED, ANY_SIZE, ENCODED = "fixed", "any size", "encoded"
# Kinds of images, as a sentence calls them.
RANDOM, REAL, SIZES, FILES = "random images", "real images", "images of other sizes", "encoded images"
# Random images that each export is compared on.
RANDOM_IMAGES = 64
RANDOM_SEED = 0
# Images of which those of other sizes are made, and original files that are compared as they are.
MADE_OF = 4
ORIGINALS = 16
# Pixels that are resized by other software differ by one level of 255. A probability may then differ by this much, and
# a class may differ where the two most probable ones are closer than twice as much.
RESIZED_TOLERANCE = 0.05
_EXIF_ORIENTATION = 0x112
# Width and height of the images that are made.
_SIZES = ((100, 100), (37, 80), (80, 37))
# A JPEG of so many times the network's side is decoded at half its size.
_LARGE = 5
# What is read of the originals: the formats that every dataset's reader and every export know.
_ORIGINALS = (".jpg", ".jpeg", ".png")

Run = Callable[[np.ndarray], np.ndarray]


class ExportError(RuntimeError):
    """A model could not be exported, or the exported model does not match; the message says by how much."""


@dataclasses.dataclass(frozen=True)
class Real:
    """Real images to compare on.

    Attributes:
      images: [N, H, W, C] uint8, network input, the classes in turn; N may be 0.
      paths: the files that they come from; empty if they come from none.
      words: where they come from.
    """

    images: np.ndarray
    paths: Sequence[str] = ()
    words: str = ""


def reads_files(model: TrainedModel) -> bool:
    """Whether image files become input of the network: square, and gray or RGB."""
    height, width, channels = model.input_shape
    return height == width and channels in FILE_CHANNELS


def compare(
    model: TrainedModel, shift: np.ndarray, runs: Mapping[str, Run], real: Real, limit: float
) -> dict[str, float]:
    """The largest difference of a probability by kind of image: RANDOM, REAL, SIZES, FILES.

    Args:
      model: the model.
      shift: [C], what LA (Inf) adds to the logits.
      runs: what the export takes -> how it is run.
      real: real images.
      limit: the largest allowed difference on images of the network's size; infinite if it is not checked.

    Raises:
      ExportError: if a difference is larger than allowed, a class differs, or another size is accepted by a graph
        with a fixed size.
    """
    random = np.random.RandomState(RANDOM_SEED).randint(0, 256, (RANDOM_IMAGES, *model.input_shape)).astype(np.uint8)
    found: dict[str, float] = {}
    for run in (runs[takes] for takes in (FIXED, ANY_SIZE) if takes in runs):
        for kind, images in ((RANDOM, random), (REAL, real.images)):
            if len(images):
                difference = np.abs(run(images) - _probs(model, images, shift)).max()
                found[kind] = max(found.get(kind, 0.0), _number(difference))
    if FIXED in runs:
        _refuses(runs[FIXED], model.input_shape)
    wrong = max(found.values()) > limit
    if reads_files(model) and (ANY_SIZE in runs or ENCODED in runs):
        with tempfile.TemporaryDirectory() as folder:
            made = list(_made(real.images if len(real.images) else random, pathlib.Path(folder)))
            originals = [path for path in real.paths if path.lower().endswith(_ORIGINALS)][:ORIGINALS]
            expected = _probs(model, _pixels(model, [*made, *originals]), shift)
            if ANY_SIZE in runs:
                arrays = [i for i, path in enumerate(made) if path.endswith(".array.png")]
                rows = [runs[ANY_SIZE](_array(made[i], model.input_shape[2])[np.newaxis])[0] for i in arrays]
                found[SIZES] = _same_classes(np.stack(rows), expected[arrays], SIZES)
            if ENCODED in runs:
                contents = [pathlib.Path(path).read_bytes() for path in (*made, *originals)]
                found[FILES] = _same_classes(runs[ENCODED](np.array(contents, object)), expected, FILES)
    if wrong or max(found.get(kind, 0.0) for kind in (SIZES, FILES)) > RESIZED_TOLERANCE:
        raise ExportError(
            f"the exported model's probabilities differ from the original's by {said(found)}; the limit is {limit:g}, "
            f"and {RESIZED_TOLERANCE:g} where the export resizes"
        )
    return found


def said(differences: Mapping[str, float]) -> str:
    """The differences as part of a sentence."""
    return ", ".join(f"{value:.1e} on {kind}" for kind, value in differences.items())


def _probs(model: TrainedModel, images: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return model.prediction(model.logits(images), shift).probs


def _number(difference: float) -> float:
    """NaN counts as the largest difference that there is."""
    return float(np.nan_to_num(difference, nan=1.0))


def _pixels(model: TrainedModel, paths: Sequence[str]) -> np.ndarray:
    found = [model.pixels(path) for path in paths]
    for path, pixels in zip(paths, found, strict=True):
        if isinstance(pixels, str):
            raise ExportError(f"{shown(path)}, an image to compare on, cannot be read: {pixels}")
    return np.stack(found)


def _same_classes(probs: np.ndarray, expected: np.ndarray, kind: str) -> float:
    """The largest difference. Raises ExportError if a class differs that is not almost as probable as another."""
    second, first = np.sort(expected, axis=1)[:, -2:].T
    differ = (probs.argmax(axis=1) != expected.argmax(axis=1)) & (first - second > 2 * RESIZED_TOLERANCE)
    if differ.any():
        raise ExportError(f"the exported model predicts other classes for {differ.sum()} of {len(differ)} {kind}")
    return _number(np.abs(probs - expected).max())


def _refuses(run: Run, shape: tuple[int, int, int]) -> None:
    """Raises ExportError if a graph with a fixed size takes another one."""
    height, width, channels = shape
    for other in ((2 * height, 2 * width, channels), (2 * height, width // 2, channels), (*shape[:2], channels + 1)):
        try:
            run(np.zeros([1, *other], np.uint8))
        except Exception:  # Each runtime has its own.
            continue
        raise ExportError(f"the exported model takes images of {list(other)} although it is made for {list(shape)}")


def _array(path: str, channels: int) -> np.ndarray:
    """[H, W, C] uint8."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape([*pixels.shape[:2], channels])


def _made(images: np.ndarray, folder: pathlib.Path) -> Iterator[str]:
    """Files of other sizes and kinds, made of a few of the images [N, H, W, C]; those named *.array.png are plain."""
    size = images.shape[1]
    for i, pixels in enumerate(images[:MADE_OF]):  # The classes take turns.
        image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
        for width, height in _SIZES:
            path = folder / f"{i}_{width}.array.png"
            image.resize((width, height), Image.Resampling.BICUBIC).save(path)
            yield str(path)
        color = image.convert("RGB").resize((90, 60), Image.Resampling.BICUBIC)
        alpha = Image.linear_gradient("L").resize(color.size)
        deep = np.asarray(color.convert("L")).astype(np.uint16) * 257
        exif = Image.Exif()
        exif[_EXIF_ORIENTATION] = 6
        large = color.resize((_LARGE * size, _LARGE * size), Image.Resampling.BICUBIC)
        color.putalpha(alpha)
        turned = folder / f"{i}_turned.jpg"
        color.convert("RGB").save(turned, exif=exif)
        yield str(turned)
        for name, made in (("rgba.png", color), ("deep.png", Image.fromarray(deep)), ("large.jpg", large)):
            made.save(folder / f"{i}_{name}")
            yield str(folder / f"{i}_{name}")
