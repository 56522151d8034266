"""A person's own pictures: labeled/<class>/…, unlabeled/…, and test/<class>/… where there is one.

Each picture is decoded once, brought to one size and kept in the cache folder; big sets are read from there on demand.
"""

import dataclasses
import os
import pathlib

import numpy as np

from udal_tf.config import DataConfig
from udal_tf.data import files, own_pictures
from udal_tf.data.dataset import DataError, Source

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
LABELED, UNLABELED, TEST = "labeled", "unlabeled", "test"
# Without test/, this share of each class is held out; which pictures must not depend on a run's fold or seed.
HOLD_OUT = 0.2
HOLD_OUT_SEED = 0


@dataclasses.dataclass(frozen=True)
class Listing:
    """What lies in the folder: class names; the files with the class of each, −1 for none; the files left aside."""

    class_names: tuple[str, ...]
    train: list[pathlib.Path]
    train_labels: np.ndarray
    test: list[pathlib.Path]
    test_labels: np.ndarray
    ignored: int
    held_out: bool


def load(config: DataConfig) -> Source:
    """Lists, checks and decodes the pictures below --data_dir.

    With --beta=1 the folders alone say what is labelled; below 1, the rest of each labelled class joins the
    unlabelled pictures. Every picture comes as RGB.

    Raises:
      DataError: for a missing or empty folder or class, pictures that cannot be read, or settings that do not apply.
    """
    if config.protocol != "crest" or config.imbalance != 1:
        raise DataError(
            f"{config.dataset}: the folders say how many pictures each class has: leave out --imbalance and "
            f"--protocol, got --imbalance={config.imbalance:g} --protocol={config.protocol}"
        )
    if not config.data_dir:
        raise DataError(f"{config.dataset}: --data_dir must name your folder.\n{layout()}")
    root = files.data_dirs(config)[0]
    listing = _list(root, config)
    # Checked here, before the decoding, which takes its time.
    if config.beta == 1 and not np.any(listing.train_labels < 0):
        raise DataError(
            f"{root}: no unlabelled pictures in {UNLABELED}/. Put some there, or lower --beta to treat a part of "
            f"{LABELED}/ as unlabelled.\n{layout()}"
        )
    pictures, size, bad = own_pictures.load(root, [*listing.train, *listing.test], config)
    listing = _without(listing, bad, root)
    train, test = pictures.split(len(listing.train))
    return Source(
        train=train,
        train_labels=listing.train_labels,
        test=test,
        test_labels=listing.test_labels,
        class_names=listing.class_names,
        provenance={
            "source": f"pictures below {root}",
            "image_size": size,
            "test": f"{HOLD_OUT:.0%} of each class, held out" if listing.held_out else f"{TEST}/",
            "test_counts": np.bincount(listing.test_labels, minlength=len(listing.class_names)).tolist(),
            "skipped_bad_images": len(bad),
            "ignored_files": listing.ignored,
        },
        long_tailed=True,
        geometric=False,
        draw="as the folders say" if config.beta == 1 else f"a fraction {config.beta:g} of {LABELED}/",
    )


def layout() -> str:
    """The layout that is expected, for messages."""
    return (
        f"Expected are {LABELED}/<class>/ with pictures ({', '.join(SUFFIXES)}) for two classes or more, "
        f"{UNLABELED}/ with more pictures,\nand optionally {TEST}/<class>/ with the same classes."
    )


