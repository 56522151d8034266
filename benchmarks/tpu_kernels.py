"""Prints what XLA compiles for a CPU and not for a TPU: the operations, and the types of the others.

tests/test_kernels.py looks TPUs up in XLA's registry for CPUs, as only tensorflow-tpu has theirs. This program needs an
environment with tensorflow-tpu, but no TPU:

    python -m venv tpu && tpu/bin/pip install "tensorflow-tpu==2.20.*" "libtpu>=0.0.14,<0.0.31"
    TPU_SKIP_MDS_QUERY=1 tpu/bin/python benchmarks/tpu_kernels.py
"""

import collections

import tensorflow as tf
from tensorflow.python.framework import kernels

CPU, TPU = "XLA_CPU_JIT", "XLA_TPU_JIT"


def allowed(device: str) -> dict[str, dict[str, set[str]]]:
    """Operation -> type attribute -> the types it may be, of the kernels for a device."""
    found: dict[str, dict[str, set[str]]] = {}
    for kernel in kernels.get_all_registered_kernels().kernel:
        if kernel.device_type == device:
            types = found.setdefault(kernel.op, collections.defaultdict(set))
            for one in kernel.constraint:
                types[one.name].update(tf.as_dtype(number).name for number in one.allowed_values.list.type)
    return found


if __name__ == "__main__":
    # Kernels of XLA are registered when it is first used, even where that fails.
    try:
        tf.function(tf.identity, jit_compile=True)(tf.constant(0.0))
    except tf.errors.OpError as error:
        print(f"No TPU here: {error.message.splitlines()[0]}")
    cpu, tpu = allowed(CPU), allowed(TPU)
    print(f"TensorFlow {tf.__version__}: {len(cpu)} operations have a kernel for {CPU}, {len(tpu)} for {TPU}")
    print("Operations without one on TPUs:", ", ".join(sorted(cpu.keys() - tpu.keys())) or "none")
    missing = collections.Counter(
        name
        for op in cpu.keys() & tpu.keys()
        for attribute in cpu[op]
        for name in cpu[op][attribute] - tpu[op][attribute]
    )
    print("Types that attributes may not have on TPUs, with how often:", dict(missing) or "none")
