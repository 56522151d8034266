"""--plugin of the commands that argparse reads: files that register records of one's own."""

import argparse
import os
from collections.abc import Sequence

from udal_tf import registry


def _paths(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def add_plugin_argument(parser: argparse.ArgumentParser) -> None:
    """--plugin=FILE[,FILE]."""
    parser.add_argument(
        "--plugin",
        default=(),
        type=_paths,
        metavar="FILE",
        help="Python files, comma-separated, that register datasets, base learners, methods or backbones; those of a "
        "trained run are found again by themselves",
    )


def load_plugins(paths: Sequence[str]) -> None:
    """Imports the files. Raises PluginError, a ValueError, for one that cannot be used."""
    prepare_tensorflow()
    for path in paths:
        registry.load_plugin(path)


def prepare_tensorflow() -> None:
    """What has to be said before TensorFlow is imported, which a plugin may do."""
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # TensorFlow leaves oneDNN off on some processors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
