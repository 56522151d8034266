"""The simplest methods: their formulas by numpy, what they reduce to, what is frozen, and what is refused."""

import functools
import json
import signal
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from forked import REPOSITORY
from method_vectors import Case, make_learner, take
from run_files import read_rows
from test_learner import make_batch
from test_learner import make_learner as learner_of_a_network

import udal_tf
from udal_tf.augment.views import normalize
from udal_tf.config import TrainConfig, resolve
from udal_tf.core import rebalancing
from udal_tf.data import sources
from udal_tf.inference import export_check, exporting
from udal_tf.input import stream
from udal_tf.methods.ldam_drw import with_normalized_head
from udal_tf.records.simple_methods import LdamConfig
from udal_tf.training import experiment, initial_weights, loop
from udal_tf.training.stages import Stage, images_before, stages

sys.path.append(str(REPOSITORY / "benchmarks"))
import unlabeled_curriculum  # noqa: E402

COUNTS = np.array([8, 4, 2, 2])
CASE = Case("made up", {"classes": 4, "label_counts": [8, 4, 2, 2]}, {})
LABELS = np.array([0, 0, 1, 2, 3, 0])
# Ten epochs of two steps, of which the last two are beyond 80 %.
TRAIN = TrainConfig(epochs=10, steps_per_epoch=2)
RANDOM = np.random.RandomState(0)
VIEWS = {key: RANDOM.normal(0, 3, (6 if key == "x_l" else 12, 4)) for key in ("x_l", "x_w", "x_s")}


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def cross_entropies(logits, labels):
    return -np.log(softmax(logits)[np.arange(len(labels)), labels])


def figures(method, own=None, first_step=0):
    learner = make_learner(CASE, method, own or {}, TRAIN, threshold=0.5)
    learner.step.assign(first_step)
    return take(learner, VIEWS, LABELS).metrics


PLAIN = functools.cache(lambda: figures("none"))


def test_class_balanced_weights_by_hand():
    """β = 1/2: 1/2 / (1 − 2⁻ⁿ) for 1, 2 and 3 images are 1, 2/3 and 4/7, whose mean is 47/63; the empty class has 0."""
    ours = rebalancing.effective_weights([1, 2, 3, 0], 0.5)
    np.testing.assert_allclose(ours, np.array([63, 42, 36, 0]) / 47, rtol=1e-6)
    np.testing.assert_allclose(rebalancing.effective_weights([5000, 50], 0.0), [1, 1])
    # Nearly inverse frequencies where β^n is nearly 1 − n(1 − β).
    np.testing.assert_allclose(rebalancing.effective_weights([20, 10], 0.999999), [2 / 3, 4 / 3], rtol=1e-4)


def test_the_class_balanced_loss_is_the_weighted_mean_over_all_images():
    inverse = 0.1 / (1 - 0.9**COUNTS)
    weights = inverse / inverse.sum() * 4
    expected = np.mean(weights[LABELS] * cross_entropies(VIEWS["x_l"], LABELS))
    ours = figures("class_balanced", {"balance_beta": 0.9})
    assert ours["loss_labeled"] == pytest.approx(expected, rel=1e-5)
    assert ours["loss_unlabeled"] == PLAIN()["loss_unlabeled"]


def test_ldam_takes_margins_from_the_labels_logits():
    margins = 0.5 * (2 / COUNTS) ** 0.25
    np.testing.assert_allclose(rebalancing.margins([*COUNTS, 0], 0.5), [*margins, 0.5], rtol=1e-6)
    lowered = VIEWS["x_l"] - np.eye(4)[LABELS] * margins
    own = {"ldam_scale": 0.0, "balance_beta": 0.9}
    losses = cross_entropies(lowered, LABELS)
    assert figures("ldam_drw", own, first_step=15)["loss_labeled"] == pytest.approx(np.mean(losses), rel=1e-5)
    # From epoch 8 of 10 on by weights whose sum over the batch is divided by.
    weights = (1 / (1 - 0.9**COUNTS))[LABELS]
    expected = np.sum(weights * losses) / np.sum(weights)
    assert figures("ldam_drw", own, first_step=16)["loss_labeled"] == pytest.approx(expected, rel=1e-5)


