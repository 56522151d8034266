"""Memory and speed of the data sources: a set of CIFAR's size, and 50,000 ImageNet-like images streamed from files.

    python benchmarks/data_memory.py [--images=50000] [--side=160]

The images are made up, in the real formats, in a temporary folder. Each part runs in a process of its own and prints
what it added to the process after its imports, and the process's peak.
"""

import argparse
import io
import multiprocessing
import pathlib
import tarfile
import tempfile
import time

import numpy as np

MIB = 1 << 20
BATCH, BATCHES = 64, 100
SEED = 0


def memory(field: str) -> float:
    """VmRSS (now) or VmHWM (the peak) of this process in MiB."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / MIB
    raise ValueError(field)


def shuffled_labels(generator, per_class: int, classes: int, start: tuple[int, ...]) -> np.ndarray:
    """Labels in a random order that begins as `start` does."""
    labels = generator.permutation(np.repeat(np.arange(classes), per_class))
    for i, label in enumerate(start):
        j = i + np.flatnonzero(labels[i:] == label)[0]
        labels[i], labels[j] = labels[j], labels[i]
    return labels


def cifar(folder: str) -> None:
    """Loads cifar10lt from a made-up binary archive of full size."""
    from udal_tf.config import resolve
    from udal_tf.data import cifar as cifar_module

    edition = cifar_module.EDITIONS["cifar10lt"]
    generator = np.random.RandomState(SEED)
    with tarfile.open(pathlib.Path(folder) / edition.archive, "w:gz", compresslevel=1) as archive:
        for members, per_class, start in (
            (edition.train, edition.train_per_class, edition.train_start),
            (edition.test, edition.test_per_class, edition.test_start),
        ):
            labels = shuffled_labels(generator, per_class, len(edition.class_names), start)
            for member, part in zip(members, np.split(labels, len(members)), strict=True):
                rows = generator.randint(0, 256, (len(part), 3073), np.uint8)
                rows[:, 0] = part
                entry = tarfile.TarInfo(f"{edition.inner}/{member}")
                entry.size = rows.nbytes
                archive.addfile(entry, io.BytesIO(rows.tobytes()))
                del rows
    config = resolve({"dataset": "cifar10lt", "data_dir": folder}).data
    _read_in_new_process(_load_cifar, config)


def _load_cifar(config) -> None:
    from udal_tf.data import sources

    before, start = memory("VmRSS"), time.perf_counter()
    data = sources.load(config)
    report("CIFAR-10 binary archive, 60,000 images in memory", before, start)
    data.train.fetch(np.arange(BATCH))


def _read_in_new_process(function, config) -> None:
    process = multiprocessing.get_context("spawn").Process(target=function, args=(config,))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def report(what: str, before: float, start: float) -> None:
    peak, now = memory("VmHWM"), memory("VmRSS")
    print(
        f"{what}: {time.perf_counter() - start:.1f} s, process {before:.0f} MiB before, +{now - before:.0f} MiB held, "
        f"+{max(peak - before, 0):.0f} MiB at the peak, {peak:.0f} MiB in all",
        flush=True,
    )


def make_imagenet(folder: pathlib.Path, images: int, side: int) -> None:
    """train/<wnid>/ with `images` JPEG files in all and val/<wnid>/ with one each."""
    from PIL import Image

    from udal_tf.data import imagenet127

    _, group_of = imagenet127.groups()
    generator = np.random.RandomState(SEED)
    coarse = generator.randint(0, 256, (50, 12, 12, 3), np.uint8)
    contents = []
    for pixels in coarse:
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((side + side // 3, side), Image.Resampling.BICUBIC).save(buffer, "JPEG")
        contents.append(buffer.getvalue())
    wnids = sorted(group_of)
    for i in range(images + len(wnids)):
        wnid = wnids[i % len(wnids)]
        place = folder / ("val" if i < len(wnids) else "train") / wnid
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{wnid}_{i}.JPEG").write_bytes(contents[i % len(contents)])


def _stream_imagenet(arguments) -> None:
    import tensorflow as tf

    from udal_tf.config import resolve
    from udal_tf.data import imagenet127, sources

    folder, images = arguments
    imagenet127.IMAGES = {"train": images, "validation": 1000}
    config = resolve({"dataset": "imagenet127", "data_dir": folder, "cache_dir": f"{folder}/cache"}).data
    for attempt in ("first", "second"):
        before, start = memory("VmRSS"), time.perf_counter()
        data = sources.load(config)
        report(f"ImageNet-like folder, {images} images, {attempt} load", before, start)

    generator = np.random.RandomState(SEED)
    for name, view in (
        ("crops", lambda at: data.train.fetch_crops(at, tf.random.stateless_uniform([BATCH, 4], [SEED, 0]))),
        ("evaluation views", data.train.fetch),
    ):
        positions = generator.randint(0, images, (BATCHES, BATCH))
        batches = tf.data.Dataset.from_tensor_slices(positions).map(view, num_parallel_calls=tf.data.AUTOTUNE)
        before, start = memory("VmRSS"), time.perf_counter()
        for _ in batches.prefetch(2):
            pass
        seconds = time.perf_counter() - start
        report(f"{BATCHES * BATCH} {name} of {data.train.shape}, {BATCHES * BATCH / seconds:.0f}/s", before, start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=160, help="Short side of the streamed images.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cifar(folder)
    with tempfile.TemporaryDirectory() as folder:
        make_imagenet(pathlib.Path(folder), args.images, args.side)
        _read_in_new_process(_stream_imagenet, (folder, args.images))


if __name__ == "__main__":
    main()
