"""Data checks: plain-language warnings about a folder before training, from `inspection.summary` alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from udal_tf.data.folder_layout import LABELED, NAMED, TEST, UNLABELED, VALIDATION, counted, named, spelling
from udal_tf.folder_recipe import FEW_LABELS
from udal_tf.shown_names import shown

# Total variation distance above which two class distributions are reported as different.
FAR_APART = 0.25
# Test images of a class below which its recall is unreliable.
FEW_TO_TEST = 10
# Short sides in pixels below which an image shows little detail.
VERY_SMALL = 16
# Aspect ratio above which the center crop leaves out enough to warn about.
ELONGATED = 1.5
# Ratio of the largest short side to the smallest one.
MIXED_SIZES = 4
# Fraction of gray images above which a dataset is mixed, or by which two parts differ.
MIXED_GRAY = 0.02

_Warnings = Iterator[tuple[str, str]]


def data_warnings(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Warnings, most serious first: each has a "kind", for programs, and a "text", for people.

    Args:
      found: `inspection.summary`.
    """
    warnings = [*_not_read(found), *_leaks(found), *_look_alikes(found), *_labels(found), *_priors(found)]
    warnings += [*_files_left_out(found), *_values(found), *_sizes(found), *_colors(found)]
    return [{"kind": kind, "text": text} for kind, text in warnings]


def _leaks(found: Mapping[str, Any]) -> _Warnings:
    groups = found["duplicates"]
    for kind, parts, consequence in (
        ("labeled_in_test", (LABELED, TEST), "the model has seen them in training, so test scores are too high"),
        ("unlabeled_in_test", (UNLABELED, TEST), "training uses them without labels, so test scores may be too high"),
        ("labeled_in_val", (LABELED, VALIDATION), "the model has seen them in training, so they favor later epochs"),
        ("val_in_test", (VALIDATION, TEST), "the epoch is chosen by them, so its test scores are too high"),
        ("labeled_in_unlabeled", (LABELED, UNLABELED), "harmless, but they are counted twice"),
    ):
        if both := [group for group in groups if set(parts) <= set(group["parts"])]:
            yield kind, f"{counted(both, 'image')} of {parts[0]}/ also in {parts[1]}/: {consequence}{_files(both)}"
    if found["held_out"]:
        copies = [group for group in groups if group["parts"].count(LABELED) > 1]
        copies += [pair for pair in found["near_duplicates"] if pair["parts"].count(LABELED) > 1]
        if copies:
            yield (
                "copies_held_out",
                f"{counted(copies, 'image')} more than once in {LABELED}/, of which a fifth is held out: copies on "
                f"both sides make test scores too high; remove them, or make a {TEST}/ folder{_files(copies, ' ≈ ')}",
            )
    # Blank images in several classes say that some images are blank, not that a label is wrong: see `_values`.
    if conflicting := [group for group in groups if len(_labels_of(group)) > 1 and not group["blank"]]:
        yield "two_labels", f"{counted(conflicting, 'image')} with two labels, one of them wrong{_files(conflicting)}"


def _look_alikes(found: Mapping[str, Any]) -> _Warnings:
    pairs = found["near_duplicates"]
    for kind, part, consequence in (
        ("near_labeled_in_test", LABELED, "if they show the same, test scores are too high"),
        ("near_unlabeled_in_test", UNLABELED, "if they show the same, test scores may be too high"),
    ):
        if both := [pair for pair in pairs if set(pair["parts"]) == {part, TEST}]:
            # A test image may be in two pairs: with the image most like it, and with one of another class.
            tested = {pair["files"][pair["parts"].index(TEST)] for pair in both}
            text = f"{counted(tested, 'image')} of {TEST}/ nearly equal to one of {part}/: {consequence}"
            yield kind, text + _files(both, " ≈ ")
    if conflicting := [pair for pair in pairs if len(_labels_of(pair)) > 1]:
        text = f"{counted(conflicting, 'pair')} of nearly equal images in different classes: is a label wrong?"
        yield "near_two_labels", text + _files(conflicting, " ≈ ")


def _not_read(found: Mapping[str, Any]) -> _Warnings:
    if lines := found["not_read_lines"]:
        more = f"; and {len(lines) - NAMED:,} more kinds of files" if len(lines) > NAMED else ""
        yield "not_read", "; ".join(lines[:NAMED]) + more
    for note in found["layout"]:
        yield "layout", note


def _labels_of(group: Mapping[str, Any]) -> set[str]:
    """The classes that labeled/ and test/ give to a group of duplicates."""
    return {name for name, part in zip(group["classes"], group["parts"], strict=True) if part != UNLABELED}


