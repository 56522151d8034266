"""Lists a custom dataset's folder: labeled/<class>/…, unlabeled/…, and optionally val/<class>/… and test/<class>/….

Reads file names only, no pixels; needs no TensorFlow. `folder_layout` says which folder is which; `custom_dataset` also
fills a `Folder` from the lines of a CSV file. What is found, why training would refuse it, and the input of a run are
in one file, as they have to agree.
"""

import collections
import dataclasses
import os
import pathlib
import stat
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from udal_tf.data import files, folder_layout, formats
from udal_tf.data.errors import DataError
from udal_tf.data.folder_layout import LABELED, LOOKED_FOR, TEST, UNLABELED, VALIDATION, expected, spelling
from udal_tf.shown_names import shown, unfit

# Without test/, this fraction of each class is held out, the same images for every fold and seed.
HOLD_OUT = 0.2
HOLD_OUT_SEED = 0
# Kinds of files not read that a run lists; udal inspect lists all.
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
      validation: as `test`.
      table: the name of the CSV file that says all this, "" if the folders do.
      sha256: of its content.
    """

    layout: folder_layout.Layout
    labeled: dict[str, list[pathlib.Path]]
    unlabeled: list[pathlib.Path]
    test: dict[str, list[pathlib.Path]] | None
    loose: list[pathlib.Path]
    unread: Unread
    notes: tuple[str, ...]
    validation: dict[str, list[pathlib.Path]] | None = None
    table: str = ""
    sha256: str = ""

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
        """The folder of LABELED, UNLABELED, VALIDATION or TEST, or where it would be."""
        return self.layout.parts.get(name, self.root / name)

    def place(self, part: str, class_name: str) -> str:
        """Where the images of a class are, for messages."""
        if self.table:
            return f"{shown(self.table)}: class {shown(class_name)}" + ("" if part == LABELED else f", split {part}")
        return shown(self.part(part) / class_name)


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
    validation: list[pathlib.Path] | None = None
    validation_labels: np.ndarray | None = None
    sha256: str = ""

    @property
    def paths(self) -> list[pathlib.Path]:
        """All files: to train on, to validate on, to test on."""
        return [*self.train, *(self.validation or ()), *self.test]


def name_below(path: pathlib.Path, root: pathlib.Path) -> str:
    """The name of a file relative to `root`, or its whole name if it is elsewhere, as a CSV file allows."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def read_folder(root: pathlib.Path, layout_name: str = folder_layout.AUTO) -> Folder:
    """The files below `root`. Raises DataError if it has no labeled classes, saying what is there instead.

    layout_name: the value of --layout, except `huggingface`.
    """
    layout = folder_layout.find(root, layout_name)
    unread: Unread = collections.Counter()
    parts = layout.parts
    labeled, loose = _by_class(root, parts[LABELED], unread)
    if len(labeled) < 2:
        if deep := folder_layout.too_deep(parts[LABELED]):
            raise DataError(f"{deep}.\n{expected()}")
        among = f" (images outside any class folder: {len(loose)})" if loose else ""
        found = f"class folders: {len(labeled)}, at least two are needed{among}"
        raise DataError(f"{shown(parts[LABELED])}: {found}.\n{expected()}")
    held = {}
    for part in (TEST, VALIDATION):
        if part in parts:
            held[part], loose_in_part = _by_class(root, parts[part], unread)
            loose = loose + loose_in_part
    unlabeled = images_in(root, parts[UNLABELED], parts[UNLABELED], unread) if UNLABELED in parts else []
    notes = (*layout.notes, *_unlabeled_notes(parts, unlabeled, tuple(labeled)))
    return Folder(layout, labeled, unlabeled, held.get(TEST), loose, unread, notes, held.get(VALIDATION))


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
                unread = _unread_in(folder, folder.part(part) / name)
                found.append(f"{folder.place(part, name)}: no images of this class (looked for {LOOKED_FOR}){unread}")
    if folder.test is None:
        images_to_test = "test images" if folder.table else f"{TEST}/ folder"
        for name, paths in folder.labeled.items():
            if len(paths) == 1:
                found.append(
                    f"{folder.place(LABELED, name)}: 1 image and no {images_to_test}: it cannot be used for both "
                    f"training and test. Add images, or {'' if folder.table else 'a '}{images_to_test}."
                )
    else:
        found += _class_problems(folder, folder.test)
    found += _unknown_classes(folder, VALIDATION, folder.validation or ())
    if folder.validation is not None and not any(folder.validation.values()):
        found.append(f"{shown(folder.part(VALIDATION))}: no images (looked for {LOOKED_FOR})")
    if unlabeled_needed and beta == 1 and not folder.unlabeled:
        found.append(no_unlabeled(folder))
    return found


