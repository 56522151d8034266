"""What runs write, for tests: files read as plain JSON, and typed rows and results made up."""

import json
import pathlib
from typing import Any

from udal_tf.run_records import (
    BestEpoch,
    ByWeights,
    ClassesByWeights,
    Confusion,
    EpochRow,
    LaPrior,
    MedianAccuracy,
    Result,
    Scores,
)


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a whole `metrics.jsonl`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scores(accuracy: float = 0.5, ema_la: float | None = None, num_classes: int = 2) -> Scores:
    """Scores that are all the same, except EMA with LA (Inf) where given."""
    values = ByWeights(accuracy, accuracy, accuracy, accuracy if ema_la is None else ema_la)
    return Scores(values, values, ClassesByWeights(**{n: [v] * num_classes for n, v in values.to_json().items()}))


def make_row(epoch: int = 1, **given: Any) -> EpochRow:
    """A row with `given` instead of what is made up."""
    made_up = {
        "step": 10 * epoch,
        "seconds": 15.0 * epoch,
        "train": {"loss": 1.0 / epoch, "alpha": 0.5},
        "test": scores(),
    }
    made_up |= {"p_model": [0.75, 0.25], "p_target": [0.5, 0.5], "p_unlabeled": [0.5, 0.5]}
    return EpochRow(**{"epoch": epoch, **made_up, **given})


def make_result(test: Scores, **given: Any) -> Result:
    """A result with these scores, and with `given` instead of what is made up."""
    num_classes = len(test.per_class_recall.ema)
    prior, matrix = [1 / num_classes] * num_classes, [[1] * num_classes] * num_classes
    made_up = {
        "confusion": Confusion(matrix, matrix), "best": BestEpoch(1, 10, 0.5),
        "median_ema_accuracy": MedianAccuracy(1, 0.5), "config": {}, "p_data": prior, "p_unlabeled": prior,
        "class_names": [f"class{c}" for c in range(num_classes)], "la_prior": LaPrior("labeled", prior), "steps": 10,
        "seconds": 60.0, "data": {"source": "made up"}, "hardware": {}, "commit": "", "versions": {"udal_tf": "0"},
    }  # fmt: skip
    return Result(**{**vars(test), **made_up, **given})
