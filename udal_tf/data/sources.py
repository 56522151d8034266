"""The data sets by name, and `load`, which makes the semi-supervised problem of a config."""

from collections.abc import Callable

from udal_tf.config import DataConfig
from udal_tf.data import cifar, digits, fashion, folder, imagenet127
from udal_tf.data.dataset import DataError, Source, SslData
from udal_tf.data.problem import make_problem

SOURCES: dict[str, Callable[[DataConfig], Source]] = {
    "digitslt": digits.load,
    "cifar10lt": cifar.load,
    "cifar100lt": cifar.load,
    "fashionlt": fashion.load,
    "imagenet127": imagenet127.load,
    "folder": folder.load,
}
# The data sets whose pictures come in many sizes; the others have one of their own.
RESIZABLE = ("imagenet127", "folder")


def load_source(config: DataConfig) -> Source:
    """Reads the data set of `config`, before any protocol.

    Raises:
      DataError: with the ways to provide the data where it is missing, or with what is wrong in it.
    """
    if config.dataset not in RESIZABLE and (config.image_size or config.skip_bad_images):
        raise DataError(
            f"{config.dataset}: --image_size and --skip_bad_images apply to {' and '.join(RESIZABLE)}; leave them out"
        )
    return SOURCES[config.dataset](config)


def load(config: DataConfig) -> SslData:
    """Reads the data set of `config` and applies its protocol.

    Raises:
      DataError: with the ways to provide the data where it is missing, or with what is wrong in it.
    """
    return make_problem(load_source(config), config)
