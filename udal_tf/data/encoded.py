"""Images that stay encoded on disk and are read, decoded and cropped on demand, so that memory is no limit."""

import collections
import os
import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from udal_tf.data.central_view import CHANNELS, DAMAGED, PNG, center_view, decoded, foreign, read, resized
from udal_tf.data.crops import crop_boxes
from udal_tf.data.dataset import DataError
from udal_tf.data.decoding import irregular
from udal_tf.shown_names import shown

# Images of a batch that are decoded in parallel.
PARALLEL = 16
# Batches that may be made ahead of the one that is used, and of which one may hold an image that cannot be decoded.
_BATCHES_REMEMBERED = 256
# Last bytes of the formats.
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xaeB`\x82"
_TAIL_BYTES = 32


class Reader(Protocol):
    """Reads the bytes of encoded images by position; thread-safe."""

    def __len__(self) -> int: ...

    def read(self, position: int) -> bytes: ...

    def name(self, position: int) -> str:
        """The image's name in error messages."""


class FileReader:
    """One file per image; `names` are paths below `root`."""

    def __init__(self, root: pathlib.Path, names: Sequence[str]):
        self._root = str(root)
        # Fixed-width bytes: a million paths as Python strings take several times the memory.
        self._names = np.array([os.fsencode(name) for name in names])

    def __len__(self) -> int:
        return len(self._names)

    def read(self, position: int) -> bytes:
        return read(self.name(position))

    def name(self, position: int) -> str:
        return os.path.join(self._root, os.fsdecode(bytes(self._names[position])))


class ShardReader:
    """Images inside a few large files, located by `tfrecords.index`."""

    def __init__(self, shards: Sequence[pathlib.Path], shard: np.ndarray, offset: np.ndarray, length: np.ndarray):
        self._shards = list(shards)
        self._shard, self._offset, self._length = shard, offset, length
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._shard)

    def read(self, position: int) -> bytes:
        return os.pread(self._descriptor(int(self._shard[position])), self._length[position], self._offset[position])

    def place(self, position: int) -> tuple[int, int, int]:
        """Index of its file, first byte and number of bytes."""
        return int(self._shard[position]), int(self._offset[position]), int(self._length[position])

    def name(self, position: int) -> str:
        return f"image at byte {self._offset[position]} of {self._shards[self._shard[position]]}"

    def _descriptor(self, shard: int) -> int:
        with self._lock:
            if shard not in self._open:
                self._open[shard] = os.open(self._shards[shard], os.O_RDONLY)
            return self._open[shard]

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)


class EncodedImages:
    """JPEG or PNG images of any size, returned as [size, size, 3].

    Positions index `chosen`, which holds positions in the reader, so that images can be left out.
    """

    def __init__(self, reader: Reader, size: int, chosen: np.ndarray | None = None):
        self.shape = (size, size, CHANNELS)
        self._reader = reader
        self._chosen = np.arange(len(reader)) if chosen is None else chosen
        self._lately: collections.deque[np.ndarray] = collections.deque(maxlen=_BATCHES_REMEMBERED)

    def __len__(self) -> int:
        return len(self._chosen)

    def fault(self) -> str:
        """The first image lately read that cannot be decoded whole, by name with what is wrong, or "".

        Batches are made in graphs, whose errors name no file.
        """
        for position in np.unique(np.concatenate([np.zeros(0, np.int64), *self._lately])):
            try:
                content = self._reader.read(position)
                fault = foreign(content)
            except OSError as error:
                fault = f"cannot be read ({error.strerror})"
            if fault := fault or _decoding_fault(content):
                return f"{shown(self._reader.name(position))}: {fault}"
        return ""

    def fetch(self, positions: tf.Tensor) -> tf.Tensor:
        """The center square of each image, 7/8 of the short side, resized; see `center_view`."""
        return self._fetch(tf.cast(positions, tf.int64))

    def fetch_crops(self, positions: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        return self._fetch_crops(tf.cast(positions, tf.int64), tf.cast(uniforms, tf.float32))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def _fetch(self, positions: tf.Tensor) -> tf.Tensor:
        return self._mapped(lambda content: center_view(content, self.shape[0]), self._bytes(positions))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 4], tf.float32)])
    def _fetch_crops(self, positions: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        return self._mapped(lambda pair: self._crop(*pair), (self._bytes(positions), uniforms))

    def _mapped(self, one: Callable[[Any], tf.Tensor], batch: Any) -> tf.Tensor:
        spec = tf.TensorSpec(self.shape, tf.uint8)
        return tf.map_fn(one, batch, fn_output_signature=spec, parallel_iterations=PARALLEL)

    def _bytes(self, positions: tf.Tensor) -> tf.Tensor:
        contents = tf.numpy_function(self._read, [positions], tf.string, stateful=False)
        contents.set_shape([None])
        return contents

    def _read(self, positions: np.ndarray) -> np.ndarray:
        contents = []
        self._lately.append(self._chosen[positions])
        for position in self._chosen[positions]:
            content = self._reader.read(position)
            if fault := foreign(content):
                raise DataError(f"{shown(self._reader.name(position))}: {fault}")
            contents.append(content)
        return np.array(contents, object)

    def _crop(self, content: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        def from_jpeg() -> tf.Tensor:
            # Only the rows and columns of the crop are decoded.
            shape = tf.io.extract_jpeg_shape(content)
            return tf.io.decode_and_crop_jpeg(content, crop_boxes(shape[:1], shape[1:2], uniforms[None])[0], CHANNELS)

        def from_other() -> tf.Tensor:
            image = decoded(content)
            box = crop_boxes(tf.shape(image)[:1], tf.shape(image)[1:2], uniforms[None])[0]
            return tf.image.crop_to_bounding_box(image, box[0], box[1], box[2], box[3])

        return resized(tf.cond(tf.io.is_jpeg(content), from_jpeg, from_other), self.shape[0])


def file_fault(path: str | pathlib.Path) -> str:
    """What is wrong with an image file, or "".

    The first and last bytes decide; only a file without its format's end marker (some have data after the image) is
    decoded. So files of other formats, empty and truncated ones are found without decoding everything.
    """
    try:
        if fault := irregular(path):
            return fault
        with open(path, "rb") as file:
            head = file.read(len(PNG))
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            tail = file.read(_TAIL_BYTES)
            if (fault := foreign(head)) or _JPEG_END in tail or tail.endswith(_PNG_END):
                return fault
            file.seek(0)
            content = file.read()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return _decoding_fault(content)


def _decoding_fault(content: bytes) -> str:
    try:
        decoded(tf.constant(content))
    except Exception:  # TensorFlow's own, and whatever else a damaged file makes of it.
        return DAMAGED
    return ""
