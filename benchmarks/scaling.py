"""What a training step costs with more images held, more classes, larger batches, wider networks and more replicas.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --images=1000,1000000 --classes= --batch_sizes= --widths= --replicas=

FixMatch with a small Wide ResNet on random 8 × 8 RGB images. One thing changes at a time; the others stay as the line
above the table says. Every point is a process of its own, timed from its start to the end of its first step, then in
rounds of training steps, input included. Images held are the unlabeled pool; a tenth of them is labeled. Replicas are
logical devices of the one processor, which share its cores and the batch: they show what splitting a step costs.

Prints one Markdown table, and what it is doing on standard error. Images per second count every view; peak memory is of
the whole process, TensorFlow included.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import sys
import tempfile

import timed_process
from timed_process import PEAK_MEMORY, ProcessFailed, TimedProcess

OUR_STEP = pathlib.Path(__file__).resolve().parent / "our_step.py"
SIDE, DEPTH, RATIO = 8, 10, 7
LABELED_FRACTION = 0.1


@dataclasses.dataclass(frozen=True)
class Point:
    """What is timed: images held, classes, labeled images per step, width of the network, replicas."""

    images: int = 100_000
    classes: int = 10
    batch_size: int = 16
    width: int = 1
    replicas: int = 1

    @property
    def images_per_step(self) -> int:
        return self.batch_size * (1 + 2 * RATIO)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds to the end of the first step, milliseconds per step in each round, peak memory in MiB."""

    start: float
    step: list[float]
    memory: float


# Option, field of Point, title in the table, default values.
AXES = (
    ("images", "images", "images held", (1_000, 10_000, 100_000, 1_000_000, 10_000_000)),
    ("classes", "classes", "classes", (10, 100, 1_000, 10_000)),
    ("batch_sizes", "batch_size", "labeled batch", (8, 16, 32, 64)),
    ("widths", "width", "width", (1, 2, 4, 8)),
    ("replicas", "replicas", "replicas", (1, 2, 4)),
)


def main():
    args = parsed_arguments()
    lines = []
    costs: dict[Point, Cost] = {}
    for option, field, title, _ in AXES:
        for value in getattr(args, option):
            point = dataclasses.replace(Point(), **{field: value})
            print(f"{title} {value:,}", file=sys.stderr)
            try:
                costs[point] = costs.get(point) or cost(point, args)
            except ProcessFailed as error:
                print(f"error: {error}", file=sys.stderr)
                sys.exit(1)
            lines.append(table_row(title, value, point, costs[point]))
    print(table_head(args))
    print("\n".join(lines))


def parsed_arguments() -> argparse.Namespace:
    """The options, checked; the process ends with 2 where they do not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="Timings of each point; the median counts.")
    parser.add_argument("--steps", type=int, default=10, help="Training steps in a timing, and before the first.")
    parser.add_argument("--threads", type=int, default=timed_process.threads(), help="Of each process.")
    for option, _, title, values in AXES:
        help_text = f"Values of {title}, comma-separated; may be empty."
        parser.add_argument(f"--{option}", type=whole_numbers, default=values, help=help_text)
    args = parser.parse_args()
    for option in ("rounds", "steps", "threads"):
        if getattr(args, option) < 1:
            parser.error(f"--{option} must be at least 1, got {getattr(args, option)}")
    if args.classes and not 2 <= min(args.classes) <= max(args.classes) <= Point.images:
        parser.error(f"--classes must be from 2 to the {Point.images:,} images, got {args.classes}")
    if args.images and min(args.images) < Point.classes:
        parser.error(f"--images must be at least {Point.classes}, one of each class, got {min(args.images)}")
    if any(Point.batch_size % count for count in args.replicas):
        parser.error(f"--replicas must divide the batch of {Point.batch_size}, got {args.replicas}")
    return args


def whole_numbers(text: str) -> tuple[int, ...]:
    """Comma-separated numbers of at least 1; none for an empty text."""
    parts = text.split(",") if text else []
    if not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"expected whole numbers of at least 1, comma-separated, got {text!r}")
    return tuple(map(int, parts))


def cost(point: Point, args: argparse.Namespace) -> Cost:
    """The point's cost, measured in a new process. Raises ProcessFailed."""
    settings = {
        "dataset": "folder",
        "imbalance": 1.0,
        "beta": LABELED_FRACTION,
        "base": "fixmatch",
        "method": "udal",
        "depth": DEPTH,
        "width": point.width,
        "batch_size": point.batch_size,
        "unlabeled_ratio": RATIO,
        "threads": args.threads,
        "strategy": "mirrored" if point.replicas > 1 else "one_device",
    }
    made_up = {"image_count": point.images, "classes": point.classes, "side": SIDE}
    command = [sys.executable, str(OUR_STEP), f"--settings={json.dumps(settings)}", f"--made_up={json.dumps(made_up)}"]
    command += [f"--replicas={point.replicas}"]
    with (
        tempfile.TemporaryDirectory() as folder,
        TimedProcess(command, os.environ, pathlib.Path(folder) / "messages") as process,
    ):
        process.ask("train", count=args.steps)
        rounds = [1000 * process.ask("train", count=args.steps) / args.steps for _ in range(args.rounds)]
        return Cost(process.seconds_to_ready, rounds, process.ask(PEAK_MEMORY))


def table_head(args: argparse.Namespace) -> str:
    """What was timed, and the table's first two lines."""
    base = ", ".join(f"{title} {getattr(Point(), field):,}" for _, field, title, _ in AXES)
    return "\n".join(
        [
            f"FixMatch, WRN-{DEPTH}, {SIDE} × {SIDE} RGB images, ratio {RATIO}, {args.threads} threads; where not "
            f"stated: {base}; {args.rounds} rounds of {args.steps} steps",
            "",
            "| varied | value | ms per step, median | lowest | highest | images/s | first step after, s | peak MiB |",
            "|---|---|---|---|---|---|---|---|",
        ]
    )


def table_row(title: str, value: int, point: Point, measured: Cost) -> str:
    """One row of the table."""
    median = statistics.median(measured.step)
    times = " | ".join(f"{ms:,.1f}" for ms in (median, min(measured.step), max(measured.step)))
    images = 1000 * point.images_per_step / median
    return f"| {title} | {value:,} | {times} | {images:,.0f} | {measured.start:.1f} | {measured.memory:,.0f} |"


if __name__ == "__main__":
    main()
