"""Lists a custom dataset's folder: labeled/<class>/…, unlabeled/…, and optionally test/<class>/….

Reads file names only, no pixels; needs no TensorFlow.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from udal_tf.config import DataConfig
from udal_tf.data import files
from udal_tf.data.errors import DataError
from udal_tf.data.formats import IMAGE_SUFFIXES, is_image_name

LABELED = "labeled"
UNLABELED = "unlabeled"
TEST = "test"
# Without test/, this fraction of each class is held out, the same images for every fold and seed.
HOLD_OUT = 0.2
HOLD_OUT_SEED = 0
# Names that a message lists before it only counts the others.
NAMED = 5


@dataclasses.dataclass(frozen=True)
class Folder:
    """The files found, whether or not training would accept them.

    Attributes:
      root: the folder.
      labeled: class name -> its images, sorted.
      unlabeled: images at any depth.
      test: as `labeled`; None if there is no test/.
      loose: images directly in labeled/ or test/, outside any class folder.
      ignored: number of other files, the loose ones included.
    """

    root: pathlib.Path
    labeled: dict[str, list[pathlib.Path]]
    unlabeled: list[pathlib.Path]
    test: dict[str, list[pathlib.Path]] | None
    loose: list[pathlib.Path]
    ignored: int

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.labeled)


@dataclasses.dataclass(frozen=True)
class Listing:
    """The input of a run: class names; the files with the class of each, −1 for none; the number of ignored files."""

    class_names: tuple[str, ...]
    train: list[pathlib.Path]
    train_labels: np.ndarray
    test: list[pathlib.Path]
    test_labels: np.ndarray
    ignored: int
    held_out: bool


def layout() -> str:
    """The expected layout, for messages."""
    return (
        f"Expected: {LABELED}/<class>/ with images ({', '.join(IMAGE_SUFFIXES)}) for at least two classes, "
        f"{UNLABELED}/ with more images,\nand optionally {TEST}/<class>/ with the same classes."
    )


def read_folder(root: pathlib.Path) -> Folder:
    """The files below `root`. Raises DataError if it has no labeled classes, saying what is there instead."""
    if not root.is_dir():
        raise DataError(f"{root} {'is not a folder' if root.exists() else 'does not exist'}.\n{layout()}")
    if not (root / LABELED).is_dir():
        raise DataError(f"{root} has no folder {LABELED}/{_instead(root)}.\n{layout()}")
    labeled, loose, ignored = _by_class(root / LABELED)
    if len(labeled) < 2:
        among = f" (images outside any class folder: {len(loose)})" if loose else ""
        raise DataError(f"{root / LABELED}: class folders: {len(labeled)}, at least two are needed{among}.\n{layout()}")
    test = None
    if (root / TEST).is_dir():
        test, loose_in_test, more = _by_class(root / TEST)
        loose, ignored = loose + loose_in_test, ignored + more
    unlabeled, more = _images_in(root / UNLABELED) if (root / UNLABELED).is_dir() else ([], 0)
    return Folder(root, labeled, unlabeled, test, loose, ignored + more)


def problems(folder: Folder, beta: float = 1.0) -> list[str]:
    """Why training would reject the folder, each problem with what to do; empty if it would not.

    Args:
      beta: the labeled fraction, --beta; below 1, some images of labeled/ are used as unlabeled ones.
    """
    root, found = folder.root, []
    for part, by_class in ((LABELED, folder.labeled), (TEST, folder.test or {})):
        for name, paths in by_class.items():
            if not paths:
                looked_for = ", ".join(IMAGE_SUFFIXES)
                found.append(f"{root / part / name}: no images of this class (looked for {looked_for})")
    if folder.test is None:
        for name, paths in folder.labeled.items():
            if len(paths) == 1:
                found.append(
                    f"{root / LABELED / name}: 1 image and no {TEST}/ folder: it cannot be used for both training and "
                    f"test. Add images, or a {TEST}/ folder."
                )
    else:
        unknown = [name for name in folder.test if name not in folder.labeled]
        found += [f"{root / TEST}: class {name} has no images in {LABELED}/" for name in unknown]
        missing = [name for name in folder.labeled if name not in folder.test]
        found += [f"{root / TEST}: no folder for class {name}, so its recall cannot be measured" for name in missing]
    if beta == 1 and not folder.unlabeled:
        found.append(
            f"{root}: no unlabeled images in {UNLABELED}/. Add some, or lower --beta to treat a part of "
            f"{LABELED}/ as unlabeled.\n{layout()}"
        )
    return found


def make_listing(folder: Folder, beta: float = 1.0) -> Listing:
    """The folder as the input of a run. Raises DataError with the first of its `problems`."""
    for problem in problems(folder, beta):
        raise DataError(problem)
    labeled, labels = _flat(folder.labeled, folder.class_names)
    if folder.test is None:
        held_out = _hold_out(labels, len(folder.class_names))
        test, test_labels = [labeled[i] for i in np.flatnonzero(held_out)], labels[held_out]
        labeled, labels = [labeled[i] for i in np.flatnonzero(~held_out)], labels[~held_out]
    else:
        test, test_labels = _flat(folder.test, folder.class_names)
    return Listing(
        class_names=folder.class_names,
        train=[*labeled, *folder.unlabeled],
        train_labels=np.concatenate([labels, np.full(len(folder.unlabeled), -1, np.int64)]),
        test=test,
        test_labels=test_labels,
        ignored=folder.ignored,
        held_out=folder.test is None,
    )


def root_of(config: DataConfig) -> pathlib.Path:
    """The folder given by --data_dir. Raises DataError if it is not given or cannot be read."""
    if not config.data_dir:
        raise DataError(f"{config.dataset}: --data_dir must name your folder.\n{layout()}")
    return files.data_dirs(config)[0]


def _instead(root: pathlib.Path) -> str:
    """What a folder with another layout contains, as the end of a sentence."""
    entries = files.listed(root, "folder")
    loose = [entry for entry in entries if is_image_name(entry)]
    if loose:
        return f" (images directly in it, outside any class folder: {len(loose)})"
    folders = [entry.name for entry in entries if entry.is_dir()]
    if folders:
        shown = ", ".join(folders[:NAMED]) + (", …" if len(folders) > NAMED else "")
        return f", but the folders {shown}: if these are your classes, move them into {root / LABELED}"
    return "" if entries else ": it is empty"


def _by_class(folder: pathlib.Path) -> tuple[dict[str, list[pathlib.Path]], list[pathlib.Path], int]:
    """Class name -> its images; images outside any class folder; number of ignored files, these included."""
    found, loose, ignored = {}, [], 0
    for entry in files.listed(folder, folder.name):
        if entry.is_dir():
            found[entry.name], others = _images_in(entry)
            ignored += others
        else:
            ignored += 1
            if is_image_name(entry):
                loose.append(entry)
    return found, loose, ignored


def _images_in(folder: pathlib.Path) -> tuple[list[pathlib.Path], int]:
    """Images at any depth, sorted by path, and the number of other files. Links to folders are followed."""
    found, ignored, seen = [], 0, set()

    def visit(directory: pathlib.Path) -> None:
        nonlocal ignored
        real = os.path.realpath(directory)
        if real in seen:
            return
        seen.add(real)
        for entry in files.listed(directory, folder.name):
            if entry.is_dir():
                visit(entry)
            elif is_image_name(entry):
                found.append(entry)
            else:
                ignored += 1

    visit(folder)
    return sorted(found), ignored


def _flat(by_class: dict[str, list[pathlib.Path]], names: Sequence[str]) -> tuple[list[pathlib.Path], np.ndarray]:
    """All images, class by class, and the class of each."""
    labels = np.repeat(np.arange(len(names)), [len(by_class[name]) for name in names]).astype(np.int64)
    return [path for name in names for path in by_class[name]], labels


def _hold_out(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Mask of the labeled images that become the test set: a fifth of each class, at least one."""
    generator = np.random.RandomState(HOLD_OUT_SEED)
    held_out = np.zeros(len(labels), bool)
    for c in range(num_classes):
        positions = np.flatnonzero(labels == c)
        count = max(1, round(HOLD_OUT * len(positions)))
        held_out[generator.choice(positions, count, replace=False)] = True
    return held_out