def no_unlabeled(folder: Folder) -> str:
    """What is said of a folder without unlabeled images."""
    if folder.table:
        return (
            f"{shown(folder.table)}: no unlabeled images. Add lines with an empty label, or lower --beta to treat a "
            "part of the labeled images as unlabeled, or train on labels alone with --base=supervised --method=none."
        )
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
    validation, validation_labels = None, None
    if folder.validation is not None:
        validation, validation_labels = _flat(folder.validation, folder.class_names)
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
        validation=validation,
        validation_labels=validation_labels,
        sha256=folder.sha256,
    )


def left_out(listing: Listing) -> dict[str, list[str]]:
    """What a run says of its folder's layout and of the files that are not read, a sentence each; empty if nothing."""
    not_read = formats.not_read_lines(listing.unread)
    more = [f"and {len(not_read) - MOST_KINDS:,} more kinds of files"] if len(not_read) > MOST_KINDS else []
    said = {"layout": list(listing.notes), "not_read": [*not_read[:MOST_KINDS], *more]}
    return {name: lines for name, lines in said.items() if lines}


def _class_problems(folder: Folder, test: Mapping[str, Sequence[pathlib.Path]]) -> list[str]:
    """Classes of the test images that differ from those of the labeled ones."""
    missing = [name for name in folder.labeled if name not in test]
    found = _unknown_classes(folder, TEST, test)
    if found and folder_layout.too_deep(folder.part(TEST)):
        return found
    if folder.table:
        without = [f"{folder.place(TEST, name)}: no images" for name in missing]
    else:
        without = [f"{shown(folder.part(TEST))}: no folder for class {shown(name)}" for name in missing]
    return [*found, *(f"{one}, so its recall cannot be measured" for one in without)]


def _unknown_classes(folder: Folder, part: str, names: Iterable[str]) -> list[str]:
    """Classes of the images to test or to validate on that have no labeled images. A CSV file has been checked."""
    names = list(names)
    unknown = [name for name in names if name not in folder.labeled]
    if unknown and (deep := folder_layout.too_deep(folder.part(part))):
        return [deep]
    found, labeled = [], shown(folder.part(LABELED).name)
    for name in unknown:
        like = [one for one in folder.labeled if one not in names and spelling(one) == spelling(name)]
        hint = f"; {labeled}/{shown(like[0])} differs only in spelling: give both the same name" if like else ""
        found.append(f"{shown(folder.part(part))}: class {shown(name)} has no images in {labeled}/{hint}")
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
        found[entry.name] = images_in(root, folder, entry, unread)
    return found, loose


def images_in(root: pathlib.Path, part: pathlib.Path, folder: pathlib.Path, unread: Unread) -> list[pathlib.Path]:
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
    ordered = [by_class.get(name, []) for name in names]
    labels = np.repeat(np.arange(len(names)), list(map(len, ordered))).astype(np.int64)
    return [path for paths in ordered for path in paths], labels


def hold_out(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Mask of the labeled images that become the test set: a fifth of each class, at least one."""
    generator = np.random.RandomState(HOLD_OUT_SEED)
    held_out = np.zeros(len(labels), bool)
    for c in range(num_classes):
        positions = np.flatnonzero(labels == c)
        count = max(1, round(HOLD_OUT * len(positions)))
        held_out[generator.choice(positions, count, replace=False)] = True
    return held_out
