"""The devices that a run trains on, and coordination among the processes of one run."""

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
# In TF_CONFIG.
_ROLES = ("chief", "worker", "ps", "evaluator")
# Those that train.
_TRAINING = ("chief", "worker")
_ADDRESS = re.compile(r"[^\s:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


class DeviceError(ValueError):
    """The requested devices are missing or do not fit the settings; the message says what to do."""


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
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise DeviceError(
            f"The TPU {name!r} cannot be reached: {str(error).splitlines()[0]} On a Cloud TPU VM use --tpu=local "
            "with tensorflow-tpu installed instead of tensorflow."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


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


def check_fits(strategy: tf.distribute.Strategy, batch_size: int, jit: bool) -> None:
    """Raises DeviceError if the global batch cannot be divided among the replicas or --jit cannot compile the step."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise DeviceError(f"--batch_size must be a multiple of the {replicas} replicas, got {batch_size}")
    if jit and replicas > 1 and not isinstance(strategy, tf.distribute.TPUStrategy):
        raise DeviceError(
            f"--jit needs a single device, as XLA cannot compile reductions over replicas, and there are {replicas}: "
            "leave it out, or use --strategy=one_device"
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
        """Turns TensorFlow's error for a lost worker into WorkerLost; no effect with a single worker."""
        try:
            yield
        except tf.errors.OpError as error:
            if self._count == 1:
                raise
            raise WorkerLost(f"Lost the other workers: {error.message.splitlines()[0]}") from error

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
