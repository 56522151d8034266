"""Several replicas and several workers train as one device does.

Replicas are two logical CPUs, workers two processes that talk over the loopback interface; both need processes of their
own, for TensorFlow's devices are set up once.
"""

import contextlib
import json
import pathlib
import signal
import socket
import time
import types

import numpy as np
import pytest
import tensorflow as tf
from forked import SECONDS_ALLOWED, SMALL_NETWORK, Finished, Started, run_command, run_small

from udal_tf.config import DeviceConfig, resolve
from udal_tf.data.dataset import DataError
from udal_tf.input import pipeline
from udal_tf.models import wide_resnet
from udal_tf.training import crest, distribute, evaluation, experiment, loop
from udal_tf.training.distribute import DeviceError, Workers

# Sums of several devices differ in their last bits, so nothing here may jump: soft pseudo-labels, since hard ones do
# where two classes tie; predictions to two digits for CReST, which ranks them; MixMatch without the factor of 75 on
# whatever jumps in the network itself, at the bend of its activations.
SOFT = {"threshold": 0.0, "temperature": 0.5, "strong_ops": ("ShearX", "Contrast")}
TRAININGS = {
    "fixmatch": {"method": "udal", "unlabeled_prior": ["estimate"], **SOFT},
    "mixmatch": {"base": "mixmatch", "method": "none", "unlabeled_weight": 1.0, **SOFT},
    "crest": {"method": "crest+", "generations": 2, **SOFT},
}
# A step moves a weight by the learning rate, 0.03, times the momentum.
WEIGHT_TOLERANCE, MOMENTUM_TOLERANCE = 1e-5, 1e-4
TINY = {"epochs": 1, "steps_per_epoch": 3, "batch_size": 8, "unlabeled_ratio": 2}
# Long enough for a worker to be killed in its midst.
LONGER = {"epochs": 3, "steps_per_epoch": 5, "batch_size": 8, "unlabeled_ratio": 2, "threshold": 0.12}
# Ends after epoch 3, as nothing moves enough to change a prediction; the weights of epoch 1 are then scored.
EARLY = {**TINY, "epochs": 5, "validation": 0.3, "beta": 0.3, "patience": 2, "learning_rate": 1e-9,
         "schedule": "constant", "batch_norm_momentum": 1.0}  # fmt: skip


class Rounded(crest.Predictor):
    def __call__(self, batches):
        return super().__call__(batches).round(2)


def train_each(folder: pathlib.Path, under: dict[str, tuple[str, dict[str, dict]]]) -> None:
    """Trains, in a process of its own; under: by name of a folder's folder, a strategy and settings by training."""
    if "mirrored" in (strategy for strategy, _ in under.values()):
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
    crest.Predictor = Rounded
    whole_network = wide_resnet.GROUP_FILTERS
    loop.record.draw = lambda *arguments: None
    for name, (kind, trainings) in under.items():
        shared = None
        for training, settings in trainings.items():
            # A worker that has lost another starts again as a program does, with the whole network.
            wide_resnet.GROUP_FILTERS = whole_network if training == "longer" else SMALL_NETWORK
            workdir = folder / name / training
            config = resolve({**TINY, **settings, "strategy": kind, "workdir": str(workdir)})
            shared = shared or distribute.make_strategy(config.device)
            with shared.scope():
                experiment._train_and_evaluate(config, shared)


def assert_ended(process: Started) -> Finished:
    ended = process.finish()
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended


def cluster() -> list[str]:
    """Two loopback addresses with ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def tasks() -> list[dict[str, str]]:
    """The environments of two workers."""
    addresses = cluster()
    tasks = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}} for number in range(2)]
    return [{"TF_CONFIG": json.dumps(task)} for task in tasks]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds one_device, replicas, workers, each with a work folder per training; workers also did LONGER and EARLY."""
    folder = tmp_path_factory.mktemp("distribute")
    synced = {training: {**settings, "sync_batch_norm": True} for training, settings in TRAININGS.items()}
    one_process = {
        "one_device": ("one_device", TRAININGS),
        "replicas": ("mirrored", synced | {"unsynced": {**TRAININGS["fixmatch"], "sync_batch_norm": False}}),
    }
    assert_ended(Started(train_each, folder, one_process, cwd=folder))
    under = {"workers": ("multi_worker", synced | {"longer": LONGER, "early": EARLY})}
    for worker in [Started(train_each, folder, under, cwd=folder, environment=task) for task in tasks()]:
        assert_ended(worker)
    return folder


