"""training.crest: CReST and CReST+ on tiny runs of digits-LT; test_resume.py kills such runs."""

import dataclasses
import json

import numpy as np
import pytest
from run_files import read_rows

from udal_tf.config import resolve
from udal_tf.data import sources
from udal_tf.training import crest, experiment

pytestmark = pytest.mark.usefixtures("undrawn", "small_network")
FIGURES = ("accuracy", "balanced_accuracy", "per_class_recall", "median_ema_accuracy", "steps")
TINY = {"epochs": 2, "steps_per_epoch": 3, "batch_size": 4, "unlabeled_ratio": 2, "threshold": 0.12}


def make_config(workdir, **settings):
    generations = {"generations": 3} if settings.get("method", "crest+") in ("crest", "crest+") else {}
    return resolve({**TINY, "method": "crest+", **generations, "workdir": str(workdir), **settings})


def figures(result):
    return {name: result[name] for name in FIGURES}


@pytest.fixture(scope="module")
def finished(undrawn, small_network, tmp_path_factory):
    """A finished CReST+ run of three generations: config, folder, result."""
    folder = tmp_path_factory.mktemp("crest")
    config = make_config(folder)
    return config, folder, experiment.train_and_evaluate(config).to_json()


def test_alpha_falls_in_a_straight_line_over_the_generations():
    alphas = [crest.generation_alpha(g, 6, 0.5) for g in range(6)]
    np.testing.assert_allclose(alphas, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5])


def test_a_single_generation_is_a_valid_number():
    assert crest.generation_alpha(0, 1, 0.5) == 1.0


def test_each_generation_is_recorded_with_what_it_added(finished):
    _, folder, result = finished
    assert result["steps"] == 3 * 2 * 3
    assert [summary["alpha"] for summary in result["generations"]] == [1.0, 0.75, 0.5]
    for number, summary in enumerate(result["generations"][1:], start=1):
        listed = json.loads((folder / f"generation_{number}" / "labeled.json").read_text())
        assert summary["added"] == np.bincount(listed["labels"], minlength=10).tolist()
        assert len(listed["positions"]) == sum(summary["added"]) > 0
    own = json.loads((folder / "generation_2" / "result.json").read_text())
    assert result["accuracy"] == own["accuracy"]


def test_alpha_is_held_inside_a_generation(finished):
    _, folder, _ = finished
    for number, alpha in enumerate([1.0, 0.75, 0.5]):
        rows = read_rows(folder / f"generation_{number}" / "metrics.jsonl")
        assert [row["train"]["alpha"] for row in rows] == [alpha, alpha]


def test_added_images_are_counted_against_their_true_labels():
    data = sources.load(resolve({}).data)
    # Predictions that are right for every image but call class 1 class 0, most sure of the first images.
    predicted = np.where(data.train_labels[data.unlabeled_only] == 1, 0, data.train_labels[data.unlabeled_only])
    probs = np.eye(10)[predicted] * np.linspace(0.99, 0.5, len(predicted))[:, None]
    added = crest.grown(data, probs.astype(np.float32), select_alpha=3.0)
    zeros = np.sum(predicted == 0)
    kept = int(zeros * (1 / 12) ** (1 / 3))
    assert added["added"][0] == kept and added["added"][1] == 0
    truth = data.train_labels[data.unlabeled_only][predicted == 0][:kept]
    assert added["precision"][0] == np.mean(truth == 0)
    assert added["recall"][0] == np.sum(truth == 0) / np.sum(data.train_labels[data.unlabeled_only] == 0)
    assert added["precision"][1] is None and added["recall"][1] == 0.0
    assert added["precision"][9] == added["recall"][9] == 1.0


@pytest.fixture
def grow(monkeypatch, tmp_path, capsys):
    """Writes the next generation's set from given predictions: the set, and what is printed."""

    def call(probs: np.ndarray) -> tuple[dict, str]:
        monkeypatch.setattr(crest, "Predictor", lambda learner: lambda batches: probs)
        config, path = make_config(tmp_path), tmp_path / "generation_1" / "labeled.json"
        crest._grow(None, sources.load(config.data), config, path)
        return json.loads(path.read_text(encoding="utf-8")), capsys.readouterr().out

    return call


def test_classes_that_add_nothing_are_named_in_the_log(grow):
    _, printed = grow(np.tile(np.eye(10, dtype=np.float32)[0], (420, 1)))
    for name in "123456789":
        assert f"no pseudo-labeled image of class {name} joins" in printed
    assert "no pseudo-labeled image of class 0" not in printed


def test_a_selection_that_keeps_nothing_is_stated(grow):
    # One predicted image of the most frequent class: a share below one image.
    added, printed = grow(np.eye(10, dtype=np.float32)[:1])
    assert "no pseudo-labeled images at all: the next generation trains on the same labeled images" in printed
    assert sum(added["added"]) == 0


def test_a_generation_to_which_nothing_was_added_is_its_base_run(tmp_path, monkeypatch):
    monkeypatch.setattr(
        crest, "select", lambda probs, positions, p_data, alpha: (np.zeros(0, np.int64), np.zeros(0, np.int64))
    )
    grown = experiment.train_and_evaluate(make_config(tmp_path / "crest", method="crest", generations=2)).to_json()
    base = experiment.train_and_evaluate(
        make_config(tmp_path / "base", method="none", la_prior="label_average")
    ).to_json()
    for name in FIGURES[:-1]:
        assert grown[name] == base[name]


def test_the_first_generation_of_crest_plus_is_alignment_to_p_data(finished, tmp_path):
    _, folder, _ = finished
    aligned = experiment.train_and_evaluate(make_config(tmp_path, method="da", alpha_min=1.0, la_prior="label_average"))
    first = json.loads((folder / "generation_0" / "result.json").read_text())
    assert figures(first) == figures(aligned.to_json())


def test_every_generation_estimates_the_unlabeled_prior_anew(tmp_path):
    given = {"base": "mixmatch", "threshold": 0.0, "generations": 2, "unlabeled_prior": ("estimate",)}
    result = experiment.train_and_evaluate(make_config(tmp_path, **given))
    rows = [read_rows(tmp_path / f"generation_{number}" / "metrics.jsonl") for number in range(2)]
    assert rows[1][-1]["p_unlabeled"] == result.p_unlabeled != rows[0][-1]["p_unlabeled"]
    # After three steps both are still near where they began.
    np.testing.assert_allclose(rows[0][0]["p_unlabeled"], rows[1][0]["p_unlabeled"], atol=0.03)


def test_all_images_labeled_leaves_nothing_to_grow_from(tmp_path):
    from udal_tf.data.dataset import DataError

    with pytest.raises(DataError, match="--beta leaves none"):
        experiment.train_and_evaluate(make_config(tmp_path / "new", beta=1.0))
    assert not (tmp_path / "new").exists()


def test_generations_are_refused_for_other_methods():
    with pytest.raises(ValueError, match="--generations belongs to --method=crest, crest\\+, and"):
        resolve({"method": "udal", "generations": 3})
    with pytest.raises(ValueError, match="--method=crest\\+ needs pseudo-labels"):
        resolve({"method": "crest+", "base": "supervised"})


def test_generation_configs_differ_in_alpha_alone():
    config = make_config("unused")
    own = crest._generation_config(config, 1)
    assert dataclasses.replace(own, method=config.method) == config
    assert (own.method.alpha_min, own.method.k) == (0.75, 0.0)
