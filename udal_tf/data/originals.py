"""Encoded images before they are decoded: files, or parts of TFDS's shards; by position, with a name and a state."""

import hashlib
import io
import os
import pathlib
from collections.abc import Sequence
from typing import BinaryIO, Protocol

from udal_tf.data.encoded import ShardReader

STATE_BYTES = 16


class Originals(Protocol):
    """Encoded images by position; thread-safe."""

    def __len__(self) -> int: ...

    def name(self, position: int) -> str:
        """The image's name in messages."""

    def state(self, position: int) -> bytes:
        """STATE_BYTES by which an image is known in the cache: others once its file has changed."""

    def opened(self, position: int) -> pathlib.Path | BinaryIO:
        """What `decoding.decode` reads."""


class FileOriginals:
    """A file for each image, known by its path, length and modification time."""

    def __init__(self, paths: Sequence[pathlib.Path]):
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, position: int) -> str:
        return str(self._paths[position])

    def state(self, position: int) -> bytes:
        return _hash(_state_of(self._paths[position]))

    def opened(self, position: int) -> pathlib.Path:
        return self._paths[position]


class ShardOriginals:
    """Images inside of a few files, known by file and place.

    Args:
      reader: of all of them.
      shards: its files.
    """

    def __init__(self, reader: ShardReader, shards: Sequence[pathlib.Path]):
        self._reader = reader
        self._states = [_state_of(shard) for shard in shards]

    def __len__(self) -> int:
        return len(self._reader)

    def name(self, position: int) -> str:
        return self._reader.name(position)

    def state(self, position: int) -> bytes:
        shard, offset, length = self._reader.place(position)
        return _hash(self._states[shard] + f"\0{offset}\0{length}".encode())

    def opened(self, position: int) -> BinaryIO:
        return io.BytesIO(self._reader.read(position))


def _state_of(path: pathlib.Path) -> bytes:
    try:
        stat = os.stat(path)
        state = f"{stat.st_size}\0{stat.st_mtime_ns}"
    except OSError as error:
        state = str(error.strerror)
    return os.fsencode(path.absolute()) + b"\0" + state.encode()


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=STATE_BYTES).digest()
