"""What a run does when its disk does not do what it should: a file system that is really full, or really read-only.

The small file systems are mounted in a namespace of the test's own, which an ordinary user may do too.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parents[1]
FLAGS = "--epochs=6 --steps_per_epoch=5 --batch_size=4 --unlabeled_ratio=2 --threshold=0.12"
# Three checkpoints of the small network need more than 2 MB.
SCRIPT = """
mkdir {disk} && mount -t tmpfs -o size=2200k tmpfs {disk} || exit 99
{python} {run} {flags} --workdir={disk}/run >{out}/full.out 2>{out}/full.err; echo $? >{out}/full.rc
ls {disk}/run/checkpoints >{out}/full.files; cat {disk}/run/checkpoints/checkpoint >{out}/full.list
mount -o remount,size=64m {disk} || exit 99
{python} {run} {flags} --workdir={disk}/run >{out}/room.out 2>{out}/room.err; echo $? >{out}/room.rc
cp {disk}/run/metrics.jsonl {disk}/run/result.json {out}/
mount -o remount,ro {disk} || exit 99
{python} {run} {flags} --workdir={disk}/other >{out}/ro.out 2>{out}/ro.err; echo $? >{out}/ro.rc
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """What the three runs printed and left: on a disk too small, on it with more room, on it read-only."""
    folder = tmp_path_factory.mktemp("faults")
    script = SCRIPT.format(
        disk=folder / "disk", python=sys.executable, run=REPOSITORY / "run.py", flags=FLAGS, out=folder
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(["unshare", "-rm", "sh", "-c", script], env=environment, check=True, timeout=300)
    return folder


def text(out, name):
    return (out / name).read_text(encoding="utf-8")


def test_a_full_disk_stops_the_run_with_the_reason_and_what_to_do(out):
    assert text(out, "full.rc").strip() == "1"
    assert "Traceback" not in text(out, "full.err")
    error = next(line for line in text(out, "full.err").splitlines() if line.startswith("error: "))
    assert "No space left on device" in error and "make room" in error


def test_with_room_again_the_same_command_goes_on_and_ends_as_if_nothing_had_happened(out, tmp_path):
    assert text(out, "room.rc").strip() == "0", text(out, "room.err")
    assert "Going on from step" in text(out, "room.out")
    command = [sys.executable, str(REPOSITORY / "run.py"), *FLAGS.split(), f"--workdir={tmp_path / 'whole'}"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)

    def rows(path):
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [{key: value for key, value in row.items() if key != "seconds"} for row in found]

    assert rows(out / "metrics.jsonl") == rows(tmp_path / "whole" / "metrics.jsonl")


def test_a_read_only_disk_is_bad_input(out):
    assert text(out, "ro.rc").strip() == "2"
    assert "cannot be written: Read-only file system" in text(out, "ro.err")
