"""How a step is computed changes no number: compiled by XLA, fed from the device, in other arithmetic."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from udal_tf import registry
from udal_tf.augment import randaugment
from udal_tf.config import resolve
from udal_tf.data import sources
from udal_tf.data.dataset import DataError
from udal_tf.registry import BACKBONES, Backbone, resolved
from udal_tf.run_dir import RunDir
from udal_tf.training import experiment, loop
from udal_tf.training.distribute import DeviceError

pytestmark = pytest.mark.usefixtures("small_network")
STEPS = 3
BASES = ("fixmatch", "mixmatch", "remixmatch", "supervised")
HOST_CALLBACKS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"}
# How XLA writes a shape that is known up to a bound.
BOUNDED = r"\[[^\]]*<="
# What makes shapes depend on values; TPUs want them known when they compile.
DYNAMIC_SHAPES = {"DynamicPartition", "Where", "Unique", "UniqueV2", "BooleanMask", "NonMaxSuppressionV5"}


class Trained:
    """Three steps of a tiny run on digits-LT: their metrics by name, the weights behind them, the run.

    Those with unlabeled images estimate their prior, so that it is compared, too.
    """

    def __init__(self, folder, **settings):
        tiny = {"epochs": 2, "steps_per_epoch": 4, "batch_size": 4, "unlabeled_ratio": 2}
        own = {"method": "udal", "unlabeled_prior": ("estimate",)}
        if settings.get("base") == "supervised":
            own = {"method": "la"}
        self.config = resolve({**tiny, "threshold": 0.12, **own, "workdir": str(folder), **settings})
        self.run = loop._Run(self.config, sources.load(self.config.data), RunDir(folder))
        on_device = self.config.device.input == "device"
        self.source = tf.range(STEPS, dtype=tf.int64) if on_device else self.run._batches(0)
        rows = self.run.runner(self.source, STEPS)
        self.metrics = dict(zip(self.run.runner.names, rows.T, strict=True))
        self.weights = {v.path: v.numpy() for v in self.run.learner.model.variables}
        self.p_unlabeled = self.run.learner.p_unlabeled().numpy()


@pytest.fixture(scope="module")
def plain(small_network, tmp_path_factory):
    """By base learner, the run as it is by default."""
    return {base: Trained(tmp_path_factory.mktemp(base), base=base) for base in BASES}


def assert_same(one: Trained, other: Trained, **tolerance):
    assert one.metrics.keys() == other.metrics.keys()
    for name in one.metrics:
        np.testing.assert_allclose(one.metrics[name], other.metrics[name], err_msg=name, **tolerance)
    for name in one.weights:
        np.testing.assert_allclose(one.weights[name], other.weights[name], err_msg=name, **tolerance)
    np.testing.assert_allclose(one.p_unlabeled, other.p_unlabeled, **tolerance)


@pytest.mark.parametrize("base", BASES)
def test_the_compiled_step_equals_the_plain_one_and_asks_the_host_for_nothing(plain, base, tmp_path):
    compiled = Trained(tmp_path, base=base, jit=True)
    assert_same(compiled, plain[base], rtol=1e-5, atol=1e-5)
    operations = compiled.run.runner.graph_operations(compiled.source)
    assert not operations & HOST_CALLBACKS
    assert not operations & DYNAMIC_SHAPES
    text = compiled.run.runner.xla_text(next(compiled.source))
    assert "convolution" in text
    assert not re.search(BOUNDED, text), "a shape that is only bounded"


def test_a_run_with_a_compiled_update_equals_the_plain_one_and_skips_an_overflow_in_float16(lower, tmp_path):
    half = Trained(tmp_path, fused_update="true", precision="float16")
    assert half.run.learner.compiles_update
    assert_same(half, lower["float16"], rtol=1e-3, atol=1e-3)
    check_overflow(half)


@pytest.mark.parametrize("base", [base for base in BASES if base != "supervised"])
def test_the_estimate_that_is_compared_has_moved(plain, base):
    assert (np.abs(plain[base].p_unlabeled - plain[base].run.data.p_unlabeled) > 1e-5).any()


def test_the_plain_step_is_not_mistaken_for_the_compiled_one(plain):
    """The checks above can fail: RandAugment's grouping has dynamic shapes, and XLA's text shows such."""
    views = plain["fixmatch"].run.views
    function = tf.function(views.strong.apply)
    graph = function.get_concrete_function(
        tf.TensorSpec([4, 8, 8, 1], tf.uint8), tf.TensorSpec([4, views.strong.uniforms])
    ).graph
    assert {op.type for op in graph.get_operations()} & DYNAMIC_SHAPES
    masked = tf.function(lambda x: tf.boolean_mask(x, x > 0), jit_compile=True)
    assert re.search(BOUNDED, masked.experimental_get_compiler_ir(tf.constant([1.0, -1.0]))(stage="hlo"))


@pytest.mark.parametrize("base", BASES)
def test_input_from_the_device_gives_the_same_numbers(plain, base, tmp_path):
    assert_same(Trained(tmp_path, base=base, input="device"), plain[base], rtol=0, atol=0)


def test_input_from_the_device_compiles_too(plain, tmp_path):
    trained = Trained(tmp_path, input="device", jit=True)
    assert_same(trained, plain["fixmatch"], rtol=1e-5, atol=1e-5)
    operations = trained.run.runner.graph_operations(trained.source)
    assert not operations & HOST_CALLBACKS
    assert not any("Iterator" in name for name in operations)


def test_images_from_files_cannot_lie_on_the_device(tmp_path):
    from PIL import Image

    for number in range(4):
        for name in ("labeled/a", "labeled/b", "test/a", "test/b"):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            shade = np.full((8, 8, 3), 40 * number, np.uint8)
            Image.fromarray(shade).save(tmp_path / "data" / name / f"{number}.png")
    config = resolve(
        {"dataset": "imagenet127", "data_dir": str(tmp_path), "input": "device", "workdir": str(tmp_path / "run")}
    )
    with pytest.raises(DataError):
        experiment.train_and_evaluate(config)


def test_compiled_max_pooling_cannot_be_reproducible_and_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    def pooling(shape, num_classes, config, own=None):
        inputs = keras.Input(shape)
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.MaxPooling2D()(inputs))
        return keras.Model(inputs, keras.layers.Dense(num_classes)(x))

    monkeypatch.setitem(BACKBONES._all(), "pooling", Backbone("pooling", "Pooling", "x:y"))
    monkeypatch.setattr(registry, "resolved", lambda name: pooling if name == "x:y" else resolved(name))
    config = resolve({"arch": "pooling", "jit": True, "workdir": str(tmp_path / "run")})
    with pytest.raises(DeviceError, match="--jit cannot compile.*--arch=pooling.*--deterministic=false"):
        experiment.train_and_evaluate(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("static_shapes", [False, True])
def test_both_forms_of_randaugment_give_the_same_pixels(static_shapes):
    random = np.random.RandomState(3)
    images = tf.constant(random.randint(0, 256, (200, 8, 8, 3)), tf.uint8)
    uniforms = tf.constant(random.uniform(size=(200, 8)), tf.float32)
    grouped = randaugment.rand_augment(images, uniforms)
    assert (grouped.numpy() != images.numpy()).any()
    other = tf.function(randaugment.rand_augment, jit_compile=static_shapes)(
        images, uniforms, static_shapes=static_shapes
    )
    np.testing.assert_array_equal(other, grouped)


def test_weak_views_in_a_pass_of_their_own_train_on_other_statistics(plain, tmp_path):
    apart = Trained(tmp_path, joint_forward=False)
    assert np.isfinite(apart.metrics["loss"]).all()
    assert abs(apart.metrics["loss"][0] - plain["fixmatch"].metrics["loss"][0]) > 1e-4
    assert_same(Trained(tmp_path / "again", joint_forward=False), apart, rtol=0, atol=0)


def test_passes_apart_with_one_image_set_and_no_batch_norm_effect_are_the_joint_one(tmp_path, monkeypatch):
    """With batch norm taken out, where the views pass does not matter."""
    from udal_tf.models.layers import FusedBatchNorm

    monkeypatch.setattr(FusedBatchNorm, "call", lambda self, x, training=False: x * self.gamma + self.beta)
    joint, apart = (Trained(tmp_path / str(flag), joint_forward=flag) for flag in (True, False))
    assert_same(joint, apart, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def lower(small_network, tmp_path_factory):
    """By precision, the run of FixMatch in it."""
    return {name: Trained(tmp_path_factory.mktemp(name), precision=name) for name in ("bfloat16", "float16")}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_stays_close_and_keeps_logits_and_averages_in_float32(plain, lower, precision):
    trained = lower[precision]
    learner = trained.run.learner
    assert {layer.compute_dtype for layer in learner.model.layers if "conv2_block1_1" in layer.name} == {precision}
    assert learner.model.output.dtype == learner.history.dtype == "float32"
    assert {v.dtype for v in learner.model.variables} == {"float32"}
    np.testing.assert_allclose(trained.metrics["loss"], plain["fixmatch"].metrics["loss"], rtol=0.05)
    assert (trained.metrics["loss"] != plain["fixmatch"].metrics["loss"]).any()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_overflow_in_float16_changes_nothing_and_the_step_counts(lower, tmp_path, optimizer):
    check_overflow(
        lower["float16"] if optimizer == "sgd" else Trained(tmp_path, precision="float16", optimizer=optimizer)
    )


def check_overflow(trained):
    learner = trained.run.learner
    before = {v.path: v.numpy() for v in learner.model.trainable_variables}
    learner.scaling.dynamic_scale.assign(1e38)
    trained.run.runner(trained.source, 1)
    for variable in learner.model.trainable_variables:
        np.testing.assert_array_equal(variable, before[variable.path])
    assert int(learner.step) == STEPS + 1
    assert float(learner.scaling.dynamic_scale.numpy()) < 1e38


def test_threads_of_the_flag_are_refused_below_zero():
    with pytest.raises(ValueError, match="--threads must be at least 0"):
        resolve({"threads": -1})
