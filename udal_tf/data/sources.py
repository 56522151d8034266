"""`load`: the semi-supervised problem of a config, using the registry record of its dataset."""

from udal_tf import registry
from udal_tf.data.dataset import DataError, Source, SslData
from udal_tf.data.problem import make_problem
from udal_tf.registry import DATASETS
from udal_tf.sections import DataConfig
from udal_tf.settings import Section


def load_source(config: DataConfig, own: Section | None = None) -> Source:
    """Reads the dataset of `config`, before any protocol.

    Args:
      config: the data settings.
      own: the dataset's own section of settings; its defaults if it has one and none is given.

    Raises:
      DataError: with the ways to provide missing data, or with what is wrong with it.
    """
    record = DATASETS[config.dataset]
    if not record.resizable and (config.image_size or config.skip_bad_images):
        usages = [family.usage for family in DATASETS.families]
        names = [name for name, dataset in DATASETS.items() if dataset.resizable and not dataset.in_memory]
        resizable = ", ".join([*names, *usages])
        raise DataError(
            f"{config.dataset}: --image_size and --skip_bad_images only apply to {resizable}; leave them out"
        )
    read, own = registry.resolved(record.load), registry.section_of(record, own)
    return read(config) if own is None else read(config, own)


def load(config: DataConfig, own: Section | None = None) -> SslData:
    """Reads the dataset of `config` and applies its protocol.

    Raises:
      DataError: as `load_source`, or if a class has too few images for the protocol.
    """
    return make_problem(load_source(config, own), config)
