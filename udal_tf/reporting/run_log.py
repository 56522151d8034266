"""The record of a run on disk: `metrics.jsonl`, one row per epoch, and TensorBoard events made from it."""

import json
import os
import pathlib
import re
import shutil
from typing import Any

import numpy as np
import tensorflow as tf


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes `value` as JSON so that `path` holds either what it held before or all of the new text."""
    partial = path.with_name(path.name + ".partial")
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Lists of numbers on one line each; inside strings, line breaks are written otherwise.
    text = re.sub(r"\[\n[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text)
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`; an unfinished last line, left by a killed process, is no row."""
    rows = []
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        rows.append(json.loads(line))
    return rows


class RunLog:
    """Rows of one run, kept in step with its checkpoint.

    Args:
      workdir: holds `metrics.jsonl` and `tensorboard/`.
      step: the step that training goes on from; rows of later steps, whose state was lost, are dropped.
    """

    def __init__(self, workdir: pathlib.Path, step: int):
        self._path = workdir / "metrics.jsonl"
        self.rows = [row for row in read_rows(self._path) if row["step"] <= step]
        partial = self._path.with_name(self._path.name + ".partial")
        partial.write_text("".join(self._line(row) for row in self.rows), encoding="utf-8")
        os.replace(partial, self._path)
        # Event files cannot be cut at a step, so they are written anew from the rows.
        shutil.rmtree(workdir / "tensorboard", ignore_errors=True)
        self._events = tf.summary.create_file_writer(str(workdir / "tensorboard"))
        for row in self.rows:
            self._write_events(row)

    @staticmethod
    def _line(row: dict[str, Any]) -> str:
        return json.dumps(row) + "\n"

    @property
    def seconds(self) -> float:
        """Seconds trained so far, over all starts of the run."""
        return self.rows[-1]["seconds"] if self.rows else 0.0

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row: "step", "epoch", "seconds", a dict "train" of scalars, a dict "test" of dicts of scores."""
        self.rows.append(row)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(self._line(row))
        self._write_events(row)

    def _write_events(self, row: dict[str, Any]) -> None:
        with self._events.as_default(step=row["step"]):
            for name, value in row["train"].items():
                tf.summary.scalar(f"train/{name}", value)
            for measure in ("accuracy", "balanced_accuracy"):
                for weights, value in row["test"][measure].items():
                    tf.summary.scalar(f"test/{measure}/{weights}", value)
            tf.summary.histogram("p_model", np.asarray(row["p_model"]))
        self._events.flush()
