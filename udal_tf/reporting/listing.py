"""What a sweep would do: each cell's state, its cost in pictures and hours, and its command."""

import json
import pathlib
from collections.abc import Sequence

from udal_tf.config import Config, differences
from udal_tf.reporting.grids import Cell
from udal_tf.reporting.runs import CONFIG, METRICS, RESULT

# Training pictures a second, each view counted once. On two cores: BUILD_NOTES.md's digits-LT (288,000 pictures of
# UDAL in 65 s) and Fashion-MNIST-LT (172,800 in 161 s). The rest is an ASSUMPTION of what one GPU does in float32, for
# no GPU was measured: set --images_per_second to what `run.py` shows as img/s on yours.
PICTURES_PER_SECOND = {"digitslt": 4_400.0, "fashionlt": 1_070.0, "wrn": 4_000.0, "applications": 400.0}
TWO_CORES = ("digitslt", "fashionlt")
FINISHED, BEGUN, NEW = "finished", "begun", "new"


def state_of(cell: Cell, workdir: pathlib.Path) -> str:
    """FINISHED, BEGUN or NEW. Raises ValueError where the folder belongs to a run of other settings."""
    if not (workdir / CONFIG).exists():
        return NEW
    try:
        theirs = Config.from_dict(json.loads((workdir / CONFIG).read_text(encoding="utf-8")))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{workdir / CONFIG} is no config of this program's ({error})") from error
    different = differences(cell.config, theirs)
    if different:
        raise ValueError(f"{workdir} belongs to a run with other settings: {'; '.join(different)}")
    return FINISHED if (workdir / RESULT).exists() else BEGUN


def pictures_done(cell: Cell, workdir: pathlib.Path) -> float:
    """How many of the cell's pictures are trained, by the epochs that its folder counts."""
    train, generations = cell.config.train, cell.config.method.generations
    if (workdir / RESULT).exists():
        return cell.pictures
    files = [workdir / METRICS, *workdir.glob("generation_*/" + METRICS)]
    epochs = sum(path.read_bytes().count(b"\n") for path in files if path.exists())
    return cell.pictures * min(1.0, epochs / (train.epochs * generations))


def pictures_per_second(config: Config, given: float) -> float:
    """`given`, or what PICTURES_PER_SECOND has for the data set or else the network."""
    network = "wrn" if config.model.arch == "wrn" else "applications"
    return given or PICTURES_PER_SECOND.get(config.data.dataset) or PICTURES_PER_SECOND[network]


def listing(cells: Sequence[Cell], states: Sequence[str], commands: Sequence[str], speed: float) -> str:
    """Every cell with its state, cost and exact command, then the sum and what the hours rest on."""
    hours = [cell.pictures / pictures_per_second(cell.config, speed) / 3600 for cell in cells]
    lines = []
    for cell, state, command, cost in zip(cells, states, commands, hours, strict=True):
        lines.append(f"{cell.name}  {state}  {cell.pictures:,} pictures  {cost:,.2f} h\n  {command}")
    rest = [(cell, cost) for cell, state, cost in zip(cells, states, hours, strict=True) if state != FINISHED]
    small = speed == 0 and all(cell.config.data.dataset in TWO_CORES for cell in cells)
    basis = (
        "as given by --images_per_second" if speed else "as measured on two cores (BUILD_NOTES.md)" if small
        else "an ASSUMPTION for one GPU in float32, none was measured: give yours by --images_per_second"
    )  # fmt: skip
    speeds = sorted({pictures_per_second(cell.config, speed) for cell in cells})
    lines.append(
        f"\n{len(cells)} cells, {sum(cell.pictures for cell in cells):,} training pictures, {sum(hours):,.1f} h; "
        f"still to train: {len(rest)} cells, {sum(cost for _, cost in rest):,.1f} h.\n"
        f"Hours at {' and '.join(f'{s:,.0f}' for s in speeds)} pictures a second, {basis}."
    )
    return "\n".join(lines)