def test_the_normalized_head_gives_scaled_cosines_and_so_does_its_export():
    keras.utils.set_random_seed(0)
    plain = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="predictions")])
    model = with_normalized_head(plain, LdamConfig(ldam_scale=7.0))
    features, (kernel,) = np.float32(RANDOM.normal(size=(4, 5))), model.get_weights()
    norms = np.linalg.norm(features, axis=1)[:, None] * np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(model(features), 7 * features @ kernel / norms, atol=1e-5)
    folded = model.layers[-1].folded(model)
    assert all(type(layer).__module__.startswith("keras.") for layer in folded.layers)
    np.testing.assert_allclose(folded(features), model(features), atol=1e-5)
    assert with_normalized_head(plain, LdamConfig(ldam_scale=0.0)) is plain


def test_the_margin_of_a_normalized_head_is_scaled_with_its_cosines():
    learner = learner_of_a_network(method="ldam_drw")
    np.testing.assert_allclose(learner.method.added, -30 * 0.5 * (1 / np.array([11, 5, 3, 1])) ** 0.25, rtol=1e-6)


def test_the_focal_loss_by_its_formula():
    p = softmax(VIEWS["x_l"])[np.arange(6), LABELS]
    ours = figures("focal", {"focal_gamma": 1.5})
    assert ours["loss_labeled"] == pytest.approx(np.mean((1 - p) ** 1.5 * -np.log(p)), rel=1e-4)
    assert ours["loss_unlabeled"] == PLAIN()["loss_unlabeled"]


def test_suppressed_consistency_weights_by_the_pseudo_labels_class():
    probs = softmax(VIEWS["x_w"])
    labels, mask = probs.argmax(axis=1), probs.max(axis=1) >= 0.5
    weights = 0.3 ** (1 - COUNTS / 8)
    expected = np.mean(mask * weights[labels] * cross_entropies(VIEWS["x_s"], labels))
    assert len(set(labels[mask])) > 2
    ours = figures("suppressed", {"suppress_beta": 0.3})
    assert ours["loss_unlabeled"] == pytest.approx(expected, rel=1e-5)
    assert ours["loss_labeled"] == PLAIN()["loss_labeled"]


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("class_balanced", {"balance_beta": 0.0}),
        ("focal", {"focal_gamma": 0.0}),
        ("ldam_drw", {"ldam_margin": 0.0, "ldam_scale": 0.0, "reweight_start": 1.0}),
        ("ldam_drw", {"ldam_margin": 0.0, "ldam_scale": 0.0, "reweight_start": 0.0, "balance_beta": 0.0}),
        ("suppressed", {"suppress_beta": 1.0}),
        ("balanced_sampling", {}),
    ],
)
def test_without_what_they_add_they_are_the_base_learner(method, own):
    ours = figures(method, own)
    for name in ("loss_labeled", "loss_unlabeled"):
        assert ours[name] == pytest.approx(PLAIN()[name], rel=1e-5), name


def test_tau_normalized_weights_by_their_formula():
    kernel = np.float32(RANDOM.normal(size=(5, 3)))
    kernel[:, 2] = 0.0
    norms = np.sqrt(np.sum(kernel[:, :2] ** 2, axis=0))
    for tau in (0.5, 1.0):
        ours = rebalancing.tau_normalized(tf.constant(kernel), tau).numpy()
        np.testing.assert_allclose(ours[:, :2], kernel[:, :2] / norms**tau, rtol=1e-5)
        assert not ours[:, 2].any()
    np.testing.assert_array_equal(rebalancing.tau_normalized(tf.constant(kernel), 0.0), kernel)


def test_balanced_batches_show_every_class_equally_often_and_images_of_a_class_alike():
    labels = np.array([0] * 7 + [2] * 2 + [5])
    order = stream.ByClass.of(labels)
    batch = tf.function(lambda step: order.indices(step, 5, seed=3, stream=0))
    rows = np.concatenate([batch(tf.constant(step)) for step in range(600)])
    shown = np.bincount(rows, minlength=10)
    np.testing.assert_array_equal(np.bincount(labels[rows]), [1000, 0, 1000, 0, 0, 1000])
    # Binomial with a standard deviation of 11 and 16.
    assert abs(shown[:7] - 1000 / 7).max() < 50 and abs(shown[7:9] - 500).max() < 70 and shown[9] == 1000
    np.testing.assert_array_equal(rows[5:10], order.indices(tf.constant(1), 5, seed=3, stream=0))


