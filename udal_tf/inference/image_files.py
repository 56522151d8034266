"""Image files as input of a trained network: which files, how they become pixels, and reading them ahead."""

import collections
import concurrent.futures
import glob
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from udal_tf.buckets import origin
from udal_tf.data import central_view
from udal_tf.data.files import NAMED, passed_over
from udal_tf.data.folder_layout import LOOKED_FOR, TEST
from udal_tf.data.folder_layout import named as first_names
from udal_tf.data.formats import is_image_name, not_read_lines, suffix_of
from udal_tf.data.label_files import Table
from udal_tf.data.reading import Pixels, pixels_or_fault
from udal_tf.registry import DATASETS
from udal_tf.shown_names import shown

# (folder or class, suffix in lower case) -> number of files that are no images by their names.
Unread = collections.Counter[tuple[str, str]]
# Files that are decoded ahead while a batch is computed.
AHEAD = 256


# Gray or RGB.
FILE_CHANNELS = (1, 3)


def reader(dataset: str, input_shape: tuple[int, int, int]) -> Callable[[str | os.PathLike], Pixels]:
    """How an image file becomes a network's input: as in the evaluation during training.

    A custom dataset uses the center square as large as the short side; images that training streams, such as those of
    ImageNet-127, one of 7/8 of the short side.
    Datasets that are arrays have no image files: files are then read as in a custom dataset, and converted to gray for
    a network with one channel.

    Args:
      dataset: a run's --dataset.
      input_shape: (H, W, C) of its network. Files are read if H = W and C is 1 or 3; else that is what is wrong.

    Returns:
      path -> pixels [H, W, C] uint8, or what is wrong in one line.
    """
    size, _, channels = input_shape

    def from_imagenet(path: str | os.PathLike) -> Pixels:
        try:
            return central_view.decode(path, size)
        except ValueError as error:
            return str(error)

    if channels not in FILE_CHANNELS:
        return lambda path: (
            f"the network takes images with {channels} channels, which are not read from files: predict them as an "
            "array (udal_tf.load)"
        )
    return from_imagenet if DATASETS[dataset].streams(size) else lambda path: pixels_or_fault(path, size, channels)


def read_ahead(paths: Iterable[str], read: Callable[[str], Pixels], threads: int) -> Iterator[tuple[str, Pixels]]:
    """Each path with the result of `read`, in order, computed by threads while the caller works.

    At most AHEAD images are held, however many paths there are.
    """
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        pending: collections.deque[tuple[str, concurrent.futures.Future[Pixels]]] = collections.deque()
        for path in paths:
            pending.append((path, pool.submit(read, path)))
            if len(pending) == AHEAD:
                path, future = pending.popleft()
                yield path, future.result()
        for path, future in pending:
            yield path, future.result()


def below(folder: str, unread: Unread | None = None, where: str = "") -> Iterator[str]:
    """Images at any depth, folder by folder, sorted by name; links are followed, each folder visited once.

    A folder that cannot be listed is yielded as a path itself, so that `reader` reports why.

    Args:
      folder: where to look.
      unread: counts the other files, which are no images by their names, under `where` and their suffix.
      where: what `not_read_lines` calls the folder; by default its path.
    """
    seen = set()

    def visit(directory: str) -> Iterator[str]:
        real = os.path.realpath(directory)
        if real in seen:
            return
        seen.add(real)
        try:
            names = sorted(name for name in os.listdir(directory) if not passed_over(name))
        except OSError:
            yield directory
            return
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isdir(path):
                yield from visit(path)
            elif is_image_name(name):
                yield path
            elif unread is not None:
                unread[where or origin(folder), suffix_of(name)] += 1

    return visit(folder)


def named(arguments: Iterable[str], unread: Unread | None = None) -> Iterator[str]:
    """The images that a user names: files, folders at any depth, patterns such as `photos/**/*.jpg`.

    A file is accepted with any suffix, and even if it does not exist, so that `reader` reports it. Check the arguments
    with `check_named` first. unread: as in `below`.
    """
    for argument in arguments:
        for path in [argument] if os.path.exists(argument) else _matches(argument) or [argument]:
            if os.path.isdir(path):
                yield from below(path, unread)
            else:
                yield path


