"""Settings: fields of validated, frozen sections, each with its help text and allowed values.

Every setting becomes one command-line flag of the same name. The sections of every run are in `udal_tf.config`; a
dataset, base learner, method or backbone may have a section of its own (`udal_tf.registry`).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

Choices = tuple | Callable[[], tuple] | None
# The normal float32 numbers: anything smaller becomes 0 in a graph, anything larger infinite.
_SMALLEST = 2.0**-126
_LARGEST = (2.0 - 2.0**-23) * 2.0**127
NO_NUL = "without NUL bytes"


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: Choices = None,
    identity: bool = True,
) -> Any:
    """A dataclass field with a help text and allowed values.

    Args:
      default: the value if neither the user nor a recipe gives one.
      help: the flag's help text.
      low: inclusive lower bound.
      high: inclusive upper bound.
      above: exclusive lower bound.
      choices: the allowed values, or a function without arguments that gives them.
      identity: False for a setting that may change when the same run is resumed (such as the location of files).
    """
    metadata = {"help": help, "low": low, "high": high, "above": above, "choices": choices, "identity": identity}
    return dataclasses.field(default=default, metadata=metadata)


def _choices(meta: Mapping[str, Any]) -> tuple | None:
    return meta["choices"]() if callable(meta["choices"]) else meta["choices"]


def _shown(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def allowed(field: dataclasses.Field) -> str:
    """The allowed values in words: `above 0 and at most 1`; `finite` without bounds."""
    meta = field.metadata
    choices = _choices(meta)
    if choices is not None:
        return "one of " + ", ".join(map(str, choices))
    bounds = [f"above {_shown(meta['above'])}"] if meta["above"] is not None else []
    bounds += [f"at least {_shown(meta['low'])}"] if meta["low"] is not None else []
    bounds += [f"at most {_shown(meta['high'])}"] if meta["high"] is not None else []
    return " and ".join(bounds) or "finite"


def _is_allowed(value: Any, meta: Mapping[str, Any]) -> bool:
    choices = _choices(meta)
    if choices is not None:
        return all(v in choices for v in value) if isinstance(value, tuple) else value in choices
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    return (
        (isinstance(value, int) or math.isfinite(value))
        and (meta["low"] is None or value >= meta["low"])
        and (meta["high"] is None or value <= meta["high"])
        and (meta["above"] is None or value > meta["above"])
    )


def _unusable(value: Any) -> str:
    """What a value would have to be for TensorFlow to take it; "" if it does."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "a whole number of at most 64 bits"
    if isinstance(value, float) and value and not _SMALLEST <= abs(value) <= _LARGEST:
        return f"0 or a float32, from {_SMALLEST:.2g} to {_LARGEST:.2g} in magnitude"
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and "\0" in text:
            return NO_NUL
    return ""


def bad_text(text: str) -> str:
    """What a name or path would have to be to be usable everywhere: "without NUL bytes", "valid UTF-8"; or ""."""
    if "\0" in text:
        return NO_NUL
    # Bytes of the command line that are not UTF-8 arrive as surrogates.
    return "valid UTF-8" if any("\ud800" <= character <= "\udfff" for character in text) else ""


class Section:
    """Checks every field against its metadata; `_check` adds checks across fields."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field]]  # Every section is a frozen dataclass.

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if type(value) is not type(field.default) and not (
                isinstance(field.default, float) and isinstance(value, int) and not isinstance(value, bool)
            ):
                raise ValueError(f"--{field.name} must be of type {type(field.default).__name__}, got {value!r}")
            if isinstance(value, tuple) and not all(isinstance(entry, (str, int, float)) for entry in value):
                raise ValueError(f"--{field.name} must be a list of names or numbers, got {value!r:.60}")
            if not _is_allowed(value, field.metadata):
                shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
                raise ValueError(f"--{field.name} must be {allowed(field)}, got {shown!r:.60}")
            if fault := _unusable(value):
                raise ValueError(f"--{field.name} must be {fault}, got {value!r:.60}")
        self._check()

    def _check(self) -> None:
        """Raises ValueError for incompatible values; a hook for subclasses."""

    def check_run(self, config: Any) -> None:
        """Raises ValueError for values incompatible with the run's other settings, a `udal_tf.config.Config`."""


S = TypeVar("S", bound=Section)


def of_kind(kind: type[S], *sections: Section | None) -> S:
    """The section of this class or a subclass. Raises TypeError if there is none."""
    for section in sections:
        if isinstance(section, kind):
            return section
    raise TypeError(f"there is no {kind.__name__} among the sections of the records")
