"""What a sweep would do: each cell's state, its cost in images and hours, and its command."""

import pathlib
from collections.abc import Sequence

from udal_tf.config import differences
from udal_tf.reporting.terminal import command_text, filled, wrapped
from udal_tf.run_dir import RunDir
from udal_tf.run_records import RunDirError
from udal_tf.shown_names import shown
from udal_tf.sweep.grids import Cell
from udal_tf.sweep.speeds import Speeds

FINISHED = "finished"
STARTED = "started"
NEW = "new"


def state_of(cell: Cell, workdir: pathlib.Path) -> str:
    """FINISHED, STARTED or NEW. Raises ValueError if the folder belongs to a run with other settings."""
    run_dir = RunDir(workdir)
    if not run_dir.begun:
        return NEW
    different = differences(cell.config, run_dir.config())
    if different:
        raise ValueError(f"{shown(workdir)} belongs to a run with other settings: {'; '.join(different)}")
    return FINISHED if run_dir.finished else STARTED


def images_done(cell: Cell, workdir: pathlib.Path) -> float:
    """How many of the cell's training images are done, from the epochs recorded in its folder."""
    train, generations = cell.config.train, cell.config.generations
    run_dir = RunDir(workdir)
    try:
        if run_dir.finished:
            return cell.images
        epochs = run_dir.epochs
    except (RunDirError, OSError):  # The run itself refuses the file, which is the reason logged for its failure.
        return 0.0
    return cell.images * min(1.0, epochs / (train.epochs * generations))


def listing(cells: Sequence[Cell], states: Sequence[str], commands: Sequence[str], speeds: Speeds) -> str:
    """Every cell with its state, cost and exact command, then the totals and the source of the estimated hours."""
    hours = [cell.images / speed / 3600 if (speed := speeds.of(cell.config)) else 0.0 for cell in cells]
    lines = []
    for cell, state, command, cost in zip(cells, states, commands, hours, strict=True):
        shown = f"{cost:,.2f} h" if cost else "? h"
        lines.append(filled([cell.name, state, f"{cell.images:,} images", shown], following="    "))
        lines.append(command_text(command))
    remaining = [(cell, cost) for cell, state, cost in zip(cells, states, hours, strict=True) if state != FINISHED]
    different = sorted({speeds.of(cell.config) for cell in cells})
    totals = (
        f"{len(cells)} cells, {sum(cell.images for cell in cells):,} training images, {sum(hours):,.1f} h; "
        f"still to train: {len(remaining)} cells, {sum(cost for _, cost in remaining):,.1f} h."
    )
    source = f"Hours at {' and '.join(f'{speed:,.0f}' for speed in different)} images per second, {speeds.basis}."
    return "\n".join([*lines, "", wrapped(totals), wrapped(source)])
