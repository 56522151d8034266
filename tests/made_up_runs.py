"""Made-up finished runs: folders as `train_and_evaluate` leaves them, without training."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from udal_tf.config import resolve
from udal_tf.folder_recipe import FolderFacts

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
    scores = {"raw": accuracy, "ema": accuracy, "raw_la": accuracy, "ema_la": accuracy if ema_la is None else ema_la}
    balanced_scores = scores if balanced is None else dict.fromkeys(scores, balanced)
    test = {
        "accuracy": scores,
        "balanced_accuracy": balanced_scores,
        "per_class_recall": {name: [value] * CLASSES for name, value in scores.items()},
    }
    result = {
        **test,
        "config": config.to_dict(),
        "class_names": [f"class{c}" for c in range(CLASSES)],
        "p_data": [1 / CLASSES] * CLASSES,
        "la_prior": {"kind": "labeled"},
        "steps": config.train.total_steps,
        "seconds": 60.0,
        "data": {
            "source": "made up",
            "draw": config.data.draw,
            **({"recipe_facts": dataclasses.asdict(facts)} if facts else {}),
        },
        "versions": {"udal_tf": "0"},
    }
    train = {"alpha": 1.0, "confident": 0.5, "confident_correct": 0.4}
    train |= {"kl_data": 0.1, "kl_target": 0.2, "kl_uniform": 0.3}
    counts = {"confident": [8, 4, 0], "correct": [6, 1, 0], "shown": [12, 4, 2]}
    rows = [
        {"step": epoch, "epoch": epoch, "seconds": 1.0, "train": train, "test": test, "pseudo_labels": counts}
        for epoch in range(1, EPOCH_ROWS + 1)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if config.generations > 1:
        empty = [None] * CLASSES
        of_each = by_generation or [balanced_scores["ema"]] * config.generations
        result["generations"] = [
            {
                "accuracy": scores,
                "balanced_accuracy": dict.fromkeys(scores, value),
                "precision": [0.9] * CLASSES if number else empty,
                "recall": [0.3] * CLASSES if number else empty,
            }
            for number, value in enumerate(of_each)
        ]
        for number in range(config.generations):
            own = folder / f"generation_{number}"
            own.mkdir()
            (own / "metrics.jsonl").write_text(text, encoding="utf-8")
            (own / "result.json").write_text("{}", encoding="utf-8")
    else:
        (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return folder
