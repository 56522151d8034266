"""Whether this machine trains, and computes what its CPU does: `check`, behind `udal doctor`."""

import dataclasses
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from udal_tf import __version__
from udal_tf.augment.views import make_views
from udal_tf.config import Config
from udal_tf.data.dataset import SslData
from udal_tf.input.pipeline import WHOLE, Batch, BatchMaker
from udal_tf.methods.learner import Learner
from udal_tf.registry import BACKBONES
from udal_tf.training import kernels, loop, timing
from udal_tf.training.distribute import check_fits, compiled, is_tpu, own_result
from udal_tf.training.steps import StepRunner

NUM_CLASSES = 10
SIDE = 32
# What differs at most between a device and the CPU after a step from the same weights on the same batch: the loss,
# relative to itself, and the weights, relative to how far the step moved them. GPUs multiply float32 in TF32, with 10
# bits after the point, TPUs in bfloat16, with 7. XLA on a CPU, in float32, differs by 1e-7 and 0.005; a step
# that is wrong moves the weights by about another whole update.
EXACT = (1e-3, 5e-2)
ROUGH = (2e-2, 0.2)
# Files of the drivers: of NVIDIA's GPUs, and of TPUs.
GPU_DRIVER = "/dev/nvidiactl"
TPU_DRIVER = "/dev/accel0"


@dataclasses.dataclass(frozen=True)
class Check:
    """What was found.

    missing: operations of the step without a kernel where it runs, by name and types.
    registry: where: CPU, GPU, XLA_GPU or XLA_CPU of `kernels`; TPUs count as XLA_CPU.
    replicas: among which each batch was split.
    steps: how many were timed, after the first one, with which everything is compiled.
    images_per_second: each view counted, over the timed steps.
    seconds_to_compile: until the end of the first step.
    pixels_differing: of the views that the step makes, values whose bits differ from those made on the CPU; None where
      the CPU makes them.
    loss_difference: of the first step from the CPU's, relative to it.
    update_difference: norm of the weights' difference after it, relative to the norm of the CPU's update.
    tolerance: for both, in this order.
    """

    missing: list[str]
    registry: str
    replicas: int
    steps: int
    images_per_second: float
    seconds_to_compile: float
    pixels_differing: int | None
    loss_difference: float
    update_difference: float
    tolerance: tuple[float, float]

    def faults(self) -> list[str]:
        """A sentence for each thing that is not as it should be."""
        found = [f"no kernel for {self.registry}: {operation}" for operation in self.missing]
        if self.pixels_differing:
            found.append(f"{self.pixels_differing:,} values of the views differ from those made on the CPU")
        for what, value, most in (
            ("the loss of a step", self.loss_difference, self.tolerance[0]),
            ("the update of the weights", self.update_difference, self.tolerance[1]),
        ):
            if not value <= most:  # Neither is NaN.
                found.append(f"{what} differs from the CPU's by {value:.1e} of it, more than {most:g}")
        return found


def versions() -> dict[str, str]:
    """Of this package, Python, and what it computes with; "" for what is not there."""
    build = tf.sysconfig.get_build_info()
    return {
        "udal-tf": __version__,
        "Python": platform.python_version(),
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "NumPy": np.__version__,
        "libtpu": _installed("libtpu"),
        "built for CUDA": str(build.get("cuda_version", "")),
        "built for cuDNN": str(build.get("cudnn_version", "")),
    }


def unused_devices(config: Config) -> list[str]:
    """A sentence for each accelerator whose driver is there, and which a run with these settings would not use."""
    found = []
    if os.path.exists(GPU_DRIVER) and not tf.config.list_physical_devices("GPU"):
        found.append(
            f"this machine has NVIDIA's driver ({GPU_DRIVER}), but TensorFlow finds no GPU: install CUDA's libraries "
            'by pip install -e ".[gpu]", and check CUDA_VISIBLE_DEVICES'
        )
    if os.path.exists(TPU_DRIVER) and not config.device.tpu:
        found.append(f"this machine has a TPU ({TPU_DRIVER}), which is used with --tpu=local only")
    return found


