"""How many wrong labels `udal-inspect --model` finds: digits-LT with 5 % of its labels flipped.

  python benchmarks/wrong_labels.py --seeds=1,2,3,4,5 --out=runs/wrong_labels

For each seed, which is also the fold, half of the images of digits-LT are labeled (234), 5 % of these labels (12) are
changed to another class at random, and UDAL is trained on them. Then the labels are ranked in several ways, and those
among the first 20 that are wrong are counted:

  out of fold      as udal-inspect does: logistic regression on the features, fitted to other folds
  the network's    its own probabilities of the images that it was trained on
  pixels           as the first, on pixels instead of features: what can be found without a network
  random           what chance would give

"marked" is how many labels confident learning takes for wrong, and how many of those are. A second start takes finished
runs as they are.
"""

import argparse
import pathlib

import cleanlab.filter
import cleanlab.rank
import numpy as np
import suggested_labels
from suggested_labels import spread

NAMED = 20
BETA, FLIPPED = 0.5, 0.05


def flipped(data: dict[str, np.ndarray], seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The data with some wrong labels, and their positions."""
    draw, labels = np.random.RandomState(seed), data["labeled_labels"].copy()
    count = round(FLIPPED * len(labels))
    at = draw.choice(len(labels), count, replace=False)
    labels[at] = (labels[at] + draw.randint(1, 10, count)) % 10
    return data | {"labeled_labels": labels}, at


def ranked(probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions, the worst label first; whether confident learning takes each for wrong."""
    from udal_tf.inference.label_issues import SCORE

    quality = cleanlab.rank.get_label_quality_scores(labels, probs, method=SCORE)
    return np.argsort(quality, kind="stable"), cleanlab.filter.find_label_issues(labels, probs, n_jobs=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3,4,5", help="seeds and folds, comma-separated")
    parser.add_argument("--out", default="runs/wrong_labels", type=pathlib.Path)
    args = parser.parse_args()
    import udal_tf
    from udal_tf.inference import embedding, label_issues

    seeds = [int(seed) for seed in args.seeds.split(",")]
    rows: dict[str, list[tuple[float, int, int]]] = {}
    wrong = 0
    for seed in seeds:
        data, at = flipped(suggested_labels.digits(seed, BETA), seed)
        wrong += len(at)
        workdir = args.out / f"seed{seed}"
        suggested_labels.trained(data, seed, workdir)
        images, labels = data["labeled"], data["labeled_labels"]
        seen = embedding.of_array(udal_tf.load(workdir), images)
        own = seen.probs.astype(np.float64)
        pixels = images.reshape(len(images), -1)
        issues = label_issues.find(seen.features, labels, 10)
        found = {
            "out of fold": (issues.order, issues.marked),
            "the network's": ranked(own / own.sum(axis=1, keepdims=True), labels),
            "pixels": ranked(label_issues.out_of_fold(pixels, labels, 10), labels),
        }
        for name, (order, marked) in found.items():
            first = float(np.isin(order[:NAMED], at).sum())
            rows.setdefault(name, []).append((first, int(marked.sum()), int(marked[at].sum())))
        rows.setdefault("random", []).append((NAMED * len(at) / len(labels), 0, 0))
        print(f"seed {seed}: " + ", ".join(f"{name} {values[-1][0]:g}" for name, values in rows.items()), flush=True)
    print(f"\n| {wrong} wrong labels, {len(seeds)} seeds | of them among the first {NAMED} | marked, of them wrong |")
    print("|---|---|---|")
    for name, values in rows.items():
        first, marked, right = zip(*values, strict=True)
        named = f"{sum(first):g} ({spread(list(first))} of {wrong / len(seeds):g})"
        print(f"| {name} | {named} | {sum(marked)}, {sum(right)} |")


if __name__ == "__main__":
    main()
