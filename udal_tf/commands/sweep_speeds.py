"""How fast this machine trains the cells of a grid: `measured_speeds`, for the hours that a sweep lists."""

import os
from collections.abc import Sequence

from udal_tf.config import Config
from udal_tf.recipes import METHODS
from udal_tf.reporting.grids import Cell, pictures_per_step
from udal_tf.reporting.listing import Speeds

# Side of the pictures and number of classes, where the loader alone knows them.
_SIDES = {"digitslt": 8, "fashionlt": 28, "cifar10lt": 32, "cifar100lt": 32, "imagenet127": 224}
_CLASSES = {"cifar100lt": 100, "imagenet127": 127}
_TEN = 10
# The evaluation is not in the hours, which are of training pictures.
_TEST_PICTURES = 10


def _kind(config: Config) -> tuple:
    """What a step's cost depends on; cells that agree in it are timed once."""
    data, method, train = config.data, config.method, config.train
    sizes = (train.batch_size, train.unlabeled_batch_size, method.strong_views, method.joint_forward)
    return (
        data.dataset,
        data.image_size,
        method.base,
        METHODS[method.method].refined,
        config.model,
        config.device,
        *sizes,
    )


def measured_speeds(cells: Sequence[Cell]) -> Speeds:
    """Times some steps of a cell of each kind on this machine, on random pictures of the data set's size.

    A minute or so for each: the step is compiled first. No data set is read.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from udal_tf.training import timing
    from udal_tf.training.distribute import hardware, make_strategy

    speeds: dict[tuple, float] = {}
    for cell in cells:
        config = cell.config
        if _kind(config) not in speeds:
            side = config.data.image_size or _SIDES[config.data.dataset]
            found = timing.measure(config, _CLASSES.get(config.data.dataset, _TEN), _TEST_PICTURES, side)
            speeds[_kind(config)] = pictures_per_step(config) / found.seconds_per_step
    device = hardware(make_strategy(cells[0].config.device))
    where = ", ".join(f"{name} {device[name]}" for name in ("device", "processor", "cores") if device.get(name))
    return Speeds(lambda config: speeds[_kind(config)], f"as measured on this machine just now ({where})")
