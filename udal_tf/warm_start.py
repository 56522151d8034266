"""What --pretrained=WORKDIR says of the network to train, read from that run's `config.json` alone."""

import os
from typing import Any

from udal_tf import storage
from udal_tf.sections import ModelConfig
from udal_tf.shown_names import shown

_CONFIG = "config.json"
# The settings of a run's model section that say what its weights are of.
_OF_WEIGHTS = ("arch", "pretrained", "pixels")


def network_of(workdir: str | os.PathLike) -> dict[str, Any]:
    """The settings that give the same network, size of images and pixels as an earlier run.

    Args:
      workdir: of the earlier run.

    Returns:
      Setting -> value: "arch", those of its own, "pixels" and "image_size"; empty where there is no such run, which
      `training.initial_weights` refuses by name.

    Raises:
      ValueError: if its `config.json` cannot be read.
    """
    path = storage.at(workdir) / _CONFIG
    if not storage.exists(path) or storage.is_dir(path):
        return {}
    nested = storage.read_json(path)
    if not isinstance(nested, dict):
        raise ValueError(f"{shown(path)} is not the config of a run")
    sections = {name: values for name, values in nested.items() if isinstance(values, dict)}
    model = ModelConfig(**{name: sections["model"][name] for name in _OF_WEIGHTS if name in sections.get("model", {})})
    side = sections.get("data", {}).get("image_size", 0)
    return {
        **({"image_size": side} if isinstance(side, int) and side else {}),
        **sections.get("arch_settings", {}),
        "arch": model.arch,
        "pixels": "published" if model.published_pixels else "plain",
    }
