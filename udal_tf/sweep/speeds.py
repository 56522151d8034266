"""Training images per second of the cells of a grid, recorded or measured here, to estimate a sweep's hours."""

import dataclasses
from collections.abc import Callable, Sequence

from udal_tf.config import Config
from udal_tf.registry import Method, Speed
from udal_tf.sweep.engines import SweepError
from udal_tf.sweep.grids import Cell
from udal_tf.training.stages import images_per_step

# Assumed if the record of a dataset does not state the number of classes.
_CLASSES = 10
# Few, since the estimated hours do not include the evaluation.
_TEST_IMAGES = 10


@dataclasses.dataclass(frozen=True)
class Speeds:
    """Training images per second of each cell, 0 if unknown. basis: the source of these figures, in words."""

    of: Callable[[Config], float]
    basis: str


def _recorded(config: Config) -> Speed | None:
    """The speed in the records: of the dataset with this backbone, or else of the backbone."""
    backbone = config.records.arch
    return config.records.dataset.speeds.get(backbone.name) or backbone.speed


def known_speeds(cells: Sequence[Cell]) -> Speeds:
    """The speeds in the records of the cells' datasets and backbones."""
    found = [_recorded(cell.config) for cell in cells]
    sources = list(dict.fromkeys(speed.source if speed else "unknown for some cells" for speed in found))
    if not all(cell.config.model.arch in cell.config.records.dataset.speeds for cell in cells):
        sources.append(
            "not of this code: --measure times some steps on this machine, --images_per_second states a speed"
        )

    def of(config: Config) -> float:
        speed = _recorded(config)
        return speed.images_per_second if speed else 0.0

    return Speeds(of, "; ".join(sources))


def _kind(config: Config) -> tuple:
    """The settings that determine the cost of a step; cells that share them are timed once."""
    data, train = config.data, config.train
    sizes = (train.batch_size, train.unlabeled_batch_size, config.method.joint_forward)
    method = config.records.method
    behavior = Method.behavior if method.generational else method.behavior
    own = (config.own.base, config.own.arch)
    return data.dataset, data.image_size, config.method.base, behavior, config.model, config.device, *own, *sizes


def measured_speeds(cells: Sequence[Cell]) -> Speeds:
    """Times some steps of a cell of each kind on this machine, on random images of the dataset's size.

    Takes about a minute per kind, since each step is compiled first. No dataset is read.
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
                raise SweepError(f"--measure: the record of --dataset={dataset.name} does not state its image_side")
            found = timing.measure(config, dataset.num_classes or _CLASSES, _TEST_IMAGES, side)
            speeds[_kind(config)] = images_per_step(config) / found.seconds_per_step
    device = hardware(make_strategy(cells[0].config.device))
    where = ", ".join(f"{name} {device[name]}" for name in ("device", "processor", "cores") if device.get(name))
    return Speeds(lambda config: speeds[_kind(config)], f"as just measured on this machine ({where})")
