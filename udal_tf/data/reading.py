"""Decoding many image files with threads: each gives pixels or a reason, and together they take bounded memory."""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from udal_tf.data.decoding import ImageError, decode

# An image's pixels [H, W, C] uint8, or what is wrong with its file.
Pixels = np.ndarray | str
# Bytes of the images that are decoded at the same time; one that takes more is decoded alone.
MOST_BYTES = 1 << 30
# From so many bytes on, what an image took is returned to the system at once.
_LARGE = 1 << 26


def _return_freed_memory() -> None:
    """What is free in the allocator's pools, of which each thread has one; only with the GNU C library."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Budget:
    """Memory shared by threads: who asks for more than is left waits."""

    def __init__(self, limit: int):
        self._limit, self._used = limit, 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserved(self, count: int) -> Iterator[None]:
        """Waits until `count` bytes are left, or, if that is more than there are, until nobody has any."""
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + count <= self._limit)
            self._used += count
        try:
            yield
        finally:
            if count > _LARGE:
                _return_freed_memory()
            with self._changed:
                self._used -= count
                self._changed.notify_all()


BUDGET = Budget(MOST_BYTES)


def pixels_or_fault(file: str | os.PathLike | BinaryIO, size: int, channels: int = 3) -> Pixels:
    """`decoding.decode` within the memory that all threads share, or what is wrong with the file in one line."""
    try:
        return decode(file, size, channels, BUDGET.reserved)
    except ImageError as error:
        return error.reason
