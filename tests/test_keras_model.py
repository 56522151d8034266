"""keras_api: Keras's fit around the program's step, and what it saves, resumes and refuses."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_learner import network as small_network

import udal_tf
from udal_tf.augment.views import make_views
from udal_tf.config import MethodConfig, resolve
from udal_tf.data import sources
from udal_tf.methods.learner import _make_optimizer
from udal_tf.registry import BASE_LEARNERS, METHODS
from udal_tf.training import loop
from udal_tf.training.steps import StepRunner

AUGMENT = {"crop_padding": 1, "flip": False, "strong_ops": ("ShearX", "Contrast"), "cutout": 0.25}
CLASSES = 4
STEPS_PER_EPOCH, EPOCHS = 3, 2
COMPARED_STEPS = 50


def images(count: int, seed: int = 0, shape=(8, 8, 1)) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (count, *shape)).astype(np.uint8)


X, Y, XU = images(24), np.arange(24) % CLASSES, images(60, 1)
TEST, TEST_Y = images(20, 2), np.arange(20) % CLASSES


def batches(**options):
    return udal_tf.batches(X, Y, XU, **{"batch_size": 4, "unlabeled_ratio": 2, "augment": AUGMENT, **options})


def make(base="fixmatch", method="udal", optimizer=None, compiled=None, **settings):
    keras.utils.set_random_seed(1)
    settings = {"threshold": 0.3, "ema_decay": 0.5, **settings}
    model = udal_tf.SemiSupervisedModel(
        small_network(), class_counts=[12, 6, 4, 2], base=base, method=method, unlabeled_count=len(XU), **settings
    )
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True), **(compiled or {}))
    return model


def fit(model, epochs=EPOCHS, **options):
    return model.fit(batches(), epochs=epochs, steps_per_epoch=STEPS_PER_EPOCH, verbose=0, **options)


def state(model) -> list[np.ndarray]:
    """Network, EMA, q̂ and everything else that training moves."""
    return [v.numpy() for v in (*model.weights, *model.optimizer.variables)]


def assert_same_state(one, other):
    ours, theirs = state(one), state(other)
    assert len(ours) == len(theirs) > 10
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.rows = []

    def on_train_batch_end(self, batch, logs=None):
        self.rows.append(logs)


class Interrupted(Exception):
    pass


class Interrupts(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise Interrupted


# Of the methods that bring views of their own, one with a labeled view and one with a second head.
COMPARED = [(base, "udal") for base in BASE_LEARNERS] + [
    ("fixmatch", name)
    for name, method in METHODS.items()
    if not (method.train or method.retrains_head) and name != "udal" and (not method.bases or name in ("simpro", "abc"))
]


@pytest.mark.parametrize(("base", "method"), COMPARED)
def test_fit_gives_the_losses_of_the_program(base, method, tmp_path):
    """Running means over an epoch, as Keras logs them, of the program's own figures; weights and EMA alike."""
    given = {"base": base, "method": method, "batch_size": 8, "unlabeled_ratio": 2, "threshold": 0.12}
    if method == "simpro":
        given["simpro_scale"] = 2.0
    config = resolve({**given, "epochs": EPOCHS, "steps_per_epoch": COMPARED_STEPS // EPOCHS, "workdir": str(tmp_path)})
    data = sources.load(config.data)
    seed = loop.run_seed(config)

    def net():
        keras.utils.set_random_seed(3)
        inputs = keras.Input(data.train.shape)
        features = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, strides=2, activation="relu")(inputs))
        return keras.Model(inputs, keras.layers.Dense(data.num_classes)(features))

    # What the model is not told either.
    problem = dataclasses.replace(loop.problem_of(data, seed), labeled_counts=None, labeled_rows=None)
    learner = loop.Learner(net(), problem, config.method, config.optimizer, config.train, config.own)
    views = make_views(config.augment, *data.train.shape)
    runner = StepRunner(
        tf.distribute.get_strategy(), learner, maker := loop.make_batch_maker(config, data, views, learner)
    )
    total = config.train.total_steps
    source = iter(loop.pipeline.training_batches(maker, 0, total))
    rows = runner(source, total)

    method_fields = [field.name for field in dataclasses.fields(MethodConfig)]
    settings = {name: getattr(config.method, name) for name in method_fields}
    for section in (config.own.base, config.own.method):
        settings |= dataclasses.asdict(section) if section else {}
    optimizer = config.optimizer
    model = udal_tf.SemiSupervisedModel(
        net(),
        p_data=data.p_data,
        unlabeled_count=len(data.unlabeled),
        ema_decay=optimizer.ema_decay,
        ema_warmup=False,
        weight_decay=optimizer.weight_decay,
        seed=seed,
        **settings,
    )
    model.compile(_make_optimizer(optimizer, total))
    train = data.train.fetch(tf.range(len(data.train))).numpy()
    recorded = Losses()
    ours = udal_tf.batches(
        train[data.labeled],
        data.labels_l,
        train[data.unlabeled],
        batch_size=8,
        unlabeled_ratio=config.train.unlabeled_ratio,
        augment=dataclasses.asdict(config.augment),
        seed=seed,
    )
    model.fit(ours, epochs=EPOCHS, steps_per_epoch=COMPARED_STEPS // EPOCHS, callbacks=[recorded], verbose=0)

    for number, logs in enumerate(recorded.rows):
        first = number - number % (COMPARED_STEPS // EPOCHS)
        for name in ("loss", "loss_labeled", "alpha", "kl_target"):
            want = rows[first : number + 1, runner.names.index(name)].mean()
            np.testing.assert_allclose(logs[name], want, rtol=1e-6, atol=1e-6, err_msg=f"{name} of step {number}")
    for a, b in zip([*learner._trained, *learner.ema], [*model._learner._trained, *model._learner.ema], strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("saved", ["keras", "weights"])
def test_what_keras_saves_holds_the_whole_state(saved, tmp_path):
    model, other = make(), make()
    fit(model)
    if saved == "keras":
        model.save(tmp_path / "model.keras")
        other = keras.models.load_model(tmp_path / "model.keras")
    else:
        model.save_weights(tmp_path / "model.weights.h5")
        other.load_weights(tmp_path / "model.weights.h5")
    assert_same_state(model, other)
    assert int(other.training_state._kept[0].numpy()) == STEPS_PER_EPOCH * EPOCHS
    np.testing.assert_array_equal(model.predict(TEST, verbose=0), other.predict(TEST, verbose=0))


def test_saved_state_of_another_method_is_refused(tmp_path):
    make(method="darp").save_weights(tmp_path / "darp.weights.h5")
    with pytest.raises(ValueError, match="another network, base learner, method"):
        make().load_weights(tmp_path / "darp.weights.h5")


@pytest.mark.parametrize(("base", "method"), [("fixmatch", "darp"), ("remixmatch", "udal")])
def test_an_interrupted_fit_resumes_with_the_weights_of_one_that_was_not(base, method, tmp_path):
    whole = make(base, method)
    fit(whole)

    def backed_up(*further):
        model = make(base, method)
        fit(model, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup"), *further])
        return model

    with pytest.raises(Interrupted):
        backed_up(Interrupts())
    assert_same_state(backed_up(), whole)


def test_alpha_follows_the_epochs_of_fit_and_initial_epoch():
    recorded = Losses()
    model = make()
    fit(model, epochs=4, callbacks=recorded)
    # 1 − 0.9·(epoch/4)², one value an epoch.
    want = [1.0, 0.94375, 0.775, 0.49375]
    np.testing.assert_allclose([row["alpha"] for row in recorded.rows[::STEPS_PER_EPOCH]], want, rtol=1e-5)
    recorded.rows = []
    fit(model, epochs=4, initial_epoch=2, callbacks=[recorded])
    np.testing.assert_allclose([row["alpha"] for row in recorded.rows[::STEPS_PER_EPOCH]], want[2:], rtol=1e-5)


def test_early_stopping_restores_the_ema_weights_too(tmp_path):
    model = make()
    stop = keras.callbacks.EarlyStopping(
        "val_balanced_accuracy", mode="max", patience=1, start_from_epoch=0, restore_best_weights=True
    )
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", "val_balanced_accuracy", mode="max", save_best_only=True
    )
    board = keras.callbacks.TensorBoard(tmp_path / "board", histogram_freq=1)
    history = fit(model, 4, validation_data=(TEST, TEST_Y), callbacks=[stop, checkpoint, board]).history
    best = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(best.predict(TEST, verbose=0), model.predict(TEST, verbose=0))
    scores = model.evaluate(TEST, TEST_Y, return_dict=True, verbose=0)
    assert scores["balanced_accuracy"] == pytest.approx(max(history["val_balanced_accuracy"]))
    recall = [np.mean(model.predict(TEST, verbose=0).argmax(1)[c == TEST_Y] == c) for c in range(CLASSES)]
    assert scores["balanced_accuracy"] == pytest.approx(np.mean(recall))
    assert any((tmp_path / "board").rglob("events.*"))


def test_arrays_of_four_channels_become_a_trained_model_in_fifteen_lines(tmp_path, monkeypatch):
    """Two classes that differ in the fourth channel alone."""
    monkeypatch.chdir(tmp_path)
    classes = np.random.RandomState(0).randint(0, 2, 200)
    x = images(200, 3, (8, 8, 4))
    x[..., 3] = np.where(classes[:, None, None] == 1, 200, 60)
    x_labeled, y_labeled, x_unlabeled, x_test, y_test = x[:20], classes[:20], x[20:150], x[150:], classes[150:]
    lines = """
network = keras.Sequential([
    keras.Input((8, 8, 4)),
    keras.layers.Conv2D(8, 3, activation="relu"),
    keras.layers.GlobalAveragePooling2D(),
    keras.layers.Dense(2),
])
model = udal_tf.SemiSupervisedModel(network, class_counts=np.bincount(y_labeled))
model.compile(keras.optimizers.AdamW(1e-2))
augment = {"crop_padding": 1, "strong_ops": ("ShearX", "Rotate")}
batches = udal_tf.batches(x_labeled, y_labeled, x_unlabeled, batch_size=8, unlabeled_ratio=2, augment=augment)
best = keras.callbacks.ModelCheckpoint("best.keras", "val_balanced_accuracy", mode="max", save_best_only=True)
stop = keras.callbacks.EarlyStopping("val_balanced_accuracy", mode="max", patience=3)
model.fit(batches, epochs=4, verbose=0, validation_data=(x_test, y_test), callbacks=[best, stop])
"""
    assert len(lines.strip().splitlines()) <= 15
    given = {"x_labeled": x_labeled, "y_labeled": y_labeled, "x_unlabeled": x_unlabeled}
    exec(lines, {"keras": keras, "np": np, "udal_tf": udal_tf, "x_test": x_test, "y_test": y_test, **given})
    trained = keras.models.load_model("best.keras")
    assert trained.evaluate(x_test, y_test, return_dict=True, verbose=0)["balanced_accuracy"] > 0.9


def test_weights_and_adjustment_of_evaluation_are_chosen_by_argument():
    model = make()
    fit(model)
    floats = (TEST - 127.5).astype(np.float32) / 127.5
    raw = model.predict(TEST, weights="raw", verbose=0)
    np.testing.assert_allclose(raw, model.network.predict(floats, verbose=0), atol=1e-5)
    ema = model.predict(TEST, verbose=0)
    assert np.abs(ema - raw).max() > 1e-3
    np.testing.assert_allclose(ema, model.ema_network().predict(floats, verbose=0), atol=1e-5)
    adjusted = model.predict(TEST, logit_adjustment=True, verbose=0)
    # The class prior against a uniform one: log(4 · p_data).
    np.testing.assert_allclose(
        ema - adjusted, np.tile(np.log(4 * np.array([0.5, 0.25, 1 / 6, 1 / 12])), (20, 1)), atol=1e-5
    )
    by_argument = model.evaluate(TEST, TEST_Y, weights="raw", logit_adjustment=True, return_dict=True, verbose=0)
    prior = np.log(np.array([0.5, 0.25, 1 / 6, 1 / 12]))
    assert by_argument["accuracy"] == pytest.approx(np.mean((raw - prior).argmax(1) == TEST_Y))
    np.testing.assert_array_equal(ema, model.predict(TEST, verbose=0))


@pytest.mark.parametrize(
    "compiled", [{"jit_compile": True}, {"steps_per_execution": 3}, {"run_eagerly": True}], ids=lambda c: next(iter(c))
)
def test_how_keras_runs_a_step_changes_no_weight(compiled):
    model, other = make(), make(compiled=compiled)
    fit(model)
    fit(other)
    for ours, theirs in zip(state(model), state(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_half_precision_scales_the_loss_and_saves_the_scale(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make()
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    history = fit(model).history
    assert np.isfinite(history["loss"]).all()
    model.save(tmp_path / "half.keras")
    assert_same_state(model, keras.models.load_model(tmp_path / "half.keras"))


def test_a_tf_data_set_of_the_users_own_needs_only_images_and_labels():
    """int32 labels, unknown labels of unlabeled images left out; MixUp's partners come from the step."""

    def element(i):
        view = tf.random.stateless_normal([4, 8, 8, 1], tf.stack([i, 0]))
        return {"x_l": view, "x_u1": view + 0.1, "x_u2": view - 0.1, "labels_l": tf.range(4)}

    keys = [key for key, _, _ in make("mixmatch")._learner.base.views]
    data = tf.data.Dataset.range(3).map(
        lambda i: dict(zip(keys, list(element(i).values())[:3], strict=True)) | {"labels_l": tf.range(4)}
    )
    model = make("mixmatch")
    history = model.fit(data, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all() and history["alpha"][0] == 1.0 and history["alpha"][1] < 1.0
    assert int(model._learner.step.numpy()) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.pop("x_s"), 'no "x_s"'),
        (lambda b: b.update(x_s=tf.cast(b["x_s"], tf.uint8)), '"x_s" must be float32 images'),
        (lambda b: b.update(x_s=b["x_s"][:2]), '"x_s" has 2 images'),
        (lambda b: b.update(labels_l=tf.one_hot(b["labels_l"], 4)), '"labels_l" must be integers'),
        (lambda b: b.update(labels_l=b["labels_l"][:2]), '"labels_l" has 2 labels'),
        (lambda b: b.update(labels_l=b["labels_l"] + 4), "labels_l must be 0 to 3"),
    ],
)
def test_a_batch_of_another_kind_is_refused_by_name(change, message):
    batch = dict(next(iter(batches(base="fixmatch"))))
    change(batch)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        make().fit(tf.data.Dataset.from_tensors(batch), verbose=0)


def test_uint8_images_are_refused_after_training_on_other_views_than_ours():
    """Nothing tells how they were prepared; also where evaluation was traced before."""
    model = make("supervised")
    model.predict(TEST, verbose=0)
    batch = {"x_l": np.zeros((4, 8, 8, 1), np.float32), "labels_l": np.arange(4)}
    model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    with pytest.raises(ValueError, match="as your own view for evaluation prepares them, got uint8"):
        model.predict(TEST, verbose=0)
    assert model.predict(TEST.astype(np.float32), verbose=0).shape == (20, CLASSES)


def test_a_loaded_model_is_compiled_as_it_was(tmp_path):
    model = make(compiled={"steps_per_execution": 3, "weighted_metrics": ["sparse_categorical_accuracy"]})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.steps_per_execution == 3
    assert "sparse_categorical_accuracy" in loaded.evaluate(TEST, TEST_Y, return_dict=True, verbose=0)


def test_a_batch_without_a_fixed_size_or_without_names_is_refused():
    whole = tf.data.Dataset.from_tensor_slices(
        {"x_l": np.zeros((4, 8, 8, 1), np.float32), "labels_l": np.zeros(4, int)}
    )
    with pytest.raises(ValueError, match="drop_remainder=True"):
        make("supervised").fit(whole.batch(2), verbose=0)
    with pytest.raises(ValueError, match="must be a dict"):
        make("supervised").fit(whole.batch(2).map(lambda b: (b["x_l"], b["labels_l"])), verbose=0)
    with pytest.raises(ValueError, match="steps_per_epoch"):
        make("supervised").fit(whole.batch(2, drop_remainder=True).repeat(), verbose=0)
    with pytest.raises(ValueError, match=r"udal_tf\.batches"):
        make().fit(X, Y, verbose=0)


def test_pseudo_labels_are_said_to_be_right_only_where_labels_are_known():
    model = make()
    known = udal_tf.batches(X, Y, XU, np.arange(60) % CLASSES, batch_size=4, unlabeled_ratio=2, augment=AUGMENT)
    for given, said in ((known, True), (batches(), False)):
        history = model.fit(given, epochs=1, steps_per_epoch=1, verbose=0).history
        assert ("confident_correct" in history) == said and "confident" in history


def ends_in(activation=None, classes=CLASSES, layer=None):
    last = [keras.layers.Dense(classes, activation=activation), *([layer] if layer else [])]
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *last])


COUNTS = {"class_counts": [12, 6, 4, 2]}


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, classes: int = CLASSES, activation=None):
        super().__init__()
        self.classes, self.flatten = classes, keras.layers.Flatten()
        self.last = keras.layers.Dense(classes, activation=activation)
        self(np.zeros((1, 8, 8, 1), np.float32))

    def call(self, x, training=False):
        return self.last(self.flatten(x))

    def get_config(self):
        return {"classes": self.classes}


def test_a_subclassed_network_trains_and_is_saved(tmp_path):
    model = udal_tf.SemiSupervisedModel(Subclassed(), **COUNTS)
    model.compile("adam")
    fit(model)
    model.save(tmp_path / "model.keras")
    assert_same_state(model, keras.models.load_model(tmp_path / "model.keras"))
    with pytest.raises(ValueError, match="ends in a Dense"):
        udal_tf.SemiSupervisedModel(Subclassed(), base="remixmatch", **COUNTS)
    for network, message in (
        (Subclassed(5), "4 classes, and the network's output is"),
        (Subclassed(activation="softmax"), "applies a softmax|sum to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            model = udal_tf.SemiSupervisedModel(network, **COUNTS)
            model.compile("adam")
            fit(model)


def test_export_gives_the_models_predictions(tmp_path):
    model = make()
    fit(model)
    model.export(tmp_path / "exported", verbose=False)
    floats = (TEST - 127.5).astype(np.float32) / 127.5
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(exported.serve(floats), model.predict(TEST, verbose=0), atol=1e-5)


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        (ends_in("softmax"), COUNTS, "applies a softmax"),
        (ends_in(layer=keras.layers.Softmax()), COUNTS, "applies a softmax"),
        (ends_in(layer=keras.layers.Lambda(lambda x: tf.nn.softmax(x))), COUNTS, "probabilities that sum to 1"),
        (ends_in("sigmoid"), COUNTS, "applies a sigmoid"),
        (ends_in(classes=5), COUNTS, "4 classes, and the network's output is"),
        (keras.Sequential([keras.layers.Dense(4)]), COUNTS, "no weights yet"),
        (ends_in(), {}, "either class_counts"),
        (ends_in(), {"class_counts": [3, 0, 1, 1]}, "cannot be learned"),
        (ends_in(), {"p_data": [0.5, 0.5, 0.5, 0.5]}, "must sum to 1"),
        (ends_in(), {**COUNTS, "method": "crest+"}, "several generations"),
        (ends_in(), {**COUNTS, "method": "udl"}, "method must be one of"),
        (ends_in(), {**COUNTS, "base": "fix"}, "base must be one of"),
        (ends_in(), {**COUNTS, "alpha": 0.1}, "unknown setting alpha"),
        (ends_in(), {**COUNTS, "alpha_min": 2.0}, "alpha_min must be at least 0 and at most 1, got 2.0"),
        (ends_in(), {**COUNTS, "method": "darp"}, "needs unlabeled_count"),
        (
            ends_in(),
            {**COUNTS, "method": "darp", "unlabeled_count": 9, "darp_prior": ("estimate",)},
            "further networks",
        ),
        (ends_in(), {**COUNTS, "base": "supervised", "method": "da"}, "needs pseudo-labels"),
        (ends_in(), {**COUNTS, "weights": "best"}, "weights must be"),
        (ends_in(layer=keras.layers.Reshape((4,))), {**COUNTS, "base": "remixmatch"}, "ends in a Dense"),
    ],
)
def test_what_cannot_train_is_refused_by_name(network, settings, message):
    with pytest.raises(ValueError, match=message):
        udal_tf.SemiSupervisedModel(network, **settings)


def test_labels_beyond_the_classes_and_a_loss_are_refused():
    with pytest.raises(ValueError, match="the labels have 6 classes, and the model has 4"):
        make().fit(batches_of(Y + 2), verbose=0)
    with pytest.raises(ValueError, match="needs no loss"):
        make().compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="images must be float32"):
        make().predict(TEST.astype(np.int32), verbose=0)


