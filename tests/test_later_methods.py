"""The later methods: what they reduce to, what their state is, what is evaluated, and what is refused."""

import json

import numpy as np
import pytest
import tensorflow as tf
from method_vectors import Case, make_learner, take

import udal_tf
from udal_tf.config import TrainConfig, resolve
from udal_tf.core import anchors
from udal_tf.inference import export_check, exporting
from udal_tf.methods.abc import keep_rates
from udal_tf.methods.cdmad import blank_image
from udal_tf.training.experiment import train_and_evaluate

LATER = {
    "flexda": {"q_momentum": 0.5, "ccr_start": 0.0, "ccr_temperature": True},
    "debiaspl": {"q_momentum": 0.5, "cld_weight": 0.3, "debias_views": 2},
    "simpro": {"simpro_every": 2, "simpro_scale": 1.0},
    "cdmad": {"debias_start": 0.0},
    "acr": {"acr_start": 0.0, "acr_every": 2, "acr_repeated": "sum"},
    "abc": {},
}
CASE = Case("made up", {"classes": 4, "label_counts": [8, 4, 2, 2]}, {})
BALANCED = Case("balanced", {"classes": 4, "label_counts": [4, 4, 4, 4]}, {})
TRAIN = TrainConfig(epochs=4, steps_per_epoch=2)
HEADS = ("acr", "abc")


def logits_of(seed: int, method: str) -> dict[str, np.ndarray]:
    """Logits of every view, the second view of a kind the same as the first, and both heads alike."""
    random = np.random.RandomState(seed)
    first = {key: random.normal(0, 3, (6 if key == "x_l" else 12, 4)) for key in ("x_l", "x_w", "x_s")}
    views = first | {f"{key}2": logits for key, logits in first.items()}
    return {key: np.tile(logits, 2 if method in HEADS else 1) for key, logits in views.items()}


def figures(method: str, case=CASE, own=None, seed=0, **settings):
    learner = make_learner(case, method, own or {}, TRAIN, threshold=0.5, **settings)
    if method == "cdmad":
        learner.method.blank = tf.fill([1, 1, 4, 1], 3.0)  # The same logit for every class.
    return take(learner, logits_of(seed, method), np.array([0, 0, 1, 2, 3, 0])).metrics


@pytest.mark.parametrize(
    ("method", "own", "temperature"),
    [
        ("debiaspl", {"debias_tau": 0.0}, 0.0),
        ("debiaspl", {"debias_tau": 0.0, "debias_views": 2}, 0.0),
        ("simpro", {"simpro_tau": 0.0, "simpro_scale": 1.0}, 1.0),
        ("cdmad", {"debias_start": 0.0}, 1.0),
        ("acr", {"acr_tau": 0.0}, 0.0),
        ("abc", {}, 0.0),
    ],
)
def test_without_their_shifts_they_are_fixmatch(method, own, temperature):
    """With τ = 0, or a network that says nothing of a blank image; ABC's first head is FixMatch as it is."""
    plain = figures("none", temperature=temperature)
    ours = figures(method, own=own, temperature=temperature)
    for name in ("loss_labeled", "loss_unlabeled", "confident"):
        assert ours[name] == pytest.approx(plain[name], rel=1e-4), name


def test_both_heads_of_acr_without_its_shifts_are_fixmatch():
    ours, plain = figures("acr", own={"acr_tau": 0.0}), figures("none")
    assert ours["loss_balanced"] == pytest.approx(plain["loss_labeled"], rel=1e-5)
    assert ours["loss_balanced_unlabeled"] == pytest.approx(plain["loss_unlabeled"], rel=1e-5)


def test_the_second_head_of_abc_on_balanced_classes_is_soft_fixmatch():
    ours, soft = figures("abc", BALANCED, {"abc_threshold": 0.5}), figures("none", BALANCED, temperature=1.0)
    assert ours["loss_abc"] == pytest.approx(soft["loss_labeled"], rel=1e-5)
    for name in ("loss_abc_strong", "loss_abc_strong2"):
        assert ours[name] == pytest.approx(soft["loss_unlabeled"], rel=1e-5)


def test_flexda_whose_estimate_is_p_data_is_udal_whose_estimate_is_p_data():
    learners = [
        make_learner(CASE, "flexda", {"alpha_every": "epoch", "ccr_weight": 0.0}, TRAIN, threshold=0.5),
        make_learner(CASE, "udal", {}, TRAIN, threshold=0.5),
    ]
    learners[0].method.q.assign(CASE.p_data)
    learners[1].history.assign(np.tile(CASE.p_data, (128, 1)))
    metrics = []
    for learner in learners:
        learner.step.assign(5)  # α_t is 1 − 0.9 · (2/4)².
        metrics.append(take(learner, logits_of(0, "udal"), np.array([0, 0, 1, 2, 3, 0])).metrics)
    assert metrics[0]["alpha"] == pytest.approx(0.775, rel=1e-6)
    for name in ("loss_labeled", "loss_unlabeled", "alpha"):
        assert metrics[0][name] == pytest.approx(metrics[1][name], rel=1e-5), name


