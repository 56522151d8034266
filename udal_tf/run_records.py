"""Typed records of a run: `EpochRow` for each epoch, `Result` at the end, `ModelFacts` for prediction.

Training writes these records, and everything else reads them. `from_json` validates every value. What holds this file
together: what a run says of itself, in one version.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from udal_tf import __version__

# Version of all files of a run folder and of the variable names in its checkpoints; raised when one changes.
FORMAT = 3
# Annotations of the fields below; a plain float may be NaN.
Fraction = Annotated[float, "a number from 0 to 1"]
Finite = Annotated[float, "a finite number"]
# The sets of images that scores are of.
TEST = "test"
VALIDATION = "validation"
# Predictions without LA (Inf), beside the priors that it can remove.
NO_LA = "none"
R = TypeVar("R", bound="Record")


class RunDirError(ValueError):
    """A run folder, or a file in it, cannot be used; the message says why and what to do."""


def check_format(value: Any, where: str) -> None:
    """Raises RunDirError, naming the version that wrote it, for a value that is not of FORMAT."""
    found = value.get("format") if isinstance(value, Mapping) else None
    if found == FORMAT:
        return
    version = value.get("udal_tf", "(unknown)") if isinstance(value, Mapping) else "(unknown)"
    later = isinstance(found, int) and found > FORMAT
    raise RunDirError(
        f"{where} has format {found or '(none)'}, written by udal-tf {version}; udal-tf {__version__} reads format "
        f"{FORMAT}: " + ("install a later version" if later else "train it again, or use the version that wrote it")
    )


_NUMBER = frozenset((int, float))
# The types of JSON's values: what messages call each, the Python types, and what else must hold.
_SCALARS: dict[Any, tuple[str, frozenset[type], Callable[[Any], bool] | None]] = {
    int: ("a whole number", frozenset((int,)), lambda value: abs(value) < 2**63),
    float: ("a number", _NUMBER, None),
    Fraction: ("a number from 0 to 1", _NUMBER, lambda value: 0 <= value <= 1),
    Finite: ("a finite number", _NUMBER, lambda value: -math.inf < value < math.inf),
    str: ("a string", frozenset((str,)), None),
}


def _without_none(kind: Any) -> tuple[Any, bool]:
    """A type without None, and whether None was allowed."""
    optional = typing.get_origin(kind) in (types.UnionType, typing.Union)
    return (typing.get_args(kind)[0] if optional else kind), optional


@functools.cache
def _kind(kind: Any) -> tuple[str, Callable[[Collection], bool]]:
    """The name of a type in messages, and a check of whether all values of a collection have it."""
    kind, optional = _without_none(kind)
    if kind is Any:
        return "anything", lambda values: True
    if kind in _SCALARS:
        name, types, holds = _SCALARS[kind]

        def fit(values: Collection) -> bool:
            given = [value for value in values if value is not None] if optional else values
            return types.issuperset(map(type, given)) and (not holds or all(map(holds, given)))

        return name, fit
    if isinstance(kind, type):
        return "an object", lambda values: all(isinstance(value, dict) for value in values)
    name, fit_inside = _kind(typing.get_args(kind)[-1])
    if typing.get_origin(kind) is list:
        return f"a list, each {name}", lambda values: all(isinstance(v, list) and fit_inside(v) for v in values)
    return f"an object, each {name}", lambda values: all(isinstance(v, dict) and fit_inside(v.values()) for v in values)


def _reader(kind: Any) -> Callable[[Any, str], Any]:
    """The function that returns a value of a type, or raises RunDirError, naming the place that it is given."""
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind.from_json
    (item,) = typing.get_args(kind)[:1] or (None,)
    of_records = isinstance(item, type) and issubclass(item, Record)
    name, fit = _kind(kind)

    def read(value: Any, where: str) -> Any:
        if of_records and isinstance(value, list):
            return [item.from_json(one, f"{where}.{number}") for number, one in enumerate(value)]
        if not fit((value,)):
            raise RunDirError(f"{where} must be {name}, got {value!r:.60}")
        return value

    return read


@functools.cache
def _fields(record: type["Record"]) -> dict[str, tuple[Callable[[Any, str], Any], bool]]:
    """The reader of each field, and whether it may be left out."""
    hints = {name: _without_none(kind) for name, kind in typing.get_type_hints(record, include_extras=True).items()}
    return {name: (_reader(kind), optional) for name, (kind, optional) in hints.items()}


@dataclasses.dataclass(frozen=True)
class Record:
    """A frozen dataclass that converts to JSON and back; fields that are None are left out."""

    @classmethod
    def from_json(cls: type[R], value: Any, where: str) -> R:
        """The record in `value`. Raises RunDirError, naming the key. where: the file or key that `value` comes from."""
        start = where if where.endswith(" ") else f"{where}."
        if not isinstance(value, Mapping):
            raise RunDirError(f"{start[:-1].rstrip(':')} must hold an object, got {type(value).__name__}")
        values = {}
        for name, (read, optional) in _fields(cls).items():  # type: ignore[arg-type]  # A class is hashable.
            if name in value:
                values[name] = read(value[name], start + name)
            elif not optional:
                raise RunDirError(f"{start}{name} is missing")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self, dict_factory=lambda items: {k: v for k, v in items if v is not None})


class _OfWeights(Record):
    """One value per set of weights, also accessible by the set's name."""

    def __getitem__(self, weights: str) -> Any:
        return getattr(self, weights)