def test_workers_end_early_together_and_one_of_them_scores_the_best_epoch(folder):
    result = json.loads((folder / "workers" / "early" / "result.json").read_text(encoding="utf-8"))
    assert (result["steps"], result["best"]["epoch"]) == (9, 1)
    # The weights hardly differ, so neither do the scores.
    assert result["best"]["test"] == {name: result[name] for name in result["best"]["test"]}


def rows(workdir: pathlib.Path) -> list[dict]:
    last = sorted(workdir.glob("generation_*"))
    text = ((last[-1] if last else workdir) / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def variables(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """All floating-point state of a work folder's last checkpoint, by its key there."""
    last = sorted(workdir.glob("generation_*"))
    reader = tf.train.load_checkpoint(str((last[-1] if last else workdir) / "checkpoints"))
    types = reader.get_variable_to_dtype_map()
    return {key: reader.get_tensor(key) for key, kind in types.items() if kind.is_floating and "SLOT" not in key}


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("several", ["replicas", "workers"])
def test_two_replicas_and_two_workers_train_as_one_device(folder, several, training):
    ours, theirs = folder / several / training, folder / "one_device" / training
    for one, other in zip(rows(ours), rows(theirs), strict=True):
        for name in one["train"]:
            np.testing.assert_allclose(one["train"][name], other["train"][name], rtol=1e-5, atol=1e-5, err_msg=name)
        for shares in ("p_model", "p_unlabeled"):
            np.testing.assert_allclose(one[shares], other[shares], atol=1e-5)
    one, other = variables(ours), variables(theirs)
    assert one.keys() == other.keys() and len(one) > 20
    for key in one:
        tolerance = MOMENTUM_TOLERANCE if "/optimizer/" in key else WEIGHT_TOLERANCE
        np.testing.assert_allclose(one[key], other[key], rtol=1e-5, atol=tolerance, err_msg=key)


@pytest.mark.parametrize("several", ["replicas", "workers"])
def test_generations_add_the_same_images(folder, several):
    added = [
        json.loads((folder / name / "crest" / "generation_1" / "labeled.json").read_text())
        for name in (several, "one_device")
    ]
    assert added[0] == added[1]


def test_without_synchronized_batch_norm_replicas_see_other_statistics(folder):
    names = ("replicas/unsynced", "one_device/fixmatch")
    one, other = (rows(folder / name)[0]["train"]["loss"] for name in names)
    assert abs(one - other) > 1e-3


def test_a_result_says_what_it_was_computed_on(folder):
    result = json.loads((folder / "replicas" / "fixmatch" / "result.json").read_text())
    assert result["hardware"]["strategy"] == "MirroredStrategy"
    assert result["hardware"]["replicas"] == 2
    assert result["hardware"]["cores"] == distribute.usable_cores()


def test_a_killed_worker_that_comes_back_ends_the_run_as_if_nothing_had_happened(folder, tmp_path):
    flags = [f"--{name}={value}" for name, value in LONGER.items()]

    def start(task):
        return Started(run_command, *flags, f"--workdir={tmp_path / 'killed'}", cwd=tmp_path, environment=task)

    both = tasks()
    chief, worker = (start(task) for task in both)
    listed = tmp_path / "killed" / "checkpoints" / "checkpoint"
    deadline = time.monotonic() + SECONDS_ALLOWED
    while not (listed.exists() and "ckpt-5" in listed.read_text()):
        assert time.monotonic() < deadline and chief.running(), chief.finish().stderr[-3000:]
        time.sleep(0.05)
    worker.kill()
    assert worker.finish().returncode == -signal.SIGKILL
    assert_ended(start(both[1]))
    assert "Restarting, to resume from the last checkpoint with all workers (1)" in assert_ended(chief).stdout
    figures = [
        [{key: value for key, value in row.items() if key != "seconds"} for row in rows(workdir)]
        for workdir in (folder / "workers" / "longer", tmp_path / "killed")
    ]
    assert len(figures[0]) == LONGER["epochs"] and figures[0] == figures[1]


def test_tpu_strategy_is_made_for_the_named_tpu(monkeypatch):
    calls = []

    class Resolver:
        def __init__(self, tpu):
            calls.append(("resolver", tpu))

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", Resolver)
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", lambda resolver: calls.append("connect"))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", lambda resolver: calls.append("initialize"))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", lambda resolver: calls.append("strategy") or "a strategy")
    assert distribute.make_strategy(DeviceConfig(tpu="node-1")) == "a strategy"
    assert calls == [("resolver", "node-1"), "connect", "initialize", "strategy"]
    calls.clear()
    distribute.make_strategy(DeviceConfig(tpu="local"))
    assert calls == [("resolver", "local"), "initialize", "strategy"]


def test_a_tpu_that_is_not_there_is_named():
    with pytest.raises(DeviceError, match="The TPU 'local' cannot be reached.*without TPUs.*tensorflow-tpu"):
        distribute.make_strategy(DeviceConfig(tpu="local"))


def test_a_tpu_that_cannot_be_reached_is_named_with_the_cause_whatever_the_client_raises(monkeypatch):
    class CredentialsError(Exception):
        """Of Google's client, which is not installed here."""

    def resolver(tpu):
        raise CredentialsError("no credentials.\nSee the manual")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", resolver)
    with pytest.raises(DeviceError, match="The TPU 'node-1' cannot be reached: no credentials. Only a machine in"):
        distribute.make_strategy(DeviceConfig(tpu="node-1"))


def test_auto_takes_one_device_here_and_a_cluster_has_to_be_stated():
    assert distribute.make_strategy(DeviceConfig()).num_replicas_in_sync == 1
    with pytest.raises(DeviceError, match="multi_worker needs the cluster in TF_CONFIG"):
        distribute.make_strategy(DeviceConfig(strategy="multi_worker"))


def test_auto_counts_the_processes_that_train(monkeypatch):
    cluster = {"chief": ["127.0.0.1:1"], "evaluator": ["127.0.0.1:2"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}}))
    assert not isinstance(distribute.make_strategy(DeviceConfig()), tf.distribute.MultiWorkerMirroredStrategy)


