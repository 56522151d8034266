"""Whether every extra of setup.py can be installed and imported, and resolves for other versions of Python.

  python benchmarks/install_extras.py                      # each extra in an environment of its own, then imported
  python benchmarks/install_extras.py tpu gpu              # these alone
  python benchmarks/install_extras.py --resolve=3.10,3.12,3.13

Installing takes minutes and up to several GB for each; environments are temporary and removed one by one. `--resolve`
finds the versions that would be installed on Linux (x86-64), by `uv`, without installing them.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parents[1]
TENSORFLOW = "import tensorflow, keras, udal_tf.training.loop"
# What is imported once an extra is installed. An extra without a TensorFlow of its own is installed with "cpu".
IMPORTS = {
    "cpu": TENSORFLOW,
    "gpu": TENSORFLOW,
    "tpu": TENSORFLOW,
    "tf219": f"{TENSORFLOW}, tensorflow_datasets; assert tensorflow.__version__ < '2.20'",
    "onnx": "import onnx, onnxruntime, tf2onnx",
    "heic": "import pillow_heif",
    "test": "import pytest, xdist, fontTools",
    "sweep": "import ray",
    "docs": "import sphinx, furo, myst_nb, autoapi",
    "parity": "import tensorflow_addons, tensorflow_probability, tensorflow",
}
# These bring a TensorFlow of their own.
ALONE = {"cpu", "gpu", "tpu", "parity"}
# Makes libtpu look for no TPU through the metadata of a virtual machine.
ENVIRONMENT = {"TPU_SKIP_MDS_QUERY": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def extras() -> list[str]:
    """The names of setup.py's extras."""
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    block = text[text.index("extras_require={") : text.index("entry_points=")]
    return re.findall(r'^        "(\w+)": ', block, re.MULTILINE)


def requirement(extra: str) -> str:
    """What pip is given for an extra: the path of this repository and the extras in brackets."""
    return f"{ROOT}[{extra if extra in ALONE else f'cpu,{extra}'}]"


def tail(process: subprocess.CompletedProcess[str]) -> str:
    """The last line that a failed process printed, or its signal."""
    lines = (process.stderr or process.stdout).strip().splitlines()
    signal = f"signal {-process.returncode}: " if process.returncode < 0 else ""
    return signal + (lines[-1] if lines else "no output")


def install(extra: str) -> str:
    """Installs an extra in a new environment and imports it. Returns "" or what failed."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(pathlib.Path(folder) / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
        installed = subprocess.run([*pip, requirement(extra)], capture_output=True, text=True)
        if installed.returncode:
            return f"pip: {tail(installed)}"
        frozen = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True).stdout
        kept = re.findall(r"^(?:tensorflow(?:[-_](?:cpu|tpu))?|libtpu|keras|numpy)==.*$", frozen, re.MULTILINE)
        print("  " + ", ".join(kept))
        ran = subprocess.run(
            [python, "-c", IMPORTS[extra]],
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            cwd=folder,
        )
        return f"import: {tail(ran)}" if ran.returncode else ""


def resolve(extra: str, version: str) -> str:
    """Resolves an extra for a version of Python. Returns "" or what failed."""
    command = ["uv", "pip", "compile", "--quiet", "--no-header", f"--python-version={version}"]
    command += ["--python-platform=x86_64-manylinux_2_31", f"--extra={extra}", "setup.py"]
    command += [] if extra in ALONE else ["--extra=cpu"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if found.returncode:
        return tail(found)
    kept = re.findall(r"^(?:tensorflow(?:[-_](?:cpu|tpu))?|keras|numpy)==\S+", found.stdout, re.MULTILINE)
    print("  " + ", ".join(kept))
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras", nargs="*", help="of setup.py; all of them by default")
    parser.add_argument("--resolve", metavar="VERSION[,VERSION]", help="versions of Python, such as 3.10,3.12")
    args = parser.parse_args()
    known = extras()
    if unknown := sorted(set(args.extras) - set(known)):
        parser.error(f"no extra of setup.py: {', '.join(unknown)}")
    if missing := sorted(set(known) - set(IMPORTS)):
        parser.error(f"IMPORTS does not say what to import for {', '.join(missing)}")
    versions = args.resolve.split(",") if args.resolve else [""]
    failed = 0
    for version in versions:
        for extra in args.extras or known:
            print(f"{extra}{f' for Python {version}' if version else ''}", flush=True)
            start = time.monotonic()
            fault = resolve(extra, version) if version else install(extra)
            failed += bool(fault)
            print(f"  {fault or 'works'} ({time.monotonic() - start:.0f} s)", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
