"""Which operations of a graph have no kernel for a device, by TensorFlow's own registry: `missing`.

The registry of any TensorFlow lists the kernels for GPUs and for XLA, so that this needs none of the devices.
"""

import functools
from collections.abc import Iterable, Set
from typing import Any

import tensorflow as tf

# TensorFlow offers the registry from no public place.
from tensorflow.python.framework import kernels

CPU = "CPU"
GPU = "GPU"
# The step with --jit, on a GPU and on a CPU.
XLA_GPU = "XLA_GPU_JIT"
XLA_CPU = "XLA_CPU_JIT"
# XLA_CPU stands for TPUs, whose registry only tensorflow-tpu has: there, all of its operations have a kernel, too, of
# the same types without this one (benchmarks/tpu_kernels.py).
NOT_ON_TPU = "complex128"
# Arguments of a function; it is what they become that needs kernels.
_ARGUMENTS = ("Placeholder", "_Arg", "_Retval")
# Kernels for any device.
_EVERY_DEVICE = "DEFAULT"

# An operation's name, and its type attributes' names and values.
Operation = tuple[str, tuple[tuple[str, str], ...]]


def operations(graph: Any) -> set[Operation]:
    """The operations of a graph and the functions in it, each with its type attributes: ("Neg", (("T", "float32"),)).

    Args:
      graph: `tf.Graph`, or the graph of a concrete function.
    """
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return {(node.op, tuple(sorted(_types(node)))) for node in nodes if node.op not in _ARGUMENTS}


def missing(graph: Any, device: str) -> set[str]:
    """The operations of a graph without a kernel for `device`, by name and types: "GatherV2 Tparams=uint8 …".

    Args:
      graph: as in `operations`.
      device: CPU, GPU, XLA_GPU or XLA_CPU.
    """
    return without_kernel(operations(graph), device)


def without_kernel(given: Set[Operation], device: str) -> set[str]:
    """Those of some `operations` without a kernel for `device`; as `missing`."""
    return {
        " ".join([op, *(f"{name}={kind}" for name, kind in types)])
        for op, types in given
        if not _has_kernel(op, types, device)
    }


def _types(node: Any) -> Iterable[tuple[str, str]]:
    for name, value in node.attr.items():
        if value.WhichOneof("value") == "type":
            yield name, tf.as_dtype(value.type).name


@functools.cache
def _has_kernel(op: str, types: tuple[tuple[str, str], ...], device: str) -> bool:
    numbers = {name: tf.as_dtype(kind).as_datatype_enum for name, kind in types}
    return any(
        all(numbers[one.name] in one.allowed_values.list.type for one in kernel.constraint if one.name in numbers)
        for kernel in _kernels(device).get(op, ())
    )


@functools.cache
def _kernels(device: str) -> dict[str, list[Any]]:
    """Operation -> its kernels for a device."""
    # Those of XLA are registered when it is first used.
    tf.function(tf.identity, jit_compile=True)(tf.constant(0.0))
    devices = {device} if device.startswith("XLA") else {device, _EVERY_DEVICE}
    found: dict[str, list[Any]] = {}
    for kernel in kernels.get_all_registered_kernels().kernel:
        if kernel.device_type in devices:
            found.setdefault(kernel.op, []).append(kernel)
    return found
