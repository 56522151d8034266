"""The vectors of the later methods (tests/golden/methods/README.md), fed to the package's own Learner.

The network passes its images on: an image is the logits that a vector states, and for a method with a second head
those of both heads. So the losses, their gradients and the running estimates are those of the training step itself, in
float32.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from udal_tf.config import MethodConfig, OptimizerConfig, Own, TrainConfig
from udal_tf.methods.learner import Learner
from udal_tf.methods.method import Problem
from udal_tf.methods.step import Step
from udal_tf.registry import METHODS

# The README's tolerances for float32: relative and absolute.
LOSS = {"rtol": 2e-5, "atol": 1e-6}
PROBS = {"rtol": 0, "atol": 1e-5}
GRADIENT = {"rtol": 0, "atol": 1e-6}
WEIGHTS = {"rtol": 0, "atol": 1e-6}
# For what is made of the settings alone, in float64.
DOUBLE = {"rtol": 1e-9, "atol": 1e-12}


class Case:
    """One case of a file: its settings, its arrays, and the names of those that were compared or fed."""

    def __init__(self, name: str, settings: dict, arrays: dict[str, np.ndarray]):
        self.name, self.settings, self._arrays = name, settings, arrays
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        self.used.add(name)
        return self._arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    @property
    def num_classes(self) -> int:
        return self.settings["classes"]

    @property
    def counts(self) -> np.ndarray:
        return np.array(self.settings["label_counts"])

    @property
    def p_data(self) -> np.ndarray:
        return np.float32(self.counts / self.counts.sum())

    def close(self, ours, name: str, at=(), **tolerance) -> None:
        """Compares with the array `name`, or a part of it."""
        ours, theirs = np.float64(ours), np.float64(self[name])[at]
        assert ours.shape == theirs.shape, (self.name, name, ours.shape, theirs.shape)
        np.testing.assert_allclose(ours, theirs, err_msg=f"{self.name}/{name}{at}", **tolerance)

    def equal(self, ours, name: str, at=()) -> None:
        """As `close`, for labels and masks."""
        np.testing.assert_array_equal(np.asarray(ours), self[name][at], err_msg=f"{self.name}/{name}{at}")

    def unused(self) -> set[str]:
        """The arrays that nothing was compared with."""
        return set(self._arrays) - self.used


def cases(folder: pathlib.Path, method: str) -> Iterator[Case]:
    """Every case of a method's file, in both files by the same names."""
    settings = json.loads((folder / "methods" / "methods.json").read_text())[method]
    arrays: dict[str, dict[str, np.ndarray]] = {}
    with np.load(folder / "methods" / f"{method}.npz", allow_pickle=False) as file:
        for key in file.files:
            case, _, name = key.partition("/")
            arrays.setdefault(case, {})[name] = file[key]
    assert settings and set(settings) == set(arrays)
    return (Case(name, settings[name], arrays[name]) for name in settings)


def passing_on(num_classes: int, heads: int) -> keras.Model:
    """Images [n, 1, heads · C, 1] -> their first C numbers."""
    images = keras.Input((1, heads * num_classes, 1))
    first = keras.layers.Dense(num_classes, name="predictions")
    model = keras.Model(images, first(keras.layers.Flatten()(images)))
    first.set_weights([np.eye(heads * num_classes, num_classes, dtype=np.float32), np.zeros(num_classes, np.float32)])
    return model


def make_learner(case: Case, method: str, own: dict, train: TrainConfig, problem: dict | None = None, **settings):
    """A learner whose weights never move, before its first step."""
    record = METHODS[method]
    heads = 2 if record.second_head else 1
    settings.setdefault("temperature", record.preset.get("temperature", 0.0))
    learner = Learner(
        passing_on(case.num_classes, heads),
        Problem(**{"p_data": case.p_data, "labeled_counts": case.counts, **(problem or {})}),
        MethodConfig(base="fixmatch", method=method, **settings),
        OptimizerConfig(learning_rate=1e-30, schedule="constant", momentum=0.0, weight_decay=0.0),
        train,
        Own(method=record.settings(**own) if record.settings else None),
    )
    if record.second_head:
        second = np.eye(2 * case.num_classes, case.num_classes, -case.num_classes, dtype=np.float32)
        learner.second_head.set_weights([second, np.zeros(case.num_classes, np.float32)])
    return learner


@dataclasses.dataclass(frozen=True)
class Taken:
    """What one step of the learner gave."""

    metrics: dict[str, float]
    gradients: dict[str, np.ndarray]
    guesses: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    step: Step


def take(learner: Learner, views: dict[str, np.ndarray], labels: np.ndarray, first_row: int = 0) -> Taken:
    """One training step on logits by the views' keys, [n, C] or, with two heads, [n, 2 C].

    Returns:
      The metrics; the gradient of the loss in the logits of each view; the predictions, pseudo-labels and mask of each
      set of pseudo-labels, in the order in which they are made; the step.
    """
    batch = {key: tf.constant(np.float32(logits)[:, None, :, None]) for key, logits in views.items()}
    count = len(views["x_w"])
    others = {
        "labels_l": tf.constant(labels, tf.int64),
        "labels_u": tf.fill([count], tf.constant(-1, tf.int64)),
        "rows_u": first_row + tf.range(count, dtype=tf.int64),
    }
    probs, guesses, steps = [], [], []
    with pytest.MonkeyPatch.context() as patch:
        recorded(patch, learner.method, "pseudo_probs", lambda step, result: probs.append(result.numpy()))
        recorded(
            patch,
            learner.method,
            "pseudo_labels",
            lambda step, result: guesses.append((probs[-1], *(values.numpy() for values in result))),
        )
        recorded(patch, learner.method, "update", lambda step, result: steps.append(step))
        with tf.GradientTape() as tape:
            tape.watch(list(batch.values()))
            metrics = learner.train_step({**batch, **others})
    gradients = tape.gradient(metrics["loss"], batch, unconnected_gradients="zero")
    return Taken(
        {name: float(value) for name, value in metrics.items()},
        {key: gradient.numpy()[:, 0, :, 0] for key, gradient in gradients.items()},
        guesses,
        steps[0],
    )


def recorded(patch, method, hook: str, record: Callable) -> None:
    """Calls `record(step, result)` after each call of a method's hook."""
    own = getattr(method, hook)

    def wrapped(step, *arguments):
        result = own(step, *arguments)
        record(step, result)
        return result

    patch.setattr(method, hook, wrapped)
