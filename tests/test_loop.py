"""One run from its config to its result, on tiny runs of digits-LT."""

import io
import json
import shutil
import signal
import statistics
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from run_files import read_rows

from udal_tf import __version__
from udal_tf.config import resolve
from udal_tf.data import sources
from udal_tf.data.dataset import DataError
from udal_tf.run_dir import RunDir
from udal_tf.training import experiment, loop

pytestmark = pytest.mark.usefixtures("small_network")
WEIGHTS = ["raw", "ema", "raw_la", "ema_la"]
EPOCHS, STEPS_PER_EPOCH = 3, 4
ESTIMATED = {"unlabeled_prior": ("estimate",)}
# For what does not depend on the step: the one that is traced fastest.
PLAIN = {"base": "supervised", "method": "la"}
# Doubling up to the epoch's end, whatever the machine's speed; and one step a call.
LONG_CALLS, SINGLE_STEPS = 1e9, 0.0


def make_config(workdir, **settings):
    tiny = {"epochs": EPOCHS, "steps_per_epoch": STEPS_PER_EPOCH, "batch_size": 4, "unlabeled_ratio": 2}
    # Barely more than chance, so that the unlabeled loss takes part from the first step on.
    return resolve({**tiny, "threshold": 0.12, "workdir": str(workdir), **settings})


class Recorder(loop.StepRunner):
    """A step runner that remembers itself and the lengths of its calls."""

    made: list["Recorder"] = []

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.counts: list[int] = []
        self.made.append(self)

    def __call__(self, iterator, count):
        self.counts.append(count)
        return super().__call__(iterator, count)


def run(config, call_seconds=LONG_CALLS, runner=Recorder, drawn=False):
    """Trains in calls of up to so many seconds; without its figures, whose drawing takes as long, unless asked for."""
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr(loop.record, "draw", lambda rows, data, folder: None)
        patch.setattr(loop, "CALL_SECONDS", call_seconds)
        patch.setattr(loop, "StepRunner", runner)
        return experiment.train_and_evaluate(config).to_json()


@pytest.fixture(scope="module")
def finished(small_network, tmp_path_factory):
    """A finished run in calls of growing length: config, folder, result, its step runner."""
    folder = tmp_path_factory.mktemp("finished")
    config = make_config(folder)
    result = run(config, drawn=True)
    return config, folder, result, Recorder.made[-1]


@pytest.fixture(scope="module")
def step_by_step(small_network, tmp_path_factory):
    """The same run again in calls of one step, saving after each: folder, result, its step runner."""
    folder = tmp_path_factory.mktemp("step_by_step")
    result = run(make_config(folder, checkpoint_minutes=1e-9), SINGLE_STEPS)
    return folder, result, Recorder.made[-1]


@pytest.fixture(scope="module")
def estimating(small_network, tmp_path_factory):
    """A finished run that estimates the unlabeled prior: folder, result."""
    folder = tmp_path_factory.mktemp("estimating")
    return folder, run(make_config(folder, **ESTIMATED))


def figures(result) -> dict:
    return {name: result[name] for name in ("accuracy", "balanced_accuracy", "per_class_recall", "median_ema_accuracy")}


def rows_without_seconds(folder) -> list[dict]:
    return [{name: row[name] for name in row if name != "seconds"} for row in read_rows(folder / "metrics.jsonl")]


def test_one_trace_over_three_epochs_and_calls_of_different_lengths(finished):
    _, _, _, runner = finished
    assert runner.counts == [1, 1, 2, 4, 4]
    assert runner.traces == 1


def test_result_json_is_what_is_returned(finished):
    _, folder, result, _ = finished
    assert json.loads((folder / "result.json").read_text(encoding="utf-8")) == result


def test_result_holds_every_score_for_every_set_of_weights(finished):
    _, _, result, _ = finished
    for measure in ("accuracy", "balanced_accuracy", "per_class_recall"):
        assert list(result[measure]) == WEIGHTS
    for weights in WEIGHTS:
        recall = result["per_class_recall"][weights]
        assert len(recall) == 10
        # 50 test images in every class: the three scores tell the same.
        assert result["accuracy"][weights] == pytest.approx(np.mean(recall))
        assert result["balanced_accuracy"][weights] == pytest.approx(np.mean(recall))


def test_result_says_what_was_run_on_what(finished):
    config, _, result, _ = finished
    assert result["config"] == config.to_dict()
    assert result["steps"] == 12
    assert result["seconds"] > 0
    assert result["versions"]["udal_tf"] == __version__
    assert result["versions"]["tensorflow"] == tf.__version__
    assert result["class_names"] == [str(c) for c in range(10)]
    assert "scikit-learn" in result["data"]["source"]
    assert result["data"]["labeled_counts"] == [12, 10, 7, 6, 4, 3, 3, 2, 2, 1]
    assert result["p_data"][0] / result["p_data"][9] == pytest.approx(12, rel=1e-5)