@dataclasses.dataclass(frozen=True)
class ByWeights(_OfWeights):
    """A score from 0 to 1 for raw and EMA weights, each without and with LA (Inf)."""

    raw: Fraction
    ema: Fraction
    raw_la: Fraction
    ema_la: Fraction


@dataclasses.dataclass(frozen=True)
class ClassesByWeights(_OfWeights):
    """A score per class, for each set of weights; None for a class without test images."""

    raw: list[Fraction | None]
    ema: list[Fraction | None]
    raw_la: list[Fraction | None]
    ema_la: list[Fraction | None]


@dataclasses.dataclass(frozen=True)
class Scores(Record):
    """Scores on one set of images."""

    accuracy: ByWeights
    balanced_accuracy: ByWeights
    per_class_recall: ClassesByWeights


@dataclasses.dataclass(frozen=True)
class PseudoLabelCounts(Record):
    """Per class, over an epoch: confident pseudo-labels and, if the labels are known, how many of them were correct and
    how many images of the class were seen."""

    confident: list[float]
    correct: list[float] | None = None
    shown: list[float] | None = None


@dataclasses.dataclass(frozen=True)
class EpochRow(Record):
    """The metrics at the end of an epoch.

    seconds: of training, since the run's start.
    images: trained on since the run's start, each view counted; None in rows of earlier versions.
    train: means over the epoch's steps.
    test: on the test images; None if the run has validation images, as the test images are then read at the end only.
    validation: on those; None if there are none.
    p_model, p_target, p_unlabeled: [C], sum to 1.
    pseudo_labels: None for a base learner without pseudo-labels.
    """

    step: int
    epoch: int
    seconds: Finite
    train: Mapping[str, float]
    test: Scores | None = dataclasses.field(default=None, kw_only=True)
    validation: Scores | None = dataclasses.field(default=None, kw_only=True)
    p_model: list[float]
    p_target: list[float]
    p_unlabeled: list[float]
    pseudo_labels: PseudoLabelCounts | None = None
    images: int | None = None

    def __post_init__(self) -> None:
        _ = self.scores

    @property
    def scored_on(self) -> str:
        """The images that `scores` are of: "validation" or "test"."""
        return TEST if self.validation is None else VALIDATION

    @property
    def scores(self) -> Scores:
        """The scores by which epochs are compared."""
        found = self.validation or self.test
        if found is None:
            raise RunDirError("row test is missing, and so is row validation")
        return found


def best_row(rows: Sequence[EpochRow]) -> EpochRow:
    """The epoch with the highest balanced accuracy of the EMA weights; the first one if several are equal."""
    return max(rows, key=lambda row: row.scores.balanced_accuracy.ema)


def out_of_patience(rows: Sequence[EpochRow], patience: int) -> bool:
    """Whether the last `patience` epochs were no better than the best one before them; never with a patience of 0."""
    return bool(patience and rows) and rows[-1].epoch - best_row(rows).epoch >= patience


@dataclasses.dataclass(frozen=True)
class Confusion(Record):
    """Confusion matrices [C][C] of the EMA weights, without and with LA (Inf): counts, true classes in rows."""

    ema: list[list[int]]
    ema_la: list[list[int]]


@dataclasses.dataclass(frozen=True)
class BestEpoch(Record):
    """The epoch whose weights are in `best/`.

    balanced_accuracy: by which it was chosen: on the validation images if there are any, else on the test images.
    validation, test: its scores on both, if there are validation images; else None.
    """

    epoch: int
    step: int
    balanced_accuracy: Fraction
    validation: Scores | None = None
    test: Scores | None = None


@dataclasses.dataclass(frozen=True)
class MedianAccuracy(Record):
    """CReST's score: the median accuracy of the EMA weights over the last epochs, and their number."""

    epochs: int
    accuracy: Fraction


