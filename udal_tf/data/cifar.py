"""CIFAR10-LT and CIFAR100-LT."""

from udal_tf.config import DataConfig
from udal_tf.data.dataset import DataError, Source


def load(config: DataConfig) -> Source:
    """Reads CIFAR from the first place that holds it."""
    raise DataError(f"{config.dataset}: no data found under {config.data_dir or '~/tensorflow_datasets'}")
