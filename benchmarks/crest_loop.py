"""The whole training loop of the CReST release beside ours, on Fashion-MNIST: do they train alike?

    python benchmarks/crest_loop.py --crest=DIR --crest_python=BIN

DIR is a checkout of google-research/crest (commit e270139), BIN a Python 3.11 that can import it: tensorflow-cpu
2.15.1, tensorflow-addons 0.23.0, tensorflow-probability 0.23.0, immutabledict, tqdm, numpy below 2. Fashion-MNIST is
Debian's package dataset-fashion-mnist, or what --data_dir holds.

FixMatch with a WRN-16-1. The long-tailed set is the first 5,000 images of class 0 down to 50 of class 9, a tenth of
each labeled, padded to 32 x 32 and repeated to three channels; it is written once, in the release's own layout, and
both read the same files. The release is driven from outside: nothing of it is changed on the disk. In its process
WRN28 is given two blocks a group instead of four, SGD is Keras's legacy one (it starts with no other), and every
convolution's kernel is drawn anew: on TensorFlow 2.15 its convolutions share one initializer, so kernels of one shape
start from the same values. One more run, of a quarter of the steps, leaves them as they are.

Everything is kept below --out, and a second start takes what is finished as it is. Prints Markdown: what is compared
on the same weights, batch and random numbers, then the training figures' means over the quarters of the run, over
--seeds seeds of each.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
QUARTERS = 4
# Images in a batch of the release's evaluation. CReST data/cifar.py.
TEST_IMAGES, EVALUATION_BATCH = 10_000, 100
RELEASE, HERE_NAME = "CReST", "this repository"
# Ours -> what a table calls it, and its digits behind the point.
FIGURES = {
    "loss": ("loss", 3),
    "loss_labeled": ("labeled loss", 3),
    "loss_unlabeled": ("unlabeled loss", 3),
    "loss_l2": ("L2, Σ½‖w‖²", 2),
    "confident": ("confident share", 3),
    "train_accuracy": ("train accuracy", 3),
}
ACCURACIES = {"raw": "raw", "ema": "EMA", "raw_la": "raw & LA (Inf)", "ema_la": "EMA & LA (Inf)"}


def main():
    args = parsed_arguments()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        name: getattr(args, name) for name in ("steps", "batch_size", "ratio", "fold", "test_images", "threads")
    }
    keep_settings(out / "settings.json", settings)
    ours = [sys.executable, str(HERE / "crest_loop_ours.py"), f"--out={out}", f"--settings={json.dumps(settings)}"]
    theirs = [args.crest_python, str(HERE / "crest_loop_theirs.py"), f"--out={out}", f"--crest={args.crest}"]
    theirs.append(f"--settings={json.dumps(settings)}")
    begin(out / "data.json", [*ours, "data", f"--data_dir={args.data_dir}"])
    environment = {"ML_DATA": str(out / "data")}
    # What is compared exactly takes the same kernels on both sides; oneDNN's differ between TensorFlow's versions.
    without = {**environment, "TF_ENABLE_ONEDNN_OPTS": "0"}
    seeds = range(1, args.seeds + 1)
    begin(out / "theirs_views.json", [*theirs, "views"], without)
    begin(out / "theirs_first.json", [*theirs, "first", "--seed=1"], without)
    for seed in seeds:
        begin(out / f"theirs_{seed}.json", [*theirs, "train", f"--seed={seed}"], environment)
        begin(out / f"ours_{seed}.json", [*ours, "train", f"--seed={seed}"])
    begin(out / "theirs_shared.json", [*theirs, "shared", "--seed=1"], environment)
    begin(out / "check.json", [*ours, "check"], without)
    read = {name: json.loads((out / f"{name}.json").read_text()) for name in ("check", "theirs_shared")}
    runs = {
        name: [json.loads((out / f"{short}_{seed}.json").read_text()) for seed in seeds]
        for name, short in ((RELEASE, "theirs"), (HERE_NAME, "ours"))
    }
    print(report(settings, runs, read["theirs_shared"], read["check"]))


def parsed_arguments() -> argparse.Namespace:
    """The options, checked; the process ends with 2 where they do not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crest", required=True, help="Checkout of google-research/crest.")
    parser.add_argument("--crest_python", required=True, help="Python that can import it.")
    parser.add_argument("--data_dir", default="", help="Where Fashion-MNIST lies, if not where Debian puts it.")
    parser.add_argument("--out", type=pathlib.Path, default="runs/crest_loop", help="Folder for everything.")
    parser.add_argument("--seeds", type=int, default=3, help="Runs of each; two at least, for the spread.")
    parser.add_argument("--steps", type=int, default=480, help=f"Of a run; a multiple of {QUARTERS}.")
    parser.add_argument("--batch_size", type=int, default=16, help="Labeled images in a step.")
    parser.add_argument("--ratio", type=int, default=7, help="Unlabeled images per labeled one, in two views each.")
    parser.add_argument("--fold", type=int, default=1, help="Which images are labeled.")
    parser.add_argument(
        "--test_images", type=int, default=TEST_IMAGES, help=f"A multiple of {EVALUATION_BATCH}: the first so many."
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="Of each process.")
    args = parser.parse_args()
    for name, least in (
        ("seeds", 2),
        ("steps", QUARTERS),
        ("batch_size", 1),
        ("ratio", 1),
        ("fold", 1),
        ("threads", 1),
    ):
        if getattr(args, name) < least:
            parser.error(f"--{name} must be at least {least}, got {getattr(args, name)}")
    if args.test_images % EVALUATION_BATCH or not 0 < args.test_images <= TEST_IMAGES:
        parser.error(
            f"--test_images must be a multiple of {EVALUATION_BATCH} up to {TEST_IMAGES}, got {args.test_images}"
        )
    if args.steps % QUARTERS:
        parser.error(f"--steps must be a multiple of {QUARTERS}, got {args.steps}")
    return args


