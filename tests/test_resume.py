"""A run killed at any moment and started again by the same command ends with the numbers of an uninterrupted one.

Every start is a process of its own. The killed ones run `run.py` under a small script that ends the process at a chosen
moment; nothing else about them differs.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parents[1]
# Barely more than chance as the threshold, so that pseudo-labels count from the first step on.
RUN = ["--epochs=6", "--steps_per_epoch=10", "--batch_size=4", "--unlabeled_ratio=2", "--threshold=0.12"]
TOTAL_STEPS = 60
SECONDS_ALLOWED = 300

# Runs run.py (argument 2) and ends its process at the moment that argument 1 names.
KILLED_AT = '''
import itertools, os, resource, runpy, signal, sys, threading
import tensorflow as tf
from udal_tf.training import loop

moment, sys.argv = sys.argv[1], sys.argv[2:]
saves, steps = itertools.count(1), itertools.count(1)
save, run_steps, write_json = tf.train.CheckpointManager.save, loop.StepRunner.__call__, loop.write_json


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def killed_save(self, checkpoint_number):
    number = next(saves)
    if (moment, number) == ("writing the first checkpoint", 1):
        # The system ends a process that writes beyond the limit: in the middle of the data file.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    if (moment, number) == ("between the checkpoint and the list of checkpoints", 2):
        self.checkpoint.write(f"{self.directory}/ckpt-{checkpoint_number}")
        kill()
    if (moment, number) == ("between the row and the checkpoint", 2):
        kill()
    return save(self, checkpoint_number=checkpoint_number)


def killed_steps(self, iterator, count):
    number = next(steps)
    if (moment, number) == ("any moment", 15):
        threading.Timer(0.02, kill).start()
    if (moment, number) == ("SIGTERM", 24):
        os.kill(os.getpid(), signal.SIGTERM)
    return run_steps(self, iterator, count)


def killed_write(path, value):
    if moment == "before the result":
        kill()
    write_json(path, value)


tf.train.CheckpointManager.save, loop.StepRunner.__call__, loop.write_json = killed_save, killed_steps, killed_write
if moment in ("any moment", "SIGTERM"):
    loop.CALL_SECONDS = 0  # One step a call, so that the calls can be counted.
runpy.run_path(sys.argv[0], run_name="__main__")
'''


def start(workdir: pathlib.Path, moment: str = "") -> subprocess.CompletedProcess:
    """Runs the command to its end, or to the moment at which it is killed."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    # run.py's own setting, which has to be said before TensorFlow is imported; the killing script imports it earlier.
    environment["TF_ENABLE_ONEDNN_OPTS"] = "1"
    wrapper = ["-c", KILLED_AT, moment] if moment else []
    return subprocess.run(
        [sys.executable, *wrapper, str(REPOSITORY / "run.py"), *RUN, f"--workdir={workdir}"],
        env=environment,
        cwd=workdir.parent,
        capture_output=True,
        text=True,
        timeout=SECONDS_ALLOWED,
    )


def state_of(workdir: pathlib.Path) -> dict:
    """What a kill left: the steps of the rows, the checkpoints that count, and the names of all their files."""
    log, listed = workdir / "metrics.jsonl", workdir / "checkpoints" / "checkpoint"
    latest = re.match(r'model_checkpoint_path: "ckpt-(\d+)"', listed.read_text()) if listed.exists() else None
    return {
        "rows": [json.loads(line)["step"] for line in log.read_text().splitlines()],
        "latest": int(latest[1]) if latest else None,
        "files": {path.name for path in (workdir / "checkpoints").rglob("*")},
        "result": (workdir / "result.json").exists(),
    }


def killed_and_started_again(workdir: pathlib.Path, moments: list[str]) -> tuple[dict, dict]:
    """A run killed at one moment after the other, then left alone: processes by moment, states after each by moment."""
    processes, states = {}, {}
    for moment in [*moments, ""]:
        processes[moment] = start(workdir, moment)
        states[moment] = state_of(workdir)
    return processes, states


