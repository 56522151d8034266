"""One training step from a stated state agrees with the CReST release in float64 (steps.json, step_<entry>.npz)."""

import dataclasses
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from step_vectors import StepSettings, make_batch, make_learner, variables_by_name

from udal_tf.core import losses

ENTRY_KEYS = {"settings", "margins", "metrics", "learning_rate", "norms_after", "norms_of_update"}
METRIC_NAMES = {
    "loss.train": "loss",
    "loss.xe": "loss_labeled",
    "loss.xeu": "loss_unlabeled",
    "loss.wd": "loss_l2",
    "monitor.mask": "confident",
    "monitor.kl_data": "kl_of_label_average",
    "monitor.kl_model": "kl_uniform",
    "acc.train": "train_accuracy",
}
KINDS = {"w": "raw", "e": "ema", "m": "momentum"}
# Variables of fewer elements have their updates in every entry's file.
SMALL = 2500

# The README's tolerances, relative to the largest absolute reference value of a quantity.
METRIC_TOLERANCE = 5e-5
LEARNING_RATE_TOLERANCE = 1e-6
DISTRIBUTION_TOLERANCE = 2e-6
NORM_TOLERANCE = {"raw": 1e-5, "ema": 1e-5, "momentum": 5e-5}
NORM_OF_UPDATE_TOLERANCE = 2.5e-4
UPDATE_TOLERANCE = {"raw": 5e-4, "ema": 5e-4, "momentum": 8e-4}


@dataclasses.dataclass(frozen=True)
class Step:
    """What the vectors say of an entry, and what our step did: values by kind and name, float64."""

    settings: StepSettings
    names: list[str]
    expected: dict
    arrays: dict[str, np.ndarray]
    before: dict[str, dict[str, np.ndarray]]
    after: dict[str, dict[str, np.ndarray]]
    metrics: dict[str, float]
    p_model: np.ndarray
    p_data_ema: np.ndarray

    def update(self, kind: str, name: str) -> np.ndarray:
        return self.after[kind][name] - self.before[kind][name]


def values_of(learner) -> dict[str, dict[str, np.ndarray]]:
    return {
        kind: {name: np.float64(variable.numpy()) for name, variable in of_kind.items()}
        for kind, of_kind in variables_by_name(learner).items()
    }


def one_step(vectors: dict, expected: dict, arrays: dict[str, np.ndarray]) -> Step:
    settings = StepSettings(**expected["settings"])
    learner = make_learner(settings, vectors["names"], vectors["shapes"], vectors["seed"])
    num_classes = learner.p_data.shape[0]
    uniform = tf.fill([num_classes], 1.0 / num_classes)
    kl_of_label_average = losses.kl_divergence(uniform, learner.label_average)
    before = values_of(learner)
    metrics = tf.function(learner.train_step, autograph=False)(make_batch(settings, num_classes))
    return Step(
        settings,
        vectors["names"],
        expected,
        arrays,
        before,
        values_of(learner),
        {name: float(value) for name, value in {**metrics, "kl_of_label_average": kl_of_label_average}.items()},
        np.float64(learner.p_model()),
        np.float64(learner.label_average.numpy()),
    )


@pytest.fixture(scope="module")
def steps(golden) -> dict[str, Step]:
    """For every entry of the file, the step that its settings describe."""
    vectors = json.loads((golden / "steps.json").read_text())
    results = {}
    for entry, expected in vectors["entries"].items():
        assert set(expected) == ENTRY_KEYS, entry
        with np.load(golden / f"step_{entry}.npz", allow_pickle=False) as arrays:
            results[entry] = one_step(vectors, expected, dict(arrays))
    assert results
    return results


def error(ours, reference) -> float:
    """The largest difference, relative to the largest absolute reference value; absolute where that is 0."""
    reference = np.asarray(reference, np.float64)
    assert np.shape(ours) == reference.shape
    return float(np.max(np.abs(ours - reference)) / (np.max(np.abs(reference)) or 1.0))


def beyond(errors: dict, tolerance: float) -> dict:
    """The errors that are not within the tolerance; NaN is not."""
    assert errors
    return {what: value for what, value in errors.items() if not value <= tolerance}


def test_metrics(steps):
    errors = {}
    for entry, step in steps.items():
        assert set(step.expected["metrics"]) == set(METRIC_NAMES), entry
        for name, reference in step.expected["metrics"].items():
            errors[entry, name] = error(step.metrics[METRIC_NAMES[name]], reference)
    assert beyond(errors, METRIC_TOLERANCE) == {}


def test_learning_rate(steps):
    errors = {
        entry: error(step.metrics["learning_rate"], step.expected["learning_rate"]) for entry, step in steps.items()
    }
    assert beyond(errors, LEARNING_RATE_TOLERANCE) == {}


def test_moving_averages_of_predictions_and_of_labels(steps):
    errors = {}
    for entry, step in steps.items():
        errors[entry, "p_model"] = error(step.p_model, step.arrays["p_model"])
        errors[entry, "p_data_ema"] = error(step.p_data_ema, step.arrays["p_data_ema"])
    assert beyond(errors, DISTRIBUTION_TOLERANCE) == {}


def norm_errors(steps, kind: str, key: str, ours) -> dict:
    """Errors of the norms `key` of every variable that has values of the kind; the vectors have None for the others."""
    errors = {}
    for entry, step in steps.items():
        assert set(step.expected[key]) == set(KINDS.values()), entry
        for name, reference in zip(step.names, step.expected[key][kind], strict=True):
            assert (reference is not None) == (name in step.after[kind]), (entry, key, kind, name)
            if reference is not None:
                errors[entry, name] = error(np.linalg.norm(ours(step, name)), reference)
    return errors


@pytest.mark.parametrize("kind", KINDS.values())
def test_norms_after_the_step(steps, kind):
    errors = norm_errors(steps, kind, "norms_after", lambda step, name: step.after[kind][name])
    assert beyond(errors, NORM_TOLERANCE[kind]) == {}


@pytest.mark.parametrize("kind", KINDS.values())
def test_norms_of_updates(steps, kind):
    errors = norm_errors(steps, kind, "norms_of_update", lambda step, name: step.update(kind, name))
    assert beyond(errors, NORM_OF_UPDATE_TOLERANCE) == {}


@pytest.mark.parametrize("letter", KINDS)
def test_updates_element_by_element(steps, letter):
    kind, errors = KINDS[letter], {}
    for entry, step in steps.items():
        for key in set(step.arrays) - {"p_model", "p_data_ema"}:
            match = re.fullmatch(r"([wem])(\d{3})", key)
            assert match, f"{entry}: array {key} is none of the README's"
            if match[1] == letter:
                name = step.names[int(match[2])]
                errors[entry, name] = error(step.update(kind, name), step.arrays[key])
    assert beyond(errors, UPDATE_TOLERANCE[kind]) == {}


@pytest.mark.parametrize("letter", KINDS)
def test_the_files_hold_the_updates_that_they_should(steps, letter):
    """So that no variable goes uncompared: of all small ones, and all raw ones where the settings say so."""
    for entry, step in steps.items():
        of_kind = step.after[KINDS[letter]]
        everything = letter == "w" and step.settings.arrays == "all"
        wanted = {
            f"{letter}{number:03d}"
            for number, name in enumerate(step.names)
            if name in of_kind and (everything or of_kind[name].size < SMALL)
        }
        assert wanted and wanted <= set(step.arrays), entry
