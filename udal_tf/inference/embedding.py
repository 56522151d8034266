"""What is kept of many images at a time: probabilities, the network's features, and how they look to people.

About a kilobyte for each image, whatever its size, so that 100,000 images fit into any memory.
"""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
from sklearn.random_projection import GaussianRandomProjection

from udal_tf.data import near_duplicates
from udal_tf.inference.trained import TrainedModel

# Features kept of an image; more are projected at random, which preserves distances.
MOST_FEATURES = 128


@dataclasses.dataclass(frozen=True)
class Embedded:
    """N images as a model sees them.

    Attributes:
      paths: N paths; empty for arrays.
      probs: [N, C] float32.
      features: [N, F] float32, F at most MOST_FEATURES.
      looks: [N, 319] uint8, what `near_duplicates.describe` gives.
      unreadable: paths of the files left out.
    """

    paths: list[str]
    probs: np.ndarray
    features: np.ndarray
    looks: np.ndarray
    unreadable: list[str]


@dataclasses.dataclass(frozen=True)
class Looks:
    """`looks` and `unreadable` as in `Embedded`."""

    looks: np.ndarray
    unreadable: list[str]


def of_files(
    model: TrainedModel,
    paths: Iterable[str],
    shift: np.ndarray | None = None,
    told: Callable[[str, str], None] = lambda path, fault: None,
) -> Embedded:
    """Reads images, a batch at a time.

    Args:
      model: the model.
      paths: of the images.
      shift: [C], what LA (Inf) adds to the logits.
      told: called after each image with its path and what is wrong with it, or "".
    """
    reducer = _Reducer()
    good: list[str] = []
    unreadable: list[str] = []
    parts = []
    for some in model.batches_of_files(paths):
        readable = [(path, pixels) for path, pixels in some if not isinstance(pixels, str)]
        if readable:
            parts.append(_embedded(model, np.stack([pixels for _, pixels in readable]), shift, reducer))
            good += [path for path, _ in readable]
        for path, pixels in some:
            fault = pixels if isinstance(pixels, str) else ""
            unreadable += [path] if fault else []
            told(path, fault)
    return _joined(parts, good, unreadable, len(model.class_names))


def of_array(model: TrainedModel, images: np.ndarray) -> Embedded:
    """[N, H, W, C] uint8 images of the network's input shape."""
    return _joined([_embedded(model, images, None, _Reducer())], [], [], len(model.class_names))


def looks_of_files(
    model: TrainedModel, paths: Iterable[str], told: Callable[[str, str], None] = lambda path, fault: None
) -> Looks:
    """How the files look that can be read. told: as in `of_files`."""
    looks = [np.zeros([0, near_duplicates.LENGTH], np.uint8)]
    unreadable = []
    for some in model.batches_of_files(paths):
        for path, pixels in some:
            if isinstance(pixels, str):
                unreadable.append(path)
                told(path, pixels)
            else:
                looks.append(near_duplicates.describe(pixels)[None])
                told(path, "")
    return Looks(np.concatenate(looks), unreadable)


def looks_of_array(images: np.ndarray) -> np.ndarray:
    """The `looks` of [N, H, W, C] uint8 images, N > 0."""
    return np.stack([near_duplicates.describe(image) for image in images])


class _Reducer:
    """Projects features to MOST_FEATURES dimensions if they have more, all of them alike."""

    def __init__(self) -> None:
        self._projection: GaussianRandomProjection | None = None

    def __call__(self, features: np.ndarray) -> np.ndarray:
        if features.shape[1] <= MOST_FEATURES:
            return features
        if self._projection is None:
            self._projection = GaussianRandomProjection(MOST_FEATURES, random_state=0).fit(features[:1])
        return self._projection.transform(features).astype(np.float32)


def _embedded(
    model: TrainedModel, images: np.ndarray, shift: np.ndarray | None, reducer: _Reducer
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    logits, features = model.embed(images)
    added = np.zeros(logits.shape[1], np.float32) if shift is None else shift
    return model.prediction(logits, added).probs, reducer(features.reshape(len(images), -1)), looks_of_array(images)


def _joined(
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], paths: list[str], unreadable: list[str], num_classes: int
) -> Embedded:
    if not parts:
        empty = np.zeros([0, num_classes], np.float32)
        return Embedded(paths, empty, empty, np.zeros([0, near_duplicates.LENGTH], np.uint8), unreadable)
    probs, features, looks = map(np.concatenate, zip(*parts, strict=True))
    return Embedded(paths, probs, features, looks, unreadable)
