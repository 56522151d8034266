"""LA (Inf) by each prior on the same weights: finished runs of one recipe, mean ± standard deviation of the accuracy.

    python benchmarks/la_priors.py runs/a_fold1 runs/a_fold2 …

--la_prior changes the evaluation alone, so one training has the figures of every prior. Each work folder's last
checkpoint (of its last generation) is evaluated on its test images:

  labeled        p_data, the class distribution that the original labels are taken to have
  label_average  CReST's: the moving average of label batches, which follows the grown set
"""

import argparse
import pathlib
import statistics
import sys

PRIORS = ("labeled", "label_average")
WEIGHTS = ("raw", "ema")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdirs", nargs="+", type=pathlib.Path, metavar="WORKDIR", help="Finished runs.")
    args = parser.parse_args()
    if unfinished := [str(path) for path in args.workdirs if not (path / "result.json").exists()]:
        parser.error(f"not a finished run: {', '.join(unfinished)}")
    print(table([evaluated(path) for path in args.workdirs]))


def evaluated(workdir: pathlib.Path) -> dict[str, dict]:
    """prior -> {"distribution": [C], "accuracy": {"raw", "ema", "raw_la", "ema_la"}} of a finished run."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
    import tensorflow as tf

    from udal_tf.data import sources
    from udal_tf.run_dir import RunDir
    from udal_tf.training import loop

    run_dir = RunDir(workdir)
    config = run_dir.config()
    last = [run_dir, *run_dir.generations().values()][-1]
    run = loop._Run(config, sources.load(config.data), last)
    run.checkpoints.restore()
    average = run.learner.label_average / tf.reduce_sum(run.learner.label_average)
    priors = {"labeled": run.learner.p_data.numpy(), "label_average": average.numpy()}
    return {
        name: {"distribution": prior.tolist(), "accuracy": run.evaluator(prior)["accuracy"]}
        for name, prior in priors.items()
    }


def table(runs: list[dict[str, dict]]) -> str:
    """Markdown: a row without LA (Inf) and one for each prior, with its largest over its smallest share.

    Args:
      runs: of each run what `evaluated` gives.
    """
    lines = [f"| accuracy in %, {len(runs)} runs | raw | EMA | prior, largest : smallest |", "|---|---|---|---|"]
    lines.append(f"| without LA (Inf) | {' | '.join(_spread(runs, PRIORS[0], kind) for kind in WEIGHTS)} | |")
    for prior in PRIORS:
        cells = [_spread(runs, prior, f"{kind}_la") for kind in WEIGHTS]
        ratio = statistics.fmean(max(run[prior]["distribution"]) / min(run[prior]["distribution"]) for run in runs)
        lines.append(f"| & LA (Inf), --la_prior={prior} | {' | '.join(cells)} | {ratio:.1f} : 1 |")
    return "\n".join(lines)


def _spread(runs: list[dict[str, dict]], prior: str, kind: str) -> str:
    """Mean ± standard deviation (of the sample) in per cent."""
    values = [100 * run[prior]["accuracy"][kind] for run in runs]
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


if __name__ == "__main__":
    main()