def test_the_second_stage_moves_a_new_head_and_nothing_else_by_a_bit():
    learner = learner_of_a_network(method="crt", base="remixmatch")
    head = learner.model.layers[-1]
    start = head.kernel.numpy()
    for number in range(2):
        learner.train_step(make_batch("remixmatch", number))
    averages = {id(v): average.numpy() for average, v in zip(learner.ema, learner.network.averaged, strict=True)}
    learner.begin_head(anew=True)
    np.testing.assert_array_equal(head.kernel, start)
    everything = [v for layer in (learner.model, *learner.heads.values()) for v in layer.variables]
    rest = [v for v in everything if all(v is not own for own in head.variables)]
    for variable in rest:
        if id(variable) in averages:
            np.testing.assert_array_equal(variable, averages[id(variable)], err_msg=variable.path)
    before, of_ema = [v.numpy() for v in rest], [average.numpy() for average in learner.ema]
    metrics = [learner.train_step(make_batch("supervised", number)) for number in range(2)]
    for variable, value in zip(rest, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)
    for average, value, variable in zip(learner.ema, of_ema, learner.network.averaged, strict=True):
        moved = any(variable is own for own in head.variables)
        assert (average.numpy() != value).any() == moved, variable.path
    assert (head.kernel.numpy() != start).any() and "loss_rotation" not in metrics[0]
    # The first loss is that of inference mode, by the new head, and the decay is of the head alone.
    batch = make_batch("supervised", 0)
    logits = keras.Model(learner.model.input, head.input)(batch["x_l"], training=False).numpy() @ start
    losses = cross_entropies(logits, batch["labels_l"].numpy())
    assert float(metrics[0]["loss_labeled"]) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(metrics[0]["loss_l2"]) == pytest.approx(np.sum(start**2) / 2, rel=1e-5)


def test_the_stages_of_a_growing_batch_by_hand():
    """α = 0 grows linearly: of 12 steps with up to 3, step t has the first ratio at or above 3·t/12."""
    config = resolve({
        "method": "none", "epochs": 3, "steps_per_epoch": 4, "batch_size": 2, "unlabeled_ratio": 3,
        "unlabeled_curriculum": True, "curriculum_alpha": 0.0, "workdir": "unused",
    })  # fmt: skip
    expected = [Stage(0, 5, 1, 0), Stage(5, 9, 2, 10), Stage(9, 12, 3, 26)]
    assert stages(config) == expected
    # One view of two labeled images, two views of the unlabeled ones.
    assert [images_before(config, step) for step in (0, 5, 9, 12)] == [0, 30, 70, 112]


@pytest.mark.parametrize(("ratio", "alpha"), [(7, 0.7), (7, 0.0), (100, 0.9), (2, 0.5)])
def test_a_step_has_the_smallest_size_that_the_formula_fits_in(ratio, alpha):
    train = TrainConfig(
        epochs=10, steps_per_epoch=100, unlabeled_ratio=ratio, unlabeled_curriculum=True, curriculum_alpha=alpha
    )
    sizes = sorted({-(-ratio * number // min(ratio, 8)) for number in range(1, min(ratio, 8) + 1)})
    by_step = np.zeros(1000, int)
    for first, size in train.unlabeled_ratios:
        by_step[first:] = size
    for step in range(1000):
        left = 1 - step / 1000
        formula = ratio * (1 - left / ((1 - alpha) + alpha * left))
        assert by_step[step] == min(size for size in sizes if size >= formula - 1e-6), step
    assert len(train.unlabeled_ratios) <= 8


def test_growing_batches_show_every_unlabeled_image_once_per_pass():
    """Steps of 2, then of 3, then of 5 images make one pass of 18 without a gap or a repetition."""
    shown = []
    for first, end, size, before in ((0, 3, 2, 0), (3, 5, 3, 6), (5, 7, 5, 12)):
        shown += [
            stream.indices(tf.constant(s), size, 18, 1, 1, before - first * size).numpy() for s in range(first, end)
        ]
    rows = np.concatenate(shown)
    assert len(rows) == 22 and sorted(rows[:18]) == list(range(18))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "focal", "base": "mixmatch"}, "--method=focal needs --base=supervised or fixmatch, got --base=mi"),
        ({"method": "suppressed", "base": "supervised"}, "--method=suppressed needs --base=fixmatch"),
        ({"method": "ldam_drw", "base": "remixmatch"}, "--method=ldam_drw needs --base=supervised or fixmatch"),
        ({"method": "cdmad", "base": "remixmatch"}, "--method=cdmad needs --base=fixmatch, got --base=remixmatch"),
        ({"method": "abc", "base": "remixmatch"}, "--method=abc needs --base=fixmatch, got --base=remixmatch"),
        ({"method": "crt", "epochs": 1}, "which need --epochs of at least 2, got 1"),
        ({"method": "crt", "patience": 3, "validation": 0.2}, "--patience=3 cannot be used with --method=crt"),
        ({"method": "udal", "balance_beta": 0.5}, "--balance_beta belongs to --method=class_balanced, ldam_drw"),
        ({"base": "mixmatch", "unlabeled_curriculum": True, "unlabeled_ratio": 2}, "needs --base=fixmatch, got"),
        ({"base": "supervised", "method": "none", "unlabeled_curriculum": True}, "--unlabeled_curriculum needs --base"),
        ({"unlabeled_curriculum": True, "unlabeled_ratio": 1}, "needs --unlabeled_ratio of at least 2"),
        ({"method": "simpro", "unlabeled_curriculum": True}, "give --simpro_scale, or leave the curriculum out"),
    ],
)  # fmt: skip
def test_what_cannot_be_combined_is_refused_by_name(given, message):
    with pytest.raises(ValueError, match=message):
        resolve(given)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("crt", "trains in two stages"),
        ("ldam_drw", "replaces the network's last layer"),
        ("class_balanced", "needs the numbers of labeled images: give class_counts"),
    ],
)
def test_what_a_fit_cannot_do_is_refused(method, message):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=message):
        udal_tf.SemiSupervisedModel(network, p_data=[0.5, 0.5], method=method)


