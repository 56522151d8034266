"""--validation and --patience: what chooses the best epoch, when training ends, and when the test set is read."""

import dataclasses
import json
import signal

import numpy as np
import pytest
from run_files import make_row, read_rows, scores

import udal_tf
from udal_tf.config import resolve
from udal_tf.data import digits, longtail, sources
from udal_tf.data.dataset import ArrayImages, DataError, Held
from udal_tf.data.problem import make_problem
from udal_tf.reporting import console
from udal_tf.reporting.run_table import run_table
from udal_tf.reporting.runs import read_runs
from udal_tf.run_dir import RunDir
from udal_tf.run_records import Result, RunDirError, out_of_patience
from udal_tf.training import loop
from udal_tf.training.evaluation import Evaluator
from udal_tf.training.experiment import train_and_evaluate

pytestmark = pytest.mark.usefixtures("undrawn", "small_network")

EPOCHS = 4
PATIENCE = 2
# Half of the labels, so that the small classes have some to validate on.
TINY = {"epochs": EPOCHS, "steps_per_epoch": 2, "batch_size": 8, "unlabeled_ratio": 1, "validation": 0.3, "beta": 0.5,
        "learning_rate": 0.05, "ema_decay": 0.5, "threshold": 0.2}  # fmt: skip


def make_config(folder, **settings):
    return resolve({**TINY, "workdir": str(folder), **settings})


def train(folder, **settings):
    return train_and_evaluate(make_config(folder, **settings))


def rows_of(folder):
    return [{name: row[name] for name in row if name != "seconds"} for row in read_rows(folder / "metrics.jsonl")]


def without_seconds(result):
    return {name: value for name, value in result.to_json().items() if name not in ("seconds", "config")}


@pytest.fixture(scope="module")
def finished(undrawn, small_network, tmp_path_factory):
    """A run of all epochs: its folder, its result, and the number of images at each evaluation."""
    folder, evaluated = tmp_path_factory.mktemp("validation") / "run", []
    with pytest.MonkeyPatch.context() as patch:
        original = Evaluator.__call__

        def call(self, prior):
            evaluated.append(len(self._labels))
            return original(self, prior)

        patch.setattr(Evaluator, "__call__", call)
        return folder, train(folder), evaluated


def test_a_fraction_of_each_class_at_least_one_and_never_the_last():
    # 30 % of 1, 2, 3, 10 and 20 labels; of those with at least two, at least one.
    assert longtail.validation_counts(np.array([1, 2, 3, 10, 20]), 0.3).tolist() == [0, 1, 1, 3, 6]
    assert longtail.validation_counts(np.array([2, 10]), 0.9).tolist() == [1, 9]
    labels = np.repeat(np.arange(5), [1, 2, 3, 10, 20])
    mask = longtail.validation_mask(labels, 0.3, 1, 5)
    assert np.bincount(labels[mask], minlength=5).tolist() == [0, 1, 1, 3, 6]
    assert np.array_equal(mask, longtail.validation_mask(labels, 0.3, 1, 5))
    assert not np.array_equal(mask, longtail.validation_mask(labels, 0.3, 2, 5))


@pytest.mark.parametrize("settings", [{}, {"protocol": "darp", "n1": 20, "m1": 30}])
def test_validation_images_come_from_the_labeled_ones_and_are_in_no_other_set(settings):
    whole = sources.load(resolve({**settings, "beta": 0.5}).data)
    data = sources.load(resolve({**settings, "beta": 0.5, "validation": 0.3}).data)
    held = data.validation
    assert sorted([*data.labeled, *held.positions]) == sorted(whole.labeled)
    assert not set(held.positions) & set(data.unlabeled) and set(data.labeled) <= set(data.unlabeled)
    assert np.array_equal(data.unlabeled_only, whole.unlabeled_only)
    assert np.array_equal(held.labels, data.train_labels[held.positions])
    assert np.array_equal(data.p_data, whole.p_data)
    assert data.provenance["validation_counts"] == np.bincount(held.labels, minlength=10).tolist()
    assert sum(data.provenance["labeled_counts"]) == len(data.labeled)
    assert whole.validation is None and "validation" not in whole.provenance


