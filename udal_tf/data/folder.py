"""A folder of images as a custom dataset: listed, checked, decoded once, resized to one size and cached."""

import dataclasses
import itertools

import numpy as np

from udal_tf.buckets import origin
from udal_tf.data import custom_dataset, custom_images, folder_listing, settings
from udal_tf.data.dataset import DataError, Held, Source
from udal_tf.data.folder_layout import VALIDATION
from udal_tf.data.folder_listing import HOLD_OUT, LABELED, TEST, Folder, Listing
from udal_tf.data.originals import FileOriginals
from udal_tf.records.datasets import FolderConfig
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown


def load(config: DataConfig, own: FolderConfig | None = None) -> Source:
    """Lists, checks and decodes the images below --data_dir, or those that --labels names.

    With --beta=1 every image in labeled/ keeps its label; below 1, the others of each class become unlabeled images.
    Every image is converted to RGB.

    Raises:
      DataError: for a missing or empty folder or class, unreadable images, or settings that do not apply.
    """
    if config.protocol != "crest" or config.imbalance != 1:
        raise DataError(
            f"{config.dataset}: the folders determine the class sizes: leave out --imbalance and "
            f"--protocol, got --imbalance={config.imbalance:g} --protocol={config.protocol}"
        )
    # Checked before decoding, which takes a while.
    own = own or FolderConfig()
    folder = custom_dataset.read(config, own)
    root, listing = folder.root, folder_listing.make_listing(folder)
    if own.labels_sha256 and own.labels_sha256 != listing.sha256:
        raise DataError(f"{shown(folder.table)} has changed since the settings were made from it")
    facts = settings.facts_of(listing, root, config)
    paths = listing.paths
    images, size, bad = custom_images.load(FileOriginals(paths), config)
    listing = _without(folder, listing, list(bad))
    classes, validation = len(listing.class_names), None
    train, held = images.split(len(listing.train))
    if listing.validation is not None and listing.validation_labels is not None:
        of_validation, held = images.split(len(listing.validation), after=len(listing.train))
        validation = Held.of(of_validation, listing.validation_labels)
    return Source(
        train=train,
        train_labels=listing.train_labels,
        test=held,
        test_labels=listing.test_labels,
        class_names=listing.class_names,
        provenance={
            "source": f"images in {shown(own.labels)}, below {origin(root)}"
            if own.labels
            else f"images below {origin(root)}",
            "image_size": size,
            "test": f"{HOLD_OUT:.0%} of each class, held out" if listing.held_out else _named(folder, TEST),
            "test_counts": np.bincount(listing.test_labels, minlength=classes).tolist(),
            "skipped_bad_images": len(bad),
            "ignored_files": listing.ignored,
            **folder_listing.left_out(listing),
            "recipe_facts": dataclasses.asdict(facts),
        },
        long_tailed=True,
        geometric=False,
        draw=_draw(folder, config),
        skipped=tuple((str(paths[i]), fault) for i, fault in bad.items()),
        validation=validation,
        validation_from="" if validation is None else _named(folder, VALIDATION),
    )


def _named(folder: Folder, part: str) -> str:
    return f"split {part} of {shown(folder.table)}" if folder.table else f"{shown(folder.part(part).name)}/"


def _draw(folder: Folder, config: DataConfig) -> str:
    if config.beta < 1:
        return f"a fraction {config.beta:g} of " + ("the labeled images" if folder.table else f"{LABELED}/")
    return f"as in {shown(folder.table)}" if folder.table else "as in the folders"


def _without(folder: Folder, listing: Listing, bad: list[int]) -> Listing:
    """The listing without the images at these positions of `paths`. Raises DataError if a class becomes empty."""
    good = np.ones(len(listing.paths), bool)
    good[bad] = False
    validation, validation_labels = listing.validation or [], listing.validation_labels
    in_train, in_validation, in_test = np.split(good, np.cumsum([len(listing.train), len(validation)]))
    train_labels, test_labels = listing.train_labels[in_train], listing.test_labels[in_test]
    for c, name in enumerate(listing.class_names):
        for what, labels in ((LABELED, train_labels), (TEST, test_labels)):
            if not np.any(labels == c):
                raise DataError(f"{shown(folder.root)}: class {name} has no readable images in {what}")
    if listing.validation is not None and not in_validation.any():
        raise DataError(f"{shown(folder.root)}: no readable images in {VALIDATION}")
    return dataclasses.replace(
        listing,
        train=list(itertools.compress(listing.train, in_train)),
        train_labels=train_labels,
        test=list(itertools.compress(listing.test, in_test)),
        test_labels=test_labels,
        validation=None if listing.validation is None else list(itertools.compress(validation, in_validation)),
        validation_labels=None if validation_labels is None else validation_labels[in_validation],
    )
