"""Kills one run at random moments, damages what it left, and compares its end with an uninterrupted run's.

    python benchmarks/kills.py --kills=200
    python benchmarks/kills.py --kills=20 --methods=flexda,debiaspl,simpro,cdmad,acr,abc

Each start is `run.py` in a process of its own, forked from one that has imported TensorFlow, and ended by SIGKILL at a
random moment between its start and the time that a whole run takes. After every other kill, at random, the newest
checkpoint's data or index is truncated at a random byte; after every other, the beginning of a row is appended to the
metrics. When all kills are done the run is left alone. Every weight, EMA weight, momentum and q̂ in its last checkpoint
and in `best/`, every row of metrics and every figure of the result have to be equal to the last bit.

With --methods, each method gets so many kills.

A run that has a single checkpoint, which is truncated, has to be refused; then its checkpoints are removed, as the
message advises.
"""

import argparse
import collections
import json
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from forked import Finished, Started, run_command  # noqa: E402

# Barely more than chance as the threshold, so that pseudo-labels count from the first step on; checkpoints also within
# epochs, every 0.3 s.
FLAGS = (
    "--epochs=6", "--steps_per_epoch=4", "--batch_size=4", "--unlabeled_ratio=2", "--threshold=0.12",
    "--checkpoint_minutes=0.005",
)  # fmt: skip
REFUSED = "None of the checkpoints can be read"
FELL_BACK = "trying the one before it"
POLL_SECONDS = 0.01
# Differ between runs: how long they took, and the folder in their settings.
NOT_COMPARED = ("seconds", "config")


def ended(workdir: pathlib.Path, flags: list[str], seconds: float = float("inf")) -> Finished:
    """How a start ended that was left alone for so many seconds and then killed."""
    process, began = Started(run_command, f"--workdir={workdir}", *flags, cwd=workdir.parent), time.monotonic()
    while process.running():
        if time.monotonic() - began >= seconds:
            process.kill()
            break
        time.sleep(POLL_SECONDS)
    return process.finish()


def listed(workdir: pathlib.Path) -> list[pathlib.Path]:
    """The checkpoints that TensorFlow lists as complete, oldest first, without a suffix."""
    import tensorflow as tf

    state = tf.train.get_checkpoint_state(str(workdir / "checkpoints"))
    return [pathlib.Path(path) for path in state.all_model_checkpoint_paths] if state else []


def truncate_newest(workdir: pathlib.Path, moments: random.Random) -> bool:
    """Leaves the first bytes of the newest checkpoint's data or index; False if there is none."""
    checkpoints = listed(workdir)
    if not checkpoints:
        return False
    path = pathlib.Path(f"{checkpoints[-1]}{moments.choice(['.index', '.data-00000-of-00001'])}")
    content = path.read_bytes()
    path.write_bytes(content[: moments.randrange(max(1, len(content)))])
    return True


def append_half_a_row(workdir: pathlib.Path, moments: random.Random) -> bool:
    """Appends the beginning of the last row of metrics to them; False if there is none."""
    log = workdir / "metrics.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    if not lines:
        return False
    with log.open("a", encoding="utf-8") as file:
        file.write(lines[-1][: moments.randrange(1, len(lines[-1]))])
    return True