@pytest.mark.parametrize("method", LATER)
def test_a_resumed_run_goes_on_bit_identically(method, tmp_path):
    """Three steps, and one more by a learner restored before it: all estimates are in the checkpoint."""
    labels = np.array([0, 0, 1, 2, 3, 0])

    def made():
        return make_learner(CASE, method, LATER[method], TRAIN, {"seed": 3}, threshold=0.3)

    learner, resumed = made(), made()
    for seed in range(3):
        take(learner, logits_of(seed, method), labels)
    before = [v.numpy() for v in learner.method.variables]
    assert all((start.numpy() != now).any() for start, now in zip(resumed.method.variables, before, strict=True))
    path = tf.train.Checkpoint(learner=learner).write(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(learner=resumed).read(path).assert_consumed()
    ours, theirs = (take(one, logits_of(3, method), labels).metrics for one in (learner, resumed))
    assert ours == theirs
    for one, other in zip(learner.method.variables, resumed.method.variables, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.name)


@pytest.mark.parametrize("method", LATER)
@pytest.mark.parametrize("base", ["supervised", "mixmatch", "remixmatch"])
def test_another_base_learner_is_refused_by_name(method, base):
    with pytest.raises(ValueError, match=f"--method={method} needs --base=fixmatch, got --base={base}"):
        resolve({"method": method, "base": base})


def test_simpro_divides_its_labeled_loss_by_the_ratio_of_batches_per_pass():
    """40 of 12 unlabeled images make 3 batches, 16 of 6 labeled ones 2."""
    problem = {"pool_size": 40}
    learners = [make_learner(CASE, "simpro", {"simpro_scale": scale}, TRAIN, problem) for scale in (1.0, 0.0)]
    views, labels = logits_of(0, "simpro"), np.array([0, 0, 1, 2, 3, 0])
    plain, divided = (take(learner, views, labels).metrics["loss_labeled"] for learner in learners)
    assert divided == pytest.approx(plain / 1.5, rel=1e-6)
    with pytest.raises(ValueError, match="needs the numbers of labeled and unlabeled images, or --simpro_scale"):
        make_learner(CASE, "simpro", {}, TRAIN)


def test_the_blank_image_has_its_color_in_the_networks_range():
    """The release's is 1 in pixels normalized by mean and deviation: 0.7385, 0.7257, 0.7081 of white."""
    gray = blank_image((2, 3, 3), "light_gray")
    assert gray.shape == (1, 2, 3, 3) and gray.dtype == np.float32
    np.testing.assert_allclose(gray[0, 1, 2], [0.477, 0.4514, 0.4162], atol=1e-6)
    np.testing.assert_allclose(blank_image((2, 2, 1), "light_gray"), 0.4482, atol=1e-6)
    assert (blank_image((2, 2, 1), "black") == -1).all() and (blank_image((2, 2, 5), "white") == 1).all()


def test_a_class_without_images_is_kept_and_does_not_set_the_rate_of_others():
    np.testing.assert_allclose(keep_rates([40, 10, 20, 0]), [0.25, 1.0, 0.5, 1.0])


def test_counting_all_and_counting_the_last_agree_unless_a_class_repeats():
    distinct, mask = tf.constant([2, 0, 1]), tf.constant([1.0, 0.0, 1.0])
    for last in (True, False):
        np.testing.assert_array_equal(anchors.class_hits(distinct, mask, 4, last), [0, 1, 1, 0])
    repeated, mask = tf.constant([1, 1, 1, 0]), tf.constant([1.0, 1.0, 0.0, 1.0])
    np.testing.assert_array_equal(anchors.class_hits(repeated, mask, 3, last=True), [1, 0, 0])
    np.testing.assert_array_equal(anchors.class_hits(repeated, mask, 3, last=False), [1, 2, 0])


@pytest.fixture(scope="module", params=["cdmad", "acr"])
def trained(request, tmp_path_factory, undrawn):
    """A finished run of a method with a correction at inference, and of one with a second head."""
    folder = tmp_path_factory.mktemp("later") / request.param
    tiny = {"epochs": 2, "steps_per_epoch": 2, "batch_size": 8, "unlabeled_ratio": 2, "ema_decay": 0.5, "depth": 10}
    train_and_evaluate(resolve({**tiny, "method": request.param, "learning_rate": 0.1, "workdir": str(folder)}))
    return folder


def test_the_trained_model_predicts_and_is_exported_as_it_was_evaluated(trained, tmp_path):
    from udal_tf.data import sources

    model = udal_tf.load(trained)
    data = sources.load(model.folder.config.data)
    images = data.test.fetch(tf.range(len(data.test))).numpy()
    probs = model.predict(images).probs
    result = json.loads((trained / "result.json").read_text())
    assert np.mean(probs.argmax(axis=1) == data.test_labels) == pytest.approx(result["accuracy"]["ema"])
    if model.folder.config.method.method == "cdmad":  # What is left of the blank image's logits.
        blank = blank_image(tuple(model.input_shape), "light_gray")
        np.testing.assert_allclose(model.network(blank, training=False), np.zeros((1, 10)), atol=1e-5)
    else:
        assert model.network.layers[-1].name == "second_head"
    real = export_check.Real(images[:4])
    differences = exporting.export(model, np.zeros(10, np.float32), "keras", tmp_path, real)
    assert differences[export_check.RANDOM] < 1e-5
