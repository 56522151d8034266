"""Which folder holds the labeled, the unlabeled, the validation and the test images of a custom dataset.

The names are `labeled`, `unlabeled`, `val` and `test`; other spellings and the names of other programs are understood
where no other folder could be meant. Reads names only, and gives advice where no folder is labeled.
"""

import dataclasses
import difflib
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Sized

from udal_tf.data import files
from udal_tf.data.errors import DataError
from udal_tf.data.formats import IMAGE_SUFFIXES, SUFFIXES, is_image_name
from udal_tf.shown_names import shown

LABELED = "labeled"
UNLABELED = "unlabeled"
TEST = "test"
VALIDATION = "val"
# Names of each part, by preference; `spelling` is applied before they are compared.
_LABELED, _TRAIN = ("labeled", "labelled"), ("train", "training")
_TEST, _VAL = ("test", "testing"), ("val", "valid", "validation")
NAMES = {
    LABELED: (_LABELED, _TRAIN),
    UNLABELED: (("unlabeled", "unlabelled"),),
    TEST: (_TEST, _VAL),
}
# The values of --layout: the names above; ours alone; those of torchvision's ImageFolder; metadata.csv of Hugging Face.
AUTO = "auto"
UDAL = "udal"
TORCHVISION = "torchvision"
HUGGING_FACE = "huggingface"
_NAMES_IN: Mapping[str, Mapping[str, tuple[tuple[str, ...], ...]]] = {
    AUTO: NAMES,
    UDAL: {**NAMES, LABELED: (_LABELED,), TEST: (_TEST,)},
    TORCHVISION: {**NAMES, LABELED: ((), _TRAIN)},
}
METADATA = "metadata.csv"
# The usual suffix of each format that is read.
LOOKED_FOR = ", ".join(group[0] for group in SUFFIXES.values() if group[0] in IMAGE_SUFFIXES)
# Names that a message lists before it only counts the others.
NAMED = 5
# Ratio of difflib above which a name is taken for a misspelling of another.
_MISSPELLED = 0.8
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar")


@dataclasses.dataclass(frozen=True)
class Layout:
    """The folders of a custom dataset.

    Attributes:
      root: the folder.
      parts: LABELED, UNLABELED, VALIDATION or TEST -> its folder; all but the first may be missing.
      notes: what is understood under another name, and what beside them is not used, for people.
    """

    root: pathlib.Path
    parts: dict[str, pathlib.Path]
    notes: tuple[str, ...]

    @property
    def is_torchvision(self) -> bool:
        """Whether the names are those of torchvision's ImageFolder and nothing is unlabeled."""
        labeled = self.parts.get(LABELED)
        return labeled is not None and UNLABELED not in self.parts and spelling(labeled.name) in _TRAIN


def expected(layout: str = AUTO) -> str:
    """The expected layout, for messages."""
    labeled = NAMES[LABELED][layout == TORCHVISION][0]
    return (
        f"Expected: {labeled}/<class>/ with images for at least two classes, {UNLABELED}/ with more images, and\n"
        f"optionally {TEST}/<class>/ with the same classes. Images: {LOOKED_FOR}."
    )


