"""Which GPUs each job of a sweep on this machine gets.

A job sees its own alone, by CUDA_VISIBLE_DEVICES, so that its run uses one device as if the machine had no other.
"""

import shutil
import subprocess
from collections.abc import Sequence

# nvidia-smi waits for a driver that hangs.
_SECONDS = 30


def names(visible: str | None) -> list[str]:
    """The names of this machine's GPUs for CUDA_VISIBLE_DEVICES.

    Args:
      visible: the variable's value in the sweep's own environment, whose GPUs alone are used; None if it is not set:
        then all that nvidia-smi lists.

    >>> names("3,GPU-8a1f,-1,2"), names("")
    (['3', 'GPU-8a1f'], [])
    """
    if visible is not None:
        found = [name.strip() for name in visible.split(",")]
        # CUDA stops at the first name that is none.
        return found[: next((i for i, name in enumerate(found) if name in ("", "-1")), len(found))]
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ValueError(
            f"nvidia-smi cannot list this machine's GPUs ({error}): set CUDA_VISIBLE_DEVICES, or give --gpus_per_job=0"
        ) from error
    return listed.split()


def variables(gpus: Sequence[str], jobs: int, per_job: int | None) -> list[dict[str, str]]:
    """The environment variables of each of the jobs that run at a time.

    Args:
      gpus: names of the machine's.
      jobs: how many run at a time.
      per_job: GPUs of a job; 0 lets every job see all; None is 1 if there are any.

    Returns:
      a dict for each job. Jobs share GPUs only if there are not enough; their memory then grows with use, as the first
      one would otherwise take all.

    Raises:
      ValueError: for more GPUs than there are.

    >>> variables(["0", "1"], 2, None)
    [{'CUDA_VISIBLE_DEVICES': '0'}, {'CUDA_VISIBLE_DEVICES': '1'}]
    >>> variables(["0"], 2, 1)[1]
    {'CUDA_VISIBLE_DEVICES': '0', 'TF_FORCE_GPU_ALLOW_GROWTH': 'true'}
    >>> variables([], 2, None)
    [{}, {}]
    """
    per_job = min(1, len(gpus)) if per_job is None else per_job
    if per_job == 0:
        return [{} for _ in range(jobs)]
    if per_job > len(gpus):
        raise ValueError(
            f"--gpus_per_job={per_job}: this machine has {len(gpus)} GPUs (CUDA_VISIBLE_DEVICES, nvidia-smi)"
        )
    parts = [gpus[first : first + per_job] for first in range(0, len(gpus) - per_job + 1, per_job)]
    growth = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"} if jobs > len(parts) else {}
    return [{"CUDA_VISIBLE_DEVICES": ",".join(parts[job % len(parts)]), **growth} for job in range(jobs)]
