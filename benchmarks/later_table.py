"""The later and the simplest methods beside UDAL, DA, DARP and CReST+ on digits-LT, as Markdown tables.

  python benchmarks/later_table.py --jobs=2
  python benchmarks/later_table.py --settings=reversed --methods=none,udal,acr --folds=1

One table for each setting: CReST's protocol, and DARP's with unlabeled images of the same, a uniform, the reversed and,
if they are asked for, the other two orders of class sizes. Under DARP's protocol the split has no folds, so there the
runs differ in their seed alone. Every run has digits-LT's recipe and its number of steps; methods with several views
train on more images in a step. Estimates that the releases renew every 500 of their 43,000 to 250,000 steps are renewed
once an epoch here, and running estimates with a momentum of 0.999 have 0.99, as a run has 1,000 steps.

Each run is one `run.py` in a work folder of its own below --out: a second start takes finished runs as they are and
resumes an unfinished one. Further flags of `run.py` follow after `--`.
"""

import argparse
import concurrent.futures
import os
import pathlib
import queue

from digits_table import COLUMNS, run_cell, table_row

_DARP = ["--protocol=darp"]
SETTINGS = {
    "crest": [],
    "consistent": _DARP,
    "uniform": [*_DARP, "--unlabeled_shape=uniform"],
    "reversed": [*_DARP, "--unlabeled_shape=reversed"],
    "middle": [*_DARP, "--unlabeled_shape=middle"],
    "head-tail": [*_DARP, "--unlabeled_shape=head-tail"],
}
SHOWN = "crest,consistent,uniform,reversed"
METHODS = "none,udal,da,darp,crest+,flexda,debiaspl,simpro,cdmad,acr,abc,class_balanced,balanced_sampling,crt,ldam_drw"
METHODS += ",focal,suppressed"
SUPERVISED = "none,class_balanced,balanced_sampling,crt,ldam_drw,focal"
# For runs of 1,000 steps.
SHORT = {
    "flexda": ["--q_momentum=0.99"],
    "debiaspl": ["--q_momentum=0.99"],
    "simpro": ["--simpro_every=50"],
    "acr": ["--acr_every=50"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", default=SHOWN, help=f"comma-separated, of {', '.join(SETTINGS)}")
    parser.add_argument("--methods", default=METHODS, help="methods over FixMatch, comma-separated")
    parser.add_argument("--supervised", default=SUPERVISED, help="methods without unlabeled images; may be empty")
    parser.add_argument("--folds", default="1,2,3,4,5")
    parser.add_argument("--jobs", default=1, type=int, help="runs at a time, each on its own share of the cores")
    parser.add_argument("--out", default="runs/later_table", type=pathlib.Path)
    parser.add_argument("extra", nargs="*", help="further flags of run.py, after --")
    args = parser.parse_args()
    rows = [("supervised", method) for method in args.supervised.split(",") if method]
    rows += [("fixmatch", method) for method in args.methods.split(",") if method]
    folds = [int(fold) for fold in args.folds.split(",")]
    available, cores = sorted(os.sched_getaffinity(0)), queue.SimpleQueue()
    for job in range(args.jobs):
        cores.put(available[job :: args.jobs])
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for setting in args.settings.split(","):
            running = {}
            for base, method in rows:
                flags = [*SETTINGS[setting], *SHORT.get(method, ()), *args.extra]
                place = args.out / setting
                running[base, method] = [
                    pool.submit(run_cell, "digitslt", base, method, fold, place, flags, cores) for fold in folds
                ]
            print(
                f"\n| {setting}, accuracy in %, {len(folds)} runs | {' | '.join(COLUMNS.values())} | steps | seconds |"
            )
            print("|---" * (len(COLUMNS) + 3) + "|")
            for (base, method), cells in running.items():
                print(table_row(f"{base}, {method}", [cell.result() for cell in cells]), flush=True)


if __name__ == "__main__":
    main()
