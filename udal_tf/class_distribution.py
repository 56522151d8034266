"""A class distribution that a user states: how it is read from a file, kept in the settings and put to the classes.

In the settings it is a tuple of texts, one entry per class: "0.2" each in the order of the classes, or "cat=0.2" each
by name. So `config.json` holds what the file said, not where it lay.
"""

import json
import math
import pathlib
from collections.abc import Iterable, Sequence

# Words for the distribution of the unlabeled set that is not stated: p_data, estimated, or uniform.
LABELED, ESTIMATE, UNIFORM = "labeled", "estimate", "uniform"
_BETWEEN = "="


def read(path: str | pathlib.Path) -> tuple[str, ...]:
    """The entries of a file: shares, weights or counts, in the order of the classes or by their names.

    JSON, a list of numbers or an object from names to numbers; or text, on each line a number, or a name and a number.
    Entries by name come sorted, so that the order in which a file names them makes no difference.

    Raises:
      ValueError: naming the file, for one that cannot be read or says anything else.

    Example: a file of the lines "dog 3" and "cat 1" gives ("cat=1.0", "dog=3.0").
    """
    try:
        text = pathlib.Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        entries = _from_json(text) if text.lstrip()[:1] in ("[", "{") else _from_lines(text)
        checked(entries)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return entries


def checked(entries: Sequence[str]) -> None:
    """Raises ValueError where entries are not shares of a positive sum, all in order or all by different names."""
    if not entries:
        raise ValueError("there is no share in it")
    named = [_BETWEEN in entry for entry in entries]
    if any(named) and not all(named):
        raise ValueError(f"either every share has a class name or none has, got {','.join(entries)!r}")
    names = [entry.rpartition(_BETWEEN)[0] for entry in entries]
    twice = sorted({name for name in names if all(named) and names.count(name) > 1})
    if twice:
        raise ValueError(f"one share per class, got several for {', '.join(twice)}")
    shares = [_number(entry) for entry in entries]
    if not 0 < sum(shares) < math.inf:
        raise ValueError(f"the shares must have a positive sum, got {','.join(entries)!r}")


def as_distribution(entries: Sequence[str], class_names: Sequence[str]) -> list[float]:
    """The shares in the order of the classes, divided by their sum.

    Raises:
      ValueError: where the entries are not one for each class.

    Example: entries ("3", "1") give 0.75, 0.25; so do ("cat=1", "dog=3") for the classes dog, cat.
    """
    checked(entries)
    if _BETWEEN in entries[0]:
        by_name = {entry.rpartition(_BETWEEN)[0]: _number(entry) for entry in entries}
        unknown, missing = sorted(set(by_name) - set(class_names)), [c for c in class_names if c not in by_name]
        if unknown or missing:
            parts = [f"no class is called {', '.join(unknown)}"] if unknown else []
            parts += [f"the share of {', '.join(missing)} is missing"] if missing else []
            raise ValueError("; ".join(parts))
        shares = [by_name[name] for name in class_names]
    elif len(entries) != len(class_names):
        raise ValueError(f"expected {len(class_names)} shares, one per class, got {len(entries)}")
    else:
        shares = [_number(entry) for entry in entries]
    return [share / sum(shares) for share in shares]


def _number(entry: str) -> float:
    text = entry.rpartition(_BETWEEN)[2]
    try:
        share = float(text)
    except ValueError as error:
        raise ValueError(f"a share must be a number, got {entry!r}") from error
    if not 0 <= share < math.inf:
        raise ValueError(f"a share must be at least 0 and finite, got {entry!r}")
    return share


def _from_json(text: str) -> tuple[str, ...]:
    try:
        stated = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"no valid JSON ({error})") from error
    pairs = stated.items() if isinstance(stated, dict) else (("", share) for share in stated)
    return _entries((name, share) for name, share in pairs)


def _from_lines(text: str) -> tuple[str, ...]:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    return _entries((" ".join(words[:-1]), words[-1]) for words in lines)


def _entries(pairs: Iterable[tuple[str, object]]) -> tuple[str, ...]:
    entries = []
    for name, share in pairs:
        if isinstance(share, bool) or not isinstance(share, (int, float, str)):
            raise ValueError(f"a share must be a number, got {share!r}")
        try:
            entries.append((name + _BETWEEN if name else "") + repr(float(share)))
        except ValueError as error:
            raise ValueError(f"a share must be a number, got {share!r}") from error
    return tuple(sorted(entries) if any(_BETWEEN in entry for entry in entries) else entries)