def keep_settings(path: pathlib.Path, settings: dict[str, int]) -> None:
    """Writes the settings of the runs in a folder; the process ends with 2 where it holds runs of other ones."""
    if not path.exists():
        path.write_text(json.dumps(settings))
    elif (found := json.loads(path.read_text())) != settings:
        print(f"error: {path.parent} holds runs of {found}, not {settings}; choose another --out", file=sys.stderr)
        sys.exit(2)


def begin(result: pathlib.Path, command: list[str], environment: dict[str, str] | None = None) -> None:
    """Runs a command that writes `result` last, unless it is there; its messages go into a file beside it."""
    if result.exists():
        return
    print(f"{result.stem} …", file=sys.stderr)
    log = result.with_suffix(".log")
    with open(log, "w", encoding="utf-8") as messages:
        done = subprocess.run(command, env={**os.environ, **(environment or {})}, stdout=messages, stderr=messages)
    if done.returncode or not result.exists():
        print(f"error: {result.stem} ended with status {done.returncode}; see {log}", file=sys.stderr)
        sys.exit(1)


def quarter_means(values: list[float]) -> list[float]:
    """Means over the four quarters of a run's values, one per step."""
    length = len(values) // QUARTERS
    return [statistics.fmean(values[i * length : (i + 1) * length]) for i in range(QUARTERS)]


def compared(theirs: list[float], ours: list[float], digits: int) -> list[str]:
    """Cells: mean ± standard deviation of each, our mean minus theirs, and that in standard errors (Welch's t)."""
    sides = [f"{statistics.fmean(side):.{digits}f} ± {statistics.stdev(side):.{digits}f}" for side in (theirs, ours)]
    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    error = math.sqrt(sum(statistics.variance(side) / len(side) for side in (theirs, ours)))
    ratio = f"{difference / error:+.1f}" if error else "0" if not difference else "∞"
    return [*sides, f"{difference:+.{digits}f}", ratio]


