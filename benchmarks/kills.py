"""Kills one run on digits-LT at random moments, again and again, and compares its end with an uninterrupted run's.

    python benchmarks/kills.py --kills=50

Each start is `run.py` in a process of its own, ended by SIGKILL after a random time; when all kills are done it is left
alone. Every row of metrics and every figure of the result have to be equal to the last bit.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

RUN = pathlib.Path(__file__).resolve().parents[1] / "run.py"
# Seconds from a start to its kill: from before TensorFlow is there to well inside the training.
SHORTEST, LONGEST = 0.5, 25.0


def start(workdir: pathlib.Path, flags: list[str]) -> subprocess.Popen:
    command = [sys.executable, str(RUN), f"--workdir={workdir}", *flags]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def to_the_end(workdir: pathlib.Path, flags: list[str]) -> None:
    """Raises RuntimeError where the run fails."""
    process = start(workdir, flags)
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the run in {workdir} ended with {process.returncode}:\n{errors[-3000:]}")


def outcome(workdir: pathlib.Path) -> tuple[list[dict], dict]:
    """Rows of metrics and figures of the result, without what may differ: the seconds."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    result = json.loads((workdir / "result.json").read_text(encoding="utf-8"))
    for row in rows:
        row.pop("seconds")
    return rows, {name: result[name] for name in ("accuracy", "balanced_accuracy", "per_class_recall", "data", "steps")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("flags", nargs="*", help="further flags of run.py, after --")
    args = parser.parse_args()
    moments = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = pathlib.Path(folder) / "whole", pathlib.Path(folder) / "killed"
        to_the_end(whole, args.flags)
        kills = finished = 0
        began = time.monotonic()
        while kills < args.kills:
            process = start(killed, args.flags)
            try:
                _, errors = process.communicate(timeout=moments.uniform(SHORTEST, LONGEST))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                continue
            if process.returncode:
                raise RuntimeError(f"a start ended with {process.returncode}:\n{errors[-3000:]}")
            # Done before all kills were: what it ended with is checked, and the kills go on with a new run.
            check(whole, killed)
            finished += 1
            killed = killed.with_name(f"killed_{finished}")
        to_the_end(killed, args.flags)
        check(whole, killed)
        seconds = time.monotonic() - began
        print(f"{kills} kills over {finished + 1} runs in {seconds:.0f} s: every run ended bit-identical")


def check(whole: pathlib.Path, killed: pathlib.Path) -> None:
    """Raises RuntimeError where two runs ended differently."""
    if outcome(whole) != outcome(killed):
        raise RuntimeError(f"{killed} did not end as {whole} did")


if __name__ == "__main__":
    main()
