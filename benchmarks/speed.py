"""How fast this repository trains and evaluates, beside CReST and a PyTorch step where they are at hand.

    python benchmarks/speed.py
    python benchmarks/speed.py --crest=DIR --crest_python=BIN --torch_python=BIN
    python benchmarks/speed.py --only=train,step --rounds=3 --steps=5

FixMatch with a WRN-28-2 on random images of CIFAR-10's size and shape: 12,406 to train on (γ = 100, a tenth of them
labeled) and as many test images as --test_images says. Every implementation is a process of its own with the same
number of threads and the same batch, reads the same files, and waits while another one is timed; rounds alternate
between them.

DIR is a checkout of google-research/crest, its BIN a Python with TensorFlow 2.15 and tensorflow-addons; it runs once as
it is and once with TF_ENABLE_ONEDNN_OPTS=1, which our command sets for itself. The other BIN is a Python with PyTorch;
it runs the training step alone, on the CPU, and its batch does not come from files. Other jobs on the machine slow it
more than the others, for its threads wait for each other at every operation.

Prints one Markdown table, and what it is doing on standard error. One row is one figure of one implementation:

  train     training images per second, input included, after warm-up; each view counts as an image
  step      the same with the batch fixed: the step alone
  input     the same for batches that nobody trains on: the input alone
  evaluate  test images per second for the scores of raw and EMA weights, each plain and with LA
  start     seconds from the start of the process to the end of its first step
  memory    MiB that the process held at most: start, some steps and an evaluation

`ratio` says how many times as good this repository's median is: above 1 it is ahead, for seconds and MiB, too.
"""

import argparse
import contextlib
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile

import timed_process
from implementations import (
    DEPTH,
    EVALUATION_BATCH,
    MEASURES,
    OF_A_START,
    ONEDNN,
    OURS,
    SIDE,
    TEST_IMAGES,
    WIDTH,
    Implementation,
    taking_part,
    write_images,
)
from timed_process import PEAK_MEMORY, ProcessFailed, TimedProcess

# Batches thrown away before the input is timed: the first ones wait for it to fill its buffers.
WARMUP_BATCHES = 20
# (measure, implementation) -> one value per round or start.
Figures = dict[tuple[str, str], list[float]]


def main():
    args = parsed_arguments()
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        data = pathlib.Path(folder) / "data"
        write_in_new_process(data)
        implementations = taking_part(args, data)
        try:
            processes = started(implementations, args, pathlib.Path(folder), figures, stack)
            for number in range(args.rounds):
                for measure in MEASURES:
                    for implementation in implementations:
                        if measure in implementation.measures and measure not in OF_A_START:
                            value = rate(processes[implementation.name], measure, args)
                            note(figures, measure, implementation.name, value, f"round {number + 1}/{args.rounds}")
        except ProcessFailed as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        facts = {name: process.facts for name, process in processes.items()}
    print(report(figures, facts, args))


