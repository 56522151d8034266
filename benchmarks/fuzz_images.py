"""Damaged image files of every format: each is read or refused with one line, without anything else and in time.

    python benchmarks/fuzz_images.py [--count=20000] [--seed=0]

The files are made up: small images in the formats' variants, with metadata, then bytes changed, cut, repeated or moved.
Prints for each format how many were read and refused, the slowest one, and the failures; exits with 1 if there are any.
"""

import argparse
import collections
import concurrent.futures
import functools
import io
import os
import struct
import sys
import tempfile
import time
import zlib

import numpy as np
from PIL import Image

from udal_tf.data import decoding, reading

SIZE = 16
SECONDS = 20.0
CHUNK = 250
# Big-endian EXIF with orientation 6 and a resolution that is text.
TEXT_AT = 8 + 2 + 2 * 12 + 4
EXIF = b"".join(
    [
        b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2),
        struct.pack(">HHIHH", 0x112, 3, 1, 6, 0) + struct.pack(">HHII", 0x11A, 2, 8, TEXT_AT) + bytes(4),
        b"72 dpi\0\0",
    ]
)


@functools.cache
def samples() -> dict[str, list[bytes]]:
    """By Pillow's name of the format, the content of good files in its variants."""
    color = np.random.RandomState(0).randint(0, 256, (20, 24, 4)).astype(np.uint8)
    # Smooth, so that lossy formats have something to compress.
    rgba = Image.fromarray(color, "RGBA").resize((24, 20), Image.Resampling.BICUBIC, (0, 0, 6, 5))
    rgb, gray = rgba.convert("RGB"), rgba.convert("L")
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    palette = rgb.quantize(16)
    variants = {
        "JPEG": [(rgb, {"exif": EXIF}), (rgb, {"progressive": True}), (gray, {}), (rgb.convert("CMYK"), {})],
        "PNG": [
            (rgba, {"exif": EXIF}),
            (palette, {"transparency": bytes(range(16))}),
            (deep, {"transparency": 514}),
            (rgb.convert("1"), {}),
            (gray.convert("LA"), {}),
        ],
        "WEBP": [(rgb, {"exif": EXIF}), (rgba, {"lossless": True}), (rgb, {"save_all": True, "append_images": [rgba]})],
        "GIF": [(palette, {"transparency": 3}), (palette, {"save_all": True, "append_images": [gray]})],
        "BMP": [(rgb, {}), (palette, {}), (rgb.convert("1"), {}), (rgba, {})],
        "DIB": [(rgb, {}), (palette, {}), (rgba, {})],
        "TIFF": [
            (rgb, {"tiffinfo": {274: 6}}),
            (rgba, {"compression": "tiff_lzw"}),
            (rgb, {"compression": "jpeg"}),
            (deep, {"compression": "tiff_adobe_deflate"}),
            (rgb.convert("1"), {"compression": "group4"}),
            (rgb.convert("CMYK"), {}),
        ],
        "PPM": [
            (rgb, {}),
            (gray, {}),
            (rgb.convert("1"), {}),
            (Image.fromarray(np.asarray(gray) / np.float32(255)), {}),
        ],
        "JPEG2000": [(rgb, {}), (rgba, {"irreversible": True})],
        "AVIF": [(rgb, {}), (rgba, {"quality": 90})],
        "HEIF": [(rgb, {})],
    }
    return {
        name: [_saved(image, name, options) for image, options in variants[name]] for name in decoding.prepare_pillow()
    }


