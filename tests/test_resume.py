"""A run killed at any moment and started again by the same command ends with the numbers of an uninterrupted one.

Every start is a process of its own. The killed ones run `run.py` with a few functions replaced that end the process at
a chosen moment; nothing else about them differs. None draws its figures, and their network is small.
"""

import concurrent.futures
import itertools
import json
import os
import pathlib
import random
import resource
import signal
import sys
import threading

import pytest
import tensorflow as tf
from forked import REPOSITORY, Finished, Started, run_small

from udal_tf.training import crest, loop

sys.path.append(str(REPOSITORY / "benchmarks"))
import kills  # noqa: E402

# Barely more than chance as the threshold, so that pseudo-labels count from the first step on.
RUN = ("--epochs=6", "--steps_per_epoch=4", "--batch_size=4", "--unlabeled_ratio=2", "--threshold=0.12")
TOTAL_STEPS = 24

WRITING, UNLISTED = "writing the first checkpoint", "between the checkpoint and the list of checkpoints"
UNSAVED_ROW, ANY, TERM = "between the row and the checkpoint", "any moment", "SIGTERM"
DAMAGED = "any moment, after which the newest checkpoint is truncated and half a row is appended"
GROWN, BETWEEN, REFINING = "writing the grown set", "between generations", "in a refinement"
END = ""
# Before which of its calls, of one step each, a process is ended, and how many seconds later.
AT_CALL = {TERM: (2, None), ANY: (6, 0.02), DAMAGED: (6, 0.02), REFINING: (17, 0.005)}


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_until(moment: str, *arguments: str) -> None:
    """run.py in this process, which ends at a moment."""
    saves, steps = itertools.count(1), itertools.count(1)
    save, run_steps, write = tf.train.CheckpointManager.save, loop.StepRunner.__call__, crest.write_json

    def killed_save(self, checkpoint_number):
        if not self.directory.endswith("checkpoints"):
            return save(self, checkpoint_number=checkpoint_number)
        number = next(saves)
        if (moment, number) == (WRITING, 1):
            # The system ends a process that writes beyond the limit: in the middle of the data file.
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
        if (moment, number) == (UNLISTED, 2):
            self.checkpoint.write(f"{self.directory}/ckpt-{checkpoint_number}")
            kill()
        if (moment, number) == (UNSAVED_ROW, 2):
            kill()
        return save(self, checkpoint_number=checkpoint_number)

    def killed_steps(self, iterator, count):
        call, seconds = AT_CALL.get(moment, (0, None))
        if next(steps) == call:
            if seconds is None:
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                threading.Timer(seconds, kill).start()
        return run_steps(self, iterator, count)

    def killed_write(path, value):
        if moment == GROWN and path.name == "labeled.json":
            path.with_name(f"{path.name}.{os.getpid()}.partial").write_text('{"positions": [1, 2')
            kill()
        write(path, value)
        if moment == BETWEEN and path.name == "labeled.json":
            kill()

    tf.train.CheckpointManager.save, loop.StepRunner.__call__ = killed_save, killed_steps
    crest.write_json = killed_write
    if moment in AT_CALL:
        loop.CALL_SECONDS = 0  # One step a call, so that the calls can be counted.
    run_small(*arguments)


def state_of(workdir: pathlib.Path) -> dict:
    """What a kill left: the steps of the rows, the checkpoints that count, and the names of all their files."""
    log, listed = workdir / "metrics.jsonl", kills.listed(workdir)
    steps = [int(path.name.removeprefix("ckpt-")) for path in listed]
    return {
        "rows": [json.loads(line)["step"] for line in log.read_text().splitlines()] if log.exists() else [],
        "latest": steps[-1] if steps else None,
        "before": steps[-2] if steps[1:] else None,
        "files": {path.name for path in (workdir / "checkpoints").rglob("*")},
        "result": (workdir / "result.json").exists(),
    }


def killed_and_started_again(
    workdir: pathlib.Path, moments: list[str], flags: tuple[str, ...] = ()
) -> tuple[dict[str, Finished], dict[str, dict]]:
    """A run killed at one moment after the other, then left alone: processes by moment, states after each by moment."""
    processes, states = {}, {}
    for moment in [*moments, END]:
        process = Started(run_until, moment, *RUN, *flags, f"--workdir={workdir}", cwd=workdir.parent)
        processes[moment] = process.finish()
        states[moment] = state_of(workdir)
        if moment == DAMAGED:
            damage = random.Random(0)
            assert kills.truncate_newest(workdir, damage) and kills.append_half_a_row(workdir, damage)
    return processes, states


def chains(folder: pathlib.Path, given: dict[str, tuple]) -> dict[str, tuple[dict, dict]]:
    """By name, processes and states of runs below a folder, two at a time; given: moments and flags."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = {name: pool.submit(killed_and_started_again, folder / name, *given[name]) for name in given}
        return {name: chain.result() for name, chain in running.items()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of both; by name, processes and states of a run that was stopped five times and of one that was not."""
    folder = tmp_path_factory.mktemp("resume")
    return folder, chains(folder, {"killed": ([WRITING, UNSAVED_ROW, UNLISTED, TERM, DAMAGED],), "whole": ([],)})


def figures(workdir: pathlib.Path) -> dict:
    result = json.loads((workdir / "result.json").read_text())
    names = ("accuracy", "balanced_accuracy", "per_class_recall", "median_ema_accuracy", "steps", "data")
    return {name: result[name] for name in names}


