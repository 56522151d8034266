"""TissueMNIST-LT: 28×28 gray images of kidney cells from MedMNIST v2's file `tissuemnist.npz`."""

import pathlib
import zipfile

import numpy as np

from udal_tf.data import files
from udal_tf.data.dataset import DataError, Source
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown

FILE = "tissuemnist.npz"
URL = "https://zenodo.org/records/10519652/files/tissuemnist.npz"
IMAGES = {"train": 165_466, "val": 23_640, "test": 47_280}
SIDE = 28
CLASS_NAMES = (
    "collecting duct, connecting tubule",
    "distal convoluted tubule",
    "glomerular endothelial cells",
    "interstitial endothelial cells",
    "leukocytes",
    "podocytes",
    "proximal tubule segments",
    "thick ascending limb",
)


def load(config: DataConfig) -> Source:
    """Reads the file; classes are ordered by their number of training images, the largest first.

    With the numbers' own order, class 1 of 7,814 images could not have the 10,099 that N_1 + M_1 = 19,500 and γ = 100
    ask for. Tests on the test images; the validation images are not used.

    Raises:
      DataError: if the file is missing or is not MedMNIST's; nothing is downloaded.
    """
    folders = files.data_dirs(config)
    path = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    if path is None:
        raise DataError(
            f"{config.dataset}: no {FILE} in {' or '.join(map(shown, folders))}. Nothing is downloaded: get it from\n"
            f"  {URL}\nand set its folder with --data_dir."
        )
    parts = {split: _part(path, split) for split in ("train", "test")}
    counts = np.bincount(parts["train"][1], minlength=len(CLASS_NAMES))
    order = np.argsort(-counts, kind="stable")
    rank = np.argsort(order)
    arrays = [(images, rank[labels]) for images, labels in parts.values()]
    provenance = {
        "source": "MedMNIST v2 tissuemnist.npz, 28x28 pixels, classes by size",
        "sha256": {FILE: files.sha256(path)},
        "class_counts": counts[order].tolist(),
        "test": "test; val is not used",
    }
    return Source.of_arrays(arrays, tuple(CLASS_NAMES[c] for c in order), provenance)


def _part(path: pathlib.Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """[N, 28, 28, 1] uint8 images and [N] int64 labels."""
    names = (f"{split}_images", f"{split}_labels")
    try:
        with np.load(path, allow_pickle=False) as content:
            missing = [name for name in names if name not in content.files]
            if missing:
                raise DataError(f"{shown(path)}: no {', '.join(missing)}: not MedMNIST's file")
            images, labels = (content[name] for name in names)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{shown(path)}: truncated or damaged ({(str(error).splitlines() or [''])[0]})") from error
    count = IMAGES[split]
    if images.shape != (count, SIDE, SIDE) or images.dtype != np.uint8:
        raise DataError(
            f"{shown(path)}: {names[0]} must be uint8 [{count}, {SIDE}, {SIDE}], got {images.dtype} "
            f"{list(images.shape)}"
        )
    if labels.shape not in ((count,), (count, 1)) or labels.dtype.kind not in "iu":
        raise DataError(f"{shown(path)}: {names[1]} must be {count} integers, got {labels.dtype} {list(labels.shape)}")
    labels = labels.reshape(-1).astype(np.int64)
    found = np.unique(labels).tolist()
    if found != list(range(len(CLASS_NAMES))):
        raise DataError(f"{shown(path)}: the labels of {split} are {found}, not all of 0 to {len(CLASS_NAMES) - 1}")
    return images[..., np.newaxis], labels
