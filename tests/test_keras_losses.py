"""keras_api.losses: Eqs. 3 and 6 as losses of Keras's `compile`, and the callback that moves α."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import udal_tf
from udal_tf.config import MethodConfig, OptimizerConfig, TrainConfig
from udal_tf.losses import AlphaSchedule, LogitAdjustedCrossentropy, UDALCrossentropy
from udal_tf.methods.learner import Learner
from udal_tf.methods.method import Problem

COUNTS = [12, 6, 4, 2]
LOGITS = np.random.RandomState(0).normal(size=(8, 4)).astype(np.float32)
LABELS = np.arange(8) % 4
X = np.random.RandomState(1).normal(size=(16, 6)).astype(np.float32)
Y = np.arange(16) % 4


def network(activation=None):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation=activation)])


def compiled(loss, **options):
    model = network(options.pop("activation", None))
    model.compile(keras.optimizers.SGD(0.1), loss, **options)
    return model


def expected(shift, logits=LOGITS, labels=LABELS):
    """The mean over the examples of −log softmax(logits + shift)[label], in float64."""
    shifted = logits.astype(np.float64) + shift
    return np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels])


def test_logit_adjustment_by_hand():
    """Logits log 2 and 0 with p_data 3/4, 1/4: (2·3) : (1·1) at τ 1, and at τ 2 (2·9) : (1·1)."""
    logits = np.log([[2.0, 1.0], [2.0, 1.0]]).astype(np.float32)
    for tau, odds in ((1.0, 6.0), (2.0, 18.0), (0.0, 2.0)):
        loss = LogitAdjustedCrossentropy([30, 10], tau=tau, reduction="none")
        np.testing.assert_allclose(loss([0, 1], logits), [np.log((odds + 1) / odds), np.log(odds + 1)], rtol=1e-5)


def test_udal_by_hand():
    """p_data 0.8, 0.2 and α 1/2: p̃ is 2/3, 1/3, so that the odds of equal logits are 1.2 : 0.6."""
    loss = UDALCrossentropy([80, 20], alpha_min=0.0, k=1.0, reduction="none")
    zeros = np.zeros((2, 2), np.float32)
    np.testing.assert_allclose(loss([0, 1], zeros), [np.log(2), np.log(2)], rtol=1e-6)
    loss.set_progress(0.5)
    assert loss.alpha == 0.5
    np.testing.assert_allclose(loss([0, 1], zeros), [np.log(3 / 2), np.log(3)], rtol=1e-5)
    loss.set_progress(1.0)
    np.testing.assert_allclose(
        loss([0, 1], zeros), LogitAdjustedCrossentropy([80, 20], reduction="none")([0, 1], zeros)
    )


@pytest.mark.parametrize(
    ("method", "loss"), [("la", LogitAdjustedCrossentropy(COUNTS)), ("udal", UDALCrossentropy(COUNTS, 0.1, 2.0))]
)
def test_they_are_the_labeled_losses_of_the_training_step(method, loss):
    inputs = keras.Input((2, 2, 1))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(inputs)))
    prior = np.array(COUNTS, np.float32) / sum(COUNTS)
    settings = MethodConfig(base="supervised", method=method, alpha_min=0.1, k=2.0)
    learner = Learner(model, Problem(p_data=prior), settings, OptimizerConfig(), TrainConfig())
    images = tf.constant(np.random.RandomState(2).normal(size=(8, 2, 2, 1)), tf.float32)
    for epoch in (0, 2, 3):
        learner.begin_schedules(1, 4, epoch)
        if method == "udal":
            loss.set_progress(epoch / 4)
        ours = loss(LABELS, model(images))
        theirs = learner.train_step({"x_l": images, "labels_l": tf.constant(LABELS, tf.int64)})
        np.testing.assert_allclose(ours, theirs["loss_labeled"], rtol=1e-6)


@pytest.mark.parametrize(
    "labels", [LABELS, LABELS.astype(np.int32)[:, None], LABELS.astype(np.float32), np.eye(4)[LABELS]]
)
def test_labels_are_integers_in_any_form_or_one_hot(labels):
    want = expected(np.log(COUNTS))
    np.testing.assert_allclose(LogitAdjustedCrossentropy(COUNTS)(labels, LOGITS), want, rtol=1e-5)


def test_soft_labels_and_weights_of_examples_count():
    targets = np.full((8, 4), 0.25, np.float32)
    want = np.mean([expected(np.log(COUNTS), labels=np.full(8, label)) for label in range(4)])
    np.testing.assert_allclose(LogitAdjustedCrossentropy(COUNTS)(targets, LOGITS), want, rtol=1e-5)
    weights = np.array([1.0] + 7 * [0.0], np.float32)
    first = expected(np.log(COUNTS), LOGITS[:1], LABELS[:1])
    np.testing.assert_allclose(LogitAdjustedCrossentropy(COUNTS)(LABELS, LOGITS, weights), first / 8, rtol=1e-5)


@pytest.mark.parametrize("labels", [LABELS + 1, LABELS - 1, LABELS + 0.5, np.eye(4)[LABELS] * 2])
def test_labels_out_of_range_are_an_error_and_nan_under_xla(labels):
    loss = LogitAdjustedCrossentropy(COUNTS)
    for call in (loss, tf.function(loss)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="y_true must be"):
            call(tf.constant(labels), LOGITS)
    assert np.isnan(tf.function(loss, jit_compile=True)(tf.constant(labels), LOGITS))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_network_that_ends_in_a_softmax_is_refused(jit_compile):
    for activation, message in (("softmax", "outputs of a softmax"), ("sigmoid", "outputs of a sigmoid")):
        model = compiled(LogitAdjustedCrossentropy(COUNTS), activation=activation, jit_compile=jit_compile)
        with pytest.raises(ValueError, match=message):
            model.fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="probabilities that sum to 1"):
        LogitAdjustedCrossentropy(COUNTS)(LABELS, tf.nn.softmax(LOGITS))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LogitAdjustedCrossentropy([3, 0, 1]), "a class without labels cannot be learned"),
        (lambda: LogitAdjustedCrossentropy(COUNTS, tau=-1), "tau must be at least 0, got -1"),
        (lambda: UDALCrossentropy(COUNTS, alpha_min=1.5), "alpha_min must be at least 0 and at most 1, got 1.5"),
        (lambda: UDALCrossentropy(COUNTS, k=np.nan), "k must be at least 0, got nan"),
        (lambda: UDALCrossentropy(COUNTS).set_progress(2.0), "progress must be at least 0 and at most 1"),
        (
            lambda: UDALCrossentropy(COUNTS)(LABELS, LOGITS[:, :3]),
            r"logits \[B, 4\] for the 4 class_counts, got \(8, 3\)",
        ),
        (lambda: UDALCrossentropy(COUNTS)(np.eye(5)[LABELS], LOGITS), r"or distributions \[B, 4\], got \(8, 5\)"),
        (lambda: compiled("mse").fit(X, X[:, :4], callbacks=[AlphaSchedule()], verbose=0), "UDALCrossentropy"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_alpha_follows_the_epochs_of_fit_and_initial_epoch():
    """1 − 0.9·(epoch/4)², seen by a step that is compiled already; at learning rate 0 only the loss moves."""
    model = network()
    model.compile(keras.optimizers.SGD(0.0), UDALCrossentropy(COUNTS))
    options = {"epochs": 4, "batch_size": 16, "callbacks": [AlphaSchedule()], "verbose": 0}
    recorded = model.fit(X, Y, **options).history
    alphas = np.array([1.0, 0.94375, 0.775, 0.49375])
    np.testing.assert_allclose(recorded["alpha"], alphas, rtol=1e-6)
    powers = np.array(COUNTS) ** alphas[:, None]
    shifts = np.log(np.array(COUNTS) / sum(COUNTS) / (powers / powers.sum(axis=1, keepdims=True)))
    logits = model.predict(X, verbose=0)
    np.testing.assert_allclose(recorded["loss"], [expected(shift, logits, Y) for shift in shifts], rtol=1e-5)
    resumed = model.fit(X, Y, initial_epoch=2, **options).history
    np.testing.assert_allclose(resumed["alpha"], alphas[2:], rtol=1e-6)


@pytest.mark.parametrize("loss", [LogitAdjustedCrossentropy(COUNTS, tau=0.5), UDALCrossentropy(COUNTS, 0.2, 1.0)])
def test_a_compiled_model_is_saved_with_its_loss_and_alpha(loss, tmp_path):
    model = compiled(loss)
    model.fit(X, Y, epochs=2, callbacks=[AlphaSchedule()] if isinstance(loss, UDALCrossentropy) else [], verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.loss) is type(loss) and again.loss.get_config() == loss.get_config()
    assert getattr(again.loss, "alpha", 0.6) == pytest.approx(0.6)
    np.testing.assert_allclose(again.evaluate(X, Y, verbose=0), model.evaluate(X, Y, verbose=0), rtol=1e-6)


def test_of_several_outputs_each_has_its_own_loss():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, {"a": keras.layers.Dense(4)(inputs), "b": keras.layers.Dense(2)(inputs)})
    losses = {"a": UDALCrossentropy(COUNTS), "b": UDALCrossentropy([3, 1], alpha_min=0.5)}
    model.compile("sgd", losses)
    model.fit(X, {"a": Y, "b": Y % 2}, epochs=2, callbacks=[AlphaSchedule()], verbose=0)
    assert [loss.alpha for loss in losses.values()] == pytest.approx([0.775, 0.875])


def test_half_precision_logits_are_shifted_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(UDALCrossentropy(COUNTS))
    finally:
        keras.config.set_dtype_policy("float32")
    history = model.fit(X, Y, callbacks=[AlphaSchedule()], verbose=0).history
    assert np.isfinite(history["loss"][0])
    half = model(X, training=False)
    assert half.dtype == tf.float16
    np.testing.assert_allclose(
        LogitAdjustedCrossentropy(COUNTS)(Y, half), expected(np.log(COUNTS), half.numpy(), Y), rtol=1e-5
    )


def test_they_are_names_of_the_public_module():
    assert udal_tf.losses.UDALCrossentropy is UDALCrossentropy