def rows_without_seconds(workdir: pathlib.Path) -> list[dict]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_an_uninterrupted_run_ends_well(runs):
    folder, chains = runs
    process = chains["whole"][0][END]
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert f"{TOTAL_STEPS} steps in " in process.stdout
    rows = rows_without_seconds(folder / "whole")
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 20, 24]
    assert all(row["train"]["loss_unlabeled"] > 0 for row in rows)


def test_a_run_killed_while_writing_its_first_checkpoint_starts_anew(runs):
    processes, states = runs[1]["killed"]
    assert processes[WRITING].returncode == -signal.SIGXFSZ
    assert (states[WRITING]["rows"], states[WRITING]["latest"]) == ([4], None)
    assert "ckpt-4.index" not in states[WRITING]["files"]
    assert any("ckpt-4" in name for name in states[WRITING]["files"])
    assert "Resuming" not in processes[UNSAVED_ROW].stdout


def test_a_run_killed_between_the_row_and_the_checkpoint_goes_on_from_the_checkpoint(runs):
    processes, states = runs[1]["killed"]
    assert processes[UNSAVED_ROW].returncode == -signal.SIGKILL
    assert (states[UNSAVED_ROW]["rows"], states[UNSAVED_ROW]["latest"]) == ([4, 8], 4)
    assert f"Resuming from step 4 of {TOTAL_STEPS}" in processes[UNLISTED].stdout


def test_a_checkpoint_counts_when_it_is_listed_and_not_before(runs):
    processes, states = runs[1]["killed"]
    assert processes[UNLISTED].returncode == -signal.SIGKILL
    assert (states[UNLISTED]["rows"], states[UNLISTED]["latest"]) == ([4, 8, 12], 8)
    assert "ckpt-12.index" in states[UNLISTED]["files"]
    assert f"Resuming from step 8 of {TOTAL_STEPS}" in processes[TERM].stdout


def test_sigterm_in_mid_epoch_saves_and_says_so(runs):
    processes, states = runs[1]["killed"]
    assert processes[TERM].returncode == 143  # 128 + SIGTERM's number.
    assert "Traceback" not in processes[TERM].stderr
    assert "Stopped at step 10" in processes[TERM].stdout
    assert (states[TERM]["rows"], states[TERM]["latest"]) == ([4, 8], 10)
    assert f"Resuming from step 10 of {TOTAL_STEPS}" in processes[DAMAGED].stdout


def test_a_run_killed_at_any_moment_goes_on_from_its_last_readable_checkpoint_and_says_so(runs):
    processes, states = runs[1]["killed"]
    assert processes[DAMAGED].returncode == -signal.SIGKILL
    assert not states[DAMAGED]["result"]
    told = [line for line in processes[END].stderr.splitlines() if kills.FELL_BACK in line]
    assert len(told) == 1 and f"ckpt-{states[DAMAGED]['latest']}" in told[0]
    assert f"Resuming from step {states[DAMAGED]['before']} of {TOTAL_STEPS}" in processes[END].stdout
    assert processes[END].returncode == 0, processes[END].stderr


def test_weights_their_averages_and_q_hat_are_bit_identical_to_the_uninterrupted_runs(runs):
    folder, _ = runs
    assert kills.differences(folder / "whole", folder / "killed") == []


def test_the_figures_are_bit_identical_to_the_uninterrupted_runs(runs):
    folder, _ = runs
    assert figures(folder / "killed") == figures(folder / "whole")
    assert figures(folder / "killed")["steps"] == TOTAL_STEPS


def test_every_row_is_bit_identical_to_the_uninterrupted_runs(runs):
    folder, _ = runs
    assert rows_without_seconds(folder / "killed") == rows_without_seconds(folder / "whole")


DARP = ("--method=darp", "--darp_every=7")
CREST = ("--method=crest+", "--generations=3", "--epochs=2")


@pytest.fixture(scope="module")
def other_runs(tmp_path_factory):
    """As `runs`, for CReST+ and for DARP: uninterrupted, and killed."""
    folder = tmp_path_factory.mktemp("resume_methods")
    given = {
        "crest": ([], CREST),
        "crest_killed": ([GROWN, BETWEEN, ANY], CREST),
        "darp": ([], DARP),
        "darp_killed": ([REFINING], DARP),
    }
    return folder, chains(folder, given)


def test_generations_killed_before_between_and_inside_end_bit_identical(other_runs):
    folder, chains = other_runs
    processes, _ = chains["crest_killed"]
    assert [processes[moment].returncode for moment in (GROWN, BETWEEN, ANY)] == 3 * [-signal.SIGKILL]
    assert processes[END].returncode == 0, processes[END].stderr
    assert figures(folder / "crest_killed") == figures(folder / "crest")
    for number in range(3):
        ours, theirs = (folder / name / f"generation_{number}" for name in ("crest_killed", "crest"))
        assert rows_without_seconds(ours) == rows_without_seconds(theirs)
        if number:
            assert json.loads((ours / "labeled.json").read_text()) == json.loads((theirs / "labeled.json").read_text())


def test_darp_killed_after_its_warm_up_ends_bit_identical(other_runs):
    folder, chains = other_runs
    processes, states = chains["darp_killed"]
    assert processes[REFINING].returncode == -signal.SIGKILL
    assert states[REFINING]["latest"] == 16  # The warm-up ends at step 9, where it refines as it does at 16 and 23.
    assert processes[END].returncode == 0, processes[END].stderr
    assert figures(folder / "darp_killed") == figures(folder / "darp")
    assert rows_without_seconds(folder / "darp_killed") == rows_without_seconds(folder / "darp")
