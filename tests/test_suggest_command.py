"""`udal-suggest` and `udal-inspect --model` on a folder: what is suggested, its files, and what they refuse."""

import csv
import functools
import json
import os
import pathlib
import shutil
import xml.etree.ElementTree

import numpy as np
import pytest
from PIL import Image

from udal_tf.commands import inspect, suggest
from udal_tf.config import resolve
from udal_tf.data import custom_dataset, folder_listing, label_files
from udal_tf.training.experiment import train_and_evaluate

NAMES = ("Käse", "b & <c>", "rare")
NEWLINE, NO_TEXT = 'two\nlines, "quoted".png', os.fsdecode(b"caf\xe9.png")


def noise(seed):
    return Image.fromarray(np.random.RandomState(seed).randint(0, 256, (12, 12, 3)).astype(np.uint8))


@pytest.fixture(scope="module")
def trained(undrawn, tmp_path_factory):
    """A run on a custom dataset without test images, and the folder; two of its unlabeled images cannot be used."""
    root = tmp_path_factory.mktemp("own")
    photos = root / "photos"
    counts = {f"labeled/{NAMES[0]}": 6, f"labeled/{NAMES[1]}": 5, f"labeled/{NAMES[2]}": 2, "unlabeled": 8}
    seeds = iter(range(100))
    for part, count in counts.items():
        (photos / part).mkdir(parents=True)
        for number in range(count):
            noise(next(seeds)).save(photos / part / f"{number}.png")
    noise(50).save(photos / "unlabeled" / NEWLINE)
    noise(51).save(photos / "unlabeled" / NO_TEXT)
    noise(0).save(photos / "unlabeled" / "labeled already.png")
    for copy in range(9):
        noise(52).save(photos / "unlabeled" / f"copy{copy}.png")
    (photos / "unlabeled" / "damaged.png").write_bytes(b"no image")
    config = resolve(
        {
            "dataset": "folder", "data_dir": str(photos), "cache_dir": str(root / "cache"),
            "workdir": str(root / "run"), "image_size": 8, "depth": 10, "width": 1, "epochs": 1, "steps_per_epoch": 2,
            "batch_size": 4, "unlabeled_ratio": 1, "ema_decay": 0.1, "skip_bad_images": True,
        }
    )  # fmt: skip
    train_and_evaluate(config)
    return root / "run", photos


