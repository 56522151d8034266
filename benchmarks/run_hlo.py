"""Runs the training step that `step_hlo.py` wrote, on what JAX finds here: compares it with TensorFlow and times it.

Needs JAX alone (tried with 0.10.2), and nothing of this project but this file and the written one:

    python run_hlo.py step.npz

Each step starts from the variables of the one before, on the same images. JAX offers no public way to run XLA's own
programs; the private functions used here may change.
"""

import argparse
import statistics
import time

import jax
import numpy as np
from jax._src.interpreters import mlir
from jax._src.lib import xla_client
from jaxlib.mlir import ir

# Largest difference from TensorFlow's results on a CPU, relative to the largest value of each array: in float32 on a
# CPU, of the metrics and all variables; else of the metrics alone. TF32 and bfloat16 have three digits, so that sums of
# gradients that cancel out may have none.
EXACT = 1e-5
ROUGH = 2e-2


def compiled(hlo: bytes, device):
    """XLA's unoptimized program, compiled for a device."""
    text = xla_client._xla.mlir.xla_computation_to_mlir_module(xla_client.XlaComputation(hlo))
    with mlir.make_ir_context():
        module = ir.Module.parse(text)
        options = xla_client.CompileOptions()
        return device.client.compile_and_load(module, xla_client.DeviceList((device,)), options)


def results(executable, inputs: list) -> list:
    """The program's results, on the device."""
    return [of_result[0] for of_result in executable.execute_sharded(inputs).disassemble_into_single_device_arrays()]


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value that is expected."""
    found, expected = (np.asarray(values, np.float64) for values in (found, expected))
    return float(np.max(np.abs(found - expected), initial=0.0) / max(np.max(np.abs(expected), initial=0.0), 1e-6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="the .npz file that step_hlo.py wrote")
    parser.add_argument("--calls", type=int, default=5, help="the median is of so many")
    parser.add_argument("--steps", type=int, default=20, help="in each of them")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    device = jax.devices()[0]
    with np.load(arguments.path) as file:
        given = {name: file[name] for name in file.files}
    inputs = [jax.device_put(given[f"in_{n}"], device) for n in range(sum(name.startswith("in_") for name in given))]
    started = time.monotonic()
    executable = compiled(given["hlo"].tobytes(), device)
    print(f"JAX {jax.__version__}, {device.device_kind} ({device.platform})")
    print(f"compiled in {time.monotonic() - started:.1f} s")

    def step():
        """One step; its results replace the variables among the inputs."""
        found = results(executable, inputs)
        for result, of_input in given["alias"]:
            inputs[of_input] = found[result]
        return found

    found = step()
    outputs = {f"out_{number}": np.asarray(values) for number, values in enumerate(found)}
    differences = {name: difference(values, given[name]) for name, values in outputs.items()}
    metrics, all_of_them = differences["out_0"], max(differences.values())
    exact = device.platform == "cpu" and str(given["precision"]) == "float32"
    checked, allowed = (all_of_them, EXACT) if exact else (metrics, ROUGH)
    print(
        f"largest relative difference from TensorFlow on a CPU, in {given['precision']}: {metrics:.1e} in the metrics, "
        f"{all_of_them:.1e} in all variables, too; {allowed:.0e} allowed {'there' if exact else 'in the metrics'}"
    )
    seconds = []
    for _ in range(arguments.calls):
        started = time.monotonic()
        for _ in range(arguments.steps):
            found = step()
        jax.block_until_ready(found)
        seconds.append((time.monotonic() - started) / arguments.steps)
    median = statistics.median(seconds)
    print(f"{1000 * median:.2f} ms a step ({1000 * min(seconds):.2f} to {1000 * max(seconds):.2f})")
    print(f"{int(given['images']) / median:,.0f} images/s")
    if not checked <= allowed:
        raise SystemExit("error: the results differ from TensorFlow's")


if __name__ == "__main__":
    main()