KILLS = [
    "writing the first checkpoint",
    "between the checkpoint and the list of checkpoints",
    "between the row and the checkpoint",
    "any moment",
]
STOPS = ["SIGTERM", "before the result"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The uninterrupted run, the one killed four times and the one stopped and killed at its end, two at a time."""
    folder = tmp_path_factory.mktemp("resume")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        killed = pool.submit(killed_and_started_again, folder / "killed", KILLS)
        whole = pool.submit(killed_and_started_again, folder / "whole", [])
        stopped = pool.submit(killed_and_started_again, folder / "stopped", STOPS)
        return folder, {"whole": whole.result(), "killed": killed.result(), "stopped": stopped.result()}


def figures(workdir: pathlib.Path) -> dict:
    result = json.loads((workdir / "result.json").read_text())
    names = ("accuracy", "balanced_accuracy", "per_class_recall", "median_ema_accuracy", "steps", "data")
    return {name: result[name] for name in names}


def rows_without_seconds(workdir: pathlib.Path) -> list[dict]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_an_uninterrupted_run_ends_well(runs):
    folder, chains = runs
    process = chains["whole"][0][""]
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert f"{TOTAL_STEPS} steps in " in process.stdout
    rows = rows_without_seconds(folder / "whole")
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 60]
    assert all(row["train"]["loss_unlabeled"] > 0 for row in rows)


def test_the_process_was_killed_at_every_moment(runs):
    processes, states = runs[1]["killed"]
    codes = [processes[moment].returncode for moment in [*KILLS, ""]]
    assert codes == [-signal.SIGXFSZ, -signal.SIGKILL, -signal.SIGKILL, -signal.SIGKILL, 0]

    first, second, third, fourth = (states[moment] for moment in KILLS)
    assert (first["rows"], first["latest"]) == ([10], None)
    assert "ckpt-10.index" not in first["files"]
    assert any("ckpt-10" in name for name in first["files"])
    assert (second["rows"], second["latest"]) == ([10, 20], 10)
    assert "ckpt-20.index" in second["files"]
    assert (third["rows"], third["latest"]) == ([10, 20, 30], 20)
    assert (fourth["rows"], fourth["latest"]) == ([10, 20, 30], 30)
    assert not any(state["result"] for state in (first, second, third, fourth))


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(runs):
    processes, _ = runs[1]["killed"]
    assert "Going on" not in processes["between the checkpoint and the list of checkpoints"].stdout
    assert f"Going on from step 10 of {TOTAL_STEPS}" in processes["between the row and the checkpoint"].stdout
    assert f"Going on from step 20 of {TOTAL_STEPS}" in processes["any moment"].stdout
    assert f"Going on from step 30 of {TOTAL_STEPS}" in processes[""].stdout


def test_sigterm_in_mid_epoch_saves_and_says_so(runs):
    processes, states = runs[1]["stopped"]
    stopped = processes["SIGTERM"]
    assert stopped.returncode == 128 + signal.SIGTERM == 143
    assert "Traceback" not in stopped.stderr
    assert "Stopped at step 24" in stopped.stdout
    assert states["SIGTERM"]["latest"] == 24
    assert states["SIGTERM"]["rows"] == [10, 20]
    assert f"Going on from step 24 of {TOTAL_STEPS}" in processes["before the result"].stdout


def test_a_run_killed_before_its_result_was_written_writes_it(runs):
    processes, states = runs[1]["stopped"]
    assert processes["before the result"].returncode == -signal.SIGKILL
    assert not states["before the result"]["result"]
    assert states["before the result"]["latest"] == TOTAL_STEPS
    assert processes[""].returncode == 0, processes[""].stderr
    assert states[""]["result"]


@pytest.mark.parametrize("name", ["killed", "stopped"])
def test_the_figures_are_bit_identical_to_the_uninterrupted_runs(runs, name):
    folder, _ = runs
    assert figures(folder / name) == figures(folder / "whole")
    assert figures(folder / name)["steps"] == TOTAL_STEPS


@pytest.mark.parametrize("name", ["killed", "stopped"])
def test_every_row_is_bit_identical_to_the_uninterrupted_runs(runs, name):
    folder, _ = runs
    assert rows_without_seconds(folder / name) == rows_without_seconds(folder / "whole")
