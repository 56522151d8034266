"""How fast this machine trains the cells of a grid: `measured_speeds`, for the hours that a sweep lists."""

from collections.abc import Sequence

from udal_tf.config import Config
from udal_tf.registry import Method
from udal_tf.sweep.engines import SweepError
from udal_tf.sweep.grids import Cell, images_per_step
from udal_tf.sweep.listing import Speeds

# Where the record of a dataset does not say how many there are.
_CLASSES = 10
# The evaluation is not in the hours, which are of training images.
_TEST_IMAGES = 10


def _kind(config: Config) -> tuple:
    """What a step's cost depends on; cells that agree in it are timed once."""
    data, train = config.data, config.train
    sizes = (train.batch_size, train.unlabeled_batch_size, config.method.joint_forward)
    method = config.records.method
    behavior = Method.behavior if method.generational else method.behavior
    own = (config.own.base, config.own.arch)
    return data.dataset, data.image_size, config.method.base, behavior, config.model, config.device, *own, *sizes


def measured_speeds(cells: Sequence[Cell]) -> Speeds:
    """Times some steps of a cell of each kind on this machine, on random images of the dataset's size.

    A minute or so for each: the step is compiled first. No dataset is read.
    """
    from udal_tf.training import timing
    from udal_tf.training.distribute import hardware, make_strategy

    speeds: dict[tuple, float] = {}
    for cell in cells:
        config = cell.config
        if _kind(config) not in speeds:
            dataset = config.records.dataset
            side = config.data.image_size or dataset.image_side
            if not side:
                raise SweepError(f"--measure: the record of --dataset={dataset.name} does not say its image_side")
            found = timing.measure(config, dataset.num_classes or _CLASSES, _TEST_IMAGES, side)
            speeds[_kind(config)] = images_per_step(config) / found.seconds_per_step
    device = hardware(make_strategy(cells[0].config.device))
    where = ", ".join(f"{name} {device[name]}" for name in ("device", "processor", "cores") if device.get(name))
    return Speeds(lambda config: speeds[_kind(config)], f"as measured on this machine just now ({where})")
