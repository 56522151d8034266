"""Training steps with a frozen backbone against steps that train it, on random images; weights do not matter.

    PYTHONPATH=. python benchmarks/frozen.py [--arch=wrn,mobilenetv3small] [--batch_size=16] [--unlabeled_ratio=2]

The settings are those of a folder's recipe, but for the batches, which are the same in both. Nothing is downloaded.
"""

import argparse

from udal_tf.config import resolve
from udal_tf.registry import BACKBONES
from udal_tf.training import timing

# Pixels for a network without published weights.
SIDE = 48
CLASSES, TEST_IMAGES = 10, 100


def row(arch: str, batch_size: int, ratio: int) -> str:
    """A network's seconds per step, frozen and trained, as a row of a table."""
    side = BACKBONES[arch].image_side or SIDE
    given = {"dataset": "folder", "arch": arch, "image_size": side, "batch_size": batch_size, "unlabeled_ratio": ratio}
    given |= (
        {"pretrained": "imagenet"} if BACKBONES[arch].weights else {"pretrained": "earlier", "depth": 10, "width": 1}
    )
    seconds = [
        timing.measure(resolve({**given, "freeze": freeze}), CLASSES, TEST_IMAGES).seconds_per_step
        for freeze in ("backbone", "none")
    ]
    frozen, trained = seconds
    images = batch_size * (1 + 2 * ratio)
    return f"| {arch}, {side} px | {images} | {1 / frozen:.2f} | {1 / trained:.2f} | {trained / frozen:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="wrn,mobilenetv3small,mobilenetv3large,efficientnetv2b0,keras_resnet50")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--unlabeled_ratio", type=int, default=2)
    args = parser.parse_args()
    print("| network | images per step | steps/s, frozen | steps/s, trained | ratio |\n|---|---|---|---|---|")
    for arch in args.arch.split(","):
        print(row(arch, args.batch_size, args.unlabeled_ratio), flush=True)


if __name__ == "__main__":
    main()
