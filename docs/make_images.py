"""`python docs/make_images.py DIR`: a folder of images as a person might have it, made from Fashion-MNIST.

  python docs/make_images.py images
  python docs/make_images.py tiny --n1=40 --imbalance=4 --beta=0.3 --test=3

Ten classes with a long tail, few of the images labeled: DIR/labeled/<class>/*.png, DIR/unlabeled/*.png and
DIR/test/<class>/*.png. The order of the class names is not that of the class sizes.
"""

import argparse
import pathlib
import sys

import numpy as np
from PIL import Image

from udal_tf.config import resolve
from udal_tf.data import longtail, sources
from udal_tf.data.dataset import Images, SslData

EXIT_BAD_INPUT = 2


def write_folder(out: pathlib.Path, data: SslData, test_per_class: int) -> None:
    """Writes the labeled images of `data`, the rest of its pool without labels, and some of its test images.

    Raises:
      ValueError: where `out` holds something, or a class has too few test images.
    """
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} holds something already: choose another folder, or remove it")
    names = [name.replace(" ", "_") for name in data.class_names]
    in_test = longtail.subset(data.test_labels, [test_per_class] * len(names))
    labeled_in = [f"labeled/{names[c]}" for c in data.labels_l]
    test_in = [f"test/{names[c]}" for c in data.test_labels[in_test]]
    _write(out, data.train, data.labeled, labeled_in)
    _write(out, data.train, data.unlabeled_only, ["unlabeled"] * len(data.unlabeled_only))
    _write(out, data.test, in_test, test_in)


def _write(out: pathlib.Path, images: Images, positions: np.ndarray, places: list[str]) -> None:
    """Each image as a PNG in its place, named by its position, which says nothing about its class."""
    for position, pixels, place in zip(positions, images.fetch(positions).numpy(), places, strict=True):
        (out / place).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[..., 0]).save(out / place / f"{position:05d}.png")


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="folder to write")
    parser.add_argument("--n1", type=int, default=1000, help="images of the largest class (default: 1000)")
    parser.add_argument("--imbalance", type=float, default=50.0, help="largest / smallest class (default: 50)")
    parser.add_argument("--beta", type=float, default=0.1, help="share of each class with labels (default: 0.1)")
    parser.add_argument("--test", type=int, default=100, help="test images of each class (default: 100)")
    parser.add_argument("--fold", type=int, default=1, help="which choice of labeled images, 1 to 5 (default: 1)")
    parser.add_argument("--data_dir", default="", help="folder of Fashion-MNIST's files (default: where they lie)")
    args = parser.parse_args(argv)
    settings = {name: getattr(args, name) for name in ("n1", "imbalance", "beta", "fold", "data_dir")}
    try:
        data = sources.load(resolve({"dataset": "fashionlt", **settings}).data)
        write_folder(args.out, data, args.test)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    labeled, unlabeled = data.provenance["labeled_counts"], data.provenance["unlabeled_counts"]
    for name, with_label, without in zip(data.class_names, labeled, unlabeled, strict=True):
        print(f"{name:<12}{with_label + without:>6} images, {with_label:>4} labeled")
    print(f"Written: {args.out}")


if __name__ == "__main__":
    main()
