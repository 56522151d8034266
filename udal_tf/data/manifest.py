"""Split manifests: JSON files that say, position by position, which images an experiment used."""

import hashlib
import json
import pathlib
from typing import Any

import numpy as np

from udal_tf.config import DataConfig
from udal_tf.data.dataset import DataError

FORMAT = "udal_tf split manifest 1"
FILE_NAME = "split_manifest.json"
# The settings that decide a split beside the fold; a manifest made with others is not the split that was asked for.
SETTINGS = ("dataset", "protocol", "imbalance", "n1", "beta")


def positions_sha256(positions: np.ndarray) -> str:
    """SHA-256 over the positions as little-endian int64, by which a split is recognized."""
    return hashlib.sha256(np.ascontiguousarray(positions, dtype="<i8").tobytes()).hexdigest()


def hashed(positions: np.ndarray) -> dict[str, Any]:
    """A list of positions with its hash, as manifests hold them."""
    return {"positions": np.asarray(positions).tolist(), "sha256": positions_sha256(positions)}


def read(path: str | pathlib.Path) -> dict[str, Any]:
    """The manifest at `path`, every list of positions checked against its hash and turned into an int64 array.

    Raises:
      DataError: where it is missing, is not a manifest, or a hash differs.
    """
    path = pathlib.Path(path).expanduser()
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise DataError(f"--split_manifest: cannot read {path} ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"--split_manifest: {path} is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"--split_manifest: {path} is not a file that udal_tf.commands.crest_export writes")
    try:
        return {
            **content,
            "subset": _checked(content["subset"], "subset", path),
            "folds": {
                int(fold): {name: _checked(part[name], f"fold {fold}, {name}", path) for name in ("labeled", "rest")}
                for fold, part in content["folds"].items()
            },
            **{
                name: content[name]
                for name in (*SETTINGS, "source", "draw", "long_tailed", "train_labels_sha256", "files")
            },
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"--split_manifest: {path} is incomplete: {error!r}") from error


def _checked(part: dict[str, Any], name: str, path: pathlib.Path) -> np.ndarray:
    positions = np.asarray(part["positions"], np.int64)
    if positions_sha256(positions) != part["sha256"]:
        raise DataError(f"--split_manifest: the positions of {name} in {path} do not have the hash it states")
    return positions


def read_split(config: DataConfig, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """The labeled and the other positions of config.fold in config.split_manifest, and the draw it states.

    Args:
      config: its settings have to be the manifest's.
      labels: [N] the labels that the positions index.

    Raises:
      DataError: for other settings, another dataset or order, or a fold that the manifest lacks.
    """
    content = read(config.split_manifest)
    for name in SETTINGS:
        if content[name] != getattr(config, name):
            raise DataError(
                f"--split_manifest={config.split_manifest} was made with --{name}={content[name]}, "
                f"this run has --{name}={getattr(config, name)}"
            )
    if config.fold not in content["folds"]:
        raise DataError(f"--split_manifest={config.split_manifest} has no fold {config.fold}")
    if content["train_labels_sha256"] != positions_sha256(labels):
        raise DataError(
            f"--split_manifest={config.split_manifest} is of other images, or of the same in another order:\n"
            f"it was made from {content['source']}; the labels found here have another hash"
        )
    fold = content["folds"][config.fold]
    every = np.concatenate([fold["labeled"], fold["rest"]])
    if not np.array_equal(np.sort(every), np.sort(content["subset"])) or len(np.unique(every)) != len(every):
        raise DataError(f"--split_manifest={config.split_manifest}: fold {config.fold} is not a split of its subset")
    if every.min() < 0 or every.max() >= len(labels):
        raise DataError(f"--split_manifest={config.split_manifest} names images outside 0…{len(labels) - 1}")
    return fold["labeled"], fold["rest"], f"{content['draw']}, from {pathlib.Path(config.split_manifest).name}"