def test_a_fit_on_batches_of_the_users_own_cannot_sample_by_class():
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model = udal_tf.SemiSupervisedModel(network, p_data=[0.5, 0.5], base="supervised", method="balanced_sampling")
    own = tf.data.Dataset.from_tensors({"x_l": tf.zeros([2, 2]), "labels_l": tf.constant([0, 1])})
    with pytest.raises(ValueError, match="'balanced_sampling' samples the labeled images by class: give fit udal_tf"):
        model.fit(own, steps_per_epoch=1)


TINY = {"steps_per_epoch": 2, "batch_size": 4, "unlabeled_ratio": 2, "depth": 10, "threshold": 0.12}
STAGED = {**TINY, "method": "crt", "epochs": 4, "retrain_head": 0.25}
STAGED |= {"unlabeled_curriculum": True, "curriculum_alpha": 0.0}


def test_a_run_of_several_stages_ends_the_same_when_it_is_cut_in_each(tmp_path, monkeypatch):
    """Stages of ratios 1 and 2 and of the head alone, from steps 0, 5 and 6 on; cut after 6 and 7 steps."""
    monkeypatch.setattr(loop, "CALL_SECONDS", 0.0)
    config = resolve({**STAGED, "workdir": str(tmp_path / "whole")})
    assert [(stage.first_step, stage.unlabeled_ratio, stage.head_alone) for stage in stages(config)] == [
        (0, 1, False), (5, 2, False), (6, 2, True),
    ]  # fmt: skip
    whole = experiment.train_and_evaluate(config)
    rows = read_rows(tmp_path / "whole" / "metrics.jsonl")
    assert [row["images"] for row in rows] == [24, 48, 80, 88]
    assert "confident" in rows[2]["train"] and "confident" not in rows[3]["train"]
    assert (tmp_path / "whole" / "training_curves.png").exists()
    cuts = [6, 7]

    class Stopped(loop.StepRunner):
        def __call__(self, source, count):
            rows = super().__call__(source, count)
            if cuts and int(self._learner.step) == cuts[0]:
                cuts.pop(0)
                signal.raise_signal(signal.SIGTERM)
            return rows

    monkeypatch.setattr(loop, "StepRunner", Stopped)
    config = resolve({**STAGED, "workdir": str(tmp_path / "cut")})
    for _ in range(2):
        with pytest.raises(loop.Interrupted):
            experiment.train_and_evaluate(config)
    cut = experiment.train_and_evaluate(config)
    assert not cuts and cut.accuracy == whole.accuracy and cut.per_class_recall == whole.per_class_recall
    resumed = read_rows(tmp_path / "cut" / "metrics.jsonl")
    assert [dict(row, seconds=0) for row in rows] == [dict(row, seconds=0) for row in resumed]
    assert_predicts_and_is_exported_as_it_was_evaluated(tmp_path / "cut", tmp_path / "out")


def assert_predicts_and_is_exported_as_it_was_evaluated(folder, out):
    model = udal_tf.load(folder)
    data = sources.load(model.folder.config.data)
    images = data.test.fetch(tf.range(len(data.test))).numpy()
    accuracy = json.loads((folder / "result.json").read_text())["accuracy"]["ema"]
    assert np.mean(model.predict(images).labels == data.test_labels) == pytest.approx(accuracy)
    out.mkdir()
    real = export_check.Real(images[:4])
    differences = exporting.export(model, np.zeros(10, np.float32), "keras", out, real)
    assert differences[export_check.RANDOM] < 1e-5