def _labels(found: Mapping[str, Any]) -> _Warnings:
    classes, labeled, unlabeled = found["classes"], found["counts"][LABELED], found["counts"][UNLABELED]
    if missing := [c["name"] for c in classes if not c["labeled"]]:
        yield "no_labels", f"no labeled images: {named(missing)}"
    if single := [c["name"] for c in classes if c["labeled"] == 1]:
        yield "one_label", f"only one labeled image: {named(single)}; the class is learned from it alone"
    if few := [f"{c['name']} {c['labeled']}" for c in classes if 1 < c["labeled"] < FEW_LABELS]:
        yield "few_labels", f"fewer than {FEW_LABELS} labeled images: {named(few)}"
    if 0 < unlabeled < labeled:
        yield (
            "few_unlabeled",
            f"fewer unlabeled images ({unlabeled:,}) than labeled ones ({labeled:,}): they add little to the labels",
        )
    if found["held_out"]:
        yield "no_test", f"no {TEST}/: a fifth of each class is held out for testing"
    elif missing := [c["name"] for c in classes if not c["test"]]:
        yield "missing_in_test", f"no test images: {named(missing)}"
    if few := [f"{c['name']} {c['test']}" for c in classes if 0 < c["test"] < FEW_TO_TEST]:
        yield "few_to_test", f"fewer than {FEW_TO_TEST} test images: {named(few)}"
    if alike := _alike([c["name"] for c in classes]):
        yield "alike_names", f"class names that differ only in spelling: {named(alike)}"


def _priors(found: Mapping[str, Any]) -> _Warnings:
    labeled = [c["labeled"] for c in found["classes"]]
    for kind, counts, text in (
        (
            "test_prior",
            [c["test"] for c in found["classes"]],
            f"the class distribution of {TEST}/ differs from that of the labeled images ({{apart}}): look at balanced "
            "accuracy, which does not depend on it, before accuracy",
        ),
        (
            "unlabeled_prior",
            [c["unlabeled"] or 0 for c in found["classes"]],
            f"judging by folder names, the class distribution of {UNLABELED}/ differs from that of the labeled images "
            "({apart}), but UDAL assumes them equal: --unlabeled_prior=estimate estimates it during training",
        ),
    ):
        if sum(counts) and sum(labeled) and (apart := _distance(labeled, counts)) > FAR_APART:
            yield kind, text.format(apart=f"{100 * apart:.0f} % of the images would have to change class to match")


def _sizes(found: Mapping[str, Any]) -> _Warnings:
    side, shape = found["short_side"], found["long_by_short"]
    if 0 < side["min"] < VERY_SMALL:
        yield "very_small", f"the smallest image has a short side of {side['min']} pixels and will be enlarged"
    if side["min"] and side["max"] / side["min"] >= MIXED_SIZES:
        yield "mixed_sizes", f"short sides from {side['min']} to {side['max']} pixels: all are resized to one size"
    if shape["max"] > ELONGATED:
        yield (
            "not_square",
            f"images up to {shape['max']:.1f} times as long as wide: training uses the center square only; see the "
            "contact sheet for what is cut off",
        )


def _colors(found: Mapping[str, Any]) -> _Warnings:
    counts, gray = found["counts"], found["gray"]
    fractions = {part: gray[part] / counts[part] for part in counts if counts[part]}
    if max(fractions.values()) - min(fractions.values()) > MIXED_GRAY:
        shown = ", ".join(f"{100 * fraction:.0f} % of {part}/" for part, fraction in fractions.items())
        yield "gray_differs", f"gray images: {shown}; the parts can be told apart by color alone"
    elif MIXED_GRAY < sum(gray.values()) / sum(counts.values()) < 1 - MIXED_GRAY:
        yield "mixed_gray", f"{sum(gray.values()):,} gray images among color images"


def _files_left_out(found: Mapping[str, Any]) -> _Warnings:
    if bad := found["unreadable"]:
        yield "unreadable", f"{counted(bad, 'file')} cannot be read: --skip_bad_images leaves them out"
    if loose := found["loose"]:
        yield "loose", f"{counted(loose, 'image')} outside any class folder, left out ({named(loose)})"


def _values(found: Mapping[str, Any]) -> _Warnings:
    blank, sixteen_bit = found["blank"], found["sixteen_bit"]
    in_classes = [group for group in found["duplicates"] if group["blank"] and len(_labels_of(group)) > 1]
    if in_classes:
        yield "blank_in_classes", f"{counted(in_classes, 'blank image')} in several classes{_files(in_classes)}"
    if blank:
        yield "blank", f"{counted(blank, 'image')} nearly of one color, with little to learn from ({named(blank)})"
    if dark := sixteen_bit["dark"]:
        yield (
            "twelve_bit",
            f"{len(dark):,} of {counted(range(sixteen_bit['count']), '16-bit image')} with no value above 4095, as in "
            f"12-bit data: read as 16-bit they are nearly black; scale their values up to 65535 ({named(dark)})",
        )


def _distance(ours: Sequence[int], theirs: Sequence[int]) -> float:
    """Total variation distance of two distributions given by counts."""
    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    return float(np.abs(a / a.sum() - b / b.sum()).sum() / 2)


def _alike(names: Sequence[str]) -> list[str]:
    spelled = [spelling(name) for name in names]
    return [name for name, plain in zip(names, spelled, strict=True) if spelled.count(plain) > 1]


def _files(groups: Sequence[Mapping[str, Any]], between: str = " = ") -> str:
    return f" ({named([between.join(map(shown, group['files'][:NAMED])) for group in groups])})"
