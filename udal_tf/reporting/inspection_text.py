"""Output of `udal-inspect`: a folder's counts, errors and warnings, and the command to train on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from udal_tf.reporting.terminal import command_text, duration, table_text, wrapped
from udal_tf.shown_names import shown

# What is compared is said: near duplicates are looked for only where they would do harm.
NO_FAULTS = (
    "Every image file is readable; no two have equal pixels, and none of the test images or of different classes look "
    "alike."
)
# Entries shown of a long list; --json has all.
SHOWN = 10


def inspection_text(found: Mapping[str, Any]) -> str:
    """The findings of `commands.inspect.inspect`, formatted for people."""
    parts = [_head(found), _classes(found), _images(found), _faults(found)]
    if found["problems"]:
        parts.append(_bullets("This folder cannot be used for training:", found["problems"]))
    if found["warnings"]:
        parts.append(_bullets("Warnings:", [warning["text"] for warning in found["warnings"]]))
    parts.append(_recipe(found))
    if found["label_issues"]:
        parts.append(_label_issues(found["label_issues"]))
    return "\n\n".join(part for part in parts if part)


def _head(found: Mapping[str, Any]) -> str:
    counts = found["counts"]
    test = "a fifth of the labeled images held out for testing" if found["held_out"] else f"{counts['test']:,} test"
    if "val" in counts:
        test = f"{counts['val']:,} for validation, {test}"
    return wrapped(
        f"{shown(found['folder'])}: {len(found['classes'])} classes, {counts['labeled']:,} labeled images, "
        f"{counts['unlabeled']:,} unlabeled, {test}"
    )


def _classes(found: Mapping[str, Any]) -> str:
    classes = sorted(found["classes"], key=lambda c: -c["labeled"])
    total = max(1, found["counts"]["labeled"])
    rows = []
    for c in classes:
        unlabeled = "–" if c["unlabeled"] is None else f"{c['unlabeled']:,}"
        percent = 100 * c["labeled"] / total
        rows.append([shown(c["name"]), f"{c['labeled']:,}", f"{percent:.1f} %", unlabeled, f"{c['test']:,}"])
    lines = [table_text(["class", "labeled", "fraction", "unlabeled", "test"], rows)]
    if found["imbalance"]:
        labeled = [c for c in classes if c["labeled"]]
        without = [shown(c["name"]) for c in classes if not c["labeled"]]
        of_read = " of the images that are read" if found["not_read"] or found["unreadable"] else ""
        ratio = (
            f"imbalance γ = {found['imbalance']:.3g} ({shown(labeled[0]['name'])} : {shown(labeled[-1]['name'])})"
            f"{of_read}, label fraction β = {found['beta']:.3g}"
        )
        lines.append(wrapped(ratio, following="  "))
        if without:
            lines.append(wrapped(f"no labeled images, left out of γ: {', '.join(without)}", following="  "))
    return "\n".join(lines)


def _images(found: Mapping[str, Any]) -> str:
    side, shape, gray = found["short_side"], found["long_by_short"], sum(found["gray"].values())
    form = (
        "all square" if shape["max"] == 1 else f"aspect ratio up to {shape['max']:.2f} (median {shape['median']:.2f})"
    )
    modes = ", ".join(f"{mode} {count:,}" for mode, count in found["modes"].items())
    return wrapped(
        f"Short side {side['min']} to {side['max']} pixels (median {side['median']:g}), {form}; "
        f"modes: {modes or 'none'}; {gray:,} grayscale"
    )


def _faults(found: Mapping[str, Any]) -> str:
    copies = [group for group in found["duplicates"] if group["same_bytes"]]
    alike = [group for group in found["duplicates"] if not group["same_bytes"]]
    lists = [
        _listed("Files that are not read, by folder", found["not_read_lines"]),
        _listed("Unreadable files", [f"{shown(one['file'])}: {shown(one['fault'])}" for one in found["unreadable"]]),
        _listed("Groups of identical files", [_joined(group, " = ") for group in copies]),
        _listed("Groups of files with identical pixels", [_joined(group, " = ") for group in alike]),
        _listed(
            "Pairs of nearly equal images, of two parts or classes",
            [_joined(pair, " ≈ ") for pair in found["near_duplicates"]],
        ),
    ]
    return "\n".join(text for text in lists if text) or wrapped(NO_FAULTS)


def _joined(group: Mapping[str, Any], between: str) -> str:
    more = f"{between}…" if len(group["files"]) > SHOWN else ""
    return between.join(map(shown, group["files"][:SHOWN])) + more


def _listed(what: str, entries: Sequence[str]) -> str:
    if not entries:
        return ""
    more = [f"  and {len(entries) - SHOWN:,} more (--json lists all)"] if len(entries) > SHOWN else []
    return "\n".join(
        [f"{what} ({len(entries):,}):", *(wrapped(entry, "  ", "    ") for entry in entries[:SHOWN]), *more]
    )


def _bullets(title: str, texts: Sequence[str]) -> str:
    return "\n".join([title, *(wrapped(text, "  - ", "    ") for text in texts)])


def _recipe(found: Mapping[str, Any]) -> str:
    recipe, timing, sheet = found["recipe"], found["time"], shown(found["contact_sheet"])
    lines = []
    if recipe:
        settings = " ".join(f"--{name}={value}" for name, value in recipe["settings"].items())
        lines += ["To train:", command_text(recipe["command"]), wrapped(f"which expands to {settings}", "  ", "    ")]
    if recipe and timing:
        lines.append(wrapped(_time_text(recipe, timing), "  ", "  "))
    look = (
        f"Look at {sheet} first: strongly augmented views must still show their class. If mirroring changes the class "
        "of an image, add --flip=false; if color determines it, leave Invert, Solarize and Color out of --strong_ops."
    )
    return "\n".join([*lines, wrapped(look)])


def _label_issues(issues: Mapping[str, Any]) -> str:
    rows = [
        [one["file"], one["label"], one["suggested"], f"{one['confidence']:.2f}", "yes" if one["marked"] else ""]
        for one in issues["named"]
    ]
    not_judged = (
        f" {issues['not_judged']:,} only images of their classes are not judged." if issues["not_judged"] else ""
    )
    about = (
        f"Of {issues['judged']:,} labels these {len(rows):,} are the most doubtful, worst first; confident learning "
        f"marks {issues['marked']:,} as wrong.{not_judged} Each is judged by a logistic regression on the model's "
        "features that has not seen this label. If the model itself was trained on it, its features know of it, and "
        f"few or none are marked: look at {shown(issues['sheet'])} before you change any. Also in "
        f"{shown(issues['table'])}."
    )
    return table_text(["file", "label", "suggested", "conf.", "marked"], rows) + "\n" + wrapped(about)


def _time_text(recipe: Mapping[str, Any], timing: Mapping[str, Any]) -> str:
    if not timing["steps"]:
        return (
            f"It would take more than {duration(timing['total_seconds'])} on this machine, for the first of its "
            f"{recipe['steps']:,} steps, compiling included, took that long; no further one was measured. A GPU, fewer "
            "images per step (--batch_size, --unlabeled_ratio) or smaller ones (--image_size) make it faster."
        )
    return (
        f"It would take about {duration(timing['total_seconds'])} on this machine: {recipe['steps']:,} steps of "
        f"{timing['seconds_per_step']:.3g} s ({timing['steps']} were measured), {recipe['epochs']} evaluations of "
        f"{timing['seconds_per_evaluation']:.2g} s, and {timing['seconds_to_compile']:.0f} s to compile."
    )