def check_named(arguments: Iterable[str]) -> None:
    """Raises ValueError for a folder without images and for a pattern without matches."""
    for argument in arguments:
        if os.path.isdir(argument):
            unread: Unread = collections.Counter()
            if next(below(argument, unread), None) is None:
                raise ValueError(f"no images below {shown(origin(argument))} (looked for {LOOKED_FOR}){_also(unread)}")
        elif glob.has_magic(argument) and not os.path.exists(argument) and not _matches(argument):
            raise ValueError(f"no file matches {shown(argument)}")


def by_class(
    folder: pathlib.Path, class_names: Sequence[str], skip_unknown: bool = False, unread: Unread | None = None
) -> tuple[list[str], list[int], list[str]]:
    """The images below the class folders.

    Args:
      folder: has one folder per class.
      class_names: the model's classes.
      skip_unknown: whether to ignore folders with other names.
      unread: as in `below`; counts the other files of each class.

    Returns:
      their paths; the class of each; names of the folders of unknown classes, left out.

    Raises:
      ValueError: if there is no class folder or no image, or a folder of an unknown class without `skip_unknown`.
    """
    if not folder.is_dir():
        hint = "; a CSV file of labels is given with --labels" if folder.suffix.lower() in (".csv", ".tsv") else ""
        raise ValueError(f"{shown(origin(folder))} must be a folder with one folder per class{hint}")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not passed_over(entry.name))
    unknown = [name for name in names if name not in class_names]
    known = _some(class_names)
    if len(unknown) == len(names):
        hint = f"; did you mean {shown(folder / TEST)}?" if TEST in names else ""
        raise ValueError(f"{shown(origin(folder))} has no folder named like one of the model's classes ({known}){hint}")
    if unknown and not skip_unknown:
        raise ValueError(
            f"{shown(origin(folder))}: the model knows no class {first_names(unknown)} (it knows {known}). Rename the "
            "folders, or leave them out with --skip_unknown"
        )
    unread = collections.Counter() if unread is None else unread
    paths: list[str] = []
    labels: list[int] = []
    for c, name in enumerate(class_names):
        if name in names:
            paths.extend(below(str(folder / name), unread, name))
            labels.extend([c] * (len(paths) - len(labels)))
    if not paths:
        raise ValueError(
            f"no images below the class folders in {shown(origin(folder))} (looked for {LOOKED_FOR}){_also(unread)}"
        )
    return paths, labels, unknown


def by_labels(
    table: Table, class_names: Sequence[str], split: str, skip_unknown: bool = False
) -> tuple[list[str], list[int], list[str]]:
    """The images that a CSV file gives a class.

    Args:
      table: the file's images.
      class_names: the model's classes.
      split: whose images are meant; without a column of that name, all are.
      skip_unknown: whether to ignore images of other classes.

    Returns:
      as `by_class`.

    Raises:
      ValueError: if there is no such image, or one of an unknown class without `skip_unknown`.
    """
    rows = [row for row in table.rows if row.label and (row.split == split or not table.has_split)]
    if not rows:
        others = sorted({row.split for row in table.rows if row.label})
        there = f"; there are labels in split {', '.join(others)}: give --split" if others else ""
        raise ValueError(f"{shown(table.file)}: no image with a label in split {split}{there}")
    unknown = [row for row in rows if row.label not in class_names]
    names = sorted({row.label for row in unknown})
    if unknown and not skip_unknown:
        raise ValueError(
            f"{unknown[0].where}: the model knows no class {first_names(names)} (it knows {_some(class_names)}). "
            "Correct the labels, or leave these images out with --skip_unknown"
        )
    rows = [row for row in rows if row.label in class_names]
    if not rows:
        raise ValueError(f"{shown(table.file)}: no image of one of the model's classes ({_some(class_names)})")
    return [str(row.path) for row in rows], [class_names.index(row.label) for row in rows], names


def _some(class_names: Sequence[str]) -> str:
    return ", ".join(map(shown, class_names[:NAMED])) + (", …" if len(class_names) > NAMED else "")


def _also(unread: Unread) -> str:
    """The most frequent files that are not read, as the end of a sentence."""
    lines = not_read_lines(unread)
    return f": {lines[0]}" if lines else ""


def _matches(pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        return []
    # With circular links, `**` finds a file many times; its shortest path is kept.
    longest_first = sorted(glob.glob(pattern, recursive=True), key=len, reverse=True)
    return sorted({os.path.realpath(path): path for path in longest_first}.values())
