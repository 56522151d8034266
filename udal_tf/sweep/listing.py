"""What a sweep would do: each cell's state, its cost in images and hours, and its command."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

from udal_tf.config import Config, differences
from udal_tf.registry import Speed
from udal_tf.run_dir import RunDir
from udal_tf.sweep.grids import Cell

FINISHED, BEGUN, NEW = "finished", "begun", "new"


def state_of(cell: Cell, workdir: pathlib.Path) -> str:
    """FINISHED, BEGUN or NEW. Raises ValueError where the folder belongs to a run of other settings."""
    run_dir = RunDir(workdir)
    if not run_dir.begun:
        return NEW
    different = differences(cell.config, run_dir.config())
    if different:
        raise ValueError(f"{workdir} belongs to a run with other settings: {'; '.join(different)}")
    return FINISHED if run_dir.finished else BEGUN


def images_done(cell: Cell, workdir: pathlib.Path) -> float:
    """How many of the cell's images are trained, by the epochs that its folder counts."""
    train, generations = cell.config.train, cell.config.generations
    run_dir = RunDir(workdir)
    if run_dir.finished:
        return cell.images
    return cell.images * min(1.0, run_dir.epochs / (train.epochs * generations))


@dataclasses.dataclass(frozen=True)
class Speeds:
    """Training images a second of every cell, 0 where nobody knows. basis: what that rests on, in words."""

    of: Callable[[Config], float]
    basis: str


def _measured(config: Config) -> Speed | None:
    """What the records have: of the dataset with this backbone, or else of the backbone."""
    backbone = config.records.arch
    return config.records.dataset.speeds.get(backbone.name) or backbone.speed


def known_speeds(cells: Sequence[Cell]) -> Speeds:
    """The speeds that the records of the cells' datasets and backbones have."""
    found = [_measured(cell.config) for cell in cells]
    sources = list(dict.fromkeys(speed.source if speed else "of some not known" for speed in found))
    if not all(cell.config.model.arch in cell.config.records.dataset.speeds for cell in cells):
        sources.append(
            "this code on none: --measure times some steps on the machine at hand, --images_per_second states a speed"
        )

    def of(config: Config) -> float:
        speed = _measured(config)
        return speed.images_per_second if speed else 0.0

    return Speeds(of, "; ".join(sources))


def listing(cells: Sequence[Cell], states: Sequence[str], commands: Sequence[str], speeds: Speeds) -> str:
    """Every cell with its state, cost and exact command, then the sum and what the hours rest on."""
    hours = [cell.images / speed / 3600 if (speed := speeds.of(cell.config)) else 0.0 for cell in cells]
    lines = []
    for cell, state, command, cost in zip(cells, states, commands, hours, strict=True):
        shown = f"{cost:,.2f} h" if cost else "? h"
        lines.append(f"{cell.name}  {state}  {cell.images:,} images  {shown}\n  {command}")
    rest = [(cell, cost) for cell, state, cost in zip(cells, states, hours, strict=True) if state != FINISHED]
    different = sorted({speeds.of(cell.config) for cell in cells})
    lines.append(
        f"\n{len(cells)} cells, {sum(cell.images for cell in cells):,} training images, {sum(hours):,.1f} h; "
        f"still to train: {len(rest)} cells, {sum(cost for _, cost in rest):,.1f} h.\n"
        f"Hours at {' and '.join(f'{speed:,.0f}' for speed in different)} images a second, {speeds.basis}."
    )
    return "\n".join(lines)
