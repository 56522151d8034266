"""Lists a custom dataset's folder: labeled/<class>/…, unlabeled/…, and optionally test/<class>/….

Reads file names only, no pixels; needs no TensorFlow. `folder_layout` says which folder is which. What is found, why
training would refuse it, and the input of a run are in one file, as they have to agree.
"""

import collections
import dataclasses
import os
import pathlib
import stat
from collections.abc import Iterable, Sequence

import numpy as np

from udal_tf.config import DataConfig
from udal_tf.data import files, folder_layout, formats
from udal_tf.data.errors import DataError
from udal_tf.data.folder_layout import LABELED, LOOKED_FOR, TEST, UNLABELED, expected, spelling
from udal_tf.shown_names import shown, unfit

# Without test/, this fraction of each class is held out, the same images for every fold and seed.
HOLD_OUT = 0.2
HOLD_OUT_SEED = 0
# Kinds of files not read that a run lists; udal-inspect lists all.
MOST_KINDS = 10

# (folder below the root, suffix) -> number of files that are not read.
Unread = collections.Counter[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Folder:
    """The files found, whether or not training would accept them.

    Attributes:
      layout: which folder is which.
      labeled: class name -> its images, sorted.
      unlabeled: images at any depth.
      test: as `labeled`; None if there is no test/.
      loose: images directly in labeled/ or test/, outside any class folder.
      unread: (folder below the root, suffix) -> number of files that are not read; for `formats.not_read_lines`.
      notes: what people should know about the layout, a sentence each.
    """

    layout: folder_layout.Layout
    labeled: dict[str, list[pathlib.Path]]
    unlabeled: list[pathlib.Path]
    test: dict[str, list[pathlib.Path]] | None
    loose: list[pathlib.Path]
    unread: Unread
    notes: tuple[str, ...]

    @property
    def root(self) -> pathlib.Path:
        return self.layout.root

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.labeled)

    @property
    def ignored(self) -> int:
        """Number of files below the parts that are not used, the loose images included."""
        return self.unread.total() + len(self.loose)

    def part(self, name: str) -> pathlib.Path:
        """The folder of LABELED, UNLABELED or TEST, or where it would be."""
        return self.layout.parts.get(name, self.root / name)


@dataclasses.dataclass(frozen=True)
class Listing:
    """The input of a run: class names; the files with the class of each, −1 for none; what is left out.

    `ignored`, `unread` and `notes` are those of `Folder`.
    """

    class_names: tuple[str, ...]
    train: list[pathlib.Path]
    train_labels: np.ndarray
    test: list[pathlib.Path]
    test_labels: np.ndarray
    ignored: int
    held_out: bool
    unread: Unread
    notes: tuple[str, ...]


def read_folder(root: pathlib.Path) -> Folder:
    """The files below `root`. Raises DataError if it has no labeled classes, saying what is there instead."""
    layout = folder_layout.find(root)
    unread: Unread = collections.Counter()
    parts = layout.parts
    labeled, loose = _by_class(root, parts[LABELED], unread)
    if len(labeled) < 2:
        if deep := folder_layout.too_deep(parts[LABELED]):
            raise DataError(f"{deep}.\n{expected()}")
        among = f" (images outside any class folder: {len(loose)})" if loose else ""
        found = f"class folders: {len(labeled)}, at least two are needed{among}"
        raise DataError(f"{shown(parts[LABELED])}: {found}.\n{expected()}")
    test = None
    if TEST in parts:
        test, loose_in_test = _by_class(root, parts[TEST], unread)
        loose = loose + loose_in_test
    unlabeled = _images_in(root, parts[UNLABELED], parts[UNLABELED], unread) if UNLABELED in parts else []
    notes = (*layout.notes, *_unlabeled_notes(parts, unlabeled, tuple(labeled)))
    return Folder(layout, labeled, unlabeled, test, loose, unread, notes)


