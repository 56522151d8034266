"""Made-up finished runs: folders as `train_and_evaluate` leaves them, without training."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from run_files import make_result, make_row, scores

from udal_tf.config import resolve
from udal_tf.folder_recipe import FolderFacts
from udal_tf.run_dir import RunDir
from udal_tf.run_records import ByWeights, Generation, PseudoLabelCounts

CLASSES = 3
EPOCH_ROWS = 3


def write_run(
    root: pathlib.Path,
    accuracy: float,
    ema_la: float | None = None,
    facts: FolderFacts | None = None,
    balanced: float | None = None,
    by_generation: Sequence[float] = (),
    **given: Any,
) -> pathlib.Path:
    """A finished run of the settings `given` below `root`.

    Args:
      accuracy: of the EMA weights, from 0 to 1. balanced: its balanced accuracy; None: the same.
      by_generation: balanced accuracy after each generation; empty: that of the end.
    """
    config = resolve(given, facts)
    folder = root / "_".join(f"{name}{value}" for name, value in given.items())
    folder.mkdir(parents=True)
    test = scores(accuracy, ema_la, CLASSES)
    if balanced is not None:
        test = dataclasses.replace(test, balanced_accuracy=ByWeights(*[balanced] * 4))
    facts_of_data = {"recipe_facts": dataclasses.asdict(facts)} if facts else {}
    result = make_result(
        test,
        config=config.to_dict(),
        steps=config.train.total_steps,
        data={"source": "made up", "draw": config.data.draw, **facts_of_data},
    )
    train = {"alpha": 1.0, "confident": 0.5, "confident_correct": 0.4}
    train |= {"kl_data": 0.1, "kl_target": 0.2, "kl_uniform": 0.3}
    counts = PseudoLabelCounts(confident=[8, 4, 0], correct=[6, 1, 0], shown=[12, 4, 2])
    rows = [make_row(epoch, train=train, test=test, pseudo_labels=counts) for epoch in range(1, EPOCH_ROWS + 1)]
    run_dir, count = RunDir(folder), config.generations
    parts = [run_dir]
    if count > 1:
        own = {"precision": [0.9] * CLASSES, "recall": [0.3] * CLASSES}
        of_each = by_generation or [test.balanced_accuracy.ema] * count
        summaries = [
            Generation(1.0, test.accuracy, ByWeights(*[value] * 4), 1.0, [n] * CLASSES, **(own if n else {}))
            for n, value in enumerate(of_each)
        ]
        result = dataclasses.replace(result, generations=summaries)
        parts = [run_dir.generation(number) for number in range(count)]
    for part in parts:
        part.path.mkdir(exist_ok=True)
        part.write_result(result)
        for row in rows:
            part.append_row(row)
    run_dir.write_config(config)
    run_dir.write_result(result)
    return folder