def _saved(image: Image.Image, name: str, options: dict) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def damaged(content: bytes, generator: np.random.RandomState) -> bytes:
    """A file with one to three kinds of damage, more of it near its beginning, where the headers are."""
    changed = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        length = len(changed)
        at = int(length * generator.uniform() ** generator.choice([1, 3]))
        kind = generator.randint(7)
        if kind == 0:
            for i in generator.randint(0, max(length, 1), generator.randint(1, 6)):
                changed[i : i + 1] = bytes([generator.randint(256)])
        elif kind == 1:
            changed[at : at + 1] = bytes([generator.choice([0, 1, 127, 128, 255])])
        elif kind == 2:
            changed[at : at + 4] = generator.choice(
                [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\xff\xff"]
            )
        elif kind == 3:
            del changed[at:]
        elif kind == 4:
            del changed[at : at + generator.randint(1, 40)]
        elif kind == 5:
            changed[at:at] = changed[at : at + generator.randint(1, 40)]
        else:
            changed[at:at] = generator.bytes(generator.randint(1, 40))
    return bytes(changed)


def outcome(content: bytes) -> str:
    """ "read", "refused", or what went wrong."""
    try:
        header = decoding.header(io.BytesIO(content))
        pixels = decoding.decode(io.BytesIO(content), SIZE, reserved=reading.BUDGET.reserved)
    except decoding.ImageError as error:
        return "refused" if error.reason and "\n" not in error.reason else f"reason {error.reason!r}"
    except BaseException as error:  # Whatever it is, it is counted as a failure.
        return f"{type(error).__name__}: {error}"
    good = pixels.shape == (SIZE, SIZE, 3) and pixels.dtype == np.uint8 and min(header[:2]) > 0
    return "read" if good else f"pixels {pixels.dtype} {pixels.shape}"


def trial(name: str, number: int, seed: int) -> bytes:
    """Damaged file `number` of a format."""
    generator = np.random.RandomState([seed, number, *name.encode()])
    good = samples()[name]
    content = damaged(good[number % len(good)], generator)
    # Otherwise a wrong checksum would hide nearly all other damage.
    return with_checksums(content) if name == "PNG" and generator.randint(4) else content


def with_checksums(content: bytes) -> bytes:
    """A PNG with the checksum of each chunk made right, as far as its chunks can be followed."""
    changed, at = bytearray(content), 8
    while at + 12 <= len(changed):
        end = at + 8 + int.from_bytes(changed[at : at + 4], "big")
        if end + 4 > len(changed):
            break
        changed[end : end + 4] = zlib.crc32(changed[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(changed)


def _chunk(name: str, start: int, count: int, seed: int) -> tuple[str, collections.Counter, float]:
    found: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    with tempfile.TemporaryFile() as printed:
        # What a decoder prints by itself counts as well.
        before = os.dup(2)
        os.dup2(printed.fileno(), 2)
        try:
            for number in range(start, start + count):
                began = time.monotonic()
                found[outcome(trial(name, number, seed))] += 1
                slowest = max(slowest, time.monotonic() - began)
        finally:
            os.dup2(before, 2)
            os.close(before)
        printed.seek(0)
        if text := printed.read().decode(errors="replace"):
            found[f"printed {text[:200]!r}"] += 1
    return name, found, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="damaged files, spread over the formats")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    each = -(-args.count // len(samples()))
    began, total = time.monotonic(), collections.defaultdict(collections.Counter)
    slowest = collections.defaultdict(float)
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        tasks = [
            pool.submit(_chunk, name, start, min(CHUNK, each - start), args.seed)
            for name in samples()
            for start in range(0, each, CHUNK)
        ]
        for task in concurrent.futures.as_completed(tasks):
            name, found, seconds = task.result()
            total[name] += found
            slowest[name] = max(slowest[name], seconds)
    failures = {
        f"{name}: {what}": count
        for name in sorted(total)
        for what, count in total[name].items()
        if what not in ("read", "refused")
    }
    for name in sorted(total):
        print(
            f"{name:9} {total[name]['read']:6} read {total[name]['refused']:6} refused  slowest {slowest[name]:.2f} s"
        )
    tried = sum(sum(one[what] for what in ("read", "refused")) for one in total.values())
    print(f"{tried} damaged files in {time.monotonic() - began:.0f} s; failures: {sum(failures.values())}")
    for what, count in failures.items():
        print(f"  {count} × {what}")
    sys.exit(1 if failures or max(slowest.values()) > SECONDS else 0)


if __name__ == "__main__":
    main()
