"""Memory of decoding very large images: one alone, and several by threads, as training and prediction decode them.

    PYTHONPATH=. python benchmarks/large_images.py [--side=13000] [--threads=4]

The images are made up, in a temporary folder. Each row is a process of its own: its peak beyond what it held before.
"""

import argparse
import concurrent.futures
import multiprocessing
import pathlib
import tempfile

import numpy as np
from data_memory import memory
from PIL import Image

SIZE = 64
KINDS = {
    "JPEG": {"quality": 90},
    "progressive JPEG": {"quality": 90, "progressive": True},
    "PNG": {"compress_level": 1},
    "PNG with transparency": {"compress_level": 1},
    "TIFF, LZW": {"compression": "tiff_lzw"},
}


def write(path: str, kind: str, side: int) -> None:
    """Writes a smooth image with a little noise."""
    ramp = np.linspace(0, 200, side, dtype=np.float32)
    noise = np.random.RandomState(0).randint(0, 50, (side, 1)).astype(np.float32)
    pixels = np.empty((side, side, 4 if "transparency" in kind else 3), np.uint8)
    for channel in range(pixels.shape[2]):
        for start in range(0, side, 500):
            pixels[start : start + 500, :, channel] = ramp[None] + noise[start : start + 500]
    Image.fromarray(pixels).save(path, kind.split(",")[0].split()[1 if "progressive" in kind else 0], **KINDS[kind])


def measure(path: str, threads: int) -> float:
    """The peak in MiB beyond the start of decoding `path` once in each thread."""
    from udal_tf.data import reading

    before = memory("VmRSS")
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda _: reading.pixels_or_fault(path, SIZE), range(threads)))
    assert all(isinstance(pixels, np.ndarray) for pixels in found), found
    return memory("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=13_000)
    parser.add_argument("--threads", type=int, default=4)
    args = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None  # Not to be warned of what is written here.
    context = multiprocessing.get_context("spawn")
    print(f"| {args.side:,} × {args.side:,} | MiB, one | MiB, {args.threads} threads |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = str(pathlib.Path(folder) / "image")
            cells = []
            with context.Pool(1, maxtasksperchild=1) as pool:
                pool.apply(write, (path, kind, args.side))
                for threads in (1, args.threads):
                    cells.append(f"{pool.apply(measure, (path, threads)):,.0f}")
            print(f"| {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
