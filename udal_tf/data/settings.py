"""`resolve`: the settings of a run, including those that follow from the data.

Reads a folder's file names, file sizes and a sample of image headers; no pixels, no TensorFlow.
"""

import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from udal_tf import config as config_module
from udal_tf import registry
from udal_tf.config import Config
from udal_tf.data import custom_dataset, decoding, folder_listing, longtail
from udal_tf.data.errors import DataError
from udal_tf.data.folder_listing import Listing
from udal_tf.folder_recipe import FolderFacts
from udal_tf.records.datasets import FolderConfig
from udal_tf.sections import DataConfig

# Image headers sampled, evenly over the listing, to estimate the image size.
HEADERS = 200


def resolve(given: Mapping[str, Any]) -> Config:
    """`config.resolve`, with the facts about the files if the dataset's record has `facts`, as `folder` does.

    The same images give the same settings on every machine. Adding or removing images changes `images`, so that a
    work folder of the old ones is rejected.

    Raises:
      ValueError: as `config.resolve` does.
      DataError: if the folder cannot be used.
    """
    config = config_module.resolve(given)
    facts, own = config.records.dataset.facts, config.own.dataset
    if not facts:
        return config
    found = registry.resolved(facts)(config.data, *([own] if own else []))
    if isinstance(found, FolderFacts):
        check_unlabeled(config, found.unlabeled)
    return config_module.resolve(given, found)


def uses_unlabeled(config: Config) -> bool:
    """Whether a run makes any use of unlabeled images: all do, except supervised ones."""
    return config.records.base.views_per_unlabeled_image(config.own.base) > 0


def check_unlabeled(config: Config, count: int) -> None:
    """Checks the number of images of a custom dataset that are unlabeled only. Raises DataError if a run needs some."""
    if config.data.dataset == "folder" and config.data.beta == 1 and not count and uses_unlabeled(config):
        folder = custom_dataset.read(config.data, config.own_section(FolderConfig))
        raise DataError(folder_listing.no_unlabeled(folder))


def folder_facts(config: DataConfig, own: FolderConfig | None = None) -> FolderFacts:
    """The facts that a folder's recipe depends on. Raises DataError as `custom_dataset.read` and `make_listing` do."""
    folder = custom_dataset.read(config, own or FolderConfig())
    return facts_of(folder_listing.make_listing(folder), folder.root, config)


def facts_of(listing: Listing, root: pathlib.Path, config: DataConfig) -> FolderFacts:
    """The facts about a folder that has been listed."""
    num_classes, paths = len(listing.class_names), listing.paths
    in_labeled, _ = longtail.fold_split(listing.train_labels, config.beta, config.fold, num_classes)
    counts = np.bincount(listing.train_labels[in_labeled], minlength=num_classes)
    to_validate = longtail.validation_counts(counts, config.validation) if config.validation else np.zeros_like(counts)
    counts = counts - to_validate
    side, one_size = _median_side([paths[i] for i in np.linspace(0, len(paths) - 1, HEADERS).astype(int)])
    known = np.bincount(listing.train_labels[listing.train_labels >= 0], minlength=num_classes)
    validation = "" if listing.validation is None else f"{len(listing.validation)} to validate; "
    return FolderFacts(
        classes=num_classes,
        labeled=int(counts.sum()),
        smallest=int(counts.min()),
        unlabeled=len(listing.train) - int(counts.sum()) - int(to_validate.sum()),
        side=side,
        one_size=one_size,
        images=f"{num_classes} classes; {known.sum()} labeled; {len(listing.train) - known.sum()} unlabeled; "
        f"{validation}{len(listing.test)} to test; names and sizes {_names_and_sizes(paths, root)}",
        labels_sha256=listing.sha256,
    )


def _median_side(paths: Sequence[pathlib.Path]) -> tuple[int, bool]:
    """The median short side of the readable images, 0 for none; whether all are squares of that side."""
    sizes = []
    for path in dict.fromkeys(paths):
        try:
            sizes.append(decoding.image_size(path))
        except decoding.ImageError:
            # Reported by name when it is decoded.
            continue
    median = int(np.median([min(size) for size in sizes])) if sizes else 0
    return median, bool(sizes) and set(sizes) == {(median, median)}


def _names_and_sizes(paths: Sequence[pathlib.Path], root: pathlib.Path) -> str:
    """A short hash of the names below `root` and the lengths of all files; modification times do not matter."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            length = os.stat(path).st_size
        except OSError:
            length = -1  # For example a broken link; reported when it is decoded.
        digest.update(f"{folder_listing.name_below(path, root)}\0{length}\n".encode("utf-8", "replace"))
    return digest.hexdigest()[:12]
