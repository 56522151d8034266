"""Whether a run gets slower or larger while it trains: steps per second and memory, epoch by epoch.

    python benchmarks/flatness.py
    python benchmarks/flatness.py --epochs=20 -- --dataset=digitslt --base=mixmatch

Starts `run.py` in a process of its own and reads its record and its memory from outside (Linux). An epoch's seconds
hold its training and the evaluation of the epoch before; the first epoch also compiles, so rates count from the second.
Prints a Markdown table, and how the last quarter of the epochs compares with the first quarter behind the first epoch.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

RUN = pathlib.Path(__file__).resolve().parents[1] / "run.py"
POLL_SECONDS = 0.05


def resident_mib(pid: int) -> float:
    """MiB of memory that a process holds now."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status does not say VmRSS: the process is gone, or this is not Linux")


def watched(command: list[str], workdir: pathlib.Path) -> list[tuple[float, float]]:
    """(seconds since the training began, MiB held) at the end of each epoch. RuntimeError where the run fails."""
    record, ends = workdir / "metrics.jsonl", []
    with open(workdir.with_suffix(".log"), "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            lines = record.read_text(encoding="utf-8").splitlines(keepends=True) if record.exists() else []
            rows = [json.loads(line) for line in lines if line.endswith("\n")]
            if len(rows) > len(ends):
                ends.append((rows[len(ends)]["seconds"], resident_mib(process.pid)))
            time.sleep(POLL_SECONDS)
    if process.returncode:
        said = pathlib.Path(log.name).read_text(encoding="utf-8")[-3000:]
        raise RuntimeError(f"run.py ended with {process.returncode}; it said:\n{said}")
    return ends


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20, help="At least 5.")
    parser.add_argument("--steps_per_epoch", type=int, default=200)
    parser.add_argument("flags", nargs="*", help="Further flags of run.py, behind --.")
    args = parser.parse_args()
    if args.epochs < 5:
        parser.error(f"--epochs must be at least 5, got {args.epochs}")
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder) / "run"
        own = [f"--epochs={args.epochs}", f"--steps_per_epoch={args.steps_per_epoch}", f"--workdir={workdir}"]
        ends = watched([sys.executable, str(RUN), *own, *args.flags], workdir)
    rates = [args.steps_per_epoch / (b[0] - a[0]) for a, b in zip(ends, ends[1:], strict=False)]
    print("| epoch | steps/s | MiB held at its end |\n|---|---|---|")
    for number, (_, mib) in enumerate(ends, start=1):
        print(f"| {number} | {f'{rates[number - 2]:.1f}' if number > 1 else '–'} | {mib:,.0f} |")
    quarter = max(1, len(rates) // 4)
    first, last = statistics.median(rates[:quarter]), statistics.median(rates[-quarter:])
    held = [mib for _, mib in ends]
    print(
        f"\nSteps/s, median of the last {quarter} epochs against that of {quarter} from epoch 2 on: {last / first:.3f}."
        f"\nMemory at the end against epoch 1: {held[-1] / held[0]:.3f}, epoch 2: {held[-1] / held[1]:.3f}."
    )


if __name__ == "__main__":
    main()
