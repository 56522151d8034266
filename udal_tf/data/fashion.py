"""Fashion-MNIST-LT: 28×28 gray images of clothing, from IDX files (Debian packages them) or a TFDS folder."""

import dataclasses
import gzip
import pathlib
import struct
import zlib

import numpy as np

from udal_tf.data import files, tfds_folder
from udal_tf.data.dataset import DataError, Source
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown

# Where the Debian and Ubuntu package dataset-fashion-mnist installs them.
SYSTEM_FOLDERS = (pathlib.Path("/usr/share/datasets/fashion-mnist"), pathlib.Path("/usr/share/dataset-fashion-mnist"))
TFDS_NAME = "fashion_mnist"
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz"
CLASS_NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SIDE = 28
# IDX: two zero bytes, the element type (8: unsigned byte), the number of axes, then each length, big-endian.
_IDX_UNSIGNED_BYTE = 8


@dataclasses.dataclass(frozen=True)
class Part:
    """The expected form of a split: its files' prefix, its name in TFDS, images per class, the first labels."""

    prefix: str
    split: str
    per_class: int
    start: tuple[int, ...]

    @property
    def names(self) -> tuple[str, str]:
        return f"{self.prefix}-images-idx3-ubyte", f"{self.prefix}-labels-idx1-ubyte"


PARTS = (
    Part("train", "train", 6000, (9, 0, 0, 3, 0, 2, 7, 2, 5, 5)),
    Part("t10k", "test", 1000, (9, 2, 1, 1, 6, 1, 4, 6, 5, 7)),
)


def load(config: DataConfig) -> Source:
    """Reads the IDX files, or else the TFDS folder; without either, TFDS downloads it if the network allows.

    TFDS keeps no image numbers, so its order, and with it every random subset, differs from that of the IDX files.

    Raises:
      DataError: with the locations searched, or with what is wrong with the files found.
    """
    folders = files.data_dirs(config)
    if paths := _find_idx([*folders, *(folder / "fashion-mnist" for folder in folders), *SYSTEM_FOLDERS]):
        arrays = [(_read_idx(images, 3), _read_idx(labels, 1)) for images, labels in paths]
        arrays = [(images[..., np.newaxis], labels.astype(np.int64)) for images, labels in arrays]
        location, read, starts = paths[0][0].parent, [path for pair in paths for path in pair], True
        source = f"IDX files in {location}"
    else:
        found = tfds_folder.newest_good(folders, [TFDS_NAME], _from_tfds)
        if not found:
            try:
                tfds_folder.download(TFDS_NAME, folders[0], URL)
            except OSError as error:
                raise DataError(_not_found(folders, str(error))) from error
            found = tfds_folder.newest_good(folders, [TFDS_NAME], _from_tfds)
        if not found:
            raise DataError(_not_found(folders, "the download left no such folder"))
        location, arrays = found
        read, starts = [path for part in PARTS for path in tfds_folder.shard_files(location, part.split)], False
        source = f"TFDS {TFDS_NAME} {location.name}, in the order of its files"
    for part, (images, labels) in zip(PARTS, arrays, strict=True):
        _check(location, part, images, labels, starts)
    provenance = {"source": source, "sha256": {path.name: files.sha256(path) for path in read}}
    return Source.of_arrays(arrays, CLASS_NAMES, provenance)


def _from_tfds(location: pathlib.Path) -> tuple[pathlib.Path, list[tuple[np.ndarray, np.ndarray]]]:
    """The folder itself, and (images, labels) of each split."""
    sizes = [(part.split, part.per_class * len(CLASS_NAMES)) for part in PARTS]
    return location, [tfds_folder.read_arrays(location, split, size, None)[:2] for split, size in sizes]


def _find_idx(folders: list[pathlib.Path]) -> list[tuple[pathlib.Path, pathlib.Path]] | None:
    """(images, labels) of each split in the first folder that has all four files, plain or compressed."""
    for folder in folders:
        found = [
            [path for end in ("", ".gz") if (path := folder / (name + end)).is_file()]
            for part in PARTS
            for name in part.names
        ]
        if all(found):
            paths = [of_name[0] for of_name in found]
            return list(zip(paths[::2], paths[1::2], strict=True))
    return None


def _read_idx(path: pathlib.Path, axes: int) -> np.ndarray:
    """An IDX file of unsigned bytes with that many axes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{shown(path)}: truncated or damaged ({error})") from error
    header = 4 + 4 * axes
    if len(content) < header or content[:4] != bytes([0, 0, _IDX_UNSIGNED_BYTE, axes]):
        raise DataError(f"{shown(path)}: not an IDX file of unsigned bytes with {axes} axes")
    shape = struct.unpack(f">{axes}I", content[4:header])
    if len(content) - header != int(np.prod(shape)):
        raise DataError(
            f"{shown(path)}: {len(content) - header} bytes of content, its header states {int(np.prod(shape))}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _check(location: pathlib.Path, part: Part, images: np.ndarray, labels: np.ndarray, starts: bool) -> None:
    expected = [part.per_class] * len(CLASS_NAMES)
    if images.shape != (len(labels), SIDE, SIDE, 1):
        raise DataError(
            f"{shown(location)}: {part.split} images {list(images.shape)} for {len(labels)} labels, not 28×28"
        )
    if labels.max() >= len(expected) or np.bincount(labels, minlength=len(expected)).tolist() != expected:
        counts = np.bincount(labels).tolist()
        raise DataError(
            f"{shown(location)}: wrong class counts in {part.split}: {counts}, expected {part.per_class} each"
        )
    first = tuple(labels[: len(part.start)].tolist())
    if starts and first != part.start:
        raise DataError(
            f"{shown(location)}: first {part.split} labels are {first}, not {part.start} as in Fashion-MNIST"
        )


def _not_found(folders: list[pathlib.Path], reason: str) -> str:
    return "\n".join(
        [
            f"fashionlt: no Fashion-MNIST found in {', '.join(map(shown, [*folders, *SYSTEM_FOLDERS]))}.",
            "Any one of these will do:",
            "  - the Debian or Ubuntu package: apt-get install dataset-fashion-mnist",
            "  - the four IDX files, " + ", ".join(name for part in PARTS for name in part.names) + " (or .gz)",
            f"  - TensorFlow Datasets' folder: {TFDS_NAME}/<version>/",
            "Set the location with --data_dir.",
            f"Downloading failed: {reason}",
        ]
    )
