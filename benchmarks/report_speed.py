"""Seconds that `report` takes for 200 made-up runs: Table 1's methods on digits-LT, five folds, five seeds.

  python benchmarks/report_speed.py [--epochs=40] [--rounds=3] [--workdir=DIR]

Each round is a process of its own; CPU seconds are the sum over it and those that it starts.
"""

import argparse
import itertools
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from udal_tf.config import Config, resolve
from udal_tf.run_dir import RunDir
from udal_tf.run_records import (
    BestEpoch,
    ByWeights,
    ClassesByWeights,
    Confusion,
    EpochRow,
    Generation,
    LaPrior,
    MedianAccuracy,
    PseudoLabelCounts,
    Result,
    Scores,
)

CLASSES, TEST_IMAGES, UNLABELED = 10, 50, 200
PAIRS = [("supervised", "none"), *(("fixmatch", method) for method in ("none", "da", "da_la", "crest+", "udal"))]
PAIRS += [("mixmatch", method) for method in ("none", "udal")]
FOLDS, SEEDS = range(1, 6), range(5)


def _scores(random: np.random.Generator, progress: float) -> Scores:
    recalls = np.round(random.uniform(progress * np.linspace(0.9, 0.3, CLASSES), 1, (4, CLASSES)), 2)
    means = ByWeights(*recalls.mean(axis=1).tolist())
    return Scores(means, means, ClassesByWeights(*recalls.tolist()))


def _row(random: np.random.Generator, config: Config, epoch: int) -> EpochRow:
    scores, names = _scores(random, epoch / config.train.epochs), ["kl_data", "kl_target", "kl_uniform", "loss_l2"]
    names += ["alpha", "learning_rate", "loss", "loss_labeled", "loss_unlabeled", "train_accuracy"]
    train = {name: float(random.uniform(0, 1)) for name in names}
    shown = np.linspace(UNLABELED, UNLABELED // 10, CLASSES).round()
    confident = (shown * random.uniform(0.2, 0.9, CLASSES)).round()
    counts = PseudoLabelCounts(confident.tolist(), (confident * 0.8).round().tolist(), shown.tolist())
    train |= {"confident": float(random.uniform(0.4, 0.9)), "confident_correct": float(random.uniform(0.2, 0.4))}
    p_model, p_target, p_unlabeled = random.dirichlet(np.ones(CLASSES), 3).tolist()
    return EpochRow(
        epoch * config.train.steps_per_epoch, epoch, 1.5 * epoch, train, p_model, p_target, p_unlabeled,
        None if config.method.base == "supervised" else counts, test=scores,
    )  # fmt: skip


def make_run(folder: pathlib.Path, config: Config, random: np.random.Generator) -> None:
    """A run folder with what `report` reads."""
    run_dir = RunDir(folder)
    parts = [run_dir.generation(n) for n in range(config.generations)] if config.generations > 1 else [run_dir]
    for part in parts:
        part.path.mkdir(parents=True)
        for epoch in range(1, config.train.epochs + 1):
            part.append_row(_row(random, config, epoch))
    scores, prior = _scores(random, 1.0), (np.geomspace(1, 0.1, CLASSES) / np.geomspace(1, 0.1, CLASSES).sum()).tolist()
    matrix = random.multinomial(TEST_IMAGES, random.dirichlet(np.ones(CLASSES), CLASSES)).tolist()
    own = {"precision": [0.9] * CLASSES, "recall": [0.3] * CLASSES}
    generations = [
        Generation(1.0, scores.accuracy, scores.balanced_accuracy, 60.0, [20 * n] * CLASSES, **(own if n else {}))
        for n in range(config.generations)
    ]
    result = Result(
        **vars(scores), confusion=Confusion(matrix, matrix), best=BestEpoch(1, 10, 0.5), config=config.to_dict(),
        median_ema_accuracy=MedianAccuracy(5, 0.9), class_names=[f"digit {c}" for c in range(CLASSES)], p_data=prior,
        p_unlabeled=prior, la_prior=LaPrior("labeled", prior), steps=config.train.total_steps,
        seconds=float(random.uniform(60, 90)), data={"source": "made up", "draw": config.data.draw},
        hardware={"devices": "2 cores"}, commit="0" * 40, versions={"udal_tf": "0", "python": "3.12"},
        generations=generations if config.generations > 1 else None,
    )  # fmt: skip
    run_dir.write_config(config)
    run_dir.write_result(result)


def make_runs(folder: pathlib.Path, epochs: int) -> int:
    """Makes the runs below `folder`, the same ones each time; their number."""
    cells = list(itertools.product(PAIRS, FOLDS, SEEDS))
    for number, ((base, method), fold, seed) in enumerate(cells):
        config = resolve({"base": base, "method": method, "fold": fold, "seed": seed, "epochs": epochs})
        make_run(folder / f"{base}_{method}_fold{fold}_seed{seed}", config, np.random.default_rng(number))
    return len(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40, help="rows of each run, in each of CReST's generations")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workdir", type=pathlib.Path, help="a new folder that keeps runs and report")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.workdir or pathlib.Path(temporary)
        if not (folder / "runs").exists():
            print(f"{make_runs(folder / 'runs', args.epochs)} runs of {args.epochs} epochs")
        command = [sys.executable, "-m", "udal_tf.commands.report", folder / "runs", f"--out={folder / 'report'}"]
        for _ in range(args.rounds):
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(command, check=True)
            wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"{wall:.1f} s, {cpu:.1f} s of CPU time; load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