def check(
    config: Config,
    strategy: tf.distribute.Strategy,
    steps: int,
    limit: float,
    advance: Callable[[float, str], None],
) -> Check:
    """Does a step on the CPU, then the same and more with the settings' devices, on random RGB images.

    Args:
      config: of a run; over several replicas, batch norm is synchronized, for the CPU's statistics.
      strategy: of the settings' devices.
      steps: how many to time.
      limit: seconds for the timed steps, after which no further one is begun; compiling comes on top.
      advance: called with how many steps were timed since the last call, and what is being done.

    Raises:
      DeviceError: if the devices cannot be used with these settings.
      tf.errors.OpError: if a step fails.
    """
    advance(0, "one step on the CPU")
    check_fits(strategy, config.train.batch_size, config.device)
    if strategy.num_replicas_in_sync > 1:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, sync_batch_norm=True))
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    side = config.data.image_size or max(SIDE, BACKBONES[config.model.arch].smallest_side)
    data = timing.random_problem(config, NUM_CLASSES, side, 1)
    with tf.device("CPU:0"):
        by_cpu = _Trainer(_on_the_cpu(config), data, tf.distribute.get_strategy(), 1)
        initial = by_cpu.weights()
        loss = by_cpu.losses(0, 1)[0]
    advance(0, "compiling")
    with strategy.scope():
        trainer = _Trainer(config, data, strategy, 1 + steps)
        trainer.load(initial)
        called = time.monotonic()
        own_loss = trainer.losses(0, 1)[0]
        compiling = time.monotonic() - called
        updates = [trainer.weights() - initial, by_cpu.weights() - initial]
        differing = _differing(trainer, by_cpu.maker) if trainer.makes_views else None
        done, seconds = 0, 0.0
        while done < steps and seconds < limit:
            called = time.monotonic()
            trainer.losses(1 + done, 1)
            seconds, done = seconds + time.monotonic() - called, done + 1
            advance(1, "timing steps")
    moved = np.linalg.norm(updates[1])
    on_accelerator = is_tpu(strategy) or bool(tf.config.list_logical_devices("GPU"))
    registry = _registry(strategy, trainer.jit)
    return Check(
        missing=sorted(kernels.missing(_step_graph(by_cpu.learner, trainer), registry)),
        registry=registry,
        replicas=strategy.num_replicas_in_sync,
        steps=done,
        images_per_second=done * trainer.maker.images_per_step / seconds if seconds else 0.0,
        seconds_to_compile=compiling,
        pixels_differing=differing,
        loss_difference=float(abs(own_loss - loss) / abs(loss)),
        update_difference=float(np.linalg.norm(updates[0] - updates[1]) / (moved or 1.0)),
        tolerance=ROUGH if on_accelerator or config.device.precision != "float32" else EXACT,
    )


class _Trainer:
    """A learner of these settings with the batches and the compiled steps that a run of them has."""

    def __init__(self, config: Config, data: SslData, strategy: tf.distribute.Strategy, steps: int):
        self.jit, self.on_device = compiled(config.device, strategy), config.device.input == "device"
        self.makes_views = self.jit or is_tpu(strategy)
        self.strategy = strategy
        views = make_views(config.augment, *data.train.shape, static_shapes=self.makes_views)
        keras.utils.set_random_seed(0)
        self.learner = loop.make_learner(config, data)
        self.maker = loop.make_batch_maker(config, data, views, self.learner)
        self._runner = StepRunner(strategy, self.learner, self.maker, self.on_device, self.jit)
        self._batches = None if self.on_device else timing.step_batches(strategy, self._runner, steps)

    def losses(self, first: int, count: int) -> np.ndarray:
        """Trains on the next steps: their losses [count]."""
        source = tf.range(first, first + count, dtype=tf.int64) if self.on_device else self._batches
        rows = self._runner(source, count)
        return rows[:, self._runner.names.index("loss")]

    def weights(self) -> np.ndarray:
        """All weights and statistics as one vector."""
        return np.concatenate([np.ravel(variable.numpy()) for variable in _variables(self.learner)])

    def load(self, weights: np.ndarray) -> None:
        """Sets those of another learner, as random numbers may differ between devices."""
        at = 0
        for variable in _variables(self.learner):
            size = int(np.prod(variable.shape))
            variable.assign(weights[at : at + size].reshape(variable.shape))
            at += size
        self.learner.begin_averages()

    def raw_batch(self) -> Batch:
        """The first batch as the step gets it."""
        first = tf.constant(0, tf.int64)
        made = self.maker.images(first, self.maker.orders(first), WHOLE)
        return made if self.makes_views else self.maker.with_views(made)


def _variables(learner: Learner) -> Iterable[Any]:
    layers = [learner.model, *learner.heads.values()]
    return [v for layer in layers for v in layer.variables if "float" in str(v.dtype)]


def _on_the_cpu(config: Config) -> Config:
    plain: dict[str, Any] = {
        "strategy": "one_device",
        "tpu": "",
        "jit": False,
        "input": "host",
        "fused_update": "false",
    }
    return dataclasses.replace(config, device=dataclasses.replace(config.device, **plain))


def _differing(trainer: _Trainer, maker: BatchMaker) -> int:
    """How many values of the views differ between those that a step makes and those of a maker on the CPU."""
    function = tf.function(trainer.maker.with_views, jit_compile=True if trainer.jit else None, autograph=False)
    own = own_result(trainer.strategy, function, trainer.raw_batch())
    with tf.device("CPU:0"):
        theirs = maker(tf.constant(0, tf.int64))
    return sum(int((own[key].numpy() != theirs[key].numpy()).sum()) for key, _, _ in maker.requests)


def _step_graph(learner: Learner, trainer: _Trainer) -> tf.Graph:
    """The graph of a whole step with the trainer's views, for a learner of one replica."""

    def step(batch: Batch) -> dict[str, tf.Tensor]:
        return learner.train_step(trainer.maker.with_views(batch) if trainer.makes_views else batch)

    return tf.function(step, autograph=False).get_concrete_function(trainer.raw_batch()).graph


def _registry(strategy: tf.distribute.Strategy, jit: bool) -> str:
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    if is_tpu(strategy):
        return kernels.XLA_CPU
    if jit:
        return kernels.XLA_GPU if on_gpu else kernels.XLA_CPU
    return kernels.GPU if on_gpu else kernels.CPU


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