def batches_of(labels):
    return udal_tf.batches(X, labels, XU, batch_size=4, unlabeled_ratio=2, augment=AUGMENT)


def test_weight_decay_is_the_papers_unless_the_optimizer_has_its_own():
    def l2(model):
        return model._learner._l2_weight

    assert l2(make()) == 5e-4
    assert l2(make(optimizer=keras.optimizers.AdamW(1e-3))) == 0.0
    assert l2(make(weight_decay=0.1)) == 0.1


def test_regularizers_of_the_network_count():
    inputs = keras.Input((8, 8, 1))
    dense = keras.layers.Dense(CLASSES, kernel_regularizer=keras.regularizers.L1(0.5))
    model = udal_tf.SemiSupervisedModel(
        keras.Model(inputs, dense(keras.layers.Flatten()(inputs))),
        base="supervised",
        method="none",
        weight_decay=0.0,
        **COUNTS,
    )
    model.compile(keras.optimizers.SGD(0.0))
    logs = model.fit(udal_tf.batches(X, Y, augment=AUGMENT, batch_size=4), epochs=1, verbose=0).history
    want = 0.5 * np.abs(dense.kernel.numpy()).sum()
    assert logs["loss"][0] - logs["loss_labeled"][0] == pytest.approx(want, rel=1e-4)


def test_a_network_of_keras_applications_trains():
    network = keras.applications.MobileNetV3Small(
        (32, 32, 3), weights=None, classes=CLASSES, classifier_activation=None, alpha=0.35, minimalistic=True
    )
    model = udal_tf.SemiSupervisedModel(network, **COUNTS)
    model.compile(keras.optimizers.AdamW(1e-3))
    x = images(24, shape=(32, 32, 3))
    history = model.fit(udal_tf.batches(x, Y, x, batch_size=2, unlabeled_ratio=1), steps_per_epoch=1, verbose=0).history
    assert np.isfinite(history["loss"][0])
    # Batch norm is not decayed, inside of nested layers either.
    assert all("bn" not in v.path and "gamma" not in v.path for v in model._learner._decayed)
