"""The long-tailed CIFAR files that CReST reads: TFRecords of 3,072 raw bytes in CHW order and a label."""

import hashlib
import pathlib

import numpy as np
import tensorflow as tf

from udal_tf.data.dataset import DataError, without_tuning
from udal_tf.shown_names import shown

TRAIN_FILE, EVAL_FILE = "train.tfrecords", "eval.tfrecords"
SIDE, CHANNELS = 32, 3
_FEATURES = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
_BATCH = 1000


def folder_name(prefix: str, imbalance: float) -> str:
    """`cifar-10-data-im-0.01` for γ = 100: CReST's class_im_ratio as Python writes it."""
    return f"{prefix}{1.0 / imbalance!s}"


def find(folders: list[pathlib.Path], name: str) -> pathlib.Path | None:
    """The first folder `name` that holds both files, in cifar-lt/ below each folder, or in the folder itself."""
    for folder in folders:
        for location in (folder / "cifar-lt" / name, folder / name):
            if (location / TRAIN_FILE).is_file() and (location / EVAL_FILE).is_file():
                return location
    return None


def read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 32, 32, 3] uint8 and labels [N] int64 in file order.

    Raises:
      DataError: for a truncated or damaged file, or records in another format.
    """

    def parse(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_example(records, _FEATURES)
        return parsed["image"], parsed["label"]

    images, labels = [], []
    try:
        for records, values in without_tuning(tf.data.TFRecordDataset(str(path)).batch(_BATCH).map(parse)):
            records = records.numpy()
            sizes = {len(record) for record in records}
            if sizes != {SIDE * SIDE * CHANNELS}:
                raise DataError(f"{shown(path)}: images of {sorted(sizes)} bytes; CReST's records have 3072")
            planes = np.frombuffer(b"".join(records), np.uint8).reshape(-1, CHANNELS, SIDE, SIDE)
            images.append(planes.transpose(0, 2, 3, 1))
            labels.append(values.numpy())
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0]
        raise DataError(f"{shown(path)}: truncated, damaged or not CReST's records ({reason})") from error
    if not images:
        raise DataError(f"{shown(path)}: it has no records")
    return np.concatenate(images), np.concatenate(labels)


def write(path: pathlib.Path, images: np.ndarray, labels: np.ndarray) -> str:
    """Writes images [N, 32, 32, 3] uint8 and labels as CReST reads them; returns the file's SHA-256."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image, label in zip(images, labels, strict=True):
            planes = np.ascontiguousarray(image.transpose(2, 0, 1)).tobytes()
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[planes])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString(deterministic=True))
    return hashlib.sha256(path.read_bytes()).hexdigest()