def pair(is_chief: bool, told: list[float], answer: float = 0.0) -> Workers:
    """One of two workers, whose `agreed` notes what it is told and answers as the other one's value would."""
    workers = Workers()
    workers.is_chief = is_chief
    workers.agreed = lambda values: told.append(values[0]) or np.array([answer])
    return workers


def test_other_workers_wait_for_the_chief_and_end_if_it_fails():
    told: list[float] = []
    with pair(True, told).chief_first():
        assert told == []
    assert told == [0.0]
    with pytest.raises(DataError, match="no images"), pair(True, told).chief_first():
        raise DataError("no images")
    assert told == [0.0, 1.0]
    with pair(False, told).chief_first():
        assert told == [0.0, 1.0, 0.0]
    with pytest.raises(DeviceError, match="the chief cannot go on"), pair(False, told, answer=0.5).chief_first():
        raise AssertionError("the block must not run")
    assert told == [0.0, 1.0, 0.0, 0.0]


def test_data_are_prepared_by_the_chief_before_the_others_read_them(monkeypatch, tmp_path):
    events = []

    @contextlib.contextmanager
    def chief_first(self):
        events.append("waits")
        yield
        events.append("goes on")

    def load(*arguments):
        events.append("reads")
        raise DataError("no images")

    monkeypatch.setattr(Workers, "chief_first", chief_first)
    monkeypatch.setattr(experiment.sources, "load", load)
    with pytest.raises(DataError, match="no images"):
        experiment.train_and_evaluate(resolve({"workdir": str(tmp_path / "run")}))
    assert events == ["waits", "reads"]


def test_batches_that_do_not_divide_and_jit_over_replicas_are_refused(monkeypatch):
    class TwoReplicas:
        num_replicas_in_sync = 2

    with pytest.raises(DeviceError, match="--batch_size must be a multiple of the 2 replicas, got 7"):
        distribute.check_fits(TwoReplicas(), 7, DeviceConfig())
    with pytest.raises(DeviceError, match="--jit needs a single device"):
        distribute.check_fits(TwoReplicas(), 8, DeviceConfig(jit=True))
    distribute.check_fits(TwoReplicas(), 8, DeviceConfig(input="device"))
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["a GPU"])
    with pytest.raises(DeviceError, match="--input=device on GPUs needs a single device.* use --input=host"):
        distribute.check_fits(TwoReplicas(), 8, DeviceConfig(input="device"))
    with pytest.raises(DeviceError, match="--fused_update=true needs a single device.*there are 2: leave it out"):
        distribute.check_fits(TwoReplicas(), 8, DeviceConfig(fused_update="true"))
    assert not distribute.compiles_update(DeviceConfig(), TwoReplicas())


