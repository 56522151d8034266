"""Folders as TensorFlow Datasets prepares them, made of arrays."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def features_of(channels: int = 3, classes: Sequence[str] = ("a", "b"), **image: Any) -> dict[str, Any]:
    """The features of most image datasets."""
    import tensorflow_datasets as tfds

    of_image = {"shape": (None, None, channels), "encoding_format": "png", **image}
    return {"image": tfds.features.Image(**of_image), "label": tfds.features.ClassLabel(names=list(classes))}


def write(
    root: pathlib.Path,
    name: str,
    splits: Mapping[str, Sequence[Mapping[str, Any]]],
    features: Mapping[str, Any],
    version: str = "1.0.0",
    supervised: tuple[str, str] | None = ("image", "label"),
) -> pathlib.Path:
    """Writes `<root>/<name>[/<config>]/<version>`, seven examples a file.

    Args:
      root: as --data_dir.
      name: with its config behind a slash, if there is one.
      splits: name -> examples, in their order.
      features: name -> feature.
      version: of the dataset.
      supervised: names of the image and the label, as the dataset states them.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import dataset_info

    place = root / name / version
    place.mkdir(parents=True)
    identity = dataset_info.DatasetIdentity(
        name=name.split("/")[0],
        version=tfds.core.Version(version),
        data_dir=str(place),
        module_name="made.up",
        config_name=name.split("/")[1] if "/" in name else None,
    )
    keys = supervised if supervised and set(supervised) <= set(features) else None
    info = tfds.core.DatasetInfo(
        builder=identity, features=tfds.features.FeaturesDict(dict(features)), supervised_keys=keys
    )
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=7)
    writer.initialize_splits(list(splits))
    for split, examples in splits.items():
        writer.add_examples({split: list(examples)})
    writer.close_all()
    return place


def examples(images: np.ndarray, labels: Sequence[int]) -> list[dict[str, Any]]:
    """Examples with the usual names."""
    return [{"image": image, "label": int(label)} for image, label in zip(images, labels, strict=True)]
