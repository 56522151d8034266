"""What is to be known about a folder before training on it, in plain words, from `inspection.summary` alone."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np

from udal_tf.data.folder_listing import LABELED, NAMED, TEST, UNLABELED
from udal_tf.folder_recipe import FEW_LABELS

# Half the sum of differences of two distributions: from here on they are said to differ.
FAR_APART = 0.25
# Images to test a class on below which its recall is a guess.
FEW_TO_TEST = 10
# Short sides in pixels below which there is little to see.
VERY_SMALL = 16
# How elongated an image may be before what the middle square leaves out is worth saying.
ELONGATED = 1.5
# The largest short side by the smallest one.
MIXED_SIZES = 4
# Shares of gray images between which a set is mixed, and by which two sets differ.
MIXED_GRAY = 0.02
# Images that a large network needs where it does not begin with trained weights.
ENOUGH_FOR_LARGE = 5_000

_Said = Iterator[tuple[str, str]]


def data_warnings(found: Mapping[str, Any], large_from_scratch: bool = False) -> list[dict[str, str]]:
    """Warnings, the graver ones first: each has a "kind", for programs, and a "text", for people.

    Args:
      found: `inspection.summary`. large_from_scratch: whether a large network is to begin with random weights.
    """
    said = [*_leaks(found), *_labels(found), *_priors(found)]
    said += [*_files_left_out(found), *_sizes(found), *_colors(found)]
    in_training = found["counts"][LABELED] + found["counts"][UNLABELED]
    if large_from_scratch and in_training < ENOUGH_FOR_LARGE:
        text = (
            f"{in_training:,} images are few for a large network that begins with random weights: begin with trained "
            "ones (--pretrained=FILE), or see the images small in a small network (--arch=wrn)"
        )
        said.append(("large_without_weights", text))
    return [{"kind": kind, "text": text} for kind, text in said]


def _leaks(found: Mapping[str, Any]) -> _Said:
    groups = found["duplicates"]
    for kind, parts, consequence in (
        ("labeled_in_test", (LABELED, TEST), "the test knows them already, so its scores flatter"),
        ("unlabeled_in_test", (UNLABELED, TEST), "training sees them without their label, so scores may flatter"),
        ("labeled_in_unlabeled", (LABELED, UNLABELED), "harmless, but they count twice"),
    ):
        if both := [group for group in groups if set(parts) <= set(group["parts"])]:
            yield kind, f"{_count(both, 'image')} of {parts[0]}/ also in {parts[1]}/: {consequence}{_files(both)}"
    if torn := [group for group in groups if len(_labels_of(group)) > 1]:
        yield "two_labels", f"{_count(torn, 'image')} with two labels, one of which is wrong{_files(torn)}"


def _labels_of(group: Mapping[str, Any]) -> set[str]:
    """The classes that labeled/ and test/ give a group of the same image."""
    return {name for name, part in zip(group["classes"], group["parts"], strict=True) if part != UNLABELED}


def _labels(found: Mapping[str, Any]) -> _Said:
    classes, labeled, unlabeled = found["classes"], found["counts"][LABELED], found["counts"][UNLABELED]
    if single := [c["name"] for c in classes if c["labeled"] == 1]:
        yield "one_label", f"one labeled image only: {_names(single)}; what it shows decides the whole class"
    if few := [f"{c['name']} {c['labeled']}" for c in classes if 1 < c["labeled"] < FEW_LABELS]:
        yield "few_labels", f"fewer than {FEW_LABELS} labeled images: {_names(few)}"
    if 0 < unlabeled < labeled:
        yield (
            "few_unlabeled",
            f"fewer unlabeled images ({unlabeled:,}) than labeled ones ({labeled:,}): there is little to learn "
            "beyond the labels",
        )
    if found["held_out"]:
        yield "no_test", f"no {TEST}/: a fifth of each class is held out, and does not train"
    elif missing := [c["name"] for c in classes if not c["test"]]:
        yield "missing_in_test", f"no image to test on: {_names(missing)}"
    if few := [f"{c['name']} {c['test']}" for c in classes if 0 < c["test"] < FEW_TO_TEST]:
        yield "few_to_test", f"fewer than {FEW_TO_TEST} images to test on: {_names(few)}"
    if alike := _alike([c["name"] for c in classes]):
        yield "alike_names", f"class names that differ in spelling only: {_names(alike)}"


def _priors(found: Mapping[str, Any]) -> _Said:
    labeled = [c["labeled"] for c in found["classes"]]
    for kind, counts, text in (
        (
            "test_prior",
            [c["test"] for c in found["classes"]],
            f"the classes of {TEST}/ have other shares than the labeled images ({{apart}}): look at the mean "
            "per-class recall, which does not depend on them, before the accuracy",
        ),
        (
            "unlabeled_prior",
            [c["unlabeled"] or 0 for c in found["classes"]],
            f"by the names of its folders {UNLABELED}/ has other class shares than the labeled images ({{apart}}), "
            "and UDAL takes them to be the same: --unlabeled_prior=estimate estimates them while it trains",
        ),
    ):
        if sum(counts) and sum(labeled) and (apart := _distance(labeled, counts)) > FAR_APART:
            yield kind, text.format(apart=f"{100 * apart:.0f} % would have to change class to agree")


def _sizes(found: Mapping[str, Any]) -> _Said:
    side, shape = found["short_side"], found["long_by_short"]
    if 0 < side["min"] < VERY_SMALL:
        yield "very_small", f"the smallest image has a short side of {side['min']} pixels: it is enlarged"
    if side["min"] and side["max"] / side["min"] >= MIXED_SIZES:
        yield "mixed_sizes", f"short sides from {side['min']} to {side['max']} pixels: all are brought to one size"
    if shape["max"] > ELONGATED:
        yield (
            "not_square",
            f"images up to {shape['max']:.1f} times as long as wide: training sees the middle square only, so look "
            "at the contact sheet for what is cut off",
        )


def _colors(found: Mapping[str, Any]) -> _Said:
    counts, gray = found["counts"], found["gray"]
    shares = {part: gray[part] / counts[part] for part in counts if counts[part]}
    if max(shares.values()) - min(shares.values()) > MIXED_GRAY:
        shown = ", ".join(f"{100 * share:.0f} % of {part}/" for part, share in shares.items())
        yield "gray_differs", f"gray are {shown}: the sets can be told apart by color alone"
    elif MIXED_GRAY < sum(gray.values()) / sum(counts.values()) < 1 - MIXED_GRAY:
        yield "mixed_gray", f"{sum(gray.values()):,} gray images among colored ones"


def _files_left_out(found: Mapping[str, Any]) -> _Said:
    if bad := found["unreadable"]:
        yield "unreadable", f"{_count(bad, 'file')} cannot be read: --skip_bad_images leaves them out"
    if loose := found["loose"]:
        yield "loose", f"{_count(loose, 'image')} in no class folder, left out ({_names(loose)})"


def _distance(ours: Sequence[int], theirs: Sequence[int]) -> float:
    """Total variation distance of two distributions given by counts."""
    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    return float(np.abs(a / a.sum() - b / b.sum()).sum() / 2)


def _alike(names: Sequence[str]) -> list[str]:
    spelled = [" ".join(name.casefold().replace("_", " ").replace("-", " ").split()) for name in names]
    return [name for name, plain in zip(names, spelled, strict=True) if spelled.count(plain) > 1]


def _count(things: Sized, noun: str) -> str:
    return f"{len(things):,} {noun}" + ("" if len(things) == 1 else "s")


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _files(groups: Sequence[Mapping[str, Any]]) -> str:
    return f" ({_names([' = '.join(group['files'][:NAMED]) for group in groups])})"
