"""CIFAR10-LT and CIFAR100-LT (§4.2): from CReST's own files, a TFDS folder, or the binary archive, in this order.

Canonical order is the order of the archives: batch 1 to 5, train.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from udal_tf.buckets import origin
from udal_tf.data import cifar_archive, crest_files, files, longtail, manifest, tfds_folder
from udal_tf.data.dataset import DataError, Source
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown

OTHER_DRAW = "same protocol, different draw ({draw})"


@dataclasses.dataclass(frozen=True)
class Edition:
    """The expected form of a CIFAR dataset; anything else is rejected.

    Attributes:
      tfds: its name in TensorFlow Datasets.
      archive: file name of the binary archive.
      url: address of the archive.
      inner: top-level folder inside the archive.
      train, test: members of the archive in canonical order.
      label_bytes: bytes before each image; the last one is the (fine) label.
      pickled: names of the pickled version, which is not read.
      crest: prefix of CReST's folder names.
      train_per_class, test_per_class: images per class.
      train_start, test_start: the first labels, used to verify the order.
      class_names: C names.
    """

    tfds: str
    archive: str
    url: str
    inner: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int
    pickled: tuple[str, ...]
    crest: str
    train_per_class: int
    test_per_class: int
    train_start: tuple[int, ...]
    test_start: tuple[int, ...]
    class_names: tuple[str, ...]

    def size(self, split: str) -> int:
        return len(self.class_names) * (self.train_per_class if split == "train" else self.test_per_class)


_URL = "https://www.cs.toronto.edu/~kriz/"
_CIFAR10_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100_NAMES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train "
    "trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)

EDITIONS = {
    "cifar10lt": Edition(
        tfds="cifar10",
        archive="cifar-10-binary.tar.gz",
        url=_URL + "cifar-10-binary.tar.gz",
        inner="cifar-10-batches-bin",
        train=tuple(f"data_batch_{b}.bin" for b in range(1, longtail.CIFAR10_FILES + 1)),
        test=("test_batch.bin",),
        label_bytes=1,
        pickled=("cifar-10-python.tar.gz", "cifar-10-batches-py"),
        crest="cifar-10-data-im-",
        train_per_class=5000,
        test_per_class=1000,
        train_start=(6, 9, 9, 4, 1, 1, 2, 7, 8, 3),
        test_start=(3, 8, 8, 0, 6, 6, 1, 6, 3, 1),
        class_names=tuple(_CIFAR10_NAMES.split()),
    ),
    "cifar100lt": Edition(
        tfds="cifar100",
        archive="cifar-100-binary.tar.gz",
        url=_URL + "cifar-100-binary.tar.gz",
        inner="cifar-100-binary",
        train=("train.bin",),
        test=("test.bin",),
        label_bytes=2,
        pickled=("cifar-100-python.tar.gz", "cifar-100-python"),
        crest="cifar-100-data-im-",
        train_per_class=500,
        test_per_class=100,
        train_start=(19,),
        test_start=(),
        class_names=tuple(_CIFAR100_NAMES.split()),
    ),
}


def load(config: DataConfig) -> Source:
    """Reads CIFAR from the first location that has it; otherwise TFDS downloads it if the network allows.

    CReST's files are used only for the subset they hold: protocol crest, N_1 of the full dataset, the default --draw.

    Raises:
      DataError: with the locations searched and the ways to provide the data, or with what is wrong with the files.
    """
    edition = EDITIONS[config.dataset]
    folders = files.data_dirs(config)
    if _crest_files_serve(config, edition):
        location = crest_files.find(folders, crest_files.folder_name(edition.crest, config.imbalance))
        if location:
            return _from_crest_files(location, edition, config)
    from_tfds = functools.partial(_from_tfds, edition=edition)
    if source := tfds_folder.newest_good(folders, [edition.tfds], from_tfds):
        return source
    if location := cifar_archive.find(folders, edition.archive, edition.inner, (*edition.train, *edition.test)):
        return _from_archive(location, edition)
    try:
        tfds_folder.download(edition.tfds, folders[0], edition.url)
    except OSError as error:
        raise DataError(_not_found(config, edition, folders, str(error))) from error
    source = tfds_folder.newest_good(folders, [edition.tfds], from_tfds)
    if not source:
        raise DataError(_not_found(config, edition, folders, "TFDS left no dataset folder"))
    return source


def _crest_files_serve(config: DataConfig, edition: Edition) -> bool:
    if config.split_manifest:
        return manifest.read(config.split_manifest)["long_tailed"]
    default = {field.name: field.default for field in dataclasses.fields(DataConfig)}["draw"]
    return config.protocol == "crest" and config.n1 == edition.train_per_class and config.draw == default


def _from_crest_files(location: pathlib.Path, edition: Edition, config: DataConfig) -> Source:
    """CReST's folder; a manifest marks one that `crest_export` wrote and records which draw it was made with."""
    paths = {name: location / name for name in (crest_files.TRAIN_FILE, crest_files.EVAL_FILE)}
    hashes = {name: files.sha256(path) for name, path in paths.items()}
    source, draw = "CReST's published files", "as published"
    if (location / manifest.FILE_NAME).exists():
        export = manifest.read(location / manifest.FILE_NAME)
        if export["files"] != hashes:
            raise DataError(f"{shown(location)}: the files do not match the hashes in {manifest.FILE_NAME}")
        source, draw = f"files that crest_export wrote from {export['source']}", export["draw"]
    train, train_labels = crest_files.read(paths[crest_files.TRAIN_FILE])
    test, test_labels = crest_files.read(paths[crest_files.EVAL_FILE])
    classes = len(edition.class_names)
    expected = longtail.class_counts(edition.train_per_class, config.imbalance, classes)
    _check_counts(location / crest_files.TRAIN_FILE, train_labels, expected)
    _check_counts(location / crest_files.EVAL_FILE, test_labels, [edition.test_per_class] * classes)
    facts = {"source": source, "folder": origin(location), "sha256": hashes, "class_counts": expected}
    arrays = (train, train_labels), (test, test_labels)
    given = (arrays, edition.class_names, facts)
    return Source.of_arrays(*given, long_tailed=True, draw=draw, files=len(edition.train))


