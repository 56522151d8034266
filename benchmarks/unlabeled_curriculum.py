"""How many images, and seconds, a growing unlabeled batch needs for the accuracy of the plain run.

  python benchmarks/unlabeled_curriculum.py --dataset=digitslt --seeds=5
  python benchmarks/unlabeled_curriculum.py --dataset=fashionlt --seeds=3

For each method and seed (the fold) two runs of the same number of steps: plain, and with --unlabeled_curriculum. The
target is the plain run's accuracy at its end, of the EMA weights on the test images, less --within points. Reported, as
mean ± standard deviation over the seeds: the accuracy of both; the images that each trained on, each view counted, and
the seconds of training, in all and until the first epoch that reaches the target; and how many runs reach it at all;
means until the target are over those. Seconds are those of the machine at the time: run nothing beside it.

Each run is one `run.py` in a work folder of its own below --out: a second start takes finished runs as they are and
resumes an unfinished one. Further flags of `run.py` follow after `--`.
"""

import argparse
import json
import os
import pathlib
import queue
import statistics

from digits_table import run_cell

CURRICULUM = "--unlabeled_curriculum"
COLUMNS = ("accuracy in %", "images in all", "seconds", "images to the target", "seconds to it", "reached")


def rows_of(workdir: pathlib.Path) -> list[dict]:
    """The epochs of a finished run."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def to_target(rows: list[dict], target: float) -> dict | None:
    """The first epoch at or above the target; None without one."""
    return next((row for row in rows if row["test"]["accuracy"]["ema"] >= target), None)


def spread(values: list[float], digits: int = 0) -> str:
    """Mean ± standard deviation of the sample."""
    if not values:
        return "–"
    shown = f"{statistics.mean(values):,.{digits}f}"
    return shown + (f" ± {statistics.stdev(values):,.{digits}f}" if len(values) > 1 else "")


def table_row(name: str, runs: list[list[dict]], targets: list[float]) -> str:
    """One Markdown row of the runs' epochs and the accuracies that they have to reach."""
    reached = [row for rows, target in zip(runs, targets, strict=True) if (row := to_target(rows, target))]
    cells = [
        spread([100 * rows[-1]["test"]["accuracy"]["ema"] for rows in runs], 1),
        spread([rows[-1]["images"] for rows in runs]),
        spread([rows[-1]["seconds"] for rows in runs], 1),
        spread([row["images"] for row in reached]),
        spread([row["seconds"] for row in reached], 1),
        f"{len(reached)} of {len(runs)}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digitslt")
    parser.add_argument("--methods", default="none,udal", help="comma-separated")
    parser.add_argument("--seeds", default=5, type=int, help="number of folds, at most 5")
    parser.add_argument("--within", default=0.0, type=float, help="points that may lack to the plain run's accuracy")
    parser.add_argument("--out", default="runs/unlabeled_curriculum", type=pathlib.Path)
    parser.add_argument("extra", nargs="*", help="further flags of run.py, after --")
    args = parser.parse_args()
    cores = queue.SimpleQueue()
    cores.put(sorted(os.sched_getaffinity(0)))
    print(f"| {args.dataset}, {args.seeds} seeds | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for method in args.methods.split(","):
        runs = {}
        for kind, flags in {"plain": [], "curriculum": [CURRICULUM]}.items():
            runs[kind] = []
            for fold in range(1, args.seeds + 1):
                run_cell(args.dataset, "fixmatch", method, fold, args.out / kind, [*flags, *args.extra], cores)
                runs[kind].append(rows_of(args.out / kind / f"{args.dataset}_fixmatch_{method}_fold{fold}"))
        targets = [rows[-1]["test"]["accuracy"]["ema"] - args.within / 100.0 for rows in runs["plain"]]
        for kind, epochs in runs.items():
            print(table_row(f"{method}, {kind}", epochs, targets), flush=True)


if __name__ == "__main__":
    main()