def problems(folder: Folder, beta: float = 1.0, unlabeled_needed: bool = True) -> list[str]:
    """Why training would reject the folder, each problem with what to do; empty if it would not.

    Args:
      beta: the labeled fraction, --beta; below 1, some images of labeled/ are used as unlabeled ones.
      unlabeled_needed: whether the base learner uses unlabeled images; --base=supervised does not.
    """
    found = []
    for part, by_class in ((LABELED, folder.labeled), (TEST, folder.test or {})):
        for name, paths in by_class.items():
            if not paths:
                place = folder.part(part) / name
                found.append(
                    f"{shown(place)}: no images of this class (looked for {LOOKED_FOR}){_unread_in(folder, place)}"
                )
    if folder.test is None:
        for name, paths in folder.labeled.items():
            if len(paths) == 1:
                found.append(
                    f"{shown(folder.part(LABELED) / name)}: 1 image and no {TEST}/ folder: it cannot be used for both "
                    f"training and test. Add images, or a {TEST}/ folder."
                )
    else:
        found += _class_problems(folder, folder.test)
    if unlabeled_needed and beta == 1 and not folder.unlabeled:
        found.append(no_unlabeled(folder))
    return found


def no_unlabeled(folder: Folder) -> str:
    """What is said of a folder without unlabeled images."""
    labeled, place = shown(folder.part(LABELED).name), folder.part(UNLABELED)
    if folder.layout.is_torchvision:
        return (
            f"{shown(folder.root)}: {labeled}/ is read as {LABELED}/, as torchvision's ImageFolder names it, but there "
            f"are no unlabeled images. Put images without labels in {UNLABELED}/; or give --beta=0.1 to keep a tenth "
            f"of the labels of {labeled}/ and use the other images as unlabeled ones; or train on labels alone with "
            "--base=supervised --method=none."
        )
    return (
        f"{shown(folder.root)}: no unlabeled images in {shown(place.name)}/{_unread_in(folder, place)}. Add some, or "
        f"lower --beta to treat a part of {labeled}/ as unlabeled, or train on labels alone with --base=supervised "
        f"--method=none.\n{expected()}"
    )


def make_listing(folder: Folder) -> Listing:
    """The folder as the input of a run. Raises DataError with the first of its `problems`.

    Whether it needs unlabeled images depends on the run: `settings.check_unlabeled`.
    """
    for problem in problems(folder, unlabeled_needed=False):
        raise DataError(problem)
    labeled, labels = _flat(folder.labeled, folder.class_names)
    if folder.test is None:
        held_out = hold_out(labels, len(folder.class_names))
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
        unread=folder.unread,
        notes=folder.notes,
    )


def left_out(listing: Listing) -> dict[str, list[str]]:
    """What a run says of its folder's layout and of the files that are not read, a sentence each; empty if nothing."""
    not_read = formats.not_read_lines(listing.unread)
    more = [f"and {len(not_read) - MOST_KINDS:,} more kinds of files"] if len(not_read) > MOST_KINDS else []
    said = {"layout": list(listing.notes), "not_read": [*not_read[:MOST_KINDS], *more]}
    return {name: lines for name, lines in said.items() if lines}


def root_of(config: DataConfig) -> pathlib.Path:
    """The folder given by --data_dir. Raises DataError if it is not given or cannot be read."""
    if not config.data_dir:
        raise DataError(f"{config.dataset}: --data_dir must name your folder.\n{expected()}")
    return files.data_dirs(config)[0]


def _class_problems(folder: Folder, test: Iterable[str]) -> list[str]:
    """Classes of the test images that differ from those of the labeled ones."""
    place, labeled = shown(folder.part(TEST)), shown(folder.part(LABELED).name)
    unknown = [name for name in test if name not in folder.labeled]
    missing = [name for name in folder.labeled if name not in test]
    if unknown and (deep := folder_layout.too_deep(folder.part(TEST))):
        return [deep]
    found = []
    for name in unknown:
        like = [other for other in missing if spelling(other) == spelling(name)]
        hint = f"; {labeled}/{shown(like[0])} differs only in spelling: give both the same name" if like else ""
        found.append(f"{place}: class {shown(name)} has no images in {labeled}/{hint}")
    for name in missing:
        found.append(f"{place}: no folder for class {shown(name)}, so its recall cannot be measured")
    return found


def _unread_in(folder: Folder, place: pathlib.Path) -> str:
    """The files in a folder that are not read, as the end of a sentence."""
    below = shown(place.relative_to(folder.root))
    lines = formats.not_read_lines({key: count for key, count in folder.unread.items() if key[0] == below})
    return f"; {lines[0]}" + (f"; and {len(lines) - 1} more kinds" if len(lines) > 1 else "") if lines else ""


