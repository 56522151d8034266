"""The data sets by name, and `load`, which makes the semi-supervised problem of a config."""

from collections.abc import Callable

from udal_tf.config import DataConfig
from udal_tf.data import cifar, digits
from udal_tf.data.dataset import Source, SslData, make_problem

SOURCES: dict[str, Callable[[DataConfig], Source]] = {
    "digitslt": digits.load,
    "cifar10lt": cifar.load,
    "cifar100lt": cifar.load,
}


def load(config: DataConfig) -> SslData:
    """Reads the data set of `config` and applies its protocol.

    Raises:
      DataError: with the ways to provide the data where it is missing, or with what is wrong in it.
    """
    return make_problem(SOURCES[config.dataset](config), config)
