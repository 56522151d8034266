"""`python docs/make_photos.py DIR`: a folder of small color photos as a person might have it.

  python docs/make_photos.py photos
  python docs/make_photos.py tiny --photos=60 --labels=16 --test=4

The photos are pieces of eight that come with scikit-image and scikit-learn (`pip install scikit-image`): of a cat, a
cup of coffee and so on, each piece turned, scaled and lit differently. Classes have a long tail, and few of the photos
are labeled: DIR/labeled/<class>/*.jpg, DIR/unlabeled/*.jpg and DIR/test/<class>/*.jpg. Test photos are further pieces
of the same eight. The order of the class names is not that of the class sizes.
"""

import argparse
import pathlib
import sys

import numpy as np
from PIL import Image, ImageEnhance

EXIT_BAD_INPUT = 2
# From frequent to rare.
CLASSES = ("motorcycle", "temple", "tissue", "cat", "flower", "galaxies", "astronaut", "coffee")
# Of a piece, of the shorter side of the whole.
SIZES = (0.45, 0.8)
# Height in pixels of a photo, and width / height.
HEIGHTS = (90, 130)
ASPECTS = (1.0, 1.5)
DEGREES = 20.0
BRIGHTNESS = (0.75, 1.25)
COLOR = (0.7, 1.2)
SMALLEST = 3


def sources() -> dict[str, Image.Image]:
    """The eight photos by class."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    pixels = {
        "astronaut": data.astronaut(),
        "cat": data.chelsea(),
        "coffee": data.coffee(),
        "flower": load_sample_image("flower.jpg"),
        "galaxies": data.hubble_deep_field(),
        "motorcycle": data.stereo_motorcycle()[0],
        "temple": load_sample_image("china.jpg"),
        "tissue": data.immunohistochemistry(),
    }
    return {name: Image.fromarray(pixels[name]) for name in CLASSES}


def piece(photo: Image.Image, random: np.random.Generator) -> Image.Image:
    """A photo of a part of another."""
    side = random.uniform(*SIZES) * min(photo.size)
    aspect = random.uniform(*ASPECTS)
    box_width, box_height = (side, side / aspect) if random.random() < 0.5 else (side / aspect, side)
    left = random.uniform(0, photo.width - box_width)
    top = random.uniform(0, photo.height - box_height)
    pixels = random.uniform(*HEIGHTS) / min(box_width, box_height)
    size = (round(box_width * pixels), round(box_height * pixels))
    part = photo.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + box_width, top + box_height))
    # Mirrored at its edges first, so that turning it brings no black corners in.
    turned = Image.fromarray(np.pad(np.asarray(part), [(s // 2, s // 2) for s in size[::-1]] + [(0, 0)], "symmetric"))
    turned = turned.rotate(random.uniform(-DEGREES, DEGREES), Image.Resampling.BICUBIC)
    x, y = size[0] // 2, size[1] // 2
    turned = turned.crop((x, y, x + size[0], y + size[1]))
    lit = ImageEnhance.Brightness(turned).enhance(random.uniform(*BRIGHTNESS))
    return ImageEnhance.Color(lit).enhance(random.uniform(*COLOR))


def sizes(total: int, imbalance: float) -> list[int]:
    """Photos of each class, from frequent to rare, falling exponentially; about `total` in all."""
    shares = np.power(imbalance, -np.arange(len(CLASSES)) / (len(CLASSES) - 1))
    return [max(SMALLEST, round(total * share)) for share in shares / shares.sum()]


def write_folder(out: pathlib.Path, photos: int, imbalance: float, labels: int, test: int, seed: int) -> None:
    """Writes the folder. Raises ValueError where `out` holds something or the numbers cannot be."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} holds something already: choose another folder, or remove it")
    in_class, labeled_in_class = sizes(photos, imbalance), sizes(labels, imbalance)
    if any(labeled > count for labeled, count in zip(labeled_in_class, in_class, strict=True)):
        raise ValueError(f"--labels={labels} must be at most --photos={photos}, and {SMALLEST} photos of each class")
    found = sources()
    order = np.random.default_rng(seed).permutation(sum(in_class))  # Names say nothing about the class.
    number = 0
    for number_of_class, (name, count, labeled) in enumerate(zip(CLASSES, in_class, labeled_in_class, strict=True)):
        random, random_test = (np.random.default_rng([seed, number_of_class, part]) for part in range(2))
        for place, photo_count in ((f"labeled/{name}", labeled), ("unlabeled", count - labeled)):
            for _ in range(photo_count):
                _save(out / place / f"photo_{order[number]:05d}.jpg", piece(found[name], random))
                number += 1
        for i in range(test):
            _save(out / "test" / name / f"photo_{i:03d}.jpg", piece(found[name], random_test))


def _save(path: pathlib.Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=88)


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="folder to write")
    parser.add_argument("--photos", type=int, default=600, help="training photos, labeled or not (default: 600)")
    parser.add_argument("--imbalance", type=float, default=10.0, help="largest / smallest class (default: 10)")
    parser.add_argument("--labels", type=int, default=48, help="labeled photos (default: 48)")
    parser.add_argument("--test", type=int, default=20, help="test photos of each class (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="which pieces are cut (default: 0)")
    args = parser.parse_args(argv)
    for name, low in (("photos", 16), ("imbalance", 1), ("labels", 16), ("test", 0), ("seed", 0)):
        if not low <= getattr(args, name) <= 100_000:
            parser.error(f"--{name} must be from {low} to 100,000, got {getattr(args, name)}")
    try:
        write_folder(args.out, args.photos, args.imbalance, args.labels, args.test, args.seed)
    except ImportError as error:
        print(f"error: {error}: pip install scikit-image", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
