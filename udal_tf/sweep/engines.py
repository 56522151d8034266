"""The engines that run the cells of a sweep: a pool of processes on this machine, or tasks on a Ray cluster."""

import argparse
import concurrent.futures
import os
import pathlib
import queue
import sys
import time
from typing import Any

from udal_tf.sweep import gpus
from udal_tf.sweep.jobs import POLL_SECONDS, Job, Outcome, StopFile, core_numbers, note_failure, run_job

ROOT = pathlib.Path(__file__).resolve().parents[2]


class SweepError(ValueError):
    """The sweep cannot start; the message says why."""


class LocalEngine:
    """Runs n cells at a time on this machine, each on its own part of the cores and of the GPUs."""

    def __init__(self, args: argparse.Namespace):
        available = core_numbers()
        parts = [available[first :: args.jobs] for first in range(args.jobs)]
        wanted = gpus.names(args.visible_gpus) if args.gpus_per_job != 0 else []
        self._places: queue.SimpleQueue = queue.SimpleQueue()
        for part, variables in zip(parts, gpus.variables(wanted, args.jobs, args.gpus_per_job), strict=True):
            # With more jobs than cores, or one job, the cores are not divided.
            cores = part if all(parts) and args.jobs > 1 and sys.platform == "linux" else None
            self._places.put((cores, variables))
        self._pool = concurrent.futures.ThreadPoolExecutor(args.jobs)
        self._running: dict[concurrent.futures.Future, Job] = {}
        self._signal = 0

    def _run(self, job: Job) -> Outcome:
        cores, variables = place = self._places.get()
        try:
            return run_job(job, cores, lambda: self._signal, variables)
        except OSError as error:  # A bucket that no longer answers.
            return Outcome("failed", f"{error.filename or job.workdir}: {error.strerror or error}")
        finally:
            self._places.put(place)

    def submit(self, job: Job) -> None:
        self._running[self._pool.submit(self._run, job)] = job

    def ended(self) -> list[tuple[Job, Outcome]]:
        """The jobs that ended since the last call; waits POLL_SECONDS for one."""
        done, _ = concurrent.futures.wait(self._running, POLL_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED)
        return [(self._running.pop(future), future.result()) for future in done]

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def stop(self, number: int) -> None:
        self._signal = number

    def close(self) -> None:
        self._pool.shutdown()


class RayEngine:
    """Runs each cell as a Ray task with the resources it requests; Ray decides where and when."""

    def __init__(self, args: argparse.Namespace):
        try:
            import ray
        except ImportError as error:
            raise SweepError("--engine=ray needs Ray, which is not installed: pip install 'udal-tf[sweep]'") from error
        self._ray = ray
        # Workers import this package from the same checkout; TensorFlow uses the cores that the task requests.
        path = os.pathsep.join([str(ROOT), *filter(None, [args.python_path])])
        variables = {"PYTHONPATH": path, "TF_NUM_INTRAOP_THREADS": str(max(1, int(args.num_cpus)))}
        if args.num_gpus and args.num_gpus < 1:  # The first of the tasks on a GPU would otherwise take its memory.
            variables["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        try:
            ray.init(address=args.address or None, log_to_driver=False, runtime_env={"env_vars": variables})
        except ConnectionError as error:
            raise SweepError(
                f"no Ray cluster answers at --address={args.address}: {error}. A cluster with token authentication "
                "needs the same RAY_AUTH_TOKEN here."
            ) from error
        num_gpus = args.num_gpus
        if num_gpus is None:
            num_gpus = min(1.0, ray.cluster_resources().get("GPU", 0.0))
        self._stop = StopFile(args.out.resolve() / "sweep" / f"stop-{os.getpid()}-{time.time_ns()}")
        self._task = ray.remote(run_job).options(
            num_cpus=args.num_cpus, num_gpus=num_gpus, resources=dict(args.resources), max_retries=args.retries
        )
        self._running: dict = {}

    def submit(self, job: Job) -> None:
        self._running[self._task.remote(job, None, self._stop)] = job

    def ended(self) -> list[tuple[Job, Outcome]]:
        done, _ = self._ray.wait(list(self._running), timeout=POLL_SECONDS)
        return [(self._running[ref], self._outcome(ref, self._running.pop(ref))) for ref in done]

    def _outcome(self, ref: Any, job: Job) -> Outcome:
        try:
            outcome = self._ray.get(ref)
            return Outcome(outcome.state, outcome.reason)
        except self._ray.exceptions.RayError as error:
            reason = f"Ray: {str(error).strip().splitlines()[0]}"
            note_failure(pathlib.Path(job.cwd) / job.notes, job, job.retries + 1, reason, 0.0)
            return Outcome("failed", reason)

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def stop(self, number: int) -> None:
        self._stop.ask(number)

    def close(self) -> None:
        self._stop.ask(0)
        self._ray.shutdown()


ENGINES: dict[str, type[LocalEngine] | type[RayEngine]] = {"local": LocalEngine, "ray": RayEngine}
