"""`udal-evaluate`: the scores of the run's own evaluation on its test images; its files; what it refuses."""

import csv
import functools
import json
import shutil

import matplotlib.image
import numpy as np
import pytest
from PIL import Image

from udal_tf.commands.evaluate import main
from udal_tf.config import resolve
from udal_tf.training.experiment import train_and_evaluate

CLASSES = ("apple", "mango", "zebra")


def write_images(root):
    """Three classes of images of various sizes and color modes, and a test set."""
    generator = np.random.RandomState(0)
    parts = {"labeled/apple": 4, "labeled/mango": 2, "labeled/zebra": 3, "unlabeled": 8}
    parts.update({f"test/{name}": 6 for name in CLASSES})
    for part, count in parts.items():
        (root / part).mkdir(parents=True)
        for i in range(count):
            shape = (30 + i, 40) if i % 3 == 1 else (30 + i, 40, 4 if i % 3 else 3)
            Image.fromarray(generator.randint(0, 256, shape).astype(np.uint8)).save(root / part / f"{i}.png")


@pytest.fixture(scope="module")
def trained(undrawn, small_network, tmp_path_factory):
    """A run on a custom dataset: its work folder, and the folder of test images."""
    root = tmp_path_factory.mktemp("own")
    write_images(root / "photos")
    config = resolve(
        {
            "dataset": "folder", "data_dir": str(root / "photos"), "cache_dir": str(root / "cache"),
            "workdir": str(root / "run"), "image_size": 16, "depth": 10, "width": 1, "epochs": 1, "steps_per_epoch": 2,
            "batch_size": 8, "unlabeled_ratio": 1, "learning_rate": 0.3, "ema_decay": 0.1, "method": "none",
        }
    )  # fmt: skip
    train_and_evaluate(config)
    return root / "run", root / "photos" / "test"