@dataclasses.dataclass(frozen=True)
class LaPrior(Record):
    """The prior that LA (Inf) removes: the value of --la_prior, and the class distribution [C]."""

    kind: str
    distribution: list[float]


@dataclasses.dataclass(frozen=True)
class LaChoice(Record):
    """Scores of the EMA weights on the validation images with LA (Inf) from one prior to the uniform distribution.

    prior: a value of --la_prior or --source_prior, or NO_LA for the predictions without LA (Inf).
    """

    prior: str
    accuracy: Fraction
    balanced_accuracy: Fraction


@dataclasses.dataclass(frozen=True)
class Generation(Record):
    """One of CReST's generations: its training, its scores, and what was added to the labeled set before it.

    added, precision, recall: per class; the last two None if unknown and in the first generation.
    positions_sha256, labels_sha256: of the added images; None in the first generation.
    """

    alpha: Finite
    accuracy: ByWeights
    balanced_accuracy: ByWeights
    seconds: Finite
    added: list[int]
    precision: list[Fraction | None] | None = None
    recall: list[Fraction | None] | None = None
    positions_sha256: str | None = None
    labels_sha256: str | None = None


def _check_classes(class_names: Sequence[str], values: Sequence[Any], name: str, where: str) -> None:
    """Raises RunDirError unless there is a value for each class."""
    names, count = len(class_names), len(values)
    if count != names:
        raise RunDirError(f"{where}class_names must name each class of {name}, got {names} for {count}")


@dataclasses.dataclass(frozen=True)
class Result(Scores):
    """A finished run: the last epoch's test scores, and everything needed to reproduce them.

    validation: the last epoch's scores on the validation images; None if there are none.
    median_ema_accuracy: of the test images, so None with validation images.
    config: settings by section.
    p_data, p_unlabeled: [C].
    steps, seconds: over all generations.
    data: its source, and how the protocol split it.
    generations: None if the method has none.
    la_choices: of the last epoch's weights; None without validation images, and in results of earlier versions.
    """

    confusion: Confusion
    best: BestEpoch
    median_ema_accuracy: MedianAccuracy | None = dataclasses.field(default=None, kw_only=True)
    config: Mapping[str, Mapping[str, Any]]
    class_names: list[str]
    p_data: list[Fraction]
    p_unlabeled: list[float]
    la_prior: LaPrior
    steps: int
    seconds: Finite
    data: Mapping[str, Any]
    hardware: Mapping[str, Any]
    commit: str
    versions: Mapping[str, str]
    generations: list[Generation] | None = None
    validation: Scores | None = None
    la_choices: list[LaChoice] | None = None

    @classmethod
    def from_json(cls, value: Any, where: str) -> "Result":
        """As for every record; also raises RunDirError if lists with a value per class differ in length."""
        check_format(value, where.rstrip(": "))
        result = super().from_json(value, where)
        recalls = {f"per_class_recall.{weights}": values for weights, values in vars(result.per_class_recall).items()}
        for name, values in {"p_data": result.p_data, **recalls}.items():
            _check_classes(result.class_names, values, name, where)
        return result

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "udal_tf": __version__, **super().to_json()}


@dataclasses.dataclass(frozen=True)
class ModelFacts(Record):
    """A model's facts beyond its settings: its input [H, W, C], its classes, and the prior of the labeled data.

    p_unlabeled, labeled_counts, pool_size: what else a method may know about its training data.
    """

    udal_tf: str
    input_shape: list[int]
    class_names: list[str]
    p_data: list[Fraction]
    p_unlabeled: list[Fraction]
    labeled_counts: list[int]
    pool_size: int

    @classmethod
    def from_json(cls, value: Any, where: str) -> "ModelFacts":
        """As for every record; also raises RunDirError if lists with a value per class differ in length."""
        facts = super().from_json(value, where)
        if len(facts.input_shape) != 3 or min(facts.input_shape) < 1:
            raise RunDirError(f"{where}input_shape must be height, width and channels, got {facts.input_shape!r:.60}")
        for name in ("p_data", "p_unlabeled", "labeled_counts"):
            _check_classes(facts.class_names, getattr(facts, name), name, where)
        return facts


@dataclasses.dataclass(frozen=True)
class AddedImages(Record):
    """The images that one of CReST's generations adds to the labeled set, and their labels, each with its hash."""

    positions: list[int]
    labels: list[int]
    positions_sha256: str
    labels_sha256: str
    added: list[int]
    precision: list[Fraction | None]
    recall: list[Fraction | None]


@dataclasses.dataclass(frozen=True)
class EstimatedPrior(Record):
    """DARP's estimate of the unlabeled class distribution [C], and the number of labeled images that it is based on."""

    distribution: list[Fraction]
    held_out: int
