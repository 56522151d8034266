"""What a sweep would do: each cell's state, its cost in pictures and hours, and its command."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

from udal_tf.config import Config, differences
from udal_tf.reporting.grids import Cell
from udal_tf.run_dir import RunDir

# Training pictures a second, each view counted once. On two cores: docs/results.md's digits-LT (288,000 pictures of
# UDAL in 65 s) and Fashion-MNIST-LT (172,800 in 161 s). On one GPU: what others measured with other code, in float32;
# FixMatch's 1,000 steps of 960 pictures in 5 to 6 minutes on a 2080 Ti, and ResNet-50 at 224 pixels on a V100.
PICTURES_PER_SECOND = {"digitslt": 4_400.0, "fashionlt": 1_070.0, "wrn": 2_900.0, "applications": 412.0}
TWO_CORES = ("digitslt", "fashionlt")
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


def pictures_done(cell: Cell, workdir: pathlib.Path) -> float:
    """How many of the cell's pictures are trained, by the epochs that its folder counts."""
    train, generations = cell.config.train, cell.config.method.generations
    run_dir = RunDir(workdir)
    if run_dir.finished:
        return cell.pictures
    return cell.pictures * min(1.0, run_dir.epochs / (train.epochs * generations))


@dataclasses.dataclass(frozen=True)
class Speeds:
    """Training pictures a second of every cell. basis: what that rests on, in words."""

    of: Callable[[Config], float]
    basis: str


def known_speeds(cells: Sequence[Cell]) -> Speeds:
    """What PICTURES_PER_SECOND has for a cell's data set or else its network."""

    def of(config: Config) -> float:
        network = "wrn" if config.model.arch == "wrn" else "applications"
        return PICTURES_PER_SECOND.get(config.data.dataset) or PICTURES_PER_SECOND[network]

    if all(cell.config.data.dataset in TWO_CORES for cell in cells):
        return Speeds(of, "as measured on two cores (docs/results.md)")
    return Speeds(
        of,
        "as others measured other code on one GPU in float32 (WRN-28-2 on a 2080 Ti: "
        "github.com/LeeDoYup/FixMatch-pytorch/issues/8; ResNet-50 on a V100: github.com/NVIDIA/DeepLearningExamples), "
        "this code on none: --measure times some steps on the machine at hand, --images_per_second states a speed",
    )


def listing(cells: Sequence[Cell], states: Sequence[str], commands: Sequence[str], speeds: Speeds) -> str:
    """Every cell with its state, cost and exact command, then the sum and what the hours rest on."""
    hours = [cell.pictures / speeds.of(cell.config) / 3600 for cell in cells]
    lines = []
    for cell, state, command, cost in zip(cells, states, commands, hours, strict=True):
        lines.append(f"{cell.name}  {state}  {cell.pictures:,} pictures  {cost:,.2f} h\n  {command}")
    rest = [(cell, cost) for cell, state, cost in zip(cells, states, hours, strict=True) if state != FINISHED]
    different = sorted({speeds.of(cell.config) for cell in cells})
    lines.append(
        f"\n{len(cells)} cells, {sum(cell.pictures for cell in cells):,} training pictures, {sum(hours):,.1f} h; "
        f"still to train: {len(rest)} cells, {sum(cost for _, cost in rest):,.1f} h.\n"
        f"Hours at {' and '.join(f'{speed:,.0f}' for speed in different)} pictures a second, {speeds.basis}."
    )
    return "\n".join(lines)
