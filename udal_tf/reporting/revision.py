"""Which revision of the program makes a result."""

import functools
import pathlib
import subprocess

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]


@functools.cache
def commit() -> str:
    """The commit of the checkout that the package lies in, "" without one; marked where tracked files differ."""
    git = ["git", "-C", str(_PACKAGE)]
    try:
        own = subprocess.run([*git, "ls-files", "--error-unmatch", "config.py"], capture_output=True)
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
        )
    except OSError:
        return ""
    # An installed package may lie inside somebody else's checkout.
    if own.returncode or head.returncode:
        return ""
    return head.stdout.strip() + (" and changes" if changed.stdout.strip() else "")
