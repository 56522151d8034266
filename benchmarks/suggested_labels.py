"""What labels chosen by `udal-suggest` are worth: 20 of them against 20 at random, on digits-LT.

  python benchmarks/suggested_labels.py --seeds=1,2,3,4,5 --out=runs/suggested_labels

For each seed, which is also the fold, UDAL is trained on digits-LT's 50 labels. Then 20 more of its images get their
true labels, chosen by each way that --by names, and UDAL is trained again from scratch. Printed are the balanced
accuracy of the EMA weights on the 500 test images, mean ± standard deviation over the seeds, the difference to random
choice paired by seed, and how many of the chosen images are of the three rarest classes. A second start takes finished
runs as they are.
"""

import argparse
import json
import pathlib
import statistics
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

BEFORE, RANDOM = "before", "random"
RAREST = (7, 8, 9)
# Of digits-LT that a dataset in memory would not have.
OF_DIGITS = (
    "depth", "width", "batch_norm_momentum", "batch_size", "unlabeled_ratio", "epochs", "steps_per_epoch", "ema_decay",
    "crop_padding", "flip", "strong_ops", "strong_probability", "cutout",
)  # fmt: skip


def digits(fold: int, beta: float = 0.1) -> dict[str, np.ndarray]:
    """digits-LT as arrays: "labeled", "unlabeled" and "test", and with "_labels" the true labels of each."""
    from udal_tf.config import resolve
    from udal_tf.data import sources

    data = sources.load(resolve({"dataset": "digitslt", "fold": fold, "beta": beta}).data)
    parts = {"labeled": data.labeled, "unlabeled": data.unlabeled_only}
    found = {name: data.train.fetch(positions).numpy() for name, positions in parts.items()}
    found |= {f"{name}_labels": data.train_labels[positions] for name, positions in parts.items()}
    everything = np.arange(len(data.test_labels))
    return found | {"test": data.test.fetch(everything).numpy(), "test_labels": data.test_labels}


def trained(data: dict[str, np.ndarray], seed: int, workdir: pathlib.Path) -> float:
    """Trains UDAL on `data` unless the work folder has a finished run; the balanced accuracy in per cent."""
    import udal_tf
    from udal_tf.registry import DATASETS

    result = workdir / "result.json"
    if not result.exists():
        recipe = dict(DATASETS["digitslt"].recipe)
        settings = {name: recipe[name] for name in OF_DIGITS} | recipe["bases"]["fixmatch"]
        given = udal_tf.Data(
            labeled=(data["labeled"], data["labeled_labels"]),
            unlabeled=data["unlabeled"],
            test=(data["test"], data["test_labels"]),
        )
        udal_tf.train(given, workdir, method="udal", seed=seed, **settings)
    return 100 * json.loads(result.read_text(encoding="utf-8"))["balanced_accuracy"]["ema"]


def chosen(by: str, data: dict[str, np.ndarray], seed: int, workdir: pathlib.Path, count: int) -> np.ndarray:
    """Positions of the unlabeled images to label."""
    if by == RANDOM:
        return np.random.RandomState(seed).permutation(len(data["unlabeled"]))[:count]
    import udal_tf
    from udal_tf.inference import embedding, suggesting

    model = udal_tf.load(workdir)
    candidates = embedding.of_array(model, data["unlabeled"])
    labeled = embedding.looks_of_array(data["labeled"])
    return suggesting.choose(candidates, labeled, np.bincount(data["labeled_labels"], minlength=10), by, count)


def with_labels(data: dict[str, np.ndarray], at: np.ndarray) -> dict[str, np.ndarray]:
    """The data after the unlabeled images at these positions have been labeled correctly."""
    others = np.setdiff1d(np.arange(len(data["unlabeled"])), at)
    return data | {
        "labeled": np.concatenate([data["labeled"], data["unlabeled"][at]]),
        "labeled_labels": np.concatenate([data["labeled_labels"], data["unlabeled_labels"][at]]),
        "unlabeled": data["unlabeled"][others],
        "unlabeled_labels": data["unlabeled_labels"][others],
    }


def spread(values: list[float]) -> str:
    """Mean ± standard deviation of the sample."""
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3,4,5", help="seeds and folds, comma-separated")
    parser.add_argument("--by", default="random,margin,entropy,rare", help="ways to choose, comma-separated")
    parser.add_argument("--count", default=20, type=int, help="how many images get a label")
    parser.add_argument("--out", default="runs/suggested_labels", type=pathlib.Path)
    args = parser.parse_args()
    seeds, ways = [int(seed) for seed in args.seeds.split(",")], args.by.split(",")
    found: dict[str, list[float]] = {name: [] for name in (BEFORE, *ways)}
    rare: dict[str, list[float]] = {name: [] for name in ways}
    for seed in seeds:
        data = digits(seed)
        first = args.out / f"seed{seed}_{BEFORE}"
        found[BEFORE].append(trained(data, seed, first))
        for by in ways:
            at = chosen(by, data, seed, first, args.count)
            rare[by].append(float(np.isin(data["unlabeled_labels"][at], RAREST).sum()))
            found[by].append(trained(with_labels(data, at), seed, args.out / f"seed{seed}_{by}_{args.count}"))
        print(f"seed {seed}: " + ", ".join(f"{name} {values[-1]:.1f}" for name, values in found.items()), flush=True)
    print(f"\n| labels, {len(seeds)} seeds | balanced accuracy in % | − random | of the rarest three classes |")
    print("|---|---|---|---|")
    for name, values in found.items():
        less = ""
        if RANDOM in found and name not in (BEFORE, RANDOM):
            less = spread([value - other for value, other in zip(values, found[RANDOM], strict=True)])
        print(f"| {name} | {spread(values)} | {less} | {spread(rare[name]) if name in rare else ''} |")


if __name__ == "__main__":
    main()