class FakeTpu:
    """What is asked of a TPUStrategy here."""

    num_replicas_in_sync = 8

    def __init__(self, hosts=1):
        self.extended = types.SimpleNamespace(num_hosts=hosts)


def test_batches_made_on_a_gpu_are_compiled_and_a_tpu_needs_no_flag(monkeypatch):
    strategy = tf.distribute.get_strategy()
    on_device = DeviceConfig(input="device")
    assert not distribute.compiled(on_device, strategy) and distribute.compiled(DeviceConfig(jit=True), strategy)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["a GPU"])
    assert distribute.compiled(on_device, strategy) and not distribute.compiled(DeviceConfig(), strategy)
    monkeypatch.setattr(tf.distribute, "TPUStrategy", FakeTpu)
    assert not distribute.compiled(DeviceConfig(jit=True, tpu="local"), FakeTpu())
    distribute.check_fits(FakeTpu(), 8, DeviceConfig(jit=True, tpu="local"))


def test_the_update_is_compiled_on_one_gpu_or_as_asked_but_not_within_a_compiled_step(monkeypatch):
    strategy = tf.distribute.get_strategy()
    always, never = DeviceConfig(fused_update="true"), DeviceConfig(fused_update="false")
    assert distribute.compiles_update(always, strategy) and not distribute.compiles_update(DeviceConfig(), strategy)
    assert not distribute.compiles_update(DeviceConfig(fused_update="true", jit=True), strategy)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["a GPU"])
    assert distribute.compiles_update(DeviceConfig(), strategy) and not distribute.compiles_update(never, strategy)
    monkeypatch.setattr(tf.distribute, "TPUStrategy", FakeTpu)
    assert not distribute.compiles_update(always, FakeTpu())
    distribute.check_fits(FakeTpu(), 8, always)


def test_a_tpu_of_several_hosts_needs_a_bucket(monkeypatch):
    monkeypatch.setattr(tf.distribute, "TPUStrategy", FakeTpu)
    distribute.check_pod(FakeTpu(), "runs/a", "")
    distribute.check_pod(FakeTpu(hosts=4), "gs://bucket/run", "gs://bucket/data")
    with pytest.raises(DeviceError, match="This TPU has 4 hosts.*--workdir and --data_dir.*got 'runs/a'"):
        distribute.check_pod(FakeTpu(hosts=4), "runs/a", "gs://bucket/data")


def op_error(kind, text):
    return kind(None, None, text)


# How TensorFlow begins what an operation of a graph raises.
IN_A_GRAPH = """Graph execution error:

Detected at node while/wrn/conv defined at (most recent call last):
  File "<string>", line 1, in <module>

  File "/home/user/udal_tf/training/steps.py", line 92, in _step

"""
MEMORY_ERRORS = [
    (
        tf.errors.ResourceExhaustedError,
        IN_A_GRAPH + "OOM when allocating tensor with shape[960,32,32,32]\n\t [[{{node}}]]",
    ),
    (tf.errors.InternalError, "Failed to allocate: CUDA_ERROR_OUT_OF_MEMORY"),
    (tf.errors.UnavailableError, "Collective ops is aborted by: RESOURCE_EXHAUSTED: OOM"),
]


def test_only_errors_of_connection_are_a_lost_worker_and_those_of_memory_name_what_takes_less(monkeypatch):
    workers = distribute.Workers()
    monkeypatch.setattr(workers, "_count", 2)
    for kind in (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError):
        for text in ("reset\nby peer", f"{IN_A_GRAPH}reset."):
            with pytest.raises(distribute.WorkerLost, match="Lost the other workers: reset$"), workers.watched():
                raise op_error(kind, text)
    for error in (op_error(tf.errors.InvalidArgumentError, "a shape"), *(op_error(*one) for one in MEMORY_ERRORS)):
        with pytest.raises(type(error)), workers.watched():
            raise error
    assert not distribute.is_out_of_memory(op_error(tf.errors.UnavailableError, "reset"))
    for error in (op_error(*one) for one in MEMORY_ERRORS):
        assert distribute.is_out_of_memory(error)
        text = str(distribute.out_of_memory(error))
        assert all(flag in text for flag in ("--batch_size", "--precision=bfloat16", "--joint_forward=false"))


