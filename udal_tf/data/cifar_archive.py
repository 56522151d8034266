"""CIFAR's binary archives, read by member name: nothing is extracted to disk, nothing unpickled."""

import pathlib
import tarfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from udal_tf.data.dataset import DataError

SIDE, CHANNELS = 32, 3
IMAGE_BYTES = SIDE * SIDE * CHANNELS


def find(folders: Sequence[pathlib.Path], archive: str, inner: str, members: Sequence[str]) -> pathlib.Path | None:
    """The extracted folder `inner` with all `members`, or the archive; in a folder, or the folder itself; or None."""
    for folder in folders:
        for place in (folder / inner, folder):
            if all((place / member).is_file() for member in members):
                return place
        if (folder / archive).is_file():
            return folder / archive
    return None


def files_of(place: pathlib.Path, members: Sequence[str]) -> list[pathlib.Path]:
    """The files that `read` reads: the archive, or its extracted members."""
    return [place / member for member in members] if place.is_dir() else [place]


def read(
    place: pathlib.Path, inner: str, parts: Sequence[tuple[Sequence[str], int]], label_bytes: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of each part, in the canonical order of the members.

    Args:
      place: what `find` returned. inner: the members' folder inside the archive.
      parts: (members, images that they hold together) of the train part and the test part.
      label_bytes: labels before each image; the last one is the (fine) label.

    Returns:
      a pair per part: images [N, 32, 32, 3] uint8, labels [N] int64.

    Raises:
      DataError: for a truncated or damaged archive, an absent member, or one of another length.
    """
    record = label_bytes + IMAGE_BYTES
    arrays = [(np.empty((count, SIDE, SIDE, CHANNELS), np.uint8), np.empty(count, np.int64)) for _, count in parts]
    where = {}
    for (members, count), (images, labels) in zip(parts, arrays, strict=True):
        each = count // len(members)
        for i, member in enumerate(members):
            where[member] = (images[i * each : (i + 1) * each], labels[i * each : (i + 1) * each])
    seen = set()
    for member, content in _contents(place, inner, list(where), record * max(count for _, count in parts)):
        images, labels = where[member]
        if len(content) != record * len(labels):
            raise DataError(
                f"{place}: {member} has {len(content)} bytes, {record * len(labels)} are expected: truncated, or "
                "not CIFAR's binary version"
            )
        rows = np.frombuffer(content, np.uint8).reshape(-1, record)
        labels[:] = rows[:, label_bytes - 1]
        images[:] = rows[:, label_bytes:].reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
        seen.add(member)
    if absent := sorted(set(where) - seen):
        raise DataError(f"{place}: truncated, or not CIFAR's binary version: {', '.join(absent)} not found in it")
    return arrays


def _contents(place: pathlib.Path, inner: str, members: list[str], most: int) -> Iterator[tuple[str, bytes]]:
    """(member, content), at most `most` + 1 bytes of it, from a folder or an archive."""
    try:
        if place.is_dir():
            for member in members:
                with open(place / member, "rb") as file:
                    yield member, file.read(most + 1)
            return
        wanted = {f"{inner}/{member}": member for member in members}
        with tarfile.open(place, "r:*") as archive:
            for entry in archive:
                name = wanted.get(entry.name.removeprefix("./"))
                if name and (content := archive.extractfile(entry) if entry.isreg() else None):
                    yield name, content.read(most + 1)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{place}: truncated or damaged ({error}); download it again") from error