def differences(whole: pathlib.Path, killed: pathlib.Path) -> list[str]:
    """What two finished runs do not have in common, bit by bit; empty if they are equal."""
    import tensorflow as tf

    def rows(workdir):
        lines = (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [{k: v for k, v in json.loads(line).items() if k not in NOT_COMPARED} for line in lines]

    def result(workdir):
        values = json.loads((workdir / "result.json").read_text(encoding="utf-8"))
        return {name: value for name, value in values.items() if name not in NOT_COMPARED}

    def tensors(folder):
        reader = tf.train.load_checkpoint(str(folder))
        # Counted by TensorFlow: how often the run was saved.
        names = [name for name in reader.get_variable_to_shape_map() if not name.startswith(("save_counter", "_"))]
        return {name: reader.get_tensor(name).tobytes() for name in names}

    different = [] if rows(whole) == rows(killed) else ["rows of metrics.jsonl"]
    ours, theirs = result(whole), result(killed)
    different += [f"{name} in result.json" for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    for folder in ("checkpoints", "best"):
        ours, theirs = tensors(whole / folder), tensors(killed / folder)
        different += [f"{name} in {folder}" for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return different


def check(whole: pathlib.Path, killed: pathlib.Path) -> None:
    """Raises RuntimeError where two runs ended differently."""
    if different := differences(whole, killed):
        raise RuntimeError(f"{killed} did not end as {whole} did: {', '.join(different[:10])}")


def kill_repeatedly(
    folder: pathlib.Path, kills: int, seed: int, flags: list[str], earliest: float = 0.0
) -> collections.Counter:
    """How often each thing happened while runs below a folder were killed so many times.

    earliest: no kill comes before this fraction of the time that a whole run takes.

    Raises:
      RuntimeError: if a start fails, or a run does not end as an uninterrupted one.
    """
    moments, counts = random.Random(seed), collections.Counter()
    ended(folder / "first", flags)  # Also starts the process that forks, so it takes longer than the others.
    whole, began = folder / "whole", time.monotonic()
    finished = ended(whole, flags)
    longest = time.monotonic() - began
    if finished.returncode:
        raise RuntimeError(f"the uninterrupted run ended with {finished.returncode}:\n{finished.stderr[-3000:]}")
    check(folder / "first", whole)
    killed = folder / "killed_0"
    # In the order in which they are printed.
    counts.update(dict.fromkeys(("kills", "runs", "checkpoints truncated", "half rows appended"), 0))
    while True:
        left_alone = counts["kills"] == kills
        finished = ended(killed, flags, float("inf") if left_alone else moments.uniform(earliest * longest, longest))
        counts["resumed starts"] += "Resuming from step" in finished.stdout
        counts["starts from the checkpoint before the newest"] += FELL_BACK in finished.stderr
        if finished.returncode == -signal.SIGKILL:
            counts["kills"] += 1
            # A run that had ended, as its result is there, makes no checkpoint again.
            going_on = not (killed / "result.json").exists()
            if moments.random() < 0.5 and going_on:
                counts["checkpoints truncated"] += truncate_newest(killed, moments)
            if moments.random() < 0.5 and going_on:
                counts["half rows appended"] += append_half_a_row(killed, moments)
        elif finished.returncode and REFUSED in finished.stderr and len(listed(killed)) == 1:
            counts["refused with a single, truncated checkpoint"] += 1
            shutil.rmtree(killed / "checkpoints")
        elif finished.returncode:
            raise RuntimeError(f"a start ended with {finished.returncode}:\n{finished.stderr[-3000:]}")
        else:
            check(whole, killed)
            counts["runs"] += 1
            if left_alone:
                return counts
            # Done before all kills were: the kills continue with a new run.
            killed = folder / f"killed_{counts['runs']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--methods", default="", help="comma-separated; default: the one of run.py")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the damage")
    parser.add_argument(
        "--earliest", type=float, default=0.0, help="fraction of a run's time before which none is killed"
    )
    parser.add_argument("flags", nargs="*", help="further flags of run.py, after --, without generations")
    args = parser.parse_args()
    began = time.monotonic()
    for method in args.methods.split(","):
        flags = [*FLAGS, *([f"--method={method}"] if method else []), *args.flags]
        with tempfile.TemporaryDirectory() as folder:
            counts = kill_repeatedly(pathlib.Path(folder), args.kills, args.seed, flags, args.earliest)
        seconds = time.monotonic() - began
        shown = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(f"{method}: " * bool(method) + f"{shown}, after {seconds:.0f} s", flush=True)
    print("every run ended bit-identical to the uninterrupted one")


if __name__ == "__main__":
    main()