def spelling(name: str) -> str:
    """What names that differ only in case, separators or Unicode normalization have in common."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(plain.replace("_", " ").replace("-", " ").split())


def find(root: pathlib.Path, layout: str = AUTO) -> Layout:
    """The parts of a custom dataset. Raises DataError if none is labeled, or if two folders could be the same part.

    `val/` holds validation images where another folder holds those to test on; alone it is taken for the latter, as in
    ImageNet, except with --layout=udal.

    Args:
      root: the folder.
      layout: the value of --layout, except HUGGING_FACE.
    """
    if not root.is_dir():
        raise DataError(f"{shown(root)} {'is not a folder' if root.exists() else 'does not exist'}.\n{expected()}")
    entries = files.listed(root, "folder")
    folders = [entry for entry in entries if entry.is_dir()]
    names = _NAMES_IN[layout]
    parts = {part: found for part in names if (found := _part(root, folders, part, names[part]))}
    if LABELED not in parts:
        labeled = (_TRAIN if layout == TORCHVISION else _LABELED)[0]
        instead = _instead(root, entries, folders) if layout == AUTO else f" (--layout={layout})"
        raise DataError(f"{shown(root)} has no folder {labeled}/{instead}.\n{expected(layout)}")
    left = [folder for folder in folders if folder not in parts.values()]
    if (TEST in parts or layout == UDAL) and (validation := _part(root, left, VALIDATION, ((), _VAL))):
        parts[VALIDATION] = validation
    renamed = [f"{shown(folder.name)}/ as {part}/" for part, folder in parts.items() if folder.name != part]
    notes = [f"reading {', '.join(renamed)}"] if renamed else []
    if VALIDATION in parts:
        notes.append(
            f"{shown(parts[VALIDATION].name)}/ chooses the best epoch; the test images are read at the end only"
        )
    used = {os.path.realpath(folder) for folder in parts.values()}
    for folder in folders:
        if os.path.realpath(folder) not in used and (note := _unused(folder, parts)):
            notes.append(note)
    if loose := [entry for entry in entries if is_image_name(entry) and not entry.is_dir()]:
        notes.append(f"not used: {counted(loose, 'image')} directly in the folder ({named(e.name for e in loose)})")
    if packed := [entry.name for entry in entries if entry.name.lower().endswith(_ARCHIVES) and not entry.is_dir()]:
        notes.append(f"not used: {named(packed)}; unpack what belongs to the dataset")
    return Layout(root, parts, tuple(notes))


def too_deep(folder: pathlib.Path) -> str:
    """Advice if the only folder in `folder` holds folders and no images, as `labeled/data/<class>` does; or ""."""
    entries = files.listed(folder, folder.name)
    if len(entries) != 1 or not entries[0].is_dir():
        return ""
    below = files.listed(entries[0], folder.name)
    inner = [entry.name for entry in below if entry.is_dir()]
    if not inner or any(is_image_name(entry) for entry in below):
        return ""
    return (
        f"{shown(entries[0])} is one folder too deep: move what is in it ({named(inner)}) into {shown(folder)}, where "
        "each folder is a class"
    )


def counted(things: Sized, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{len(things):,} {noun}" + ("" if len(things) == 1 else "s")


def named(names: Iterable[str]) -> str:
    """The first names, as people see them, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(shown, names[:NAMED])) + more


def _part(
    root: pathlib.Path, folders: Sequence[pathlib.Path], part: str, names_by_rank: Sequence[Sequence[str]]
) -> pathlib.Path | None:
    """The folder of a part, by its names in order of preference. Raises DataError if it could be either of two."""
    for rank, names in enumerate(names_by_rank):
        # Links to one folder are one; its usual name comes first.
        by_target: dict[str, pathlib.Path] = {}
        for folder in sorted(folders, key=lambda folder: (folder.name != part, folder.name)):
            if spelling(folder.name) in names and (not rank or _has_classes(folder, part)):
                by_target.setdefault(os.path.realpath(folder), folder)
        if len(by_target) > 1:
            both = " and ".join(f"{shown(folder.name)}/" for folder in by_target.values())
            raise DataError(f"{shown(root)}: {both} could each be {part}/: rename or merge them.\n{expected()}")
        if by_target:
            return next(iter(by_target.values()))
    return None


def _has_classes(folder: pathlib.Path, part: str) -> bool:
    """Whether a folder, by its name only perhaps a part, has folders as that part would."""
    return sum(entry.is_dir() for entry in files.listed(folder, folder.name)) >= (2 if part == LABELED else 1)


