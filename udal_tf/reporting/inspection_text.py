"""What `udal-inspect` prints: a folder's counts, faults and warnings, and the command to train on it."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from udal_tf.reporting.terminal import PLAIN_WIDTH, duration, table_text

# Of a long list a text shows so many entries; --json has all.
SHOWN = 10


def inspection_text(found: Mapping[str, Any]) -> str:
    """The findings as `commands.inspect.inspect` returns them, for people."""
    parts = [_head(found), _classes(found), _images(found), _faults(found)]
    if found["problems"]:
        parts.append(_bullets("Training would refuse this folder:", found["problems"]))
    if found["warnings"]:
        parts.append(_bullets("Worth knowing:", [warning["text"] for warning in found["warnings"]]))
    parts.append(_recipe(found))
    return "\n\n".join(part for part in parts if part)


def _head(found: Mapping[str, Any]) -> str:
    counts = found["counts"]
    test = "a fifth of the labeled ones held out to test" if found["held_out"] else f"{counts['test']:,} to test"
    return (
        f"{found['folder']}: {len(found['classes'])} classes, {counts['labeled']:,} labeled images, "
        f"{counts['unlabeled']:,} unlabeled, {test}"
    )


def _classes(found: Mapping[str, Any]) -> str:
    classes = sorted(found["classes"], key=lambda c: -c["labeled"])
    total = max(1, found["counts"]["labeled"])
    rows = []
    for c in classes:
        unlabeled = "–" if c["unlabeled"] is None else f"{c['unlabeled']:,}"
        share = 100 * c["labeled"] / total
        rows.append([c["name"], f"{c['labeled']:,}", f"{share:.1f} %", unlabeled, f"{c['test']:,}"])
    lines = [table_text(["class", "labeled", "share", "unlabeled", "test"], rows)]
    if found["imbalance"]:
        lines.append(
            f"imbalance γ = {found['imbalance']:.3g} ({classes[0]['name']} : {classes[-1]['name']}), "
            f"labeled share β = {found['beta']:.3g}"
        )
    return "\n".join(lines)


def _images(found: Mapping[str, Any]) -> str:
    side, shape, gray = found["short_side"], found["long_by_short"], sum(found["gray"].values())
    form = (
        "all square" if shape["max"] == 1 else f"up to {shape['max']:.2f} times as long (median {shape['median']:.2f})"
    )
    modes = ", ".join(f"{mode} {count:,}" for mode, count in found["modes"].items())
    return (
        f"Short side {side['min']} to {side['max']} pixels (median {side['median']:g}), {form}; "
        f"kinds: {modes or 'none'}; {gray:,} gray"
    )


def _faults(found: Mapping[str, Any]) -> str:
    copies = [group for group in found["duplicates"] if group["same_bytes"]]
    alike = [group for group in found["duplicates"] if not group["same_bytes"]]
    lists = [
        _listed("Cannot be read", [f"{one['file']}: {one['fault']}" for one in found["unreadable"]]),
        _listed("Groups of equal files", [" = ".join(group["files"]) for group in copies]),
        _listed("Groups of files with equal pixels", [" = ".join(group["files"]) for group in alike]),
    ]
    return "\n".join(text for text in lists if text) or "Every file can be read, and no two show the same."


def _listed(what: str, entries: Sequence[str]) -> str:
    if not entries:
        return ""
    more = [f"  and {len(entries) - SHOWN:,} more (--json lists all)"] if len(entries) > SHOWN else []
    return "\n".join([f"{what} ({len(entries):,}):", *(f"  {entry}" for entry in entries[:SHOWN]), *more])


def _bullets(title: str, texts: Sequence[str]) -> str:
    return "\n".join([title, *(_wrapped(text, "  - ", "    ") for text in texts)])


def _recipe(found: Mapping[str, Any]) -> str:
    recipe, timing, sheet = found["recipe"], found["time"], found["contact_sheet"]
    lines = []
    if recipe:
        settings = " ".join(f"--{name}={value}" for name, value in recipe["settings"].items())
        lines += ["To train on it:", f"  {recipe['command']}", _wrapped(f"which stands for {settings}", "  ", "    ")]
    if timing:
        text = (
            f"It would take about {duration(timing['total_seconds'])} on this machine: {recipe['steps']:,} steps of "
            f"{timing['seconds_per_step']:.3g} s ({timing['steps']} were timed), {recipe['epochs']} evaluations of "
            f"{timing['seconds_per_evaluation']:.2g} s, and {timing['seconds_to_compile']:.0f} s to compile."
        )
        lines.append(_wrapped(text, "  ", "  "))
    look = (
        f"Look at {sheet} first: a strong view must still show its class. Where a mirrored image would be of another "
        "class, add --flip=false; where color makes the class, leave Invert, Solarize and Color out of --strong_ops."
    )
    return "\n".join([*lines, _wrapped(look, "", "")])


def _wrapped(text: str, first: str, following: str) -> str:
    return textwrap.fill(
        text,
        PLAIN_WIDTH,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )
