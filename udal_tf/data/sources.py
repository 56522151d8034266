"""`load` makes the semi-supervised problem of a config, by its dataset's record."""

from udal_tf import registry
from udal_tf.config import DataConfig
from udal_tf.data.dataset import DataError, Source, SslData
from udal_tf.data.problem import make_problem
from udal_tf.registry import DATASETS
from udal_tf.settings import Section


def load_source(config: DataConfig, own: Section | None = None) -> Source:
    """Reads the dataset of `config`, before any protocol.

    Args:
      own: the section of the dataset's own; its defaults where it has one and none is given.

    Raises:
      DataError: with the ways to provide the data where it is missing, or with what is wrong in it.
    """
    record = DATASETS[config.dataset]
    if not record.resizable and (config.image_size or config.skip_bad_images):
        resizable = " and ".join(name for name, dataset in DATASETS.items() if dataset.resizable)
        raise DataError(f"{config.dataset}: --image_size and --skip_bad_images apply to {resizable}; leave them out")
    read, own = registry.resolved(record.load), registry.section_of(record, own)
    return read(config) if own is None else read(config, own)


def load(config: DataConfig, own: Section | None = None) -> SslData:
    """Reads the dataset of `config` and applies its protocol.

    Raises:
      DataError: with the ways to provide the data where it is missing, or with what is wrong in it.
    """
    return make_problem(load_source(config, own), config)