@pytest.fixture
def call(call_command, tmp_path, monkeypatch):
    """Runs udal-suggest in a folder of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(call_command, suggest.main)


def suggested(folder):
    return json.loads((folder / "suggestions.json").read_text(encoding="utf-8"))["suggestions"]


def names_of(suggestions):
    return sorted(pathlib.Path(one["file"]).name for one in suggestions)


@pytest.fixture(scope="module")
def all_of_them(trained, tmp_path_factory):
    """What there is to suggest, and the folder that was written."""
    folder = tmp_path_factory.mktemp("all") / "out"
    with pytest.raises(SystemExit) as ended:
        suggest.main([str(trained[0]), "--count=50", f"--out={folder}"])
    return ended.value.code, folder


def test_each_new_image_is_suggested_once(all_of_them):
    code, folder = all_of_them
    assert code == 3  # Of those that cannot be used.
    found = names_of(suggested(folder))
    assert [name for name in found if not name.startswith("copy")] == sorted([*(f"{i}.png" for i in range(8)), NEWLINE])
    assert len([name for name in found if name.startswith("copy")]) == 1
    urls = [task["data"]["image"] for task in json.loads((folder / "label_studio.json").read_text(encoding="utf-8"))]
    assert "/data/local-files/?d=unlabeled/0.png" in urls


def test_what_cannot_be_used_is_named_and_too_few_are_said(call, trained):
    code, out, err = call(trained[0], "--count=50", "--out=out")
    assert code == 3
    assert "Only 10 of 50: no other images are left" in out
    assert r"unlabeled/caf\xe9.png: its name is not UTF-8, so no CSV file of labels can hold it: rename it" in err
    assert "unlabeled/damaged.png: not recognized as an image" in err
    assert "19 images looked at, 2 could not be used" in err
    assert r'two\nlines, "quoted".png  ' in out


def test_the_csv_file_is_one_of_labels_and_keeps_what_the_run_had(all_of_them, trained):
    _, folder = all_of_them
    rows = list(csv.DictReader((folder / "labels.csv").open(encoding="utf-8", newline="")))
    files = [one["file"] for one in suggested(folder)]
    assert [row["file"] for row in rows[:10]] == files
    assert {(row["label"], row["split"]) for row in rows[:10]} == {("", "train")}
    assert [row["predicted"] for row in rows[:10]] == [one["predicted"] for one in suggested(folder)]
    table = label_files.read(folder / "labels.csv", folder)
    listing = folder_listing.make_listing(custom_dataset.of_rows(folder, table.rows, "labels.csv", ""))
    before = folder_listing.make_listing(folder_listing.read_folder(trained[1]))
    assert sorted(map(str, listing.test)) == sorted(map(str, before.test))
    assert (np.bincount(listing.train_labels[listing.train_labels >= 0]) == [5, 4, 1]).all()
    assert (listing.train_labels < 0).sum() == 19


def test_filled_in_it_is_taken_back_and_not_suggested_again(call, all_of_them, trained):
    _, folder = all_of_them
    text = (folder / "labels.csv").read_text(encoding="utf-8")
    first = next(one["file"] for one in suggested(folder) if "\n" not in one["file"])
    pathlib.Path("labels.csv").write_text(text.replace(f"{first},,", f"{first},rare,"), encoding="utf-8")
    assert call(trained[0], "--count=50", "--labels=labels.csv", "--out=out")[0] == 3
    assert len(suggested(pathlib.Path("out"))) == 9
    assert first not in [one["file"] for one in suggested(pathlib.Path("out"))]
    assert f"{first},rare,train,," in pathlib.Path("out/labels.csv").read_text(encoding="utf-8")


def test_tasks_of_label_studio(call, trained, tmp_path):
    for name in ("ä 1.png", "b#%?.png"):
        noise(60 + len(name)).save(tmp_path / name)
    code, _, _ = call(trained[0], ".", "--image_url=http://host/x?d=", f"--image_root={tmp_path.parent}", "--out=out")
    assert code == 0
    written = json.loads(pathlib.Path("out/label_studio.json").read_text(encoding="utf-8"))
    tasks = {pathlib.Path(task["data"]["file"]).name: task for task in written}
    assert {name: task["data"]["image"] for name, task in tasks.items()} == {
        "ä 1.png": f"http://host/x?d={tmp_path.name}/%C3%A4%201.png",
        "b#%?.png": f"http://host/x?d={tmp_path.name}/b%23%25%3F.png",
    }
    interface = xml.etree.ElementTree.parse("out/label_studio.xml")
    assert [choice.get("value") for choice in interface.iter("Choice")] == sorted(NAMES)
    image, choices = next(interface.iter("Image")), next(interface.iter("Choices"))
    assert image.get("value") == "$image"
    for one in suggested(pathlib.Path("out")):
        (prediction,) = tasks[pathlib.Path(one["file"]).name]["predictions"]
        assert (prediction["score"], prediction["model_version"]) == (one["confidence"], f"{trained[0]}, step 2")
        assert prediction["result"] == [
            {
                "from_name": choices.get("name"), "to_name": image.get("name"), "type": "choices",
                "value": {"choices": [one["predicted"]]},
            }
        ]  # fmt: skip
    with Image.open("out/suggestions.png") as sheet:
        assert sheet.width > 500


def test_the_prediction_is_that_of_predict_with_the_prior_that_is_stated(call, trained):
    import udal_tf

    image = str(trained[1] / "unlabeled" / "0.png")
    assert call(trained[0], image, "--target_prior=uniform", "--out=out")[0] == 0
    expected = udal_tf.load(trained[0]).predict([image], target_prior="uniform")
    (one,) = suggested(pathlib.Path("out"))
    assert (one["predicted"], one["confidence"]) == (expected.names[0], pytest.approx(expected.probs.max(), abs=1e-6))
    two = np.sort(expected.probs[0])[-2:]
    assert one["score"] == pytest.approx(1 - (two[1] - two[0]), abs=2e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["labeled"], "all of these images are labeled already"),
        (["unlabeled/labeled already.png"], "all 1 images look like one that is labeled already"),
        (["unlabeled/damaged.png"], "none of the 1 unlabeled files is an image that can be used"),
        (["unlabeled", "--image_root=labeled"], "--image_root=labeled: "),
        (["nowhere*"], "no file matches nowhere*"),
        (["unlabeled", "--labels=gone.csv"], "gone.csv cannot be read: No such file"),
        (["unlabeled", "--out=labeled"], "labeled exists already and was not written by this command"),
    ],
)
def test_what_cannot_be_done_is_refused(call_command, trained, monkeypatch, arguments, words):
    monkeypatch.chdir(trained[1])
    arguments = arguments if any("--out" in one for one in arguments) else [*arguments, "--out=out"]
    code, out, err = call_command(suggest.main, trained[0], *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert not (trained[1] / "out").exists()


def test_labels_that_the_run_left_out_are_said(call, trained, tmp_path):
    """With --beta all labels are in labels.csv, and with it again most of the new ones would be left out."""
    run = shutil.copytree(trained[0], tmp_path / "run")
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["data"]["beta"] = 0.5
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    code, out, _ = call(run, trained[1] / "unlabeled" / "0.png", "--out=out")
    assert code == 0
    assert "labels.csv has all labels, of which the run used a part: train without --beta=0.5" in " ".join(out.split())


def test_a_run_without_image_files_needs_some_named(call, tiny_run, tmp_path):
    code, _, err = call(tiny_run, "--out=out")
    assert code == 2
    assert "no unlabeled images of the run to choose from (the images of digitslt are not files" in err
    noise(0).save(tmp_path / "a.png")
    code, out, _ = call(tiny_run, "a.png", "--out=out")
    assert code == 0
    assert "Labeled images of the run are not known and may be suggested" in out


@pytest.fixture
def doubted(call_command, trained, tmp_path, monkeypatch):
    """Runs udal-inspect --model: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(call_command, inspect.main, trained[1], f"--model={trained[0]}")