def _unlabeled_notes(
    parts: dict[str, pathlib.Path], unlabeled: Sequence[pathlib.Path], class_names: Sequence[str]
) -> list[str]:
    """What to say of the folders in unlabeled/, if some of them are named like classes."""
    if UNLABELED not in parts:
        return []
    below = [path.relative_to(parts[UNLABELED]).parts for path in unlabeled]
    names = sorted({first for first, *others in below if others})
    by_spelling = {spelling(name) for name in class_names}
    classes = [name for name in names if spelling(name) in by_spelling]
    if not classes:
        return []
    place = shown(parts[UNLABELED].name)
    notes = [
        f"folders in {place}/ are named like classes ({folder_layout.named(classes)}): training uses no label of these "
        f"images; if the names are right, move them into {shown(parts[LABELED].name)}/<class>/"
    ]
    if others := [name for name in names if name not in classes]:
        notes.append(
            f"other folders in {place}/ are named like no class ({folder_layout.named(others)}): images of classes "
            "without labels mislead training; take them out if that is what they are"
        )
    return notes


def _by_class(
    root: pathlib.Path, folder: pathlib.Path, unread: Unread
) -> tuple[dict[str, list[pathlib.Path]], list[pathlib.Path]]:
    """Class name -> its images; images outside any class folder. Counts what is not read."""
    found: dict[str, list[pathlib.Path]] = {}
    loose: list[pathlib.Path] = []
    for entry in files.listed(folder, folder.name):
        kind = _kind(entry)
        if kind != stat.S_IFDIR:
            _sort(entry, kind, loose, unread, shown(folder.relative_to(root)))
            continue
        if fault := unfit(entry.name):
            raise DataError(f"{shown(entry)}: the name of a class folder {fault}: rename it")
        found[entry.name] = _images_in(root, folder, entry, unread)
    return found, loose


def _images_in(root: pathlib.Path, part: pathlib.Path, folder: pathlib.Path, unread: Unread) -> list[pathlib.Path]:
    """Images at any depth, sorted by path; counts the other files. Links to folders are followed, each once.

    A link to a folder above is not followed: the images of one class would be counted for another.
    """
    found: list[pathlib.Path] = []
    seen = {os.path.realpath(root), os.path.realpath(part)} - {os.path.realpath(folder)}
    place = shown(folder.relative_to(root))

    def visit(directory: pathlib.Path) -> None:
        real = os.path.realpath(directory)
        if real in seen:
            return
        seen.add(real)
        for entry in files.listed(directory, folder.name):
            kind = _kind(entry)
            if kind == stat.S_IFDIR:
                visit(entry)
            else:
                _sort(entry, kind, found, unread, place)

    visit(folder)
    return sorted(found)


def _kind(entry: pathlib.Path) -> int:
    """The type of what a name leads to, as in `stat`. A broken link counts as a file, and fails when it is read."""
    try:
        return stat.S_IFMT(os.stat(entry).st_mode)
    except OSError:
        return stat.S_IFREG


def _sort(entry: pathlib.Path, kind: int, images: list[pathlib.Path], unread: Unread, place: str) -> None:
    """Adds a file to the images, or counts it among those not read."""
    if kind != stat.S_IFREG:
        unread[place, formats.NO_FILE] += 1
    elif formats.is_image_name(entry.name):
        images.append(entry)
    else:
        unread[place, shown(formats.suffix_of(entry.name))] += 1


def _flat(by_class: dict[str, list[pathlib.Path]], names: Sequence[str]) -> tuple[list[pathlib.Path], np.ndarray]:
    """All images, class by class, and the class of each."""
    labels = np.repeat(np.arange(len(names)), [len(by_class[name]) for name in names]).astype(np.int64)
    return [path for name in names for path in by_class[name]], labels


def hold_out(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Mask of the labeled images that become the test set: a fifth of each class, at least one."""
    generator = np.random.RandomState(HOLD_OUT_SEED)
    held_out = np.zeros(len(labels), bool)
    for c in range(num_classes):
        positions = np.flatnonzero(labels == c)
        count = max(1, round(HOLD_OUT * len(positions)))
        held_out[generator.choice(positions, count, replace=False)] = True
    return held_out
