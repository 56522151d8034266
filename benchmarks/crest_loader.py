"""Times CReST's own FixMatch loader; `benchmarks/pipeline.py` runs this file under CReST's interpreter.

For every line on standard input that holds a number of batches it prints the seconds those batches took. Prints
"ready" first. Reads $ML_DATA as the release does.
"""

import argparse
import sys
import time

PREFIX = "crest_loader: "


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crest", required=True, help="Folder of the CReST release.")
    parser.add_argument("--imbalance", type=float, required=True, help="CReST's class_im_ratio, 1/γ.")
    parser.add_argument("--batch_size", type=int, required=True)
    parser.add_argument("--unlabeled_ratio", type=int, required=True)
    parser.add_argument("--warmup", type=int, required=True, help="Batches thrown away before each timing.")
    args = parser.parse_args()

    sys.path.insert(0, args.crest)
    from data import cifar

    loader, _, _ = cifar.CIFAR10LT(args.imbalance).load_dataset(
        fold=1,
        augment=[(["dh"], 1), (["dh"], 1), (["dhrac"], 1)],
        batch_size=args.batch_size,
        batch_size_unlab=args.batch_size * args.unlabeled_ratio,
        percent_labeled_per_class=0.1,
        update_mode="distribution",
    )
    print(PREFIX + "ready", flush=True)
    for line in sys.stdin:
        batches = iter(loader)
        for _ in range(args.warmup):
            next(batches)
        start = time.perf_counter()
        for _ in range(int(line)):
            next(batches)
        print(f"{PREFIX}{time.perf_counter() - start}", flush=True)
        del batches


if __name__ == "__main__":
    main()