def _unused(folder: pathlib.Path, parts: dict[str, pathlib.Path]) -> str:
    """What to say of a folder that is no part of the dataset; "" if it has no images."""
    name = shown(folder.name)
    if spelling(folder.name) in _VAL:
        return f"not used: {name}/, which has no class folders; rename it to {TEST}/ once it has"
    if spelling(folder.name) in _TRAIN:
        return f"not used: {name}/, as {shown(parts[LABELED].name)}/ is there; move its images there to train on them"
    for part in NAMES:
        if part not in parts and _named_like(folder, part):
            return f"not used: {name}/; rename it to {part}/ if that is what it is"
    return f"not used: {name}/, which has images" if _has_images(folder) else ""


def _named_like(folder: pathlib.Path, part: str) -> bool:
    """Whether a folder's name is a misspelling of a part's, or begins like it as `train_images` does."""
    name = spelling(folder.name)
    names = tuple(one for ranked in NAMES[part] for one in ranked)
    others = {one for other in NAMES if other != part for ranked in NAMES[other] for one in ranked}
    close = difflib.get_close_matches(name, [*names, *others], 1, _MISSPELLED)
    return (bool(close) and close[0] in names) or (name.startswith(names) and _has_classes(folder, part))


def _has_images(folder: pathlib.Path) -> bool:
    """Whether there are images in a folder or in the folders in it; no further down, which might take long."""
    entries = _readable(folder)
    below = [one for entry in entries if entry.is_dir() for one in _readable(entry)]
    return any(is_image_name(entry) for entry in (*entries, *below))


def _readable(folder: pathlib.Path) -> list[pathlib.Path]:
    """The entries of a folder that is no part of the dataset, so that it may be closed to us: then none."""
    return files.listed(folder, folder.name) if os.access(folder, os.R_OK | os.X_OK) else []


def _instead(root: pathlib.Path, entries: Sequence[pathlib.Path], folders: Sequence[pathlib.Path]) -> str:
    """What a folder without labeled images contains, as the end of a sentence."""
    if not entries:
        return ": it is empty"
    if tables := with_metadata(root):
        return f", but {named(f'{table.relative_to(root)}' for table in tables)}: give --layout={HUGGING_FACE}"
    for folder in folders:
        if _named_like(folder, LABELED):
            few = "" if _has_classes(folder, LABELED) else ", with a folder for each class in it"
            return f": rename {shown(folder.name)}/ to {LABELED}/ if that is what it is{few}"
    if spelling(root.resolve().name) in {name for ranked in NAMES[LABELED] for name in ranked} and folders:
        return f", but is itself named like it: give the folder above, {shown(root.resolve().parent)}"
    inner = [folder for folder in folders if any(_is_labeled(entry) for entry in _readable(folder))]
    if len(inner) == 1:
        return f", but {shown(inner[0])} has: give that folder"
    if loose := [entry for entry in entries if is_image_name(entry) and not entry.is_dir()]:
        return f" (images directly in it, outside any class folder: {len(loose)})"
    taken = {name for part in (UNLABELED, TEST) for ranked in NAMES[part] for name in ranked}
    classes = [folder.name for folder in folders if spelling(folder.name) not in taken]
    if classes:
        return f", but the folders {named(classes)}: if these are your classes, move them into {shown(root / LABELED)}"
    return f", but {named(entry.name for entry in entries)}"


def with_metadata(root: pathlib.Path) -> list[pathlib.Path]:
    """The metadata.csv of Hugging Face's ImageFolder, of the whole folder or of the parts in it."""
    places = [root, *(entry for entry in _readable(root) if entry.is_dir() and os.access(entry, os.R_OK | os.X_OK))]
    return [place / METADATA for place in places if (place / METADATA).is_file()]


def _is_labeled(entry: pathlib.Path) -> bool:
    first, second = NAMES[LABELED]
    return entry.is_dir() and (
        spelling(entry.name) in first or (spelling(entry.name) in second and _has_classes(entry, LABELED))
    )
