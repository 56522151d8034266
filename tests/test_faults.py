"""What a run does when its disk does not do what it should: a file system that is really full, or really read-only.

The small file systems are mounted in a namespace of the test's own, which an ordinary user may do too.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from forked import REPOSITORY, SECONDS_ALLOWED, Finished, Started, run_command

FLAGS = ("--epochs=6", "--steps_per_epoch=2", "--batch_size=4", "--unlabeled_ratio=2", "--threshold=0.12")
PROGRAM = "import pathlib, sys, test_faults; test_faults.train_on_small_disks(pathlib.Path(sys.argv[1]))"


def train_on_small_disks(folder: pathlib.Path) -> None:
    """Leaves what four runs printed in ended.json: on a disk too small, on it with more room, on it read-only, and on
    none of them."""
    disk, ended = folder / "disk", {}

    def mount(*options: str) -> None:
        subprocess.run(["mount", *options, str(disk)], check=True)

    def train(name: str, workdir: pathlib.Path) -> None:
        process = Started(run_command, *FLAGS, f"--workdir={workdir}", cwd=folder)
        ended[name] = dataclasses.asdict(process.finish())

    disk.mkdir()
    # Three checkpoints of the small network need more than 2 MB.
    mount("-t", "tmpfs", "-o", "size=2200k", "tmpfs")
    train("full", disk / "run")
    mount("-o", "remount,size=64m")
    train("room", disk / "run")
    shutil.copy(disk / "run" / "metrics.jsonl", folder)
    mount("-o", "remount,ro")
    train("read only", disk / "other")
    train("whole", folder / "whole")
    (folder / "ended.json").write_text(json.dumps(ended), encoding="utf-8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[pathlib.Path, dict[str, Finished]]:
    """The folder of the runs, and how each ended."""
    folder = tmp_path_factory.mktemp("faults")
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    command = ["unshare", "-rm", sys.executable, "-c", PROGRAM, str(folder)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True, timeout=SECONDS_ALLOWED)
    ended = json.loads((folder / "ended.json").read_text(encoding="utf-8"))
    return folder, {name: Finished(**given) for name, given in ended.items()}


def test_a_full_disk_stops_the_run_with_the_reason_and_what_to_do(runs):
    full = runs[1]["full"]
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    error = next(line for line in full.stderr.splitlines() if line.startswith("error: "))
    assert "No space left on device" in error and "free up space" in error


def test_with_room_again_the_same_command_goes_on_and_ends_as_if_nothing_had_happened(runs):
    folder, ended = runs
    assert ended["room"].returncode == 0, ended["room"].stderr
    assert "Resuming from step" in ended["room"].stdout
    assert ended["whole"].returncode == 0, ended["whole"].stderr

    def rows(path):
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [{key: value for key, value in row.items() if key != "seconds"} for row in found]

    assert rows(folder / "metrics.jsonl") == rows(folder / "whole" / "metrics.jsonl")


def test_a_read_only_disk_is_bad_input(runs):
    assert runs[1]["read only"].returncode == 2
    assert "cannot be written: Read-only file system" in runs[1]["read only"].stderr
