"""Writes XLA's program of one training step, with its inputs and results, for `run_hlo.py`, which needs no TensorFlow.

The program is what TensorFlow gives XLA with --jit, before any optimization: views of the images, forward and backward
pass, optimizer and EMA. Images are random; the results are those of TensorFlow's XLA on this machine.

    python benchmarks/step_hlo.py step.npz --precision=bfloat16
    python benchmarks/step_hlo.py tiny.npz --batch_size=8 --unlabeled_ratio=2 --depth=10 --side=8

All further flags are those of `run.py`. CReST's step by default: WRN-28-2, 64 + 2 · 448 images of 32 pixels.
"""

import argparse
import pathlib
import re
import sys

import numpy as np
import tensorflow as tf

from udal_tf.augment.views import make_views
from udal_tf.config import Config, resolve
from udal_tf.input.pipeline import WHOLE
from udal_tf.training import loop, timing
from udal_tf.training.steps import StepRunner

NUM_CLASSES = 10
# In the first line of a module: result 5 replaces input 14 in "{5}: (14, {}, may-alias)".
ALIAS = re.compile(r"\{(\d+)\}: \((\d+), ")
DEFAULTS = {"dataset": "cifar10lt", "batch_size": 64, "unlabeled_ratio": 7, "method": "udal"}


def program(config: Config, side: int) -> dict[str, np.ndarray]:
    """The step by `config` on images of this side.

    Returns:
      "hlo", the serialized module as bytes; "images", how many views a step has; "precision"; "in_0", …, arguments and
      variables; "out_0", the metrics; "out_1", …, the variables after the step; "alias", [n, 2] the number of each such
      result and of the input that it replaces.
    """
    data = timing._random_problem(config, NUM_CLASSES, side, 1)
    learner = loop.make_learner(config, data)
    views = make_views(config.augment, *data.train.shape, static_shapes=True)
    maker = loop.make_batch_maker(config, data, views, learner)
    runner = StepRunner(tf.distribute.get_strategy(), learner, maker, jit=True)
    batch = runner.host_batch(tf.constant(0, tf.int64), WHOLE)
    step = runner._replica_step
    alias = np.array(ALIAS.findall(runner.xla_text(batch).split("\n", 1)[0]), np.int64)
    hlo = step.experimental_get_compiler_ir(batch, None)(stage="hlo_serialized")
    concrete = step.get_concrete_function(batch, None)
    # A function's arguments come sorted by name, then what it captures: of a variable, its value.
    variables = {id(variable.handle): variable for variable in concrete.graph.variables}
    inputs = [*tf.nest.flatten(batch), *(variables.get(id(tensor), tensor) for tensor in concrete.captured_inputs)]
    found = {"hlo": np.frombuffer(hlo, np.uint8), "images": np.array(maker.images_per_step), "alias": alias}
    found |= {f"in_{number}": value.numpy() for number, value in enumerate(inputs)}
    found["precision"] = np.array(config.device.precision)
    found["out_0"] = step(batch, None).numpy()
    return found | {f"out_{number}": inputs[of_input].numpy() for number, of_input in alias}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=pathlib.Path, help="the .npz file to write")
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    own, flags = parser.parse_known_args(arguments)
    settings = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
    typed = {name: int(value) if value.isdigit() else value for name, value in settings.items()}
    config = resolve({**DEFAULTS, **typed, "jit": True})
    found = program(config, own.side)
    np.savez(own.path, **found)
    print(f"{own.path}: {len(found['hlo']):,} bytes of HLO, {own.path.stat().st_size >> 20} MB with inputs and results")


if __name__ == "__main__":
    main(sys.argv[1:])
