"""TensorFlow imported and used without the notes that it prints: what the user must know is passed on.

TensorFlow 2.18 and later print them to file descriptor 2 before TF_CPP_MIN_LOG_LEVEL has any effect. With
TF_CPP_MIN_LOG_LEVEL=0 everything is shown.
"""

import contextlib
import faulthandler
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Notes (I), in the format of either logging library; what is said of each CUDA library that is linked twice; error 303,
# that the machine has no driver of GPUs at all (one that fails has another number); and two of exported models.
_NOTES = re.compile(
    r"WARNING: All log messages before absl::InitializeLog\(\)|I\d{4} |\d{4}-\d\d-\d\d [\d:.]+: I |"
    r".*(Unable to register cu\w+ factory|computation placer already registered|cuInit.*\(303\)|"
    r"oneDNN supports DT_UINT8 only|INFO: Created TensorFlow Lite XNNPACK delegate)"
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Standard error without TensorFlow's notes; everything else that the block prints there follows at its end."""
    if os.environ.get(LEVEL) == "0":
        yield
        return
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(file.fileno(), 2)
        watched = not faulthandler.is_enabled()
        if watched:  # So that a crash, as by a processor without AVX, says where it was.
            faulthandler.enable(real)
        try:
            yield
        finally:
            sys.stderr.flush()
            if watched:
                faulthandler.disable()
            os.dup2(real, 2)
            os.close(real)
            file.seek(0)
            for line in file.read().decode("utf-8", "replace").splitlines(keepends=True):
                if not _NOTES.match(line):
                    sys.stderr.write(line)


def import_tensorflow() -> None:
    """Imports TensorFlow and looks for GPUs, quietly."""
    with quiet():
        import tensorflow

        # Not where libtpu is: it holds the TPU from then on, and `make_strategy` decides about that.
        if not importlib.util.find_spec("libtpu"):
            tensorflow.config.list_physical_devices("GPU")
