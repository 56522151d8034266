"""Labels from a CSV file in every command: the example, udal-train, udal-inspect and udal-evaluate."""

import csv
import importlib
import json
import pathlib
import sys

import pytest
from test_folder_layout import lay

from udal_tf.commands import evaluate, inspect
from udal_tf.config import given_on_command_line
from udal_tf.data import settings
from udal_tf.inference import model_card
from udal_tf.run_dir import RunDir

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def trained(undrawn, small_network, tmp_path_factory):
    """The example's folder after a single step of training, and its result."""
    folder = tmp_path_factory.mktemp("example")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        result = importlib.import_module("csv_labels").main(folder, epochs=1, steps_per_epoch=1)
        del sys.modules["csv_labels"]
    return folder, result


def test_the_example_trains_on_what_its_csv_file_says(trained):
    folder, result = trained
    # 30 labels of digit 0 down to 3 of digit 9, of the rest none.
    assert result.data["labeled_counts"] == [30, 23, 18, 14, 11, 8, 6, 5, 4, 3]
    assert result.data["validation_counts"] == [15] * 10 and result.data["test_counts"] == [40] * 10
    assert result.data["unlabeled_of_unknown_class"] == 1797 - 550 - 122
    assert result.data["source"] == f"images in {folder / 'labels.csv'}, below {folder}"
    assert (result.data["validation"], result.data["test"]) == ("split val of labels.csv", "split test of labels.csv")
    assert model_card.training_command(RunDir(folder / "work").config()).count(f"--labels={folder / 'labels.csv'}") == 1


def test_evaluation_on_the_test_images_of_the_csv_file_gives_the_runs_own_scores(trained, call_command, tmp_path):
    folder, result = trained
    arguments = (folder / "work", f"--labels={folder / 'labels.csv'}", f"--out={tmp_path / 'out'}")
    code, out, err = call_command(evaluate.main, *arguments)
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (found["count"], found["images"]) == (400, str(folder / "labels.csv"))
    assert found["plain"]["accuracy"] == pytest.approx(result.accuracy.ema)
    with open(tmp_path / "out" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(folder / "labels.csv", newline="") as file:
        stated = {str(folder / row["file"]): row["label"] for row in csv.DictReader(file) if row["split"] == "test"}
    assert {row["file"]: row["class"] for row in rows} == stated


@pytest.mark.parametrize(
    "content, arguments, words",
    [
        (None, (), "give DIR, a folder with one folder per class, or --labels=FILE"),
        (None, ("--labels=none.csv",), "none.csv cannot be read: No such file"),
        ("file,label,split\nx.png,1,train\n", ("--labels=l.csv",), "l.csv: no image with a label in split te"),
        ("file,label,split\nx.png,1,val\n", ("--labels=l.csv", "--split=test"), "labels in split val: give --s"),
        ("file,label\nx.png,\n", ("--labels=l.csv",), "l.csv: no image with a label in split test"),
        ("file,label\nx.png,one\n", ("--labels=l.csv",), "line 2: the model knows no class one (it knows 0, 1"),
        ("file,label\nx.png,one\n", ("--labels=l.csv", "--skip_unknown"), "l.csv: no image of one of the mod"),
        ("file,label\ny.png,1\n", ("--labels=l.csv",), "l.csv, line 2: y.png: does not exist"),
        ("file,label\nx.png,1\n", ("l.csv",), "per class; a CSV file of labels is given with"),
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_on_is_refused_and_nothing_written(
    trained, call_command, tmp_path, monkeypatch, content, arguments, words
):
    lay(tmp_path, ["x.png"])
    monkeypatch.chdir(tmp_path)
    if content:
        pathlib.Path("l.csv").write_text(content)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call_command(evaluate.main, trained[0] / "work", *arguments)
    assert code == 2 and words in err and out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """Cats and dogs in one folder, of which a CSV file in another says the rest; the current folder is empty."""
    names = [f"{name}{i}.png" for name in ("cat", "dog") for i in range(4)]
    root = lay(tmp_path / "pets", [*names, "x0.png", "x1.png"])
    splits = ["train", "train", "val", "test"]
    rows = [f"{name},{name[:3]},{splits[i % 4]}" for i, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *rows, "x0.png,,", "x1.png,,"]))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return root


def test_inspection_counts_what_the_csv_file_says_and_its_command_trains_on_it(pets, call_command):
    labels = pets.parent / "labels.csv"
    code, out, err = call_command(inspect.main, pets, f"--labels={labels}", "--json", "--no_timing")
    assert code == 0, err
    found = json.loads(out)
    assert found["counts"] == {"labeled": 4, "unlabeled": 2, "val": 2, "test": 2}
    kinds = {warning["kind"] for warning in found["warnings"]}
    # All images are the same black ones.
    assert {"labeled_in_val", "val_in_test", "labeled_in_test"} <= kinds
    command = found["recipe"]["command"]
    assert command == f"python run.py --dataset=folder --data_dir={pets} --labels={labels}"
    assert "labels_sha256" not in found["recipe"]["settings"] and "images" not in found["recipe"]["settings"]
    config = settings.resolve(given_on_command_line(command.split()[2:]))
    assert len(config.own.dataset.labels_sha256) == 64
    code, out, _ = call_command(inspect.main, pets, f"--labels={labels}", "--no_timing", "--overwrite")
    assert code == 0 and "4 labeled images, 2 unlabeled, 2 for validation, 2 test" in out


def test_inspection_refuses_a_csv_file_with_its_line_and_writes_nothing(pets, call_command):
    labels = pets.parent / "labels.csv"
    labels.write_text("file,label\ncat0.png,cat\nnone.png,dog\n")
    before = sorted(pets.parent.rglob("*"))
    code, out, err = call_command(inspect.main, pets, f"--labels={labels}", "--json", "--no_timing")
    assert code == 2 and out == "" and f"{labels}, line 3: {pets / 'none.png'}: does not exist" in err
    code, _, err = call_command(inspect.main, "--no_timing")
    assert code == 2 and "--data_dir must name your folder, or --labels a CSV file" in err
    code, _, err = call_command(inspect.main, pets, "--layout=mine", "--no_timing")
    assert code == 2 and "--layout must be one of auto, udal, torchvision, huggingface, got 'mine'" in err
    assert sorted(pets.parent.rglob("*")) == before