def test_classes_with_one_label_are_named_and_a_prior_by_counts_is_that_of_training():
    source = digits.load(resolve({}).data)
    counted = dataclasses.replace(source, geometric=False)
    data = make_problem(counted, resolve({"validation": 0.2}).data)
    # 12 10 7 6 4 3 3 2 2 1 labels: 2 2 1 1 1 1 1 1 1 0 of them are taken.
    assert data.provenance["validation_counts"] == [2, 2, 1, 1, 1, 1, 1, 1, 1, 0]
    assert data.provenance["no_validation"] == ["9"]
    assert data.provenance["labeled_counts"] == [10, 8, 6, 5, 3, 2, 2, 1, 1, 1]
    np.testing.assert_allclose(data.p_data, np.array([10, 8, 6, 5, 3, 2, 2, 1, 1, 1]) / 39, rtol=1e-6)


def test_what_cannot_be_validated_on_is_refused():
    source = digits.load(resolve({}).data)
    with pytest.raises(DataError, match=r"--validation=0\.2 needs a class with at least two labeled images"):
        make_problem(source, resolve({"validation": 0.2, "protocol": "darp", "n1": 1, "m1": 9, "imbalance": 1.0}).data)
    own = Held.of(ArrayImages(np.zeros([2, 8, 8, 1], np.uint8)), np.array([0, 1]))
    with_own = dataclasses.replace(source, validation=own, validation_from="val/")
    with pytest.raises(
        DataError, match=r"--validation=0\.2 takes labeled .* and val/ holds some already: leave one of"
    ):
        make_problem(with_own, resolve({"validation": 0.2}).data)
    assert make_problem(with_own, resolve({}).data).validation is own
    with pytest.raises(ValueError, match=r"--validation must be at least 0 and at most 0\.9, got 1"):
        resolve({"validation": 1.0})


def test_patience_needs_validation_images_and_epochs_that_count(tmp_path):
    with pytest.raises(DataError, match=r"--patience=3 needs validation images: give --validation=0\.2$"):
        train(tmp_path / "run", validation=0.0, patience=3)
    with pytest.raises(ValueError, match=r"--patience=3 cannot be used with --method=crest, whose generations"):
        resolve({"patience": 3, "validation": 0.2, "method": "crest"})
    assert list(tmp_path.iterdir()) == []


def test_epochs_are_scored_on_the_validation_images_and_the_test_images_at_the_end_only(finished):
    folder, result, evaluated = finished
    count = sum(result.data["validation_counts"])
    rows = read_rows(folder / "metrics.jsonl")
    assert len(rows) == EPOCHS and all("validation" in row and "test" not in row for row in rows)
    # After each epoch; then the last epoch's weights and the best one's on the 500 test images.
    assert evaluated[:EPOCHS] == [count] * EPOCHS and set(evaluated[EPOCHS:]) == {500}
    assert result.validation.to_json() == rows[-1]["validation"]
    assert result.median_ema_accuracy is None
    assert json.loads((folder / "result.json").read_text())["validation"] == rows[-1]["validation"]


def test_the_result_has_what_la_inf_gives_on_the_validation_images_by_each_prior(finished):
    folder, result, _ = finished
    data = sources.load(make_config(folder).data)
    held, model = data.validation, udal_tf.load(folder)
    images = held.images.fetch(held.positions).numpy()
    assert [choice.prior for choice in result.la_choices] == ["none", "labeled", "own"]
    for choice, target in zip(result.la_choices, (None, "uniform", "uniform"), strict=True):
        source = "" if target is None else choice.prior
        predicted = model.predict(images, target_prior=target, source_prior=source)
        assert choice.accuracy == pytest.approx(np.mean(predicted.labels == held.labels))
    assert result.la_choices[0].balanced_accuracy == result.validation.balanced_accuracy.ema
    assert result.la_choices[1].balanced_accuracy == result.validation.balanced_accuracy.ema_la
    earlier = {name: value for name, value in result.to_json().items() if name != "la_choices"}
    assert Result.from_json(earlier, "result.json: ") == dataclasses.replace(result, la_choices=None)


