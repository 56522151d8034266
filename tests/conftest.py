"""Settings of the test process: quiet TensorFlow, two logical CPU devices, the golden folder."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Left unsaid, TensorFlow turns oneDNN on by the processor. A value that is set stays; the suite must hold with either.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import pytest


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """The folder of conformance vectors: $UDAL_GOLDEN, by default tests/golden."""
    return pathlib.Path(os.environ.get("UDAL_GOLDEN", pathlib.Path(__file__).parent / "golden"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> pathlib.Path:
    """The work folder of a finished UDAL run on digits-LT, 2 epochs of 2 steps. Many tests read it: none may write."""
    from udal_tf.config import resolve
    from udal_tf.training.experiment import train_and_evaluate

    folder = tmp_path_factory.mktemp("tiny") / "run"
    tiny = {"epochs": 2, "steps_per_epoch": 2, "batch_size": 8, "unlabeled_ratio": 2, "ema_decay": 0.5}
    train_and_evaluate(resolve({**tiny, "learning_rate": 0.1, "workdir": str(folder)}))
    return folder