def parsed_arguments() -> argparse.Namespace:
    """The options, checked; the process ends with 2 where they do not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="Timings of each implementation; the median counts.")
    parser.add_argument("--steps", type=int, default=10, help="Training steps in a timing.")
    parser.add_argument("--warmup", type=int, default=2, help="Training steps before each timing.")
    parser.add_argument("--batches", type=int, default=200, help="Batches in a timing of the input.")
    parser.add_argument("--starts", type=int, default=3, help="Fresh processes for start and memory.")
    parser.add_argument("--batch_size", type=int, default=16, help="Labeled images in a step.")
    parser.add_argument("--ratio", type=int, default=7, help="Unlabeled images per labeled one, in two views each.")
    parser.add_argument("--test_images", type=int, default=2000, help=f"A multiple of {EVALUATION_BATCH}.")
    parser.add_argument("--threads", type=int, default=timed_process.threads(), help="Of each process.")
    parser.add_argument("--only", default=",".join(MEASURES), help="Measures to take, comma-separated.")
    parser.add_argument("--crest", help="Checkout of google-research/crest.")
    parser.add_argument("--crest_python", help="Python that can import it.")
    parser.add_argument("--torch_python", help="Python that can import torch.")
    args = parser.parse_args()
    for name in ("rounds", "steps", "warmup", "batches", "starts", "batch_size", "ratio", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(args, name)}")
    if args.test_images % EVALUATION_BATCH or not 0 < args.test_images <= TEST_IMAGES:
        parser.error(
            f"--test_images must be a multiple of {EVALUATION_BATCH} up to {TEST_IMAGES}, got {args.test_images}"
        )
    args.only = args.only.split(",")
    if unknown := sorted(set(args.only) - set(MEASURES)):
        parser.error(f"--only takes {', '.join(MEASURES)}; got {', '.join(unknown)}")
    if (args.crest is None) != (args.crest_python is None):
        parser.error("--crest and --crest_python go together: give both or neither")
    return args


def write_in_new_process(folder: pathlib.Path) -> None:
    """`write_images` in a process of its own, so that this one stays small."""
    process = multiprocessing.get_context("spawn").Process(target=write_images, args=(folder,))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(process.exitcode)


def started(
    implementations: list[Implementation],
    args: argparse.Namespace,
    folder: pathlib.Path,
    figures: Figures,
    stack: contextlib.ExitStack,
) -> dict[str, TimedProcess]:
    """One warm process per implementation; those before it, of --starts, gave the figures of a start alone."""
    # Each implementation starts from the same, whatever is set around this command.
    base = {name: value for name, value in os.environ.items() if name != ONEDNN}
    base["OMP_NUM_THREADS"] = str(args.threads)
    processes = {}
    for number in range(args.starts):
        last = number == args.starts - 1
        for implementation in implementations:
            wanted = [measure for measure in OF_A_START if measure in implementation.measures]
            if not wanted and not last:
                continue
            log = folder / f"messages_{implementations.index(implementation)}"
            process = stack.enter_context(
                TimedProcess(implementation.command, {**base, **implementation.environment}, log)
            )
            in_rounds = [measure for measure in implementation.measures if measure not in OF_A_START]
            if PEAK_MEMORY in wanted:
                process.ask("train", count=args.steps)
                process.ask("evaluate")
            values = {"start": process.seconds_to_ready, PEAK_MEMORY: process.ask(PEAK_MEMORY)}
            for measure in wanted:
                note(figures, measure, implementation.name, values[measure], f"start {number + 1}/{args.starts}")
            if last:
                for measure in in_rounds:  # The first time also compiles.
                    process.ask(measure)
                processes[implementation.name] = process
            else:
                process.close()
    return processes


def rate(process: TimedProcess, measure: str, args: argparse.Namespace) -> float:
    """One timing of a warm process, as images per second."""
    if measure == "evaluate":
        return args.test_images / process.ask(measure)
    warmup, count = (WARMUP_BATCHES, args.batches) if measure == "input" else (args.warmup, args.steps)
    return count * images_per_step(args) / process.ask(measure, warmup, count)


def images_per_step(args: argparse.Namespace) -> int:
    """Labeled, weak and strong views in a step."""
    return args.batch_size * (1 + 2 * args.ratio)


def note(figures: Figures, measure: str, name: str, value: float, when: str) -> None:
    """Keeps a figure and shows it."""
    figures.setdefault((measure, name), []).append(value)
    print(f"{when}: {MEASURES[measure].title}: {name}: {shown(value)} {MEASURES[measure].unit}", file=sys.stderr)


def shown(value: float) -> str:
    """Whole from 100 on, with one digit behind the point below."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def report(figures: Figures, facts: dict[str, dict[str, str]], args: argparse.Namespace) -> str:
    """Markdown: what was timed, a row per measure and implementation, and what each implementation said of itself."""
    batch = f"{args.batch_size} labeled + 2 × {args.batch_size * args.ratio} unlabeled"
    lines = [
        f"FixMatch, WRN-{DEPTH}-{WIDTH}, {SIDE} × {SIDE} images, {batch} = {images_per_step(args)} images a step, "
        f"{args.threads} threads; {args.rounds} rounds of {args.steps} steps, {args.batches} batches of input or "
        f"{args.test_images:,} test images, {args.starts} starts",
        "",
        "| measure | implementation | median | lowest | highest | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for measure, kind in MEASURES.items():
        for name in facts:
            values = figures.get((measure, name))
            if values:
                cells = (shown(value) for value in (statistics.median(values), min(values), max(values)))
                ratio = ratio_to_ours(figures, measure, name)
                lines.append(f"| {kind.title}, {kind.unit} | {name} | {' | '.join(cells)} | {ratio} |")
    lines.append("")
    lines += [f"- {name}: {', '.join(f'{key} {value}' for key, value in own.items())}" for name, own in facts.items()]
    return "\n".join(lines)


def ratio_to_ours(figures: Figures, measure: str, name: str) -> str:
    """How many times as good our median is as this implementation's; nothing for ours."""
    if name == OURS:
        return ""
    ours, theirs = (statistics.median(figures[measure, who]) for who in (OURS, name))
    return f"{ours / theirs if MEASURES[measure].more_is_better else theirs / ours:.2f}"


if __name__ == "__main__":
    main()