def test_doubtful_labels_of_all_parts_are_named(doubted, tmp_path):
    code, out, _ = doubted("--json", "--count=4")
    assert code == 0
    found = json.loads(out)
    issues = found["label_issues"]
    assert found["time"] is None
    assert (len(issues["named"]), issues["judged"], issues["not_judged"]) == (4, 13, 0)
    place = tmp_path / "inspect_photos"
    rows = list(csv.DictReader((place / "label_issues.csv").open(encoding="utf-8", newline="")))
    assert [row["file"] for row in rows] == [one["file"] for one in issues["named"]]
    for row in rows:
        assert row["file"].startswith(f"labeled/{row['label']}/")
        assert row["suggested"] in set(NAMES) - {row["label"]}
        assert (row["split"], row["marked"]) in {("train", "True"), ("train", "False")}
    with Image.open(place / "label_issues.png") as sheet:
        assert sheet.width > 500


def test_what_cannot_be_written_or_read_is_refused_before_the_work(
    doubted, call_command, trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(inspect, "inspect", lambda *args, **options: pytest.fail("the work has begun"))
    (tmp_path / "label_issues.csv").write_text("mine")
    code, _, err = doubted("--out=sheet.png")
    assert (code, err) == (2, "error: label_issues.csv exists already: choose another name, or give --overwrite\n")
    code, _, err = call_command(inspect.main, trained[1], "--model=nowhere")
    assert (code, err) == (2, "error: nowhere must be the work folder of a run, but does not exist\n")
