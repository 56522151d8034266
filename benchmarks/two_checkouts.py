"""Is the training loop as fast as that of another checkout? Both, input included, in alternating rounds.

    git worktree add ../before COMMIT
    python benchmarks/two_checkouts.py ../before
    python benchmarks/two_checkouts.py ../before --problem=wrn-28-2 --rounds=7 --steps=4

`digits` is the default run; `wrn-28-2` is FixMatch with UDAL on 12,406 random images of CIFAR-10's size, 240 images in
a step. Each checkout is a process of its own, which waits while the other one is timed; both use this Python and its
packages. Run nothing beside it.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile

import timed_process
from timed_process import PEAK_MEMORY, ProcessFailed, TimedProcess

HERE = pathlib.Path(__file__).resolve().parents[1]
# Name -> the run's settings, and the random images in place of a dataset.
PROBLEMS = {
    "digits": ({}, None),
    "wrn-28-2": (
        {"dataset": "folder", "imbalance": 100.0, "beta": 0.1, "depth": 28, "width": 2, "batch_size": 16},
        {"image_count": 12_406, "classes": 10, "side": 32},
    ),
}


def started(checkout: pathlib.Path, problem: str, threads: int, folder: pathlib.Path) -> TimedProcess:
    """A process that trains with the code of a checkout. Raises ProcessFailed."""
    settings, made_up = PROBLEMS[problem]
    command = [sys.executable, str(checkout / "benchmarks" / "our_step.py")]
    command.append(f"--settings={json.dumps({**settings, 'threads': threads})}")
    if made_up:
        command.append(f"--made_up={json.dumps(made_up)}")
    return TimedProcess(command, {**os.environ, "PYTHONPATH": str(checkout)}, folder / "messages")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=pathlib.Path, help="a checkout of another commit")
    parser.add_argument("--problem", default="digits", choices=PROBLEMS)
    parser.add_argument("--rounds", default=9, type=int, help="timings of each; the median counts")
    parser.add_argument("--steps", default=40, type=int, help="in a timing, and before the first")
    parser.add_argument("--threads", default=timed_process.threads(), type=int, help="of each process")
    args = parser.parse_args()
    print("| checkout | ms per step, median | lowest | highest | peak MiB |\n|---|---|---|---|---|")
    with contextlib.ExitStack() as stack:
        processes = []
        for checkout in (args.other.resolve(), HERE):
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            try:
                processes.append(stack.enter_context(started(checkout, args.problem, args.threads, folder)))
                processes[-1].ask("train", count=args.steps)
            except ProcessFailed as error:
                print(f"error: {checkout}: {error}", file=sys.stderr)
                sys.exit(1)
        rounds = [[process.ask("train", count=args.steps) for process in processes] for _ in range(args.rounds)]
        medians = []
        for name, process, seconds in zip(("other", "this"), processes, zip(*rounds, strict=True), strict=True):
            step = [1000 * second / args.steps for second in seconds]
            medians.append(statistics.median(step))
            times = " | ".join(f"{ms:,.1f}" for ms in (medians[-1], min(step), max(step)))
            print(f"| {name} | {times} | {process.ask(PEAK_MEMORY):,.0f} |")
    print(f"\nthis / other: {medians[1] / medians[0]:.2f}")


if __name__ == "__main__":
    main()
