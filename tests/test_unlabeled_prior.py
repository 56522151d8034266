"""training.unlabeled_prior, training.darp: labeled, stated, or estimated from how half the labels predict the rest."""

import json

import numpy as np
import pytest

from udal_tf.config import ESTIMATE, MethodConfig, resolve
from udal_tf.data import sources
from udal_tf.methods.darp import PRIOR, stated_distribution
from udal_tf.records.methods import DarpConfig
from udal_tf.training import darp, experiment, loop
from udal_tf.training.darp import distribution_from_predictions, held_out_half, with_darp_prior
from udal_tf.training.unlabeled_prior import stated_prior, with_unlabeled_prior

pytestmark = pytest.mark.usefixtures("undrawn", "small_network")
P_DATA = np.float32([0.7, 0.3])
TINY = {"epochs": 2, "steps_per_epoch": 4, "batch_size": 4, "unlabeled_ratio": 2, "threshold": 0.12}


def test_a_given_prior_is_normalized_and_checked():
    np.testing.assert_array_equal(stated_distribution(DarpConfig(), P_DATA), P_DATA)
    np.testing.assert_allclose(stated_distribution(DarpConfig(darp_prior=("1", "3")), P_DATA), [0.25, 0.75])
    with pytest.raises(ValueError, match="2 proportions, one per class, got 3"):
        stated_distribution(DarpConfig(darp_prior=("1", "1", "1")), P_DATA)


@pytest.mark.parametrize(
    ("prior", "shares"),
    [
        (("labeled",), P_DATA),
        (("uniform",), [0.5, 0.5]),
        (("1", "3"), [0.25, 0.75]),
        (("owl=1", "cat=3"), [0.75, 0.25]),
    ],
)
def test_the_stated_prior_is_put_to_the_classes(prior, shares):
    stated = stated_prior(MethodConfig(unlabeled_prior=prior), P_DATA, ("cat", "owl"))
    np.testing.assert_allclose(stated, shares, rtol=1e-6)


def test_a_stated_prior_of_other_classes_is_refused():
    for entries, said in ((("1", "2", "3"), "expected 2 proportions"), (("cat=1", "dog=1"), "no class is called dog")):
        with pytest.raises(ValueError, match=f"--unlabeled_prior: {said}"):
            stated_prior(MethodConfig(unlabeled_prior=entries), P_DATA, ("cat", "owl"))


def noted(tmp_path, **settings):
    """What a run takes for the distribution: aligned to, refined to, and the note in its provenance."""
    config = resolve({**TINY, "workdir": str(tmp_path), **settings})
    data = with_unlabeled_prior(config, sources.load(config.data))
    if config.method.method in ("darp", "da_darp"):
        data = with_darp_prior(config, data, tmp_path)
    return data.p_unlabeled, data.prepared.get(PRIOR), data.provenance.get("unlabeled_prior")


def test_darp_refines_to_its_own_prior_and_else_to_the_unlabeled_one(tmp_path):
    ramp = tuple(str(share) for share in range(1, 11))
    p_data = sources.load(resolve({}).data).p_data
    aligned, refined, note = noted(tmp_path, method="da_darp", darp_prior=ramp)
    np.testing.assert_array_equal(aligned, p_data)
    np.testing.assert_allclose(refined, np.arange(1, 11) / 55, rtol=1e-6)
    assert note == {"kind": "given", "distribution": refined.tolist()}
    aligned, refined, note = noted(tmp_path, method="da_darp", unlabeled_prior=ramp)
    np.testing.assert_allclose(aligned, np.arange(1, 11) / 55, rtol=1e-6)
    assert refined is None and note == {"kind": "given", "distribution": aligned.tolist()}


def test_what_a_run_takes_for_the_prior_is_noted_where_it_matters(tmp_path):
    assert noted(tmp_path)[2] is None
    assert noted(tmp_path, method="darp")[2]["kind"] == "labeled"
    assert noted(tmp_path, unlabeled_prior=("uniform",))[2] == {
        "kind": "uniform",
        "distribution": [np.float32(0.1)] * 10,
    }
    assert noted(tmp_path, unlabeled_prior=("estimate",))[2] == {"kind": "estimated during training"}


def test_halves_cover_every_class_of_two_and_leave_a_single_image_in_training():
    labels = np.array([0, 1, 0, 2, 0, 1])
    first, second = held_out_half(labels, 0), held_out_half(labels, 1)
    np.testing.assert_array_equal(first, [True, True, False, False, True, False])
    np.testing.assert_array_equal(second, [False, False, True, False, False, True])


def test_predictions_that_err_in_a_known_way_give_the_true_shares():
    # Class 0 is predicted as 1 in a fifth of the cases, class 1 as 0 in a tenth; 2 never errs.
    errs = np.array([[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]], np.float32)
    labels, truth = np.repeat([0, 1, 2], 4), np.array([0.2, 0.3, 0.5], np.float32)
    np.testing.assert_allclose(
        distribution_from_predictions(errs[labels], labels, truth @ errs, 1000), truth, atol=1e-4
    )


def test_a_class_without_held_out_images_is_taken_as_predicted_and_none_is_left_without_an_image():
    labels, truth = np.array([0, 0]), np.array([0.9, 0.1, 0.0], np.float32)
    shares = distribution_from_predictions(np.eye(3, dtype=np.float32)[labels], labels, truth, 100)
    np.testing.assert_allclose(shares, np.array([0.9, 0.1, 0.01]) / 1.01, atol=1e-4)


@pytest.fixture(scope="module")
def estimated(undrawn, small_network, tmp_path_factory):
    """A finished DARP run on digits-LT that estimated its prior: config, folder, result."""
    folder = tmp_path_factory.mktemp("estimated")
    config = resolve({**TINY, "method": "darp", "darp_prior": (ESTIMATE,), "workdir": str(folder)})
    return config, folder, experiment.train_and_evaluate(config)


def test_the_estimate_is_recorded_and_trained_with(estimated):
    config, folder, result = estimated
    saved = json.loads((folder / "unlabeled_prior.json").read_text(encoding="utf-8"))
    assert saved["held_out"] == 49  # 50 labeled images, the last class has one.
    stated = result.data["unlabeled_prior"]
    assert stated["kind"] == "estimate" and result.config == config.to_dict()
    np.testing.assert_allclose(stated["distribution"], saved["distribution"], rtol=1e-6)
    assert not np.allclose(stated["distribution"], result.p_data, atol=1e-3)


def test_an_estimate_cut_between_its_halves_ends_the_same(estimated, tmp_path, monkeypatch):
    config, _, expected = estimated
    config = resolve({**TINY, "method": "darp", "darp_prior": (ESTIMATE,), "workdir": str(tmp_path)})

    class Cut(Exception):
        pass

    def cut_before_the_second(config, data, run_dir, train=loop.train):
        if run_dir.path.name == "unlabeled_prior_1":
            raise Cut
        return train(config, data, run_dir)

    with monkeypatch.context() as patch:
        patch.setattr(darp.loop, "train", cut_before_the_second)
        with pytest.raises(Cut):
            experiment.train_and_evaluate(config)
    resumed = experiment.train_and_evaluate(config)
    assert resumed.accuracy == expected.accuracy
    assert resumed.data == expected.data