def test_a_row_per_epoch_says_where_training_stood(finished):
    _, folder, result, _ = finished
    rows = read_rows(folder / "metrics.jsonl")
    assert [(row["step"], row["epoch"]) for row in rows] == [(4, 1), (8, 2), (12, 3)]
    # Eq. 10 with α_min 0.1 and k 2 after 0, 1/3 and 2/3 of the run.
    assert [row["train"]["alpha"] for row in rows] == pytest.approx([1.0, 0.9, 0.6])
    assert all(sum(row["p_model"]) == pytest.approx(1, abs=1e-5) for row in rows)
    assert all(sum(row["p_target"]) == pytest.approx(1, abs=1e-5) for row in rows)
    assert all(row["train"]["loss_unlabeled"] > 0 for row in rows)
    assert rows[-1]["test"] == {name: result[name] for name in ("accuracy", "balanced_accuracy", "per_class_recall")}


def test_a_row_counts_the_pseudo_labels_of_each_class(finished):
    _, folder, _, _ = finished
    for row in read_rows(folder / "metrics.jsonl"):
        counts = {name: np.array(values) for name, values in row["pseudo_labels"].items()}
        assert counts["shown"].sum() == STEPS_PER_EPOCH * 8
        assert np.all(counts["correct"] <= np.minimum(counts["confident"], counts["shown"]))
        for name in ("confident", "correct"):
            share = row["train"][{"confident": "confident", "correct": "confident_correct"}[name]]
            assert counts[name].sum() == pytest.approx(share * STEPS_PER_EPOCH * 8, rel=1e-5)


def test_the_confusion_matrix_is_the_last_epochs(finished):
    _, _, result, _ = finished
    for weights in ("ema", "ema_la"):
        matrix = np.array(result["confusion"][weights])
        assert matrix.sum(axis=1).tolist() == [50] * 10
        assert (np.diag(matrix) / 50).tolist() == pytest.approx(result["per_class_recall"][weights])


def test_the_target_is_the_prior_to_the_power_alpha(finished):
    _, folder, result, _ = finished
    for row in read_rows(folder / "metrics.jsonl"):
        logits = row["train"]["alpha"] * np.log(result["p_data"])
        np.testing.assert_allclose(row["p_target"], np.exp(logits) / np.exp(logits).sum(), rtol=1e-6)


# The default problem's pool: 12 times as many of the first class as of the last.
POOL = np.array([120, 91, 69, 52, 39, 30, 22, 17, 13, 10]) / 463


def test_rows_and_result_say_what_the_unlabeled_images_are_taken_for(finished):
    """By default for p_data, the exact geometric prior, which truncated counts miss by a little."""
    _, folder, result, _ = finished
    assert result["p_unlabeled"] == result["p_data"]
    for row in read_rows(folder / "metrics.jsonl"):
        assert row["p_unlabeled"] == result["p_data"]
        expected = np.abs(POOL - result["p_data"]).sum() / 2
        assert row["train"]["p_unlabeled_error"] == pytest.approx(expected, abs=1e-6) and 0 < expected < 0.01


def test_an_estimate_is_in_every_row_and_the_target_is_made_from_it(estimating):
    folder, result = estimating
    rows = read_rows(folder / "metrics.jsonl")
    assert rows[-1]["p_unlabeled"] == result["p_unlabeled"]
    assert result["data"]["unlabeled_prior"] == {"kind": "estimated during training"}
    assert len({tuple(row["p_unlabeled"]) for row in rows}) == EPOCHS
    for row in rows:
        target = np.array(row["p_unlabeled"]) ** row["train"]["alpha"]
        np.testing.assert_allclose(row["p_target"], target / target.sum(), rtol=1e-5)
        expected = np.abs(POOL - row["p_unlabeled"]).sum() / 2
        assert row["train"]["p_unlabeled_error"] == pytest.approx(expected, abs=1e-6)


def test_a_stated_prior_is_the_target_and_noted(tmp_path):
    shares = np.arange(1, 11)
    config = make_config(tmp_path, unlabeled_prior=tuple(str(share) for share in shares), epochs=1)
    result = run(config)
    np.testing.assert_allclose(result["p_unlabeled"], shares / 55, rtol=1e-6)
    assert result["data"]["unlabeled_prior"] == {"kind": "given", "distribution": result["p_unlabeled"]}
    # α is 1 in the first epoch.
    np.testing.assert_allclose(read_rows(tmp_path / "metrics.jsonl")[0]["p_target"], shares / 55, rtol=1e-5)


