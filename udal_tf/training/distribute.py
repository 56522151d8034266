"""The devices that a run trains on, and coordination among the processes of one run.

What holds this file together: everything that depends on TensorFlow's strategy of distribution or on TF_CONFIG.
"""

import contextlib
import functools
import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf.sections import DeviceConfig

# Linux's limit on the CPU time of a container: "quota period" in microseconds, or "max period".
_CPU_QUOTA = "/sys/fs/cgroup/cpu.max"
# What TensorFlow raises where the connection to another worker ends. Any other error is this process's own.
_CONNECTION_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
# What an error says that is about memory and not raised as ResourceExhaustedError.
_MEMORY_WORDS = ("out of memory", "out_of_memory", "resource_exhausted")
# How lines begin that say where in a graph, and in which file, an error arose.
_WHERE = ("Graph execution error", "Detected at node", "<stack traces unavailable>", 'File "')
# In TF_CONFIG.
_ROLES = ("chief", "worker", "ps", "evaluator")
# Those that train.
_TRAINING = ("chief", "worker")
_ADDRESS = re.compile(r"[^\s:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


class DeviceError(ValueError):
    """The requested devices are missing or do not fit the settings; the message says what to do."""


class OutOfMemory(RuntimeError):
    """A device's memory does not hold what a step needs; the message says what takes less."""


class WorkerLost(RuntimeError):
    """Another worker of the cluster was lost; the last checkpoint is intact, and the same command resumes from it."""


def usable_cores() -> int:
    """CPU cores available to this process, by its affinity and the container's quota; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        with open(_CPU_QUOTA, encoding="ascii") as file:
            quota, period = file.read().split()
        cores = min(cores, round(float(quota) / float(period)))  # "max" is not a number: no quota.
    return max(cores, 1)


def check_cluster(text: str) -> None:
    """Checks the content of TF_CONFIG: {"cluster": {role: ["host:port", …], …}, "task": {"type": role, "index": 0}}.

    Args:
      text: blank for no cluster.

    Raises:
      DeviceError: with what is wrong.
    """
    if not text.strip():
        return
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DeviceError(f"TF_CONFIG is not valid JSON ({error}): got {text!r:.60}") from error
    if found and (fault := _cluster_fault(found)):
        raise DeviceError(f"TF_CONFIG {fault}; scripts/several_hosts.sh shows one that works, empty means no cluster")


def _cluster_fault(found: Any) -> str:
    """What is wrong with the JSON value in TF_CONFIG; "" for nothing."""
    if not isinstance(found, dict):
        return f"must hold an object, got {type(found).__name__}"
    cluster, task = found.get("cluster"), found.get("task")
    if not isinstance(cluster, dict) or not cluster:
        return f'must have "cluster", an object from roles to lists of "host:port", got {cluster!r:.60}'
    for role, hosts in cluster.items():
        if role not in _ROLES:
            return f'must have the roles {", ".join(_ROLES)} in "cluster", got {role!r:.60}'
        addresses = hosts if isinstance(hosts, list) else []
        if not addresses or not all(isinstance(one, str) and _ADDRESS.fullmatch(one) for one in addresses):
            return f'must have a list of "host:port" for {role}, got {hosts!r:.60}'
    if "ps" in cluster:
        return 'must not have parameter servers ("ps"): the workers of --strategy=multi_worker share the weights'
    if not isinstance(task, dict):
        return f'must have "task", an object with "type" and "index", got {task!r:.60}'
    role, index = task.get("type"), task.get("index")
    if not isinstance(role, str) or role not in cluster:
        return f'must have one of the roles {", ".join(cluster)} as "type" of "task", got {role!r:.60}'
    if role not in _TRAINING:
        return (
            f'must have one of the roles {", ".join(_TRAINING)} as "type" of "task", got {role!r}: the chief evaluates'
        )
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(cluster[role]):
        return f'must have a number from 0 to {len(cluster[role]) - 1} as "index" of "task", got {index!r:.60}'
    return ""


def make_strategy(config: DeviceConfig) -> tf.distribute.Strategy:
    """The strategy selected by --strategy and --tpu; call it before anything else uses TensorFlow's devices.

    `auto` is a TPU if --tpu names one, several workers if TF_CONFIG lists a cluster, MirroredStrategy if there are
    several GPUs, and otherwise TensorFlow's default device.

    Raises:
      DeviceError: if the TPU or cluster cannot be reached, or TF_CONFIG is malformed.
    """
    threads = config.threads or usable_cores()
    with contextlib.suppress(RuntimeError):  # Already set, if this process used TensorFlow before.
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    kind = config.strategy
    if config.tpu:
        return _tpu_strategy(config.tpu)
    cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    try:
        workers = _count(cluster)
    except (ValueError, TypeError, AttributeError) as error:
        raise DeviceError(f"TF_CONFIG does not describe a cluster ({error})") from error
    if kind == "auto":
        several_gpus = len(tf.config.list_physical_devices("GPU")) > 1
        kind = "multi_worker" if workers > 1 else "mirrored" if several_gpus else "one_device"
    if kind == "multi_worker":
        if not workers:
            raise DeviceError("--strategy=multi_worker needs the cluster in TF_CONFIG, which is not set")
        try:
            return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=cluster)
        except (ValueError, RuntimeError, tf.errors.OpError) as error:
            raise DeviceError(f"The cluster in TF_CONFIG cannot be joined: {error}") from error
    if kind == "mirrored":
        # Without GPUs, logical CPUs are used; tests run several replicas this way.
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def _tpu_strategy(name: str) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except Exception as error:  # The clients of Google's cloud, where installed, raise errors of their own.
        raise DeviceError(f"The TPU {name!r} cannot be reached: {_tpu_fault(name, error)}") from error
    return tf.distribute.TPUStrategy(resolver)


def _tpu_fault(name: str, error: Exception) -> str:
    """Why a TPU cannot be reached, and what helps."""
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    if "ConfigureDistributedTPU" in str(error):
        return (
            "this TensorFlow is built without TPUs. On a Cloud TPU VM install tensorflow-tpu instead of tensorflow: "
            'pip install -e ".[tpu]"'
        )
    if name == "local":
        return f"{reason}. Is this a Cloud TPU VM, and does no other process use its TPU?"
    return (
        f"{reason}. Only a machine in the same Google Cloud project finds a TPU by its name; on the TPU's own VM use "
        "--tpu=local"
    )


def hardware(strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """The hardware of the run, JSON-ready: the strategy, number of replicas, device, processor and cores."""
    kind = next(kind for kind in ("TPU", "GPU", "CPU") if tf.config.list_logical_devices(kind))
    names = {
        tf.config.experimental.get_device_details(device).get("device_name", kind)
        for device in tf.config.list_physical_devices(kind)
    }
    return {
        "strategy": type(strategy).__name__,
        "replicas": strategy.num_replicas_in_sync,
        "device": ", ".join(sorted(names)) or kind,
        "processor": _processor_name(),
        "cores": usable_cores(),
    }


def _processor_name() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def own_result(strategy: tf.distribute.Strategy, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result on this process's first replica, after running on all replicas with the same arguments."""
    return tf.nest.map_structure(
        lambda value: strategy.experimental_local_results(value)[0], strategy.run(function, args=arguments)
    )


def over_replicas(strategy: tf.distribute.Strategy, function: Callable[[tf.Tensor], Any], values: tf.Tensor) -> Any:
    """The function's results [n, …] for values [n, …], each replica computing an equal part of them.

    With several workers, only the chief calls this: its first replica then computes all, as others do not take part.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1 or isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return own_result(strategy, function, values)

    def of_replica(values: tf.Tensor) -> Any:
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        return function(tf.reshape(values, [replicas, values.shape[0] // replicas, *values.shape[1:]])[number])

    return tf.nest.map_structure(
        lambda value: tf.concat(strategy.experimental_local_results(value), axis=0),
        strategy.run(of_replica, args=(values,)),
    )


def only_gpu(strategy: tf.distribute.Strategy) -> str:
    """The name of the GPU that trains alone, without a strategy that copies batches to it; otherwise ""."""
    gpus = tf.config.list_logical_devices("GPU")
    several_or_tpu = (
        tf.distribute.MirroredStrategy,
        tf.distribute.MultiWorkerMirroredStrategy,
        tf.distribute.TPUStrategy,
    )
    return gpus[0].name if gpus and not isinstance(strategy, several_or_tpu) else ""


def is_tpu(strategy: tf.distribute.Strategy) -> bool:
    """Whether the replicas are cores of a TPU, for which the strategy compiles everything."""
    return isinstance(strategy, tf.distribute.TPUStrategy)


def compiled(config: DeviceConfig, strategy: tf.distribute.Strategy) -> bool:
    """Whether XLA compiles the step by `--jit`: if asked to, and for batches made on a GPU.

    Without XLA, a GPU has no kernels for the gathers of uint8 images (`tests/test_kernels.py`), which TensorFlow then
    moves to the CPU, with all images each time.
    """
    made_on_gpu = config.input == "device" and bool(tf.config.list_logical_devices("GPU"))
    return not is_tpu(strategy) and (config.jit or made_on_gpu)


def compiles_update(config: DeviceConfig, strategy: tf.distribute.Strategy) -> bool:
    """Whether XLA compiles the update of weights and averages, by `--fused_update`; no if it compiles all."""
    if strategy.num_replicas_in_sync > 1 or is_tpu(strategy) or compiled(config, strategy):
        return False
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    return config.fused_update == "true" or (config.fused_update == "auto" and on_gpu)


def check_fits(strategy: tf.distribute.Strategy, batch_size: int, device: DeviceConfig) -> None:
    """Raises DeviceError if the global batch cannot be divided among the replicas or XLA cannot compile the step."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise DeviceError(f"--batch_size must be a multiple of the {replicas} replicas, got {batch_size}")
    if replicas > 1 and device.fused_update == "true" and not is_tpu(strategy):
        raise DeviceError(
            f"--fused_update=true needs a single device, as XLA cannot compile reductions over replicas, and there are "
            f"{replicas}: leave it out, or use --strategy=one_device"
        )
    if replicas > 1 and compiled(device, strategy):
        needs, instead = ("--jit", "leave it out") if device.jit else ("--input=device on GPUs", "use --input=host")
        raise DeviceError(
            f"{needs} needs a single device, as XLA cannot compile reductions over replicas, and there are {replicas}: "
            f"{instead}, or use --strategy=one_device"
        )


def check_pod(strategy: tf.distribute.Strategy, *folders: str) -> None:
    """Raises DeviceError for a TPU of several hosts, unless all the folders are in a bucket, which each host sees."""
    hosts = strategy.extended.num_hosts if is_tpu(strategy) else 1
    local = [folder for folder in folders if "://" not in folder]
    if hosts > 1 and local:
        raise DeviceError(
            f"This TPU has {hosts} hosts. A slice of one host (up to 8 chips) is supported; with more, --workdir and "
            f"--data_dir must be in a bucket (gs://…), as each host has a disk of its own, got {local[0]!r}"
        )


def is_out_of_memory(error: tf.errors.OpError) -> bool:
    """Whether an error is about the memory of a device."""
    text = error.message.lower()
    return isinstance(error, tf.errors.ResourceExhaustedError) or any(words in text for words in _MEMORY_WORDS)


def cause(error: tf.errors.OpError) -> str:
    """The line that says why an operation failed, without a full stop; before it stands where a graph defines it."""
    lines = [line.strip() for line in error.message.splitlines()]
    return next((line for line in lines if line and not line.startswith(_WHERE)), lines[0] if lines else "").rstrip(".")


def out_of_memory(error: tf.errors.OpError) -> OutOfMemory:
    """What to raise instead of such an error."""
    return OutOfMemory(
        f"Not enough memory for a step: {cause(error)}. Use a smaller --batch_size or "
        "--unlabeled_ratio, --precision=bfloat16, or --joint_forward=false (FixMatch, ReMixMatch)"
    )


class Workers:
    """The processes that train one run together under the current strategy; usually only this one.

    Every method waits for the other processes, so all of them must call it.
    """

    def __init__(self):
        strategy = tf.distribute.get_strategy()
        resolver = strategy.cluster_resolver
        several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self._count = _count(resolver) if several else 1
        # Whether this process writes files: the only one, or the cluster's first.
        self.is_chief = self._count == 1 or resolver.task_type == "chief" or _is_first(resolver)
        self._strategy = strategy

    def agreed(self, values: Sequence[float]) -> np.ndarray:
        """The mean of the values [n] over all processes."""
        own = np.asarray(values, np.float32)
        return own if self._count == 1 else _mean_over(self._strategy)(tf.constant(own)).numpy()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Turns TensorFlow's errors for a lost worker into WorkerLost; no effect with a single worker.

        Other errors pass: running again would only bring them about again.
        """
        try:
            yield
        except _CONNECTION_ERRORS as error:
            if self._count == 1 or is_out_of_memory(error):
                raise
            raise WorkerLost(f"Lost the other workers: {cause(error)}") from error

    @contextlib.contextmanager
    def chief_first(self) -> Iterator[None]:
        """The chief runs the block before all other processes.

        Raises:
          DeviceError: in these, if the block failed in the chief, which says why.
        """
        if not self.is_chief and self.agreed([0.0]).any():
            raise DeviceError("the chief cannot go on: see what it printed")
        try:
            yield
        except (ValueError, OSError):
            if self.is_chief:
                self.agreed([1.0])
            raise
        if self.is_chief:
            self.agreed([0.0])


@functools.cache
def _mean_over(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """The mean over a strategy's replicas, in one graph, so that its collective operations stay the same."""

    def mean(values):
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, strategy.run(tf.identity, args=(values,)), axis=None)

    return tf.function(mean, input_signature=[tf.TensorSpec([None])], autograph=False)


def _count(resolver: tf.distribute.cluster_resolver.ClusterResolver) -> int:
    """How many processes train: evaluators are named in a cluster, but train nothing."""
    return sum(len(tasks) for role, tasks in resolver.cluster_spec().as_dict().items() if role in _TRAINING)


def _is_first(resolver: tf.distribute.cluster_resolver.ClusterResolver) -> bool:
    return "chief" not in resolver.cluster_spec().as_dict() and resolver.task_id == 0