def only_error(ended: Finished) -> str:
    """The line of the error that ended a process, if it printed no more than that."""
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in ended.stderr, ended.stderr[-3000:]
    return lines[0]


def run_out_of_memory(*flags: str) -> None:
    """The command, on a device without memory for a step."""

    def failing(self, source, count):
        raise op_error(*MEMORY_ERRORS[0])

    loop.StepRunner.__call__ = failing
    run_small(*flags)


def test_workers_out_of_memory_end_with_one_line_and_start_no_more(tmp_path):
    flags = [f"--{name}={value}" for name, value in TINY.items()]
    both = [
        Started(run_out_of_memory, *flags, f"--workdir={tmp_path / 'run'}", cwd=tmp_path, environment=task)
        for task in tasks()
    ]
    for ended in (worker.finish() for worker in both):
        assert ended.returncode == 1 and "Restarting" not in ended.stdout
        line = only_error(ended)
        assert "Not enough memory for a step: OOM when allocating tensor with shape[960,32,32,32]. Use" in line


def test_workers_whose_plugin_has_a_syntax_error_end_with_one_line_and_start_no_more(tmp_path):
    (tmp_path / "broken.py").write_text("import udal_tf\n\n\ndef method(:\n", encoding="utf-8")
    flags = [
        "--plugin=broken.py",
        f"--workdir={tmp_path / 'run'}",
        *(f"--{name}={value}" for name, value in TINY.items()),
    ]
    both = [Started(run_small, *flags, cwd=tmp_path, environment=task) for task in tasks()]
    for ended in (worker.finish() for worker in both):
        assert ended.returncode == 2 and "Restarting" not in ended.stdout
        assert "broken.py fails: SyntaxError: invalid syntax (broken.py, line 4)" in only_error(ended)
    assert not (tmp_path / "run").exists()


def evaluate_in_parts() -> None:
    """In a process of its own, with two replicas: five images in batches of three and two."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
    sizes = []

    def first_pixel(images):
        sizes.append(images.shape[0])
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        return images[:, 0, 0, 0], tf.fill([images.shape[0]], number)

    images = tf.reshape(tf.range(5.0), [5, 1, 1, 1])
    with distribute.make_strategy(DeviceConfig(strategy="mirrored")).scope():
        values, replicas = evaluation._Compiled(first_pixel)(tf.data.Dataset.from_tensor_slices(images).batch(3))
    # A batch waits on the device that uses it.
    batches = iter(pipeline.training_batches(lambda step, replica: {"number": step}, 1, 4, device="/CPU:1"))
    assert next(batches)["number"].device.endswith("CPU:1")
    assert tf.function(lambda source: next(source)["number"] + next(source)["number"])(batches).numpy() == 2 + 3
    assert values.tolist() == [0, 1, 2, 3, 4] and replicas.tolist() == [0, 0, 1, 0, 0] and sizes == [2, 2]


def test_each_replica_evaluates_its_part_of_a_batch_in_order_and_a_batch_waits_on_its_device(tmp_path):
    assert_ended(Started(evaluate_in_parts, cwd=tmp_path))


def test_a_tpu_and_another_strategy_contradict_each_other():
    with pytest.raises(ValueError, match="--tpu=local already selects a strategy"):
        resolve({"tpu": "local", "strategy": "mirrored"})


def test_cores_are_limited_by_the_containers_quota(monkeypatch, tmp_path):
    monkeypatch.setattr(distribute.os, "sched_getaffinity", lambda process: set(range(8)))
    for text, cores in (("max 100000", 8), ("250000 100000", 2), ("20000 100000", 1)):
        quota = tmp_path / "cpu.max"
        quota.write_text(text)
        monkeypatch.setattr(distribute, "_CPU_QUOTA", str(quota))
        assert distribute.usable_cores() == cores