def _list(root: pathlib.Path, config: DataConfig) -> Listing:
    if not (root / LABELED).is_dir():
        raise DataError(f"{config.dataset}: {root} has no folder {LABELED}/.\n{layout()}")
    labeled, ignored = _by_class(root / LABELED)
    names = tuple(labeled)
    if len(names) < 2:
        raise DataError(f"{root / LABELED}: {len(names)} class folders, two at least are needed.\n{layout()}")
    train = [path for paths in labeled.values() for path in paths]
    train_labels = np.repeat(np.arange(len(names)), [len(paths) for paths in labeled.values()]).astype(np.int64)
    test_folder = root / TEST
    if test_folder.is_dir():
        by_class, more = _by_class(test_folder)
        ignored += more
        if unknown := [name for name in by_class if name not in labeled]:
            raise DataError(f"{test_folder}: class {unknown[0]} has no labelled pictures in {LABELED}/")
        if missing := [name for name in names if name not in by_class]:
            raise DataError(f"{test_folder}: no folder for class {missing[0]}, so its recall cannot be measured")
        test = [path for name in names for path in by_class[name]]
        test_labels = np.repeat(np.arange(len(names)), [len(by_class[name]) for name in names]).astype(np.int64)
    else:
        held_out = _hold_out(train_labels, names, root)
        test, test_labels = [train[i] for i in np.flatnonzero(held_out)], train_labels[held_out]
        train, train_labels = [train[i] for i in np.flatnonzero(~held_out)], train_labels[~held_out]
    unlabeled, more = _pictures_in(root / UNLABELED) if (root / UNLABELED).is_dir() else ([], 0)
    return Listing(
        class_names=names,
        train=[*train, *unlabeled],
        train_labels=np.concatenate([train_labels, np.full(len(unlabeled), -1, np.int64)]),
        test=test,
        test_labels=test_labels,
        ignored=ignored + more,
        held_out=not test_folder.is_dir(),
    )


def _by_class(folder: pathlib.Path) -> tuple[dict[str, list[pathlib.Path]], int]:
    """Class name -> its pictures, by name, and how many other files there are."""
    found, ignored = {}, 0
    for entry in files.listed(folder, LABELED):
        if entry.is_dir():
            found[entry.name], others = _pictures_in(entry)
            ignored += others
            if not found[entry.name]:
                raise DataError(f"{entry}: no pictures of this class (looked for {', '.join(SUFFIXES)})")
        else:
            ignored += 1
    return found, ignored


def _pictures_in(folder: pathlib.Path) -> tuple[list[pathlib.Path], int]:
    """Pictures at any depth, sorted by path, and how many other files there are. Links to folders are followed."""
    found, ignored, seen = [], 0, set()

    def visit(place: pathlib.Path) -> None:
        nonlocal ignored
        real = os.path.realpath(place)
        if real in seen:
            return
        seen.add(real)
        for entry in files.listed(place, folder.name):
            if entry.is_dir():
                visit(entry)
            elif entry.suffix.lower() in SUFFIXES:
                found.append(entry)
            else:
                ignored += 1

    visit(folder)
    return sorted(found), ignored


def _hold_out(labels: np.ndarray, names: tuple[str, ...], root: pathlib.Path) -> np.ndarray:
    """Which labelled pictures become the test set: a fifth of each class, one at least."""
    generator = np.random.RandomState(HOLD_OUT_SEED)
    held_out = np.zeros(len(labels), bool)
    for c, name in enumerate(names):
        positions = np.flatnonzero(labels == c)
        if len(positions) < 2:
            raise DataError(
                f"{root / LABELED / name}: 1 picture, and no {TEST}/ folder: it cannot both train and test. "
                f"Add pictures, or a {TEST}/ folder."
            )
        count = max(1, round(HOLD_OUT * len(positions)))
        held_out[generator.choice(positions, count, replace=False)] = True
    return held_out


def _without(listing: Listing, bad: list[int], root: pathlib.Path) -> Listing:
    """The listing without the pictures at these positions of train + test. Raises DataError where a class empties."""
    good = np.delete(np.arange(len(listing.train) + len(listing.test)), bad)
    in_train, in_test = good[good < len(listing.train)], good[good >= len(listing.train)] - len(listing.train)
    train_labels, test_labels = listing.train_labels[in_train], listing.test_labels[in_test]
    for c, name in enumerate(listing.class_names):
        for what, labels in ((LABELED, train_labels), (TEST, test_labels)):
            if not np.any(labels == c):
                raise DataError(f"{root}: class {name} has no readable picture left in {what}")
    return dataclasses.replace(
        listing,
        train=[listing.train[i] for i in in_train],
        train_labels=train_labels,
        test=[listing.test[i] for i in in_test],
        test_labels=test_labels,
    )
