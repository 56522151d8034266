"""CSV files that give each image's class and split, so that nobody has to move files: `file,label[,split]`.

Reads the CSV and looks whether the files exist; no pixels, no TensorFlow.
"""

import codecs
import csv
import dataclasses
import difflib
import hashlib
import io
import os
import pathlib
import stat
from collections.abc import Iterable, Iterator, Sequence

from udal_tf.data.errors import DataError
from udal_tf.data.formats import is_image_name, suffix_of, unread_reason
from udal_tf.shown_names import shown, unfit

TRAIN, VAL, TEST = SPLITS = ("train", "val", "test")
FILE, LABEL, SPLIT = "file", "label", "split"
# Column names, the second one as in Hugging Face's metadata.csv.
FILE_COLUMNS = (FILE, "file_name")
DELIMITERS = (",", ";", "\t")
EXPECTED = (
    "Expected: a first line file,label or file,label,split, then one line per image; an empty label is an image "
    f"without one, and split is one of {', '.join(SPLITS)} (default {TRAIN})."
)
# Byte order marks of text that is not UTF-8, as spreadsheets export it.
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Similarity from which an unknown column is a misspelling of `split`, without which all images would be trained on.
_MISSPELLED = 0.6


@dataclasses.dataclass(frozen=True)
class LabelRow:
    """One image. file: of the CSV; line: where it is in it, from 1; label: "" for none; split: one of SPLITS."""

    file: pathlib.Path
    line: int
    path: pathlib.Path
    label: str
    split: str

    @property
    def where(self) -> str:
        return f"{shown(self.file)}, line {self.line}"


@dataclasses.dataclass(frozen=True)
class Table:
    """The images of a CSV file. sha256: of its content. has_split: whether it has that column. notes: for people."""

    file: pathlib.Path
    rows: list[LabelRow]
    sha256: str
    has_split: bool
    notes: tuple[str, ...]


def read(file: pathlib.Path, root: pathlib.Path, split: str = TRAIN) -> Table:
    """The images of a CSV file.

    UTF-8 with or without a byte order mark, separated by commas, semicolons or tabs. Relative names are below `root`;
    those that lead out of it are refused, as one that does so by mistake would hardly be noticed; absolute names may be
    anywhere.

    Args:
      file: the CSV.
      root: the folder of relative names.
      split: of all images, if there is no such column.

    Raises:
      DataError: naming the file and the line.
    """
    root = pathlib.Path(os.path.normpath(root))
    text, sha256 = _text(file)
    lines = _lines(file, text)
    header_line, header = next(lines, (1, []))
    columns = _columns(file, header_line, header)
    rows: dict[str, LabelRow] = {}
    missing: list[str] = []
    repeated = 0
    for line, fields in lines:
        row = _row(file, line, fields, columns, len(header), root, split)
        earlier = rows.setdefault(os.fspath(row.path), row)
        if earlier is row:
            missing += [fault] if (fault := _fault(row)) else []
        elif (earlier.label, earlier.split) == (row.label, row.split):
            repeated += 1
        else:
            what = "label" if earlier.label != row.label else "split"
            first, second = (getattr(one, what) or "none" for one in (earlier, row))
            raise DataError(
                f"{row.where}: {shown(row.path)} has the {what} {shown(second)}, and {shown(first)} in line "
                f"{earlier.line}"
            )
    if missing:
        more = f" (and {len(missing) - 1:,} more files)" if len(missing) > 1 else ""
        raise DataError(f"{missing[0]}{more}")
    if not rows:
        raise DataError(f"{shown(file)}: no images after the first line.\n{EXPECTED}")
    notes = [f"{shown(file.name)}: {repeated:,} repeated lines, used once"] if repeated else []
    if others := [name for i, name in enumerate(header) if i not in columns.values()]:
        notes.append(f"{shown(file.name)}: columns not used: {', '.join(map(shown, others))}")
    return Table(file, list(rows.values()), sha256, SPLIT in columns, tuple(notes))


