"""Counts what a GPU starts for the update of weights, optimizer and EMA: plain, and with --fused_update.

    python benchmarks/update_kernels.py
    python benchmarks/update_kernels.py --depth=10 --width=1

Nodes that compute, in the traced graph of the step without and with it; the fusions of the compiled update in XLA's
optimized text for the CPU, whose compiler merges no two variables, as that for GPUs does; and what that text has of the
whole step as --jit compiles it: fusions, convolutions, products and copies. All flags are those of `run.py`; WRN-28-2
by default.
"""

import re
import sys
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from udal_tf.augment.views import make_views
from udal_tf.config import resolve
from udal_tf.input.pipeline import WHOLE
from udal_tf.training import loop, timing
from udal_tf.training.steps import StepRunner

NUM_CLASSES = 10
SIDE = 32
OPTIMIZERS = ("sgd", "adam", "adamw", "adam_shrink")
# Nodes without arithmetic: what a function is given, constants, and a variable's memory.
IDLE = ("Placeholder", "Const", "ReadVariableOp", "Identity", "IdentityN", "NoOp", "AssignVariableOp", "_Arg")
# Instructions of XLA's text that compute or copy.
FUSION, KERNEL = (re.compile(rf" ({kinds})\(") for kinds in ("fusion", "fusion|convolution|dot|copy|concatenate"))


def nodes(graph: tf.Graph) -> int:
    """How many nodes of a graph compute; a compiled function is one."""
    return sum(node.op not in IDLE for node in graph.as_graph_def().node)


def counts(given: Mapping[str, Any]) -> dict[str, int]:
    """Of a step with these settings: nodes of the whole step and of the update, plain and fused; fusions."""
    config = resolve({"dataset": "cifar10lt", "batch_size": 2, "unlabeled_ratio": 1, **given})
    data = timing.random_problem(config, NUM_CLASSES, SIDE, 1)
    learner = loop.make_learner(config, data)
    maker = loop.make_batch_maker(config, data, make_views(config.augment, *data.train.shape), learner)
    runner = StepRunner(tf.distribute.get_strategy(), learner, maker)
    batch = runner.host_batch(tf.constant(0, tf.int64), WHOLE)
    gradients = [tf.zeros(variable.shape) for variable in learner._trained]
    arguments = (gradients, tf.constant(0.1))
    found = {}
    for learner.compiles_update in (False, True):
        step = tf.function(learner.train_step, autograph=False).get_concrete_function(batch)
        found["fused step" if learner.compiles_update else "step"] = nodes(step.graph)
    update = tf.function(learner._update, jit_compile=True, autograph=False)
    found["update"] = nodes(update.get_concrete_function(*arguments).graph)
    found["fused update"] = found["fused step"] - found["step"] + found["update"]
    found["fusions"] = len(FUSION.findall(main_part(update, *arguments)))
    learner.compiles_update = False
    step = tf.function(learner.train_step, jit_compile=True, autograph=False)
    found["kernels of the compiled step"] = len(KERNEL.findall(main_part(step, batch)))
    return {"variables": len(gradients), **found}


def main_part(function: Any, *arguments: Any) -> str:
    """XLA's optimized text of a compiled function, without the insides of its fusions."""
    text = function.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
    return text[text.index("\nENTRY") :]


def main(arguments: list[str]) -> None:
    settings = dict(flag.removeprefix("--").split("=", 1) for flag in arguments)
    given = {name: int(value) if value.isdigit() else value for name, value in settings.items()}
    for optimizer in [given["optimizer"]] if "optimizer" in given else OPTIMIZERS:
        found = counts({**given, "optimizer": optimizer})
        print(f"{optimizer}: " + ", ".join(f"{count:,} {what}" for what, count in found.items()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