@pytest.fixture
def evaluate(call_command, tmp_path, monkeypatch):
    """Runs the command with --out=evaluation in a folder of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(call_command, main, "--out=evaluation")


@pytest.fixture
def images(trained, tmp_path):
    """A copy of the test images to modify."""
    return shutil.copytree(trained[1], tmp_path / "images")


def test_the_test_images_score_as_in_training(evaluate, trained, tmp_path):
    run, images = trained
    code, out, _ = evaluate(run, images)
    assert code == 0
    found = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    result = json.loads((run / "result.json").read_text())
    for kind, weights in (("plain", "ema"), ("adjusted", "ema_la")):
        assert found[kind]["confusion"] == result["confusion"][weights]
        assert found[kind]["accuracy"] == result["accuracy"][weights]
        assert found[kind]["balanced_accuracy"] == result["balanced_accuracy"][weights]
        assert found[kind]["per_class"]["recall"] == result["per_class_recall"][weights]
        assert found[kind]["per_class"]["support"] == [6, 6, 6]
    assert found["count"] == 18
    assert found["target_prior"] == {"stated": "uniform", "distribution": pytest.approx([1 / 3] * 3)}
    assert found["source_prior"] == {"kind": "labeled", "distribution": pytest.approx([4 / 9, 2 / 9, 3 / 9])}
    assert f"{100 * result['accuracy']['ema']:.1f}" in out
    assert "LA (Inf), uniform" in out


def test_the_files_that_it_writes(evaluate, trained, tmp_path):
    run, images = trained
    code, _, _ = evaluate(run, images, "--out=deep/out")
    assert code == 0
    out = tmp_path / "deep" / "out"
    names = {"evaluation.json", "per_class.csv", "confusion.csv", "predictions.csv"}
    drawn = {"confusion.png", "reliability.png", "mistakes.png"}
    assert {path.name for path in out.iterdir()} == names | drawn
    for name in drawn:
        assert (matplotlib.image.imread(out / name)[..., :3].min(axis=-1) < 0.5).mean() > 0.005
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert len(rows) == 18
    right = sum(row["class"] == row["predicted_plain"] for row in rows)
    assert right / 18 == json.loads((out / "evaluation.json").read_text())["plain"]["accuracy"]
    assert {row["class"] for row in csv.DictReader((out / "per_class.csv").open())} == set(CLASSES)


def test_classes_without_a_folder_are_left_out_of_the_mean(evaluate, trained, images, tmp_path):
    shutil.rmtree(images / "mango")
    (images / "mango").mkdir()
    for i in range(20):
        (images / "mango" / f"{i}.CR2").touch()
    (images / "apple" / "notes.txt").touch()
    code, out, _ = evaluate(trained[0], images)
    assert code == 0
    assert "No images of mango: not in the balanced accuracy" in out
    found = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert found["not_read"] == [
        "20 .cr2 in mango not read: a camera's raw format: convert them to PNG or JPEG",
        "1 .txt in apple not read: not an image by its suffix",
    ]
    assert "\n".join(found["not_read"]) in out
    found = found["plain"]
    recall = found["per_class"]["recall"]
    assert recall[1] is None
    assert found["balanced_accuracy"] == pytest.approx((recall[0] + recall[2]) / 2)


def test_bad_files_are_named_and_the_rest_is_scored(evaluate, trained, images, tmp_path):
    (images / "zebra" / "0.png").write_text("no image")
    code, _, err = evaluate(trained[0], images)
    assert code == 3
    assert f"not read: {images / 'zebra' / '0.png'}: " in err
    assert "1 images could not be read and were skipped" in err
    found = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert found["unreadable"] == [str(images / "zebra" / "0.png")]
    assert found["plain"]["per_class"]["support"] == [6, 6, 5]


def test_a_stated_target_prior(evaluate, trained, images, tmp_path):
    (tmp_path / "shares").write_text("zebra 6\napple 3\nmango 1\n")
    code, out, _ = evaluate(
        trained[0], images, f"--target_prior={tmp_path / 'shares'}", "--source_prior=own", "--tau_norm=0.5"
    )
    assert code == 0
    assert "LA (Inf), shares" in out
    found = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert found["target_prior"]["distribution"] == pytest.approx([0.3, 0.1, 0.6])
    assert found["source_prior"]["kind"] == "own"
    assert found["tau_norm"] == 0.5


def test_bad_input_is_refused_in_a_sentence_and_nothing_is_written(evaluate, trained, images, tmp_path):
    run = trained[0]
    shutil.copytree(images / "zebra", images / "horse")
    (tmp_path / "empty" / "zebra").mkdir(parents=True)
    before = sorted(tmp_path.iterdir())
    for arguments, said in (
        ([tmp_path, images], "is not the work folder of a run"),
        ([run, images], "the model knows no class horse (it knows apple, mango, zebra)"),
        ([run, trained[1].parent], "did you mean"),
        ([run, tmp_path / "empty"], "no images below the class folders"),
        ([run, tmp_path / "nowhere"], "must be a folder with one folder per class"),
        ([run, images, "--target_prior=even", "--skip_unknown"], "got 'even'"),
        ([run, images, "--tau_norm=-1"], "argument --tau_norm: must be a number of at least 0, got '-1'"),
        ([run, images, "--tau_norm=nan"], "argument --tau_norm: must be a number of at least 0, got 'nan'"),
        ([run, images, "--tau_norm=much"], "argument --tau_norm: must be a number of at least 0, got 'much'"),
        ([run, images, "--out=images"], "was not written by this command"),
    ):
        code, _, err = evaluate(*arguments)
        assert code == 2, arguments
        assert "error: " in err
        assert said in err
        assert sorted(tmp_path.iterdir()) == before
    code, _, _ = evaluate(run, images, "--skip_unknown")
    assert code == 0
    found = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert found["unknown_folders"] == ["horse"]
    code, _, err = evaluate(run, images, "--skip_unknown")
    assert code == 2
    assert "--overwrite" in err
    assert evaluate(run, images, "--skip_unknown", "--overwrite")[0] == 0


def test_without_out_it_writes_below_the_work_folder_and_replaces_nothing(call_command, trained, images, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    for number in ("", "_2"):
        (images / "apple" / "0.png").unlink(missing_ok=True)
        code, out, _ = call_command(main, run, images if number else trained[1])
        assert code == 0 and f"{run}/evaluation{number}" in "".join(out.split())
    counts = [
        json.loads((run / name / "evaluation.json").read_text())["count"] for name in ("evaluation", "evaluation_2")
    ]
    assert counts == [18, 17]
    assert call_command(main, run, images, "--overwrite")[0] == 0
    assert json.loads((run / "evaluation" / "evaluation.json").read_text())["count"] == 17
    (images / "horse").mkdir()
    assert call_command(main, run, images)[0] == 2
    # Nothing is left of one that failed.
    assert sorted(path.name for path in run.glob("evaluation*")) == ["evaluation", "evaluation_2"]