def test_the_best_epoch_is_that_of_the_validation_images_and_both_scores_are_those_of_its_weights(finished):
    folder, result, _ = finished
    rows = RunDir(folder).rows()
    by_validation = [row.validation.balanced_accuracy.ema for row in rows]
    best = rows[int(np.argmax(by_validation))]
    assert (result.best.epoch, result.best.balanced_accuracy) == (best.epoch, max(by_validation))
    assert result.best.validation == best.validation
    data = sources.load(make_config(folder).data)
    images = data.test.fetch(np.arange(len(data.test))).numpy()
    for weights, stated in (("best", result.best.test), ("last", result)):
        model = udal_tf.load(folder, weights=weights)
        correct = np.mean(model.predict(images).probs.argmax(axis=1) == data.test_labels)
        assert stated.accuracy.ema == pytest.approx(correct)
        assert model.folder.scores == (
            (result.best.test, "test") if weights == "best" else (udal_tf.run_records.Scores(**{
                name: getattr(result, name) for name in ("accuracy", "balanced_accuracy", "per_class_recall")}), "test")
        )  # fmt: skip


def test_what_is_printed_and_reported_says_which_images_it_is_of(finished):
    folder, result, _ = finished
    row = RunDir(folder).rows()[0]
    assert "val accuracy (balanced)\n  raw " in console.epoch_text(row, EPOCHS)
    lines = console.result_text(result).splitlines()
    assert lines[0].startswith("test, %")
    best = next(line for line in lines if line.startswith(f"best epoch {result.best.epoch}, balanced accuracy"))
    assert f"{100 * result.best.test.balanced_accuracy.ema:.2f}" in best
    chosen = " ".join(lines[lines.index(best) + 1 :])
    assert f" Epoch {result.best.epoch} has the best balanced accuracy on the validation images," in chosen
    assert f"{100 * result.best.balanced_accuracy:.2f} %; the other rows are of the last epoch" in chosen
    table = run_table(read_runs([folder])[0]).iloc[0]
    assert table["accuracy_ema"] == 100 * result.accuracy.ema
    assert table["best_accuracy_ema"] == 100 * result.best.test.accuracy.ema
    assert table["validation_balanced_accuracy_ema"] == 100 * result.validation.balanced_accuracy.ema


def test_patience_counts_the_epochs_since_the_best_one():
    def rows(*accuracies):
        return [make_row(epoch, test=None, validation=scores(a)) for epoch, a in enumerate(accuracies, start=1)]

    assert not out_of_patience(rows(0.5, 0.6, 0.6), 2)
    # An equal epoch is no better one.
    assert out_of_patience(rows(0.5, 0.6, 0.6, 0.5), 2)
    assert not out_of_patience(rows(0.5, 0.6, 0.5, 0.7), 2)
    assert not out_of_patience(rows(0.5, 0.4, 0.3), 0) and not out_of_patience([], 1)
    with pytest.raises(RunDirError, match="row test is missing"):
        make_row(1, test=None)


def test_a_run_ends_when_its_patience_does_and_interrupted_it_ends_at_the_same_place(finished, tmp_path, capsys):
    # Neither the weights nor the statistics of batch norm move enough to change a prediction.
    constant = {
        "schedule": "constant",
        "base": "supervised",
        "method": "none",
        "patience": PATIENCE,
        "learning_rate": 1e-9,
        "batch_norm_momentum": 1.0,
    }
    result = train(tmp_path / "whole", **constant)
    # So no epoch is better than the first.
    assert (result.best.epoch, result.steps) == (1, 2 * (1 + PATIENCE))
    assert "Stopped after epoch 3: --patience=2 epochs without a better" in capsys.readouterr().out
    assert [row["epoch"] for row in rows_of(tmp_path / "whole")] == [1, 2, 3]
    # Killed before it wrote its result, it trains no further step.
    (tmp_path / "whole" / "result.json").unlink()
    assert without_seconds(train(tmp_path / "whole", **constant)) == without_seconds(result)
    assert len(rows_of(tmp_path / "whole")) == 3

    class Stopped(loop.StepRunner):
        def __call__(self, source, count):
            found = super().__call__(source, count)
            if int(self._learner.step.numpy()) == 3:  # Within epoch 2.
                signal.raise_signal(signal.SIGTERM)
            return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CALL_SECONDS", 0.0)
        patch.setattr(loop, "StepRunner", Stopped)
        with pytest.raises(loop.Interrupted):
            train(tmp_path / "cut", **constant)
    assert without_seconds(train(tmp_path / "cut", **constant)) == without_seconds(result)
    assert rows_of(tmp_path / "cut") == rows_of(tmp_path / "whole")
