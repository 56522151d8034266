"""CIFAR's binary archives, read by member name: nothing is extracted to disk or unpickled."""

import pathlib
import tarfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from udal_tf.data.dataset import DataError
from udal_tf.shown_names import shown

SIDE, CHANNELS = 32, 3
IMAGE_BYTES = SIDE * SIDE * CHANNELS


def find(folders: Sequence[pathlib.Path], archive: str, inner: str, members: Sequence[str]) -> pathlib.Path | None:
    """The extracted folder with all `members` (`inner` or one of `folders` itself), or else the archive, or None."""
    for folder in folders:
        for location in (folder / inner, folder):
            if all((location / member).is_file() for member in members):
                return location
        if (folder / archive).is_file():
            return folder / archive
    return None


def files_of(location: pathlib.Path, members: Sequence[str]) -> list[pathlib.Path]:
    """The files that `read` reads: the archive, or its extracted members."""
    return [location / member for member in members] if location.is_dir() else [location]


def read(
    location: pathlib.Path, inner: str, parts: Sequence[tuple[Sequence[str], int]], label_bytes: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of each part, in the canonical order of the members.

    Args:
      location: what `find` returned.
      inner: the members' folder inside the archive.
      parts: (members, total number of images in them) of the train part and the test part.
      label_bytes: labels before each image; the last one is the (fine) label.

    Returns:
      a pair per part: images [N, 32, 32, 3] uint8, labels [N] int64.

    Raises:
      DataError: for a truncated or damaged archive, or a member that is missing or has the wrong length.
    """
    record = label_bytes + IMAGE_BYTES
    arrays = [(np.empty((count, SIDE, SIDE, CHANNELS), np.uint8), np.empty(count, np.int64)) for _, count in parts]
    where = {}
    for (members, count), (images, labels) in zip(parts, arrays, strict=True):
        each = count // len(members)
        for i, member in enumerate(members):
            where[member] = (images[i * each : (i + 1) * each], labels[i * each : (i + 1) * each])
    seen = set()
    for member, content in _contents(location, inner, list(where), record * max(count for _, count in parts)):
        images, labels = where[member]
        if len(content) != record * len(labels):
            raise DataError(
                f"{shown(location)}: {member} has {len(content)} bytes, expected {record * len(labels)}: truncated, or "
                "not CIFAR's binary version"
            )
        rows = np.frombuffer(content, np.uint8).reshape(-1, record)
        labels[:] = rows[:, label_bytes - 1]
        images[:] = rows[:, label_bytes:].reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
        seen.add(member)
    if missing := sorted(set(where) - seen):
        raise DataError(f"{shown(location)}: truncated, or not CIFAR's binary version: {', '.join(missing)} not found")
    return arrays


def _contents(location: pathlib.Path, inner: str, members: list[str], most: int) -> Iterator[tuple[str, bytes]]:
    """(member, its first `most` + 1 bytes), from a folder or an archive."""
    try:
        if location.is_dir():
            for member in members:
                with open(location / member, "rb") as file:
                    yield member, file.read(most + 1)
            return
        wanted = {f"{inner}/{member}": member for member in members}
        with tarfile.open(location, "r:*") as archive:
            for entry in archive:
                name = wanted.get(entry.name.removeprefix("./"))
                if name and (content := archive.extractfile(entry) if entry.isreg() else None):
                    yield name, content.read(most + 1)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{shown(location)}: truncated or damaged ({error}); download it again") from error
