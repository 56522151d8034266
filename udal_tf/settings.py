"""What a setting is: a field of a validated, frozen section that knows its help text and its allowed values.

Every setting becomes one command-line flag of the same name. The program's own sections are in `udal_tf.config`; a
dataset, base learner, method or backbone brings one of its own where it needs one (`udal_tf.registry`).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

Choices = tuple | Callable[[], tuple] | None


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
    """A dataclass field that knows its help text and its allowed values.

    Args:
      default: the value where neither the user nor a recipe gives one.
      help: the flag's help text.
      low: inclusive lower bound.
      high: inclusive upper bound.
      above: exclusive lower bound.
      choices: the allowed values, or a function without arguments that gives them.
      identity: False for a setting that may differ between two starts of the same run (where files lie).
    """
    metadata = {"help": help, "low": low, "high": high, "above": above, "choices": choices, "identity": identity}
    return dataclasses.field(default=default, metadata=metadata)


def _choices(meta: Mapping[str, Any]) -> tuple | None:
    return meta["choices"]() if callable(meta["choices"]) else meta["choices"]


def _shown(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def allowed(field: dataclasses.Field) -> str:
    """In words, the values that a setting may have: `above 0 and at most 1`; `finite` where there are no bounds."""
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
        math.isfinite(value)
        and (meta["low"] is None or value >= meta["low"])
        and (meta["high"] is None or value <= meta["high"])
        and (meta["above"] is None or value > meta["above"])
    )


class Section:
    """Checks every field against its own metadata; `_check` adds what concerns several fields."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field]]  # Every section is a frozen dataclass.

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if type(value) is not type(field.default) and not (
                isinstance(field.default, float) and isinstance(value, int) and not isinstance(value, bool)
            ):
                raise ValueError(f"--{field.name} must be of type {type(field.default).__name__}, got {value!r}")
            if not _is_allowed(value, field.metadata):
                shown = ",".join(value) if isinstance(value, tuple) else value
                raise ValueError(f"--{field.name} must be {allowed(field)}, got {shown!r}")
        self._check()

    def _check(self) -> None:
        """Raises ValueError for values that do not go together; nothing to check unless a section says so."""

    def check_run(self, config: Any) -> None:
        """Raises ValueError where values do not go with the run's other settings, a `udal_tf.config.Config`."""


S = TypeVar("S", bound=Section)


def of_kind(kind: type[S], *sections: Section | None) -> S:
    """The section of this class, or of a subclass. Raises TypeError where there is none."""
    for section in sections:
        if isinstance(section, kind):
            return section
    raise TypeError(f"there is no {kind.__name__} among the sections of the records")