def report(settings: dict, runs: dict[str, list[dict]], shared: dict, check: dict) -> str:
    """Markdown: the exact comparisons, the training figures by quarters, the accuracies at the end.

    Args:
      settings: of the runs. runs: RELEASE and HERE_NAME -> the seeds' results: "steps", figure -> one value per step;
        "accuracy", kind -> value; "facts".
      shared: the release's run from its own kernels: "steps" (a quarter of the run), "kernels" and "distinct".
      check: what `crest_loop_ours.py check` found.
    """
    theirs, ours = runs[RELEASE], runs[HERE_NAME]
    count, batch = len(theirs), f"{settings['batch_size']} labeled + 2 × {settings['batch_size'] * settings['ratio']}"
    lines = [
        f"FixMatch, WRN-16-1, Fashion-MNIST (γ = 100, β = 0.1, fold {settings['fold']}), {batch} unlabeled images a "
        f"step, {settings['steps']} steps, {count} seeds each, {settings['test_images']:,} test images, "
        f"{settings['threads']} threads",
        "",
        "| compared on the same weights, batch or random numbers | CReST | this repository |",
        "|---|---|---|",
    ]
    for name, title in ACCURACIES.items():
        right = check["correct"]
        lines.append(
            f"| test images right, {title}, CReST's last weights | {right['theirs'][name]} | {right['ours'][name]} |"
        )
    for name, (title, _) in FIGURES.items():
        first = check["first_step"]
        lines.append(f"| step 1: {title} | {first['theirs'][name]:.7g} | {first['ours'][name]:.7g} |")
    views, differences = check["views"], list(check["differences"].values())
    lines += [
        f"| step 1: largest difference in a variable's update, median and largest of {len(differences)} variables | "
        f"| {statistics.median(differences):.1e}, {max(differences):.1e} |",
        f"| pixel values, of 256, that come out of RandAugment one darker | {views['darkened']} | 0 |",
        f"| bytes of {views['images']} strong views that differ, of {views['bytes']:,} | | {views['differing']:,} |",
        f"| the same where ours is given CReST's {views['darkened']} values | | {views['differing_darkened']:,} |",
        f"| distinct convolution kernels at the start, of {shared['kernels']} | {shared['distinct']} "
        f"| {check['distinct']} |",
        "",
        f"| mean over a quarter of the run | steps | {RELEASE} | {HERE_NAME} | difference | in standard errors |",
        "|---|---|---|---|---|---|",
    ]
    length = settings["steps"] // QUARTERS
    for name, (title, digits) in FIGURES.items():
        means = {side: [quarter_means(run["steps"][name]) for run in runs[side]] for side in runs}
        for quarter in range(QUARTERS):
            values = [[run[quarter] for run in means[side]] for side in (RELEASE, HERE_NAME)]
            steps = f"{quarter * length + 1}–{(quarter + 1) * length}"
            lines.append(f"| {title} | {steps} | {' | '.join(compared(*values, digits))} |")
    for name, title in ACCURACIES.items():
        values = [[100 * run["accuracy"][name] for run in side] for side in (theirs, ours)]
        lines.append(f"| test accuracy in %, {title} | {settings['steps']} | {' | '.join(compared(*values, 1))} |")
    own = statistics.fmean(shared["steps"]["loss"])
    redrawn = statistics.fmean(quarter_means(run["steps"]["loss"])[0] for run in theirs)
    lines += [
        "",
        f"From its own kernels, {shared['distinct']} distinct ones of {shared['kernels']}, the release's loss over "
        f"steps 1–{length} is {own:.3f} in the mean, {redrawn:.3f} from kernels drawn anew.",
        "",
        *(f"- {side}: {', '.join(f'{k} {v}' for k, v in runs[side][0]['facts'].items())}" for side in runs),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
