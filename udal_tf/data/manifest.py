"""Split manifests: JSON files that list, position by position, which images an experiment used."""

import hashlib
import pathlib
from typing import Any

import numpy as np

from udal_tf import storage
from udal_tf.data.dataset import DataError
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown

FORMAT = "udal_tf split manifest 1"
FILE_NAME = "split_manifest.json"
# The settings that, with the fold, determine a split; a manifest made with other settings is rejected.
SETTINGS = ("dataset", "protocol", "imbalance", "n1", "beta")


def positions_sha256(positions: np.ndarray) -> str:
    """SHA-256 over the positions as little-endian int64, which identifies a split."""
    return hashlib.sha256(np.ascontiguousarray(positions, dtype="<i8").tobytes()).hexdigest()


def hashed(positions: np.ndarray) -> dict[str, Any]:
    """A list of positions with its hash, as stored in manifests."""
    return {"positions": np.asarray(positions).tolist(), "sha256": positions_sha256(positions)}


def read(path: str | pathlib.Path) -> dict[str, Any]:
    """The manifest at `path`, each list of positions verified against its hash and converted to an int64 array.

    Raises:
      DataError: if it is missing, is not a manifest, or a hash differs.
    """
    path = pathlib.Path(path).expanduser()
    try:
        content = storage.read_json(path)
    except ValueError as error:
        raise DataError(f"--split_manifest: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"--split_manifest: {shown(path)} is not a manifest written by udal_tf.commands.crest_export")
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
    except DataError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise DataError(f"--split_manifest: {shown(path)} is incomplete: {error!r}") from error


def _checked(part: dict[str, Any], name: str, path: pathlib.Path) -> np.ndarray:
    positions = np.asarray(part["positions"], np.int64)
    if positions_sha256(positions) != part["sha256"]:
        raise DataError(f"--split_manifest: the positions of {name} in {shown(path)} do not match their hash")
    return positions


def read_split(config: DataConfig, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """The labeled and the other positions of config.fold in config.split_manifest, and the draw it records.

    Args:
      config: its settings must match the manifest.
      labels: [N] the labels that the positions index.

    Raises:
      DataError: for different settings, another dataset or order, or a fold missing from the manifest.
    """
    content = read(config.split_manifest)
    for name in SETTINGS:
        if content[name] != getattr(config, name):
            raise DataError(
                f"--split_manifest={shown(config.split_manifest)} was made with --{name}={content[name]}, "
                f"this run has --{name}={getattr(config, name)}"
            )
    if config.fold not in content["folds"]:
        raise DataError(f"--split_manifest={shown(config.split_manifest)} has no fold {config.fold}")
    if content["train_labels_sha256"] != positions_sha256(labels):
        raise DataError(
            f"--split_manifest={shown(config.split_manifest)} is for other images, or for another order of the same:\n"
            f"it was made from {content['source']}; the labels here have a different hash"
        )
    fold = content["folds"][config.fold]
    every = np.concatenate([fold["labeled"], fold["rest"]])
    if not np.array_equal(np.sort(every), np.sort(content["subset"])) or len(np.unique(every)) != len(every):
        raise DataError(
            f"--split_manifest={shown(config.split_manifest)}: fold {config.fold} does not partition its subset"
        )
    if every.min() < 0 or every.max() >= len(labels):
        raise DataError(f"--split_manifest={shown(config.split_manifest)} has positions outside 0…{len(labels) - 1}")
    return fold["labeled"], fold["rest"], f"{content['draw']}, from {pathlib.Path(config.split_manifest).name}"
