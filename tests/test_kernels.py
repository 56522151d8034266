"""What a step is made of has kernels where it is to run, by TensorFlow's registry.

Of every base learner and method, `test_learner.py::test_contract_of_every_base_and_method` looks up the step that it
has traced. Here are the views and the input, by the crop and the place where batches are made, and every backbone's
forward and backward pass in each precision, without training.

To trace every backbone in every precision takes minutes, so each is traced in bfloat16 and its operations are looked up
in float16 and float32 as well: that a network's operations differ in that type alone is shown on the Wide ResNet.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.augment.views import make_views
from udal_tf.config import ModelConfig, resolve
from udal_tf.data.dataset import ArrayImages
from udal_tf.input.pipeline import LABELED, UNLABELED, BatchMaker, ImageSet
from udal_tf.methods.remixmatch import ReMixMatch
from udal_tf.models.build import build_model
from udal_tf.records.backbones import WideResNetConfig
from udal_tf.registry import BACKBONES
from udal_tf.training import kernels

# The shuffle of the images' order is done on the host, whatever trains: `input.stream.indices`.
ON_THE_HOST = {"RandomIndexShuffle Tseed=uint32 dtype=int64"}
# Without XLA, a GPU would leave these to the CPU, image by image back and forth; so --input=device is always compiled
# there. All are copies of uint8 pixels, and a split of MixUp's pairs.
WITHOUT_XLA_ON_A_GPU = {
    "DynamicPartition T=uint8",
    "GatherV2 Taxis=int32 Tindices=int32 Tparams=uint8",
    "SplitV T=int64 Tlen=int32",
    "TensorScatterUpdate T=uint8 Tindices=int32",
}
STEP = tf.TensorSpec([], tf.int64)
PRECISIONS = ("float32", "bfloat16", "float16")
DEVICES = (kernels.CPU, kernels.GPU, kernels.XLA_CPU, kernels.XLA_GPU)


def maker(crop: str, on_device: bool, static: bool) -> BatchMaker:
    """Of ReMixMatch's batches: every view, MixUp's pairs and rotations."""
    images = ArrayImages(np.zeros((12, 8, 8, 3), np.uint8))
    config = resolve({"base": "remixmatch", "crop": crop})
    base = ReMixMatch(config.method, config.own.base)
    positions = np.arange(12)
    sets = {
        name: ImageSet(images.on_device() if on_device else images, positions, positions, count)
        for name, count in ((LABELED, 4), (UNLABELED, 8))
    }
    views = make_views(config.augment, 8, 8, 3, static_shapes=static)
    return BatchMaker(sets, base.views, views, 0, base.mixup_beta)


def traced(function, *arguments):
    return tf.function(function, autograph=False).get_concrete_function(*arguments).graph


@pytest.mark.parametrize("crop", ["pad", "resized"])
def test_batches_made_on_the_device_compile_there_and_only_their_order_needs_the_host(crop):
    made = maker(crop, on_device=True, static=True)
    orders = traced(made.orders, STEP)
    assert not kernels.missing(orders, kernels.CPU)
    assert kernels.missing(orders, kernels.XLA_GPU) == ON_THE_HOST
    rows = {name: tf.TensorSpec([size], tf.int64) for name, size in (("rows_l", 4), ("rows_u", 8), ("pairs", 28))}
    graph = traced(lambda step, given: made.with_views(made.images(step, given)), STEP, rows)
    assert not kernels.missing(graph, kernels.XLA_GPU) | kernels.missing(graph, kernels.XLA_CPU)
    assert kernels.missing(graph, kernels.GPU) <= WITHOUT_XLA_ON_A_GPU


def test_batches_made_on_the_host_need_no_other_device_and_their_views_compile():
    made = maker("resized", on_device=False, static=False)
    assert not kernels.missing(traced(made, STEP), kernels.CPU)
    images = traced(lambda step: made.images(step, made.orders(step)), STEP)
    assert not kernels.missing(images, kernels.CPU)
    static = maker("resized", on_device=False, static=True)
    specs = tf.nest.map_structure(
        lambda value: tf.TensorSpec(value.shape, value.dtype),
        static.images(tf.constant(0, tf.int64), static.orders(tf.constant(0, tf.int64))),
    )
    views = traced(static.with_views, specs)
    assert not kernels.missing(views, kernels.XLA_GPU) | kernels.missing(views, kernels.XLA_CPU)


def network(arch: str, precision: str, **settings) -> set[kernels.Operation]:
    """The operations of a backbone's logits and of their gradients."""
    side = max(BACKBONES[arch].smallest_side, 8)
    model = build_model(ModelConfig(arch=arch), (side, side, 3), 3, precision, **settings)

    def step(images):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
        return tape.gradient(logits, model.trainable_variables)

    return kernels.operations(traced(step, tf.TensorSpec([2, side, side, 3])))


def in_precision(operations: set[kernels.Operation], precision: str) -> set[kernels.Operation]:
    """The operations of a network traced in bfloat16, in another precision."""

    def other(kind: str) -> str:
        return precision if kind == "bfloat16" else kind

    return {(op, tuple((name, other(kind)) for name, kind in types)) for op, types in operations}


@pytest.mark.parametrize("arch", BACKBONES)
def test_every_backbone_and_its_gradients_have_kernels_everywhere_in_each_precision(arch):
    operations = network(arch, "bfloat16")
    kinds = {kind for _, types in operations for _, kind in types}
    assert "bfloat16" in kinds and kernels.NOT_ON_TPU not in kinds
    for precision, device in itertools.product(PRECISIONS, DEVICES):
        assert not kernels.without_kernel(in_precision(operations, precision), device)


def test_a_networks_operations_in_another_precision_differ_in_that_type_alone():
    small = {"own": WideResNetConfig(depth=10, width=1)}
    mixed = network("wrn", "bfloat16", **small)
    assert in_precision(mixed, "float16") == network("wrn", "float16", **small)
    # In float32 there is nothing to cast.
    assert network("wrn", "float32", **small) <= in_precision(mixed, "float32")


def test_an_operation_without_a_kernel_is_found_by_its_types():
    def function(images, boxes):
        return tf.image.crop_and_resize(images, boxes, tf.range(2), [4, 4]), tf.gather(tf.cast(images, tf.uint8), [0])

    graph = traced(function, tf.TensorSpec([2, 8, 8, 3]), tf.TensorSpec([2, 4]))
    assert kernels.missing(graph, kernels.XLA_GPU) == {"CropAndResize T=float32"}
    assert kernels.missing(graph, kernels.GPU) == {"GatherV2 Taxis=int32 Tindices=int32 Tparams=uint8"}
    assert not kernels.missing(graph, kernels.CPU)
    assert not any(kernels.NOT_ON_TPU in dict(types).values() for _, types in kernels.operations(graph))
