"""scripts/: each starts run.py with the settings that its first comment says, and hands on what it is given."""

import json
import os
import pathlib
import shlex
import subprocess
import sys

import pytest
from absl import flags

from udal_tf.config import define_flags, from_flags

SCRIPTS = pathlib.Path(__file__).resolve().parents[1] / "scripts"
# Stands in for Python: prints its arguments and what of the environment the scripts set.
STUB = """#!{python}
import json, os, sys
print(json.dumps([sys.argv[1:], {{name: os.environ.get(name) for name in ("TF_CONFIG", "CUDA_VISIBLE_DEVICES")}}]))
"""


def started(tmp_path, script, **environment):
    stub = tmp_path / "python"
    stub.write_text(STUB.format(python=sys.executable))
    stub.chmod(0o755)
    command = [str(SCRIPTS / script), "--dataset=cifar10lt", "--imbalance=50"]
    environment = {**os.environ, "PYTHON": str(stub), **environment}
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    (run, *arguments), variables = json.loads(printed)
    assert pathlib.Path(run).resolve() == SCRIPTS.parent / "run.py"
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    flag_values(["run.py", *arguments])
    config = from_flags(flag_values)
    assert config.data.imbalance == 50
    return config.device, variables


def test_one_gpu(tmp_path):
    device, variables = started(tmp_path, "one_gpu.sh", GPU="3")
    assert device.strategy == "one_device" and variables["CUDA_VISIBLE_DEVICES"] == "3"


def test_all_gpus(tmp_path):
    assert started(tmp_path, "all_gpus.sh")[0].strategy == "mirrored"


def test_several_hosts(tmp_path):
    device, variables = started(tmp_path, "several_hosts.sh", HOSTS="10.0.0.1:1,10.0.0.2:2", INDEX="1")
    assert device.strategy == "multi_worker"
    assert json.loads(variables["TF_CONFIG"]) == {
        "cluster": {"worker": ["10.0.0.1:1", "10.0.0.2:2"]}, "task": {"type": "worker", "index": 1},
    }  # fmt: skip


def test_tpu_vm(tmp_path):
    device, _ = started(tmp_path, "tpu_vm.sh")
    assert (device.tpu, device.input) == ("local", "host")


@pytest.mark.parametrize("missing", ["HOSTS", "INDEX"])
def test_several_hosts_says_what_is_missing(missing):
    environment = {**os.environ, "HOSTS": "a:1,b:2", "INDEX": "0"}
    del environment[missing]
    process = subprocess.run([str(SCRIPTS / "several_hosts.sh")], env=environment, capture_output=True, text=True)
    assert process.returncode and f"{missing} must" in process.stderr


def test_scripts_state_their_use_first():
    scripts = sorted(SCRIPTS.glob("*.sh"))
    assert len(scripts) == 5
    for script in scripts:
        comment = script.read_text().splitlines()
        assert comment[1].startswith("# ") and any(f"scripts/{script.name}" in line for line in comment), script
        assert shlex.split(comment[-1])[0] in ("exec", "eval", "CUDA_VISIBLE_DEVICES=${GPU:-0}")