@pytest.fixture(scope="module")
def normalized(undrawn, tmp_path_factory):
    """The work folder of a run whose last layer is normalized."""
    folder = tmp_path_factory.mktemp("normalized") / "run"
    run = {**TINY, "method": "ldam_drw", "base": "supervised", "epochs": 2, "learning_rate": 0.1, "ema_decay": 0.5}
    experiment.train_and_evaluate(resolve({**run, "workdir": str(folder)}))
    return folder


def test_a_run_with_a_normalized_head_predicts_and_is_exported_as_it_was_evaluated(normalized, tmp_path):
    assert_predicts_and_is_exported_as_it_was_evaluated(normalized, tmp_path / "out")


def warm_started(workdir, **settings):
    """A new learner with the weights of a run, what was said of them, and logits [4, 10] of that run and features."""
    config = resolve({**TINY, "base": "supervised", "pretrained": str(workdir), "workdir": "unused", **settings})
    data = sources.load(config.data)
    learner = loop.make_learner(config, data)
    said = initial_weights.load(config, learner, data.class_names)
    images = data.test.fetch(tf.range(4))
    logits, features = udal_tf.load(workdir).embed(images.numpy())
    return learner, said, learner.logits(normalize(images), use_ema=True).numpy(), logits, features


def test_ordinary_heads_start_from_the_directions_of_a_normalized_one(normalized):
    learner, said, ours, logits, _ = warm_started(normalized, method="abc", base="fixmatch")
    assert "of the last layer 10 of 10 classes, the directions of their weights alone, as one of" in said
    np.testing.assert_array_equal(ours.argmax(axis=1), logits.argmax(axis=1))
    for head in (learner.model.layers[-1], learner.second_head):
        np.testing.assert_allclose(np.linalg.norm(head.kernel.numpy(), axis=0), np.ones(10), rtol=1e-5)
        assert not head.bias.numpy().any()


def test_a_normalized_head_starts_from_the_directions_of_an_ordinary_one_and_from_its_like(tiny_run, normalized):
    _, said, ours, _, features = warm_started(tiny_run, method="ldam_drw", ldam_scale=2.0)
    kernel = udal_tf.load(tiny_run).network.layers[-1].kernel.numpy()
    lengths = np.linalg.norm(features, axis=1, keepdims=True) * np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(ours, 2.0 * (features @ kernel) / lengths, atol=1e-4)
    assert "the directions of their weights alone" in said
    _, said, ours, logits, _ = warm_started(normalized, method="ldam_drw")
    np.testing.assert_allclose(ours, logits, atol=1e-3)
    assert said.endswith("of the last layer 10 of 10 classes")


def test_a_tau_normalized_head_predicts_by_its_formula_and_zero_changes_nothing(tiny_run):
    plain, same, normalized = (udal_tf.load(tiny_run, tau_norm=tau) for tau in (0.0, 0.0, 1.0))
    images = np.uint8(RANDOM.randint(0, 256, (5, *plain.input_shape)))
    np.testing.assert_array_equal(plain.logits(images), same.logits(images))
    kernel, bias = plain.network.layers[-1].get_weights()
    features = (plain.logits(images) - bias) @ np.linalg.pinv(kernel)
    expected = features @ (kernel / np.linalg.norm(kernel, axis=0)) + bias
    np.testing.assert_allclose(normalized.logits(images), expected, atol=1e-3)
    assert not np.allclose(normalized.logits(images), plain.logits(images), atol=1e-2)
    for tau in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="tau_norm must be a number of at least 0"):
            udal_tf.load(tiny_run, tau_norm=tau)


def test_the_images_to_the_plain_runs_accuracy_are_those_of_the_first_epoch_that_reaches_it():
    def epochs(*accuracies, images):
        scores = [{"test": {"accuracy": {"ema": accuracy}}} for accuracy in accuracies]
        return [{**row, "images": images * n, "seconds": 2.0 * n} for n, row in enumerate(scores, start=1)]

    runs = [epochs(0.5, 0.9, 0.8, images=100), epochs(0.7, 0.7, 0.6, images=100)]
    assert unlabeled_curriculum.table_row("none, plain", runs, [0.8, 0.8]) == (
        "| none, plain | 70.0 ± 14.1 | 300 ± 0 | 6.0 ± 0.0 | 200 | 4.0 | 1 of 2 |"
    )
