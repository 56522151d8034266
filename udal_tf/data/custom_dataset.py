"""A custom dataset as a user names it: folders of classes, a CSV file, or Hugging Face's ImageFolder.

Each way in gives the same `folder_listing.Folder`, with the images of a class in the order of their names, so that the
same images give the same run. Reads no pixels, needs no TensorFlow.
"""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Sequence

from udal_tf.data import files, folder_layout, folder_listing, label_files
from udal_tf.data.errors import DataError
from udal_tf.data.folder_layout import HUGGING_FACE, METADATA, UNLABELED, spelling
from udal_tf.data.folder_listing import Folder
from udal_tf.data.label_files import LabelRow, Table
from udal_tf.records.datasets import FolderConfig
from udal_tf.sections import DataConfig
from udal_tf.shown_names import shown

# The folders of Hugging Face's splits.
_SPLIT_FOLDERS = {
    label_files.TRAIN: ("train", "training"),
    label_files.VAL: ("validation", "valid", "val", "dev"),
    label_files.TEST: ("test", "testing", "eval", "evaluation"),
}


def root_of(config: DataConfig, own: FolderConfig) -> pathlib.Path:
    """The folder of the images: --data_dir, or that of --labels. Raises DataError if it is missing or not readable."""
    if own.labels and not config.data_dir:
        return _labels(own).parent
    if not config.data_dir:
        raise DataError(
            f"{config.dataset}: --data_dir must name your folder, or --labels a CSV file.\n{folder_layout.expected()}"
        )
    return files.data_dirs(config)[0]


def read(config: DataConfig, own: FolderConfig, root: pathlib.Path | None = None) -> Folder:
    """The files of the dataset, whether or not training would accept them. root: by default that of the settings.

    Raises:
      DataError: if there are no labeled classes, or for a CSV file that cannot be used, naming the line.
    """
    root = root or root_of(config, own)
    if own.labels:
        table = label_files.read(_labels(own), root)
        return of_rows(root, table.rows, table.file.name, table.sha256, table.notes)
    return _hugging_face(root) if own.layout == HUGGING_FACE else folder_listing.read_folder(root, own.layout)


def of_rows(root: pathlib.Path, rows: Iterable[LabelRow], table: str, sha256: str, notes: Sequence[str] = ()) -> Folder:
    """The images that a CSV file names.

    Args:
      root: the folder of relative names.
      rows: of the file.
      table: what messages call it.
      sha256: of its content.
      notes: for people.

    Raises:
      DataError: for fewer than two classes, or a class without an image to train on.
    """
    rows = list(rows)
    label_files.check_classes([row for row in rows if row.label])
    names = sorted({row.label for row in rows if row.label})
    if len(names) < 2:
        there = f" ({shown(names[0])})" if names else ""
        raise DataError(
            f"{shown(table)}: classes: {len(names)}{there}, at least two are needed.\n{label_files.EXPECTED}"
        )
    by_split = {split: [row for row in rows if row.split == split] for split in label_files.SPLITS}

    def by_class(split: str) -> dict[str, list[pathlib.Path]]:
        found: dict[str, list[pathlib.Path]] = {name: [] for name in names}
        for row in sorted(by_split[split], key=lambda row: row.path):
            if row.label:
                found[row.label].append(row.path)
        return {name: paths for name, paths in found.items() if paths}

    return Folder(
        layout=folder_layout.Layout(root, {}, tuple(notes)),
        labeled=by_class(label_files.TRAIN),
        unlabeled=sorted(row.path for row in rows if not row.label),
        test=by_class(label_files.TEST) if by_split[label_files.TEST] else None,
        loose=[],
        unread=collections.Counter(),
        notes=tuple(notes),
        validation=by_class(label_files.VAL) if by_split[label_files.VAL] else None,
        table=table,
        sha256=sha256,
    )


def _labels(own: FolderConfig) -> pathlib.Path:
    return pathlib.Path(own.labels).expanduser()


def _hugging_face(root: pathlib.Path) -> Folder:
    """Hugging Face's ImageFolder: metadata.csv in train/, validation/ and test/, or one for the whole folder.

    In the latter, a file is of the split that its first folder names. Images in unlabeled/ are added.
    """
    tables: list[Table] = []
    if (root / METADATA).is_file():
        table = label_files.read(root / METADATA, root)
        rows = table.rows if table.has_split else [_by_folder(row, root) for row in table.rows]
        tables.append(dataclasses.replace(table, rows=rows))
    else:
        for path in folder_layout.with_metadata(root):
            if split := _split_of(path.parent.name):
                tables.append(label_files.read(path, path.parent, split))
    if not tables:
        jsonl = sorted(root.glob("metadata.jsonl")) + sorted(root.glob("*/metadata.jsonl"))
        there = f"; {shown(jsonl[0].relative_to(root))} is not read: save it as {METADATA}" if jsonl else ""
        raise DataError(
            f"{shown(root)}: --layout={HUGGING_FACE} needs {METADATA} with the columns file_name,label, in the "
            f"folder or in its train/, validation/ and test/{there}. Folders of classes have "
            f"--layout={folder_layout.TORCHVISION}"
        )
    digest = hashlib.sha256("".join(table.sha256 for table in tables).encode()).hexdigest()
    names = ", ".join(str(table.file.relative_to(root)) for table in tables)
    notes = [note for table in tables for note in table.notes]
    folder = of_rows(root, [row for table in tables for row in table.rows], names, digest, notes)
    unread: folder_listing.Unread = collections.Counter()
    for place in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        if spelling(place.name) in folder_layout.NAMES[UNLABELED][0]:
            named = set(folder.unlabeled)
            found = [path for path in folder_listing.images_in(root, place, place, unread) if path not in named]
            folder = dataclasses.replace(folder, unlabeled=sorted([*folder.unlabeled, *found]), unread=unread)
    return folder


def _split_of(name: str) -> str:
    """The split of a folder's name, or ""."""
    return next((split for split, names in _SPLIT_FOLDERS.items() if spelling(name) in names), "")


def _by_folder(row: LabelRow, root: pathlib.Path) -> LabelRow:
    """The row with the split that its first folder names; without one it is to train on."""
    split = _split_of(pathlib.PurePath(folder_listing.name_below(row.path, root)).parts[0])
    if split and split != label_files.TRAIN and not row.label:
        raise DataError(f"{row.where}: an image of split {split} needs a label, {shown(row.path)} has none")
    return dataclasses.replace(row, split=split or label_files.TRAIN)
