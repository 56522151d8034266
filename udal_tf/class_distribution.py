"""A class distribution given by the user: reading it from a file, keeping it in the settings, matching it to classes.

In the settings it is a tuple of strings, one entry per class: "0.2", in class order, or "cat=0.2", by name. So
`config.json` holds the content of the file, not its path.
"""

import json
import math
import pathlib
from collections.abc import Iterable, Sequence

from udal_tf import storage
from udal_tf.shown_names import shown

# Values of --unlabeled_prior other than a distribution: p_data, estimated during training, or uniform.
LABELED = "labeled"
ESTIMATE = "estimate"
UNIFORM = "uniform"
_BETWEEN = "="


def read(path: str | pathlib.Path) -> tuple[str, ...]:
    """The entries of a file: proportions, weights or counts, in class order or by class name.

    JSON, a list of numbers or an object from names to numbers; or text, each line a number, or a name and a number.
    Entries by name are returned sorted, so that their order in the file makes no difference.

    Raises:
      ValueError: naming the file, if it cannot be read or holds anything else.

    Example: a file with the lines "dog 3" and "cat 1" gives ("cat=1.0", "dog=3.0").
    """
    try:
        text = storage.read_bytes(pathlib.Path(path).expanduser()).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{shown(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        entries = _from_json(text) if text.lstrip()[:1] in ("[", "{") else _from_lines(text)
        checked(entries)
    except ValueError as error:
        raise ValueError(f"{shown(path)}: {error}") from error
    return entries


def checked(entries: Sequence[str]) -> None:
    """Raises ValueError unless entries are proportions with a positive sum, all in order or all by distinct names."""
    if not entries:
        raise ValueError("it has no proportions")
    named = [_BETWEEN in entry for entry in entries]
    if any(named) and not all(named):
        raise ValueError(f"either every proportion needs a class name or none, got {','.join(entries)!r}")
    names = [entry.rpartition(_BETWEEN)[0] for entry in entries]
    twice = sorted({name for name in names if all(named) and names.count(name) > 1})
    if twice:
        raise ValueError(f"one proportion per class, got several for {', '.join(twice)}")
    if not 0 < sum(map(_number, entries)) < math.inf:
        raise ValueError(f"the proportions must have a positive sum, got {','.join(entries)!r}")


def as_distribution(entries: Sequence[str], class_names: Sequence[str]) -> list[float]:
    """The proportions in class order, divided by their sum.

    Raises:
      ValueError: unless there is one entry per class.

    Example: entries ("3", "1") give 0.75, 0.25; so do ("cat=1", "dog=3") for the classes dog, cat.
    """
    checked(entries)
    if _BETWEEN in entries[0]:
        by_name = {entry.rpartition(_BETWEEN)[0]: _number(entry) for entry in entries}
        unknown, missing = sorted(set(by_name) - set(class_names)), [c for c in class_names if c not in by_name]
        if unknown or missing:
            parts = [f"no class is called {', '.join(unknown)}"] if unknown else []
            parts += [f"the proportion of {', '.join(missing)} is missing"] if missing else []
            raise ValueError("; ".join(parts))
        proportions = [by_name[name] for name in class_names]
    elif len(entries) != len(class_names):
        raise ValueError(f"expected {len(class_names)} proportions, one per class, got {len(entries)}")
    else:
        proportions = [_number(entry) for entry in entries]
    return [value / sum(proportions) for value in proportions]


def _number(entry: str) -> float:
    text = entry.rpartition(_BETWEEN)[2]
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"a proportion must be a number, got {entry!r}") from error
    if not 0 <= value < math.inf:
        raise ValueError(f"a proportion must be at least 0 and finite, got {entry!r}")
    return value


def _from_json(text: str) -> tuple[str, ...]:
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"invalid JSON ({error})") from error
    pairs = content.items() if isinstance(content, dict) else (("", value) for value in content)
    return _entries(pairs)


def _from_lines(text: str) -> tuple[str, ...]:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    return _entries((" ".join(words[:-1]), words[-1]) for words in lines)


def _entries(pairs: Iterable[tuple[str, object]]) -> tuple[str, ...]:
    entries = []
    for name, value in pairs:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"a proportion must be a number, got {value!r}")
        try:
            entries.append((name + _BETWEEN if name else "") + repr(float(value)))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"a proportion must be a number, got {value!r:.60}") from error
    return tuple(sorted(entries) if any(_BETWEEN in entry for entry in entries) else entries)
