"""An index of the images inside TFRecord shards, for random access: file, offset, length, label.

A shard is a chain of records: length (8 bytes), its checksum (4), content, its checksum (4). The content is a
tf.train.Example; only the framing of its fields is parsed, the images themselves are not read.
"""

import mmap
import pathlib
import struct
from collections.abc import Iterator, Sequence

import numpy as np

from udal_tf.data.dataset import DataError
from udal_tf.shown_names import shown

_HEADER = 12
_FOOTER = 4
# Wire types of protocol buffers.
_VARINT = 0
_FIXED64 = 1
_BYTES = 2
_FIXED32 = 5
# Field numbers of tf.train.Example's messages.
_FEATURES = 1
_KEY = 1
_VALUE = 2
_BYTES_LIST = 1
_INT64_LIST = 3


def index(shards: Sequence[pathlib.Path], image_key: str = "image", label_key: str = "label") -> dict[str, np.ndarray]:
    """Locates the image of every record.

    Args:
      shards: TFRecord files in order.
      image_key: name of the image feature.
      label_key: name of the label feature.

    Returns:
      shard (index into shards, int32), offset (int64), length (int32), label (int64); each [N].

    Raises:
      DataError: naming the shard that is truncated or has other records.
    """
    tables = [np.empty((0, 4), np.int64)]
    for number, shard in enumerate(shards):
        try:
            with open(shard, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                found = [_locate(content, *record, image_key, label_key) for record in _records(content)]
        except OSError as error:
            raise DataError(f"{shown(shard)}: cannot be read ({error.strerror})") from error
        except (ValueError, IndexError, struct.error) as error:
            raise DataError(f"{shown(shard)}: truncated, or not TFRecords of images ({error})") from error
        tables.append(np.array([(number, *entry) for entry in found], np.int64))
    columns = np.concatenate(tables)
    return {
        "shard": columns[:, 0].astype(np.int32),
        "offset": columns[:, 1],
        "length": columns[:, 2].astype(np.int32),
        "label": columns[:, 3],
    }


def _records(content: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Start and end of each record's content."""
    start, size = 0, len(content)
    while start < size:
        (length,) = struct.unpack_from("<Q", content, start)
        end = start + _HEADER + length
        if end + _FOOTER > size:
            raise ValueError(f"a record at byte {start} extends past the end")
        yield start + _HEADER, end
        start = end + _FOOTER


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    """A base-128 number and the position after it."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(content: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, wire type, start, end) of each field's value in a message."""
    while at < end:
        tag, at = _varint(content, at)
        field, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            length, at = _varint(content, at)
            stop = at + length
        elif wire == _VARINT:
            _, stop = _varint(content, at)
        elif wire in (_FIXED64, _FIXED32):
            stop = at + (8 if wire == _FIXED64 else 4)
        else:
            raise ValueError(f"unknown wire type {wire}")
        if stop > end:
            raise ValueError("a field extends past its message")
        yield field, wire, at, stop
        at = stop


def _locate(content: mmap.mmap, at: int, end: int, image_key: str, label_key: str) -> tuple[int, int, int]:
    """Offset and length of the image in one Example, and its label."""
    image = label = None
    for field, _, features, features_end in _fields(content, at, end):
        if field != _FEATURES:
            continue
        for _, _, entry, entry_end in _fields(content, features, features_end):
            parts = {f: (a, b) for f, _, a, b in _fields(content, entry, entry_end)}
            key = content[slice(*parts[_KEY])].decode()
            if key not in (image_key, label_key):
                continue
            for kind, _, a, b in _fields(content, *parts[_VALUE]):
                for _, _, c, d in _fields(content, a, b):
                    if key == image_key and kind == _BYTES_LIST:
                        image = c, d - c
                    elif key == label_key and kind == _INT64_LIST and d > c:
                        label, _ = _varint(content, c)
    if image is None or label is None:
        raise ValueError(f"a record without {image_key if image is None else label_key}")
    # Negative numbers, such as −1 for an unknown label, are written as their complement of 64 bits.
    return *image, label - (1 << 64) if label >> 63 else label
