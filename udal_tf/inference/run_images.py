"""The image files that a run was trained and tested on, as far as they are still there."""

import os

from udal_tf.data import custom_dataset, folder_listing, label_files
from udal_tf.data.dataset import DataError
from udal_tf.inference.trained import TrainedModel
from udal_tf.records.datasets import FolderConfig
from udal_tf.shown_names import shown

# From an absolute path to the label, "" for none, and the split.
Labels = dict[str, tuple[str, str]]


def labels_of(model: TrainedModel) -> tuple[Labels, str]:
    """The files of a run on a custom dataset, those to train on first; and why there are none, or "".

    Test images that were held out are of split test, so that they remain the test images.
    """
    config, own = model.folder.config.data, model.folder.config.own.dataset
    if not isinstance(own, FolderConfig):
        return {}, f"the images of {config.dataset} are not files of a custom dataset"
    try:
        listing = folder_listing.make_listing(custom_dataset.read(config, own))
    except DataError as error:
        return {}, shown(str(error).splitlines()[0])
    names = [*listing.class_names, ""]  # An unknown label is −1.
    parts = [
        (listing.train, listing.train_labels, label_files.TRAIN),
        (listing.validation or [], listing.validation_labels, label_files.VAL),
        (listing.test, listing.test_labels, label_files.TEST),
    ]
    return {
        os.path.abspath(path): (names[label], split)
        for paths, labels, split in parts
        if labels is not None
        for path, label in zip(paths, labels, strict=True)
    }, ""
