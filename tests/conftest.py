"""Settings of the test process: quiet TensorFlow, two logical CPU devices, the golden folder."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The vectors were computed without oneDNN, whose other convolution algorithms round differently.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import pytest


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """The folder of conformance vectors: $UDAL_GOLDEN, by default tests/golden."""
    return pathlib.Path(os.environ.get("UDAL_GOLDEN", pathlib.Path(__file__).parent / "golden"))