def test_shares_that_do_not_fit_the_classes_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DataError, match="do not fit digitslt: --unlabeled_prior: expected 10 proportions.*got 2"):
        run(make_config(tmp_path / "new", unlabeled_prior=("1", "2")))
    assert not (tmp_path / "new").exists()


def test_the_median_is_over_the_last_epochs(finished):
    _, folder, result, _ = finished
    of_epochs = [row["test"]["accuracy"]["ema"] for row in read_rows(folder / "metrics.jsonl")]
    assert result["median_ema_accuracy"] == {"epochs": 3, "accuracy": statistics.median(of_epochs)}


def test_the_images_are_there(finished):
    _, folder, _, _ = finished
    for name in ("training_curves", "per_class_recall", "pseudo_label_divergence"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_finished_run_started_again_returns_the_saved_result_without_training(finished, monkeypatch, capsys):
    config, folder, result, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(sources, "load", lambda config: pytest.fail("read the data again"))
    assert experiment.train_and_evaluate(config).to_json() == result
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert "already finished" in capsys.readouterr().out


def test_the_same_seed_twice_gives_bit_identical_figures(finished, step_by_step):
    assert figures(step_by_step[1]) == figures(finished[2])


def test_metrics_do_not_depend_on_how_steps_were_grouped_into_calls(finished, step_by_step):
    assert step_by_step[2].counts == [1] * 12
    assert rows_without_seconds(step_by_step[0]) == rows_without_seconds(finished[1])


def test_checkpoints_are_also_saved_between_epochs(step_by_step):
    names = sorted(path.name for path in (step_by_step[0] / "checkpoints").glob("*.index"))
    assert names == ["ckpt-10.index", "ckpt-11.index", "ckpt-12.index"]


def test_a_checkpoint_is_saved_before_its_epoch_is_printed(tmp_path, monkeypatch):
    """In a program of one's own, whose standard output may not take every character, or be closed."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii", errors="replace"))
    monkeypatch.setattr(loop.console, "epoch_text", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(make_config(tmp_path, **PLAIN))
    assert [path.name for path in (tmp_path / "checkpoints").glob("*.index")] == ["ckpt-4.index"]
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [4]


def test_a_work_folder_that_is_deleted_during_the_run_is_named(tmp_path):
    class Deleting(loop.StepRunner):
        def __call__(self, iterator, count):
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
            return super().__call__(iterator, count)

    with pytest.raises(loop.StorageError, match="run cannot be written: .*No such file or directory"):
        run(make_config(tmp_path / "run", **PLAIN), runner=Deleting)


def initial_weights(**settings) -> list[np.ndarray]:
    config = make_config("unused", **settings)
    keras.utils.set_random_seed(loop.run_seed(config))
    return loop.make_learner(config, sources.load(config.data)).model.get_weights()


def test_initial_weights_follow_from_seed_and_fold():
    first, again = initial_weights(), initial_weights()
    for ours, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, same)
    for settings in ({"seed": 1}, {"fold": 2}, {"seed": 1, "fold": 2}):
        kernels = [(a, b) for a, b in zip(first, initial_weights(**settings), strict=True) if a.ndim > 1]
        assert kernels
        assert all(not np.array_equal(a, b) for a, b in kernels)


def test_no_fold_of_one_seed_is_the_run_of_another():
    seeds = {loop.run_seed(make_config("unused", seed=seed, fold=fold)) for seed in range(20) for fold in range(1, 6)}
    assert len(seeds) == 100


def broken_write(run_dir, result):
    raise OSError("disk full")


class BreaksAtStep6(Recorder):
    """A step runner whose loss is not a number in the third step of the second epoch."""

    def __call__(self, iterator, count):
        rows = super().__call__(iterator, count).copy()
        if len(self.counts) == 4:
            rows[2, self.names.index("loss")] = np.nan
        return rows


def test_a_run_that_failed_can_go_on_in_the_same_process(tmp_path, capsys):
    config = make_config(tmp_path, **PLAIN)
    with pytest.raises(loop.NonFiniteLoss, match=r"The loss of step 6 is nan.*ckpt-4.*--learning_rate"):
        run(config, runner=BreaksAtStep6)
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [4]

    with pytest.MonkeyPatch.context() as patch, pytest.raises(loop.StorageError, match="disk full"):
        patch.setattr(RunDir, "write_result", broken_write)
        run(config)
    assert "Resuming from step 4 of 12" in capsys.readouterr().out
    assert not (tmp_path / "result.json").exists()

    result = run(config, drawn=True)
    assert "Resuming from step 12 of 12" in capsys.readouterr().out
    assert Recorder.made[-1].counts == []
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [4, 8, 12]
    assert list(result["accuracy"]) == WEIGHTS
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == result
    assert len(list(tmp_path.glob("*.png"))) == 3


DARP = {"method": "darp", "darp_warmup": 0.2, "darp_every": 3}


@pytest.mark.parametrize("given", [{**DARP, "base": "mixmatch"}, {}], ids=["darp mixmatch estimate", "udal estimate"])
def test_a_run_with_more_state_cut_in_mid_epoch_ends_the_same(estimating, tmp_path, given):
    """DARP's tables and the estimated prior are in the checkpoint; both have begun to move when the run is cut."""
    settings = {**given, **ESTIMATED}
    folder, whole = (tmp_path / "whole", run(make_config(tmp_path / "whole", **settings))) if given else estimating
    config = make_config(tmp_path / "cut", **settings)
    stopped_at = []

    class Stopped(loop.StepRunner):
        def __call__(self, iterator, count):
            rows = super().__call__(iterator, count)
            stopped_at.append(int(self._learner.step))
            if stopped_at[-1] == STEPS_PER_EPOCH + 2:
                signal.raise_signal(signal.SIGTERM)
            return rows

    with pytest.raises(loop.Interrupted):
        run(config, SINGLE_STEPS, Stopped)
    assert stopped_at[-1] == STEPS_PER_EPOCH + 2
    resumed = run(config)
    for name in ("accuracy", "per_class_recall"):
        assert resumed[name] == whole[name]
    rows = [read_rows(of / "metrics.jsonl")[-1] for of in (folder, tmp_path / "cut")]
    assert rows[0]["train"] == rows[1]["train"]
    assert rows[0]["p_model"] == rows[1]["p_model"]
    assert rows[0]["p_unlabeled"] == rows[1]["p_unlabeled"] == whole["p_unlabeled"]


class BreaksAtSteps(Recorder):
    """A step runner whose loss is not a number whenever step 5 or 9 shows its own images."""

    def __call__(self, source, count):
        start = int(self._learner.step)
        rows = super().__call__(source, count).copy()
        for bad in {5, 9} - set(self.skipped()):
            if start <= bad < start + count:
                rows[bad - start, self.names.index("loss")] = np.nan
        return rows


def broken_run(config, monkeypatch):
    """A run with a BreaksAtSteps that knows which steps are skipped."""
    made = []

    class Run(loop._Run):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.runner.skipped = lambda: self.skipped.numpy().tolist()
            made.append(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_Run", Run)
        return made, run(config, runner=BreaksAtSteps)


def test_a_rollback_goes_on_without_the_bad_batches(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop.console, "EMA_BEHIND", -1.0)  # Said after every epoch of so short a run.
    config = make_config(tmp_path, on_nan="rollback")
    made, result = broken_run(config, monkeypatch)
    printed = capsys.readouterr().out
    assert printed.count("EMA has not caught up") >= EPOCHS
    assert (
        "The loss of step 5 is not finite: resuming from" in printed and "The loss of step 9 is not finite" in printed
    )
    assert made[-1].skipped.numpy().tolist() == [5, 9]
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert result["steps"] == EPOCHS * STEPS_PER_EPOCH
    # Until step 5 it is the run that never broke; from there on it has seen another batch.
    whole = read_rows(finished[1] / "metrics.jsonl")
    assert rows[0]["train"] == whole[0]["train"]
    assert rows[1]["train"]["loss"] != whole[1]["train"]["loss"]


def test_a_rollback_in_the_first_epoch_goes_back_to_the_start(tmp_path, monkeypatch, capsys):
    config = make_config(tmp_path, on_nan="rollback", steps_per_epoch=6, epochs=2, **PLAIN)
    made, result = broken_run(config, monkeypatch)
    assert "not finite: resuming from" in capsys.readouterr().out and result["steps"] == 12
    assert made[-1].skipped.numpy().tolist() == [5, 9]


def test_rollbacks_end_at_their_maximum(tmp_path, monkeypatch):
    with pytest.raises(loop.NonFiniteLoss, match="The loss of step 9 is nan"):
        broken_run(make_config(tmp_path, on_nan="rollback", max_rollbacks=1, **PLAIN), monkeypatch)


def test_a_stop_asked_for_in_the_last_step_is_not_lost(tmp_path):
    """Else CReST's next generation would start as if nobody had asked."""
    config = make_config(tmp_path, **PLAIN)

    class Stopped(loop.StepRunner):
        def __call__(self, iterator, count):
            rows = super().__call__(iterator, count)
            if int(self._learner.step) == EPOCHS * STEPS_PER_EPOCH:
                signal.raise_signal(signal.SIGTERM)
            return rows

    with pytest.raises(loop.Interrupted):
        run(config, runner=Stopped)
    assert not (tmp_path / "result.json").exists()
    assert run(config)["steps"] == EPOCHS * STEPS_PER_EPOCH
