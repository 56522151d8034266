"""The revision of the code that produced a result."""

import functools
import pathlib
import subprocess

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]


@functools.cache
def commit() -> str:
    """The commit of the package's checkout, "" without one; marked if tracked files were modified."""
    git = ["git", "-C", str(_PACKAGE)]
    try:
        own = subprocess.run([*git, "ls-files", "--error-unmatch", "config.py"], capture_output=True)
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
        )
    except OSError:
        return ""
    # An installed package may be inside another project's checkout.
    if own.returncode or head.returncode:
        return ""
    return head.stdout.strip() + (" (modified)" if changed.stdout.strip() else "")
