"""A finished run whose JSON files are damaged at random: every command has a result or names the file, exit code 2.

    python benchmarks/damaged_json.py [--cases=300] [--seed=0]

Trains a small run on digits-LT. In each case one of its files gets a damage of copies, editors, power cuts or other
versions, in a copy of the folder; then `report`, `udal-predict` and `run.py` are called on it, in this process. Prints
how each of them ended and the failures; exits with 1 if there are any.
"""

import argparse
import collections
import contextlib
import io
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags
from absl.testing import flagsaver
from PIL import Image

from udal_tf.commands import predict, report, train
from udal_tf.config import resolve
from udal_tf.reporting import figures, plotting, run_figures
from udal_tf.training.experiment import train_and_evaluate

TINY = {"epochs": 2, "steps_per_epoch": 2, "batch_size": 8, "unlabeled_ratio": 2, "learning_rate": 0.1}
FILES = ("config.json", "result.json", "metrics.jsonl", "model.json")
VALUES = (None, True, -1, 0, 10**30, 1e308, float("nan"), "", "x", "\0", [], [None], {}, {"x": 1})


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def nul_bytes(content: bytes, draw: random.Random) -> bytes:
    at, count = draw.randrange(len(content)), draw.randrange(1, 200)
    return content[:at] + bytes(count) + content[at + count :]


def changed_bytes(content: bytes, draw: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(draw.randrange(1, 6)):
        found[draw.randrange(len(found))] = draw.randrange(256)
    return bytes(found)


def in_json(change: Callable[[Any, Any, random.Random], None]) -> Callable[[bytes, random.Random], bytes]:
    """A damage that is valid JSON. change: is given an object or list, one of its keys or positions, and the chance."""

    def damage(content: bytes, draw: random.Random) -> bytes:
        lines = [json.loads(line) for line in content.splitlines()] if b"}\n{" in content else [json.loads(content)]
        part = draw.choice(lines)
        while True:
            key = draw.choice(list(part) if isinstance(part, dict) else range(len(part)))
            if not isinstance(part[key], (dict, list)) or not part[key] or draw.random() < 0.3:
                break
            part = part[key]
        change(part, key, draw)
        return "\n".join(map(json.dumps, lines)).encode() + b"\n"

    return damage


def another_value(part: Any, key: Any, draw: random.Random) -> None:
    part[key] = draw.choice(VALUES)


def missing_value(part: Any, key: Any, draw: random.Random) -> None:
    del part[key]


DAMAGES = {
    "cut": cut,
    "NUL bytes": nul_bytes,
    "bytes changed": changed_bytes,
    "another value": in_json(another_value),
    "a value missing": in_json(missing_value),
}


def outcome(call: Callable[[], object]) -> str:
    """ "result", "refused", or what went wrong."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            call()
    except SystemExit as ended:
        if ended.code in (0, None):
            return "result"
        clear = ended.code == 2 and "error: " in err.getvalue() and "Traceback" not in err.getvalue()
        return "refused" if clear else f"exit code {ended.code}: {err.getvalue()}"
    except BaseException:
        return traceback.format_exc()
    return "result"


def commands(run: pathlib.Path, image: pathlib.Path) -> dict[str, Callable[[], object]]:
    def trained() -> None:
        with flagsaver.flagsaver():
            train._main(
                flags.FLAGS(["run.py", *(f"--{name}={value}" for name, value in TINY.items()), f"--workdir={run}"])
            )

    return {
        "report": lambda: report.main([str(run), f"--out={run.parent / 'report'}"]),
        "predict": lambda: predict.main([str(run), str(image)]),
        "train": trained,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw, counts = random.Random(args.seed), collections.Counter[tuple[str, str]]()
    train.define_flags()
    # Figures are drawn from what has been read, and take longer than all else.
    figures.paper_figures = run_figures.run_figures = lambda *given: []
    plotting.drawn = lambda sketches, place, processes=1: list
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        root = pathlib.Path(name)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(root / "a.png")
        train_and_evaluate(resolve({**TINY, "workdir": str(root / "good")}))
        for case in range(args.cases):
            file, damage = draw.choice(FILES), draw.choice(list(DAMAGES))
            run = root / "run"
            shutil.copytree(root / "good", run)
            content = DAMAGES[damage]((run / file).read_bytes(), draw)
            (run / file).write_bytes(content)
            for command, call in commands(run, root / "a.png").items():
                found = outcome(call)
                kind = found if found in ("result", "refused") else "failed"
                counts[command, kind] += 1
                if kind == "failed":
                    print(f"case {case}: {command}, {damage} in {file}:\n{found[-1500:]}", file=sys.stderr)
            shutil.rmtree(run)
            shutil.rmtree(root / "report", ignore_errors=True)
    failed = sum(count for (_, kind), count in counts.items() if kind == "failed")
    for command in ("report", "predict", "train"):
        print(f"{command}: {counts[command, 'result']} results, {counts[command, 'refused']} refused")
    print(f"{args.cases} cases, {failed} failures")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
