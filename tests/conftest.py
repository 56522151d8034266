"""Settings of the test process: quiet TensorFlow, two logical CPU devices, the golden folder."""

import gc
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Left unsaid, TensorFlow turns oneDNN on by the processor. A value that is set stays; the suite must hold with either.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import forked
import pytest

# The garbage collector finds nothing among what is imported, and looks through it again and again.
gc.disable()

# Files whose trainings take longest: they run first, so that no worker is left with one of them in the end.
LONGEST = (
    "test_distribute.py",
    "test_devices.py",
    "test_keras_model.py",
    "test_resume.py",
    "test_loop.py",
    "test_learner.py",
    "test_every_command.py",
    "test_kernels.py",
    "test_example.py",
    "test_sweep.py",
    "test_exporting.py",
    "test_initial_weights.py",
    "test_udal.py",
    "test_simple_methods.py",
    "test_later_methods.py",
    "test_buckets.py",
    "test_train_command.py",
    "test_faults.py",
    "test_keras_distribute.py",
    "test_conformance_step.py",
    "test_data_imagenet127.py",
    "test_crest.py",
    "test_same_images.py",
    "test_plugin.py",
    "test_unlabeled_prior.py",
    "test_validation.py",
    "test_tutorial.py",
    "test_evaluate_command.py",
    "test_folder_run.py",
    "test_step_hlo.py",
)


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """The folder of conformance vectors: $UDAL_GOLDEN, by default tests/golden."""
    return pathlib.Path(os.environ.get("UDAL_GOLDEN", pathlib.Path(__file__).parent / "golden"))


@pytest.fixture(scope="module")
def undrawn():
    """Keeps trainings from drawing their figures in the end, which takes as long as a few steps of a small network."""
    from udal_tf.training import record

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "draw", lambda rows, data, folder: None)
        yield


@pytest.fixture(scope="module")
def small_network():
    """Trains a Wide ResNet of one group: every kind of layer, and half of the tracing, which is most of a short run.

    Not beside `tiny_run` in one file, whose network is whole.
    """
    with pytest.MonkeyPatch.context() as patch:
        forked.shrink_network(patch.setattr)
        yield


@pytest.fixture
def call_command(capsys):
    """Calls a command's `main` with arguments: exit code, standard output, standard error."""

    def call(main, *arguments) -> tuple[int, str, str]:
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code or 0
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> pathlib.Path:
    """The work folder of a finished UDAL run on digits-LT, 2 epochs of 2 steps. Many tests read it: none may write."""
    from udal_tf.config import resolve
    from udal_tf.training.experiment import train_and_evaluate

    folder = tmp_path_factory.mktemp("tiny") / "run"
    tiny = {"epochs": 2, "steps_per_epoch": 2, "batch_size": 8, "unlabeled_ratio": 2, "ema_decay": 0.5}
    train_and_evaluate(resolve({**tiny, "learning_rate": 0.1, "workdir": str(folder)}))
    return folder
