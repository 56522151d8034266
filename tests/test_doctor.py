"""`udal doctor`: what it says of this machine, and of one that computes something else."""

import json

import keras
import pytest
import tensorflow as tf

from udal_tf import __version__
from udal_tf.commands import doctor
from udal_tf.config import resolve
from udal_tf.models.layers import conv
from udal_tf.training import checkup, loop
from udal_tf.training.checkup import Check
from udal_tf.training.distribute import DeviceError

SMALLEST = ("--", "--base=supervised", "--method=none", "--batch_size=4", "--image_size=8", "--fused_update=true")
WELL = Check([], "CPU", 1, 20, 123.4, 5.0, 0, 1e-7, 1e-3, checkup.EXACT)
LACKING = "GatherV2 Tparams=uint8"


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    """One convolution, as most of a test is the tracing of steps."""

    def build(config, shape, num_classes, precision, own):
        inputs = keras.Input(shape)
        x = keras.layers.GlobalAveragePooling2D()(conv(8, 3, 2, "conv")(inputs))
        return keras.Model(inputs, keras.layers.Dense(num_classes)(x))

    monkeypatch.setattr(loop, "build_model", build)


def test_this_machine_is_well_and_steps_by_xla_are_those_of_the_cpu(call_command):
    code, out, err = call_command(doctor.main, "--json", "--steps=1", *SMALLEST)
    found = json.loads(out)
    assert (code, found["faults"]) == (0, []), err
    assert found["versions"]["udal-tf"] == __version__ and found["versions"]["TensorFlow"] == tf.__version__
    assert found["hardware"]["replicas"] == 1
    check = found["check"]
    assert (check["missing"], check["registry"], check["steps"]) == ([], "CPU", 1)
    assert check["images_per_second"] > 0 and check["pixels_differing"] is None
    # The compiled update rounds otherwise, by a little.
    assert check["loss_difference"] < 1e-6 and check["update_difference"] < 1e-4


def test_a_device_that_moves_the_weights_twice_as_far_is_found(monkeypatch, call_command):
    make, rates = loop.make_learner, iter([1.0, 2.0])

    def made(config, data):
        learner, rate = make(config, data), next(rates)
        apply = learner.optimizer.apply
        learner.optimizer.apply = lambda gradients, variables: apply([rate * g for g in gradients], variables)
        return learner

    monkeypatch.setattr(loop, "make_learner", made)
    code, out, _ = call_command(doctor.main, "--steps=1", *SMALLEST[:-1], "--precision=bfloat16")
    words = " ".join(out.split())
    assert code == 1 and "All is well" not in out
    assert words.endswith("fault: the update of the weights differs from the CPU's by 1.0e+00 of it, more than 0.2")


def test_each_fault_has_a_line(monkeypatch, call_command):
    found = [
        Check([LACKING], "GPU", 1, 0, 0.0, 5.0, 7, float("nan"), 0.04, checkup.EXACT),
        DeviceError("The TPU 'local' cannot be reached: why"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"),
        tf.errors.InternalError(None, None, "libdevice not found\nmore"),
        WELL,
    ]

    def check(*given):
        result = found.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(checkup, "check", check)
    said = [" ".join(call_command(doctor.main)[1].split()) for _ in range(4)]
    assert said[0].count("fault: ") == 3
    assert f"fault: no kernel for GPU: {LACKING}" in said[0]
    assert (
        "fault: 7 values of the views differ" in said[0] and "loss of a step differs from the CPU's by nan" in said[0]
    )
    assert said[1].endswith("fault: The TPU 'local' cannot be reached: why")
    assert "fault: Not enough memory for a step: OOM when allocating. Use a smaller --batch_size" in said[2]
    assert said[3].endswith("fault: a step fails: libdevice not found")
    code, out, _ = call_command(doctor.main)
    assert code == 0 and out.endswith("\nAll is well.\n")
    assert "Speed: 123 images/s over 20 steps; the first took 5.0 s\nViews: 0 values differ" in out


def test_a_driver_without_a_device_is_a_fault(tmp_path, monkeypatch):
    config = resolve({})
    monkeypatch.setattr(checkup, "GPU_DRIVER", str(tmp_path / "none"))
    monkeypatch.setattr(checkup, "TPU_DRIVER", str(tmp_path / "none"))
    assert checkup.unused_devices(config) == []
    monkeypatch.setattr(checkup, "GPU_DRIVER", str(tmp_path))
    monkeypatch.setattr(checkup, "TPU_DRIVER", str(tmp_path))
    gpu, tpu = checkup.unused_devices(config)
    assert "TensorFlow finds no GPU" in gpu and "--tpu=local" in tpu
    assert len(checkup.unused_devices(resolve({"tpu": "local"}))) == 1


@pytest.mark.parametrize(
    "arguments", [("--steps=0",), ("--", "--arch=nope"), ("--", "stray"), ("--", "--batch_size=x")]
)
def test_wrong_arguments_are_refused(arguments, call_command):
    code, out, err = call_command(doctor.main, *arguments)
    assert (code, out) == (2, "") and "error: " in err