def _from_tfds(location: pathlib.Path, edition: Edition) -> Source:
    arrays = tuple(
        tfds_folder.read_arrays(location, split, edition.size(split), f"{split}_")[:2] for split in ("train", "test")
    )
    paths = [path for split in ("train", "test") for path in tfds_folder.shard_files(location, split)]
    return _checked(location, arrays, edition, f"TFDS {edition.tfds} {location.name}", paths)


def _from_archive(location: pathlib.Path, edition: Edition) -> Source:
    parts = ((edition.train, edition.size("train")), (edition.test, edition.size("test")))
    arrays = cifar_archive.read(location, edition.inner, parts, edition.label_bytes)
    paths = cifar_archive.files_of(location, (*edition.train, *edition.test))
    return _checked(location, arrays, edition, f"binary archive {location.name}", paths)


def _checked(
    location: pathlib.Path,
    arrays: Sequence[tuple[np.ndarray, np.ndarray]],
    edition: Edition,
    source: str,
    paths: list[pathlib.Path],
) -> Source:
    """The full dataset, once its class counts and canonical order are verified."""
    classes = len(edition.class_names)
    for (_, labels), each, start in zip(
        arrays,
        (edition.train_per_class, edition.test_per_class),
        (edition.train_start, edition.test_start),
        strict=True,
    ):
        _check_counts(location, labels, [each] * classes)
        first = tuple(labels[: len(start)].tolist())
        if first != start:
            raise DataError(
                f"{shown(location)}: not in canonical order: the first labels are {first}, expected {start}"
            )
    facts = {
        "source": source,
        "folder": origin(location),
        "sha256": {path.name: files.sha256(path) for path in paths},
        "class_counts": [edition.train_per_class] * classes,
    }
    return Source.of_arrays(arrays, edition.class_names, facts, draw=OTHER_DRAW, files=len(edition.train))


def _check_counts(location: pathlib.Path, labels: np.ndarray, expected: list[int]) -> None:
    if labels.min() < 0 or labels.max() >= len(expected):
        raise DataError(
            f"{shown(location)}: labels from {labels.min()} to {labels.max()}, expected 0 to {len(expected) - 1}"
        )
    counts = np.bincount(labels, minlength=len(expected)).tolist()
    if counts != expected:
        c = next(c for c in range(len(expected)) if counts[c] != expected[c])
        raise DataError(
            f"{shown(location)}: wrong class counts: {sum(counts)} images, expected {sum(expected)}; "
            f"class {c} has {counts[c]}, expected {expected[c]}"
        )


def _not_found(config: DataConfig, edition: Edition, folders: list[pathlib.Path], reason: str) -> str:
    pickled = [name for folder in folders for name in edition.pickled if (folder / name).exists()]
    crest = crest_files.folder_name(edition.crest, config.imbalance)
    return "\n".join(
        [
            f"{config.dataset}: no {edition.tfds} found in {' or '.join(map(shown, folders))}. Any one of these will "
            "do:",
            f"  - CReST's files: cifar-lt/{crest}/{crest_files.TRAIN_FILE} and {crest_files.EVAL_FILE}"
            + ("" if _crest_files_serve(config, edition) else " (not for these settings, which need another subset)"),
            f"  - TensorFlow Datasets' folder: {edition.tfds}/<version>/",
            f"  - the binary archive {edition.archive} from {edition.url}",
            f"    or its members in {edition.inner}/",
            "Set the location with --data_dir.",
        ]
        + [f"{name} holds Python pickles, which can run code, so it is not read." for name in pickled]
        + [f"Downloading failed: {reason}"]
    )
