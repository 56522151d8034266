"""Looks up every operation of each backbone's forward and backward pass in TensorFlow's registry of kernels.

    python benchmarks/kernels.py                 # all of them, in each precision; takes minutes
    python benchmarks/kernels.py wrn xception

tests/test_kernels.py and tests/test_learner.py do the same for the views, the input, and every base learner and method.
"""

import itertools
import sys

import tensorflow as tf

from udal_tf.models.build import build_model
from udal_tf.registry import BACKBONES
from udal_tf.sections import ModelConfig
from udal_tf.training import kernels

PRECISIONS = ("float32", "bfloat16", "float16")
DEVICES = (kernels.CPU, kernels.GPU, kernels.XLA_CPU, kernels.XLA_GPU)
SMALLEST_SIDE = 32


def step_graph(arch: str, precision: str) -> tf.Graph:
    """The graph of the logits of two images and their gradients."""
    side = max(BACKBONES[arch].smallest_side, SMALLEST_SIDE)
    model = build_model(ModelConfig(arch=arch), (side, side, 3), 2, precision)

    def step(images):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
        return tape.gradient(logits, model.trainable_variables)

    return tf.function(step, autograph=False).get_concrete_function(tf.TensorSpec([2, side, side, 3])).graph


def main(chosen: list[str]) -> None:
    for arch, precision in itertools.product(chosen or list(BACKBONES), PRECISIONS):
        graph = step_graph(arch, precision)
        lacking = {device: sorted(kernels.missing(graph, device)) for device in DEVICES}
        found = "; ".join(f"{device}: {', '.join(names)}" for device, names in lacking.items() if names)
        print(
            f"{arch} in {precision}, {len(kernels.operations(graph))} operations: {found or 'none missing'}", flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1:])
