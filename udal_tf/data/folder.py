"""A folder of images as a custom dataset: listed, checked, decoded once, resized to one size and cached."""

import dataclasses
import pathlib

import numpy as np

from udal_tf.config import DataConfig
from udal_tf.data import custom_images, folder_listing, settings
from udal_tf.data.dataset import DataError, Source
from udal_tf.data.folder_listing import HOLD_OUT, LABELED, TEST, Listing
from udal_tf.data.originals import FileOriginals


def load(config: DataConfig) -> Source:
    """Lists, checks and decodes the images below --data_dir.

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
    root = folder_listing.root_of(config)
    # Checked before decoding, which takes a while.
    listing = folder_listing.make_listing(folder_listing.read_folder(root))
    facts = settings.facts_of(listing, root, config)
    paths = [*listing.train, *listing.test]
    images, size, bad = custom_images.load(FileOriginals(paths), config)
    listing = _without(listing, list(bad), root)
    train, test = images.split(len(listing.train))
    return Source(
        train=train,
        train_labels=listing.train_labels,
        test=test,
        test_labels=listing.test_labels,
        class_names=listing.class_names,
        provenance={
            "source": f"images below {root}",
            "image_size": size,
            "test": f"{HOLD_OUT:.0%} of each class, held out" if listing.held_out else f"{TEST}/",
            "test_counts": np.bincount(listing.test_labels, minlength=len(listing.class_names)).tolist(),
            "skipped_bad_images": len(bad),
            "ignored_files": listing.ignored,
            **folder_listing.left_out(listing),
            "recipe_facts": dataclasses.asdict(facts),
        },
        long_tailed=True,
        geometric=False,
        draw="as in the folders" if config.beta == 1 else f"a fraction {config.beta:g} of {LABELED}/",
        skipped=tuple((str(paths[i]), fault) for i, fault in bad.items()),
    )


def _without(listing: Listing, bad: list[int], root: pathlib.Path) -> Listing:
    """The listing without the images at these positions of train + test. Raises DataError if a class becomes empty."""
    good = np.delete(np.arange(len(listing.train) + len(listing.test)), bad)
    in_train, in_test = good[good < len(listing.train)], good[good >= len(listing.train)] - len(listing.train)
    train_labels, test_labels = listing.train_labels[in_train], listing.test_labels[in_test]
    for c, name in enumerate(listing.class_names):
        for what, labels in ((LABELED, train_labels), (TEST, test_labels)):
            if not np.any(labels == c):
                raise DataError(f"{root}: class {name} has no readable images in {what}")
    return dataclasses.replace(
        listing,
        train=[listing.train[i] for i in in_train],
        train_labels=train_labels,
        test=[listing.test[i] for i in in_test],
        test_labels=test_labels,
    )