def unfit_file(path: str) -> str:
    """Why no line of a CSV file can name this file, or ""."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8, so no CSV file of labels can hold it: rename it"
    if not is_image_name(path):
        return "not an image by its suffix, so no CSV file of labels can hold it: rename it"
    return ""


def check_classes(rows: Iterable[LabelRow]) -> None:
    """Raises DataError, naming the line, for a class that no image to train on has."""
    rows = list(rows)
    trained = {row.label for row in rows if row.split == TRAIN}
    for row in rows:
        if row.label not in trained:
            alike = difflib.get_close_matches(row.label, sorted(filter(None, trained)), 1)
            hint = f"; did you mean {shown(alike[0])}?" if alike else ""
            raise DataError(
                f"{row.where}: class {shown(row.label)} is in split {row.split}, but no image of split {TRAIN} has "
                f"that label{hint}"
            )


def _text(file: pathlib.Path) -> tuple[str, str]:
    """The content of the file and its SHA-256."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{shown(file)} cannot be read: {error.strerror}") from error
    if content.startswith(_UTF16):
        raise DataError(f"{shown(file)}, line 1: is UTF-16: save it as CSV in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{shown(file)}, line {line}: is not UTF-8: save it as CSV in UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{shown(file)}, line {line}: holds a NUL character: is it a CSV file?")
    return text, hashlib.sha256(content).hexdigest()


def _lines(file: pathlib.Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The number of each record's first line, and its fields; without empty ones."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    line = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{shown(file)}, line {line}: is not CSV: {error}") from error


def _columns(file: pathlib.Path, line: int, header: Sequence[str]) -> dict[str, int]:
    """The place of each column. Raises DataError for one that is missing, twice there or misspelled."""
    names = [name.strip().lower() for name in header]
    where = f"{shown(file)}, line {line}"
    found: dict[str, int] = {}
    for column, spellings in ((FILE, FILE_COLUMNS), (LABEL, (LABEL,)), (SPLIT, (SPLIT,))):
        places = [i for i, name in enumerate(names) if name in spellings]
        if len(places) > 1:
            raise DataError(f"{where}: two columns {column}")
        if places:
            found[column] = places[0]
    if absent := [column for column in (FILE, LABEL) if column not in found]:
        there = ", ".join(shown(name) for name in header) or "nothing"
        raise DataError(f"{where}: no column {' and no column '.join(absent)}, but {there}.\n{EXPECTED}")
    if SPLIT not in found:
        for name in difflib.get_close_matches(SPLIT, names, 1, _MISSPELLED):
            raise DataError(f"{where}: column {shown(name)}: did you mean {SPLIT}? Rename or remove it")
    return found


def _row(
    file: pathlib.Path,
    line: int,
    fields: Sequence[str],
    columns: dict[str, int],
    width: int,
    root: pathlib.Path,
    split: str,
) -> LabelRow:
    where = f"{shown(file)}, line {line}"
    if len(fields) != width:
        hint = ": put a name that holds the separator in quotes" if len(fields) > width else ""
        raise DataError(f"{where}: {len(fields)} fields, but the first line has {width}{hint}")
    name, label = fields[columns[FILE]], fields[columns[LABEL]].strip()
    if SPLIT in columns:
        split = fields[columns[SPLIT]].strip() or TRAIN
    if not name.strip():
        raise DataError(f"{where}: no file")
    if split not in SPLITS:
        close = difflib.get_close_matches(split.lower(), SPLITS, 1, 0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise DataError(f"{where}: split must be one of {', '.join(SPLITS)}, got {shown(split)}{hint}")
    if fault := unfit(label):
        raise DataError(f"{where}: the label {shown(label)} {fault}")
    if not label and split != TRAIN:
        raise DataError(f"{where}: an image of split {split} needs a label, {shown(name)} has none")
    path = pathlib.Path(os.path.normpath(root / name))
    if not os.path.isabs(name) and path.parts[: len(root.parts)] != root.parts:
        raise DataError(f"{where}: {shown(name)} leads out of {shown(root)}: write the absolute name of such a file")
    return LabelRow(file, line, path, label, split)


def _fault(row: LabelRow) -> str:
    """Why a file cannot be used; "" if it can."""
    try:
        mode = os.stat(row.path).st_mode
    except (OSError, ValueError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", str(error))
        hint = "; separate folders by /" if "\\" in row.path.name else ""
        return f"{row.where}: {shown(row.path)}: {reason}{hint}"
    if not stat.S_ISREG(mode):
        return f"{row.where}: {shown(row.path)} is a {'folder' if stat.S_ISDIR(mode) else 'pipe or device'}, not a file"
    if not is_image_name(row.path):
        reason = unread_reason(suffix_of(row.path)) or "not an image by its suffix"
        return f"{row.where}: {shown(row.path)} is not read: {reason}"
    return ""
