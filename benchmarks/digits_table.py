"""Methods × folds on digits-LT (or --dataset): mean ± standard deviation of the test accuracy as a Markdown table.

  python benchmarks/digits_table.py --methods=none,da,udal --folds=1,2,3,4,5

Each cell is one `run.py` in a work folder of its own under --out, so that a second start takes finished cells as they
are and goes on with an unfinished one. With --jobs=n, n cells run at a time, each on its own share of the cores: on two
cores two such runs take about three quarters of the time that they take one after the other. Kernels on another number
of cores round otherwise, so figures agree bit for bit only where --jobs does. Further flags of `run.py` follow after
`--`.
"""

import argparse
import concurrent.futures
import functools
import json
import os
import pathlib
import queue
import statistics
import subprocess
import sys

RUN = pathlib.Path(__file__).resolve().parents[1] / "run.py"
COLUMNS = {"raw": "raw", "ema": "EMA", "raw_la": "raw & LA (Inf)", "ema_la": "EMA & LA (Inf)"}


def run_cell(
    dataset: str, base: str, method: str, fold: int, out: pathlib.Path, extra: list[str], cores: queue.SimpleQueue
) -> dict:
    """The result of one cell, trained on the next free cores if need be. Raises CalledProcessError if it fails."""
    workdir = out / f"{dataset}_{base}_{method}_fold{fold}"
    command = [sys.executable, str(RUN), f"--dataset={dataset}", f"--base={base}", f"--method={method}"]
    command += [f"--fold={fold}", f"--workdir={workdir}", *extra]
    if not (workdir / "result.json").exists():
        own = cores.get()
        try:
            pin = functools.partial(os.sched_setaffinity, 0, own)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, preexec_fn=pin)
        finally:
            cores.put(own)
    return json.loads((workdir / "result.json").read_text())


def table_row(name: str, results: list[dict]) -> str:
    """One Markdown row: mean ± standard deviation (of the sample) in per cent for each column, and the steps."""
    cells = []
    for key in COLUMNS:
        values = [100 * result["accuracy"][key] for result in results]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.1f}{spread}")
    steps = statistics.mean(result["steps"] for result in results)
    seconds = statistics.mean(result["seconds"] for result in results)
    return f"| {name} | {' | '.join(cells)} | {steps:,.0f} | {seconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--methods", default="none,la,da,da_la,hybrid,udal", help="methods over --base, comma-separated"
    )
    parser.add_argument(
        "--supervised", default="none", help="methods over base supervised, comma-separated; may be empty"
    )
    parser.add_argument("--dataset", default="digitslt")
    parser.add_argument("--base", default="fixmatch")
    parser.add_argument("--folds", default="1,2,3,4,5")
    parser.add_argument("--jobs", default=1, type=int, help="cells at a time, each on its own share of the cores")
    parser.add_argument("--out", default="runs/digits_table", type=pathlib.Path)
    parser.add_argument("extra", nargs="*", help="further flags of run.py, after --")
    args = parser.parse_args()
    rows = [("supervised", method) for method in args.supervised.split(",") if method]
    rows += [(args.base, method) for method in args.methods.split(",") if method]
    folds = [int(fold) for fold in args.folds.split(",")]
    print(f"| {args.dataset}, accuracy in %, {len(folds)} folds | {' | '.join(COLUMNS.values())} | steps | seconds |")
    print("|---" * (len(COLUMNS) + 3) + "|")
    available = sorted(os.sched_getaffinity(0))
    cores = queue.SimpleQueue()
    for job in range(args.jobs):
        cores.put(available[job :: args.jobs])
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        cells = {
            row: [pool.submit(run_cell, args.dataset, *row, fold, args.out, args.extra, cores) for fold in folds]
            for row in rows
        }
        for (base, method), running in cells.items():
            print(table_row(f"{base}, {method}", [cell.result() for cell in running]), flush=True)


if __name__ == "__main__":
    main()
