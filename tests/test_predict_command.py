"""`udal-predict`: its formats, what it refuses with which message, and that bad files do not stop the others."""

import csv
import functools
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import udal_tf
from udal_tf.commands import program
from udal_tf.commands.predict import main

REPOSITORY = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Five images of digits' size in two folders; one of them in color, one beside a file that is no image."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.RandomState(0)
    for i, name in enumerate(("a.png", "b.png", "more/c.png", "more/d.png", "more/e.png")):
        (root / name).parent.mkdir(exist_ok=True)
        pixels = generator.randint(0, 256, (8, 8, 3) if i == 1 else (8, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(root / name)
    return root


@pytest.fixture
def predict(call_command, monkeypatch, photos):
    """Runs the command beside the images: exit code, standard output, standard error."""
    monkeypatch.chdir(photos)
    return functools.partial(call_command, main)


@pytest.fixture(scope="module")
def expected(tiny_run, photos):
    """By file, the names and probabilities of the classes, most likely first."""
    model = udal_tf.load(tiny_run)
    found = {}
    for path in sorted(photos.rglob("*.png")):
        probs = model.predict([path]).probs[0]
        order = np.argsort(-probs, kind="stable")
        found[str(path.relative_to(photos))] = [(model.class_names[c], float(probs[c])) for c in order]
    return found


FILES = ["a.png", "b.png", "more/c.png", "more/d.png", "more/e.png"]


def test_a_table(predict, tiny_run, expected):
    code, out, _ = predict(tiny_run, "a.png", "more")
    assert code == 0
    heading, *lines = out.splitlines()
    assert heading.split() == ["class", "conf.", "file"]
    assert [line.split() for line in lines] == [
        [expected[name][0][0], f"{expected[name][0][1]:.3f}", name]
        for name in ("a.png", "more/c.png", "more/d.png", "more/e.png")
    ]


def test_csv_of_several_classes(predict, tiny_run, expected):
    code, out, _ = predict(tiny_run, *FILES, "--format=csv", "--top_k=2")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["file"] for row in rows] == FILES
    for row in rows:
        (first, p_first), (second, p_second) = expected[row["file"]][:2]
        assert (row["class"], row["class_2"]) == (first, second)
        assert float(row["confidence"]) == pytest.approx(p_first, abs=1e-6)
        assert float(row["confidence_2"]) == pytest.approx(p_second, abs=1e-6)


def test_json_lines(predict, tiny_run, expected):
    code, out, _ = predict(tiny_run, "more/*.png", "--format=jsonl")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["file"] for row in rows] == FILES[2:]
    assert [row["class"] for row in rows] == [expected[name][0][0] for name in FILES[2:]]
    assert set(rows[0]) == {"file", "class", "confidence"}
    _, out, _ = predict(tiny_run, "a.png", "--format=jsonl", "--top_k=10")
    top = json.loads(out)["top"]
    assert [one["class"] for one in top] == [name for name, _ in expected["a.png"]]
    assert sum(one["confidence"] for one in top) == pytest.approx(1, abs=1e-5)


def test_la_inf_for_a_target_prior(predict, tiny_run, tmp_path, photos):
    (tmp_path / "shares.txt").write_text("".join(f"{c} {c + 1}\n" for c in range(10)))
    model = udal_tf.load(tiny_run)
    for given in ("uniform", str(tmp_path / "shares.txt")):
        _, out, _ = predict(tiny_run, *FILES, "--format=csv", f"--target_prior={given}", "--source_prior=own")
        found = model.predict([photos / name for name in FILES], target_prior=given, source_prior="own")
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [row["class"] for row in rows] == list(found.names)
        np.testing.assert_allclose([float(row["confidence"]) for row in rows], found.probs.max(axis=1), atol=1e-6)


def test_la_inf_of_a_model_that_is_balanced_already_comes_with_a_caution(predict, tiny_run, tmp_path):
    caution = "note: UDAL has balanced this model already"
    for given, said in (
        (["--target_prior=uniform"], True),
        (["--target_prior=uniform", "--source_prior=own"], False),
        (["--target_prior=uniform", "--source_prior=labeled"], False),
        (["--target_prior=train"], False),
        ([], False),
    ):
        code, _, err = predict(tiny_run, "a.png", *given)
        err = " ".join(err.split())
        assert code == 0 and (caution in err) == said and ("--source_prior=own removes" in err) == said
    run = shutil.copytree(tiny_run, tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    scores = (("none", 0.5), ("labeled", 0.25), ("own", 0.75))
    result["la_choices"] = [{"prior": n, "accuracy": 0.1, "balanced_accuracy": score} for n, score in scores]
    (run / "result.json").write_text(json.dumps(result))
    _, _, err = predict(run, "a.png", "--target_prior=uniform")
    assert "on validation: without LA (Inf) 50.0 %, prior labeled 25.0 %, prior own 75.0 %." in " ".join(err.split())


def test_bad_files_are_named_and_the_rest_is_done(predict, tiny_run, tmp_path):
    (tmp_path / "notes.png").write_text("no image")
    (tmp_path / "raw").mkdir()
    for name in ("a.NEF", "b.nef", "c.png"):
        (tmp_path / "raw" / name).write_bytes(pathlib.Path("a.png").read_bytes())
    code, out, err = predict(tiny_run, tmp_path / "raw", "--format=csv")
    assert code == 0
    assert [row["file"] for row in csv.DictReader(io.StringIO(out))] == [str(tmp_path / "raw" / "c.png")]
    assert f"2 .nef in {tmp_path / 'raw'} not read: a camera's raw format: convert them to PNG or JPEG" in err
    code, out, err = predict(tiny_run, tmp_path / "notes.png", "a.png", "missing.png", "more/c.png", "--format=csv")
    assert code == program.EXIT_SOME_UNREADABLE == 3
    assert [row["file"] for row in csv.DictReader(io.StringIO(out))] == ["a.png", "more/c.png"]
    assert f"not read: {tmp_path / 'notes.png'}: not recognized as an image" in err
    assert "not read: missing.png: cannot be read (No such file or directory)" in err
    assert "2 images done, 2 could not be read" in err


def test_a_file_to_write_to(predict, tiny_run, tmp_path):
    out = tmp_path / "classes.csv"
    code, printed, _ = predict(tiny_run, *FILES, "--format=csv", f"--out={out}")
    assert (code, printed) == (0, "")
    assert len(out.read_text().splitlines()) == 6
    code, _, err = predict(tiny_run, "a.png", "--format=csv", f"--out={out}")
    assert code == 2
    assert f"error: {out} exists already" in err
    assert "--overwrite" in err
    assert len(out.read_text().splitlines()) == 6
    code, _, _ = predict(tiny_run, "a.png", "--format=csv", f"--out={out}", "--overwrite")
    assert code == 0
    assert len(out.read_text().splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["classes.csv"]


def test_bad_input_is_refused_in_a_sentence(predict, tiny_run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.png").write_text("no image")
    for arguments, said in (
        ([tmp_path, "a.png"], "is not the work folder of a run"),
        ([tmp_path / "nowhere", "a.png"], "does not exist"),
        ([tiny_run, tmp_path / "empty"], "no images below"),
        ([tiny_run, "*.gif"], "no file matches *.gif"),
        ([tiny_run, tmp_path / "notes.png"], "none of the 1 files is an image that can be read"),
        ([tiny_run, "a.png", "--top_k=11"], "--top_k must be from 1 to the 10 classes, got 11"),
        ([tiny_run, "a.png", "--top_k=0"], "got 0"),
        ([tiny_run, "a.png", "--target_prior=even"], "uniform, train or a file with a class distribution, got 'even'"),
        ([tiny_run, "a.png", f"--out={tmp_path / 'no' / 'where.txt'}"], "No such file or directory"),
        ([tiny_run, "a.png", "--weights=worst"], "invalid choice"),
    ):
        code, _, err = predict(*arguments)
        assert code == 2, arguments
        assert "error: " in err
        assert said in err


def test_an_unfinished_run_says_how_far_it_is_and_is_used_on_demand(predict, tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "result.json").unlink()
    code, _, err = predict(run, "a.png")
    assert code == 2
    assert "is not finished: step 4 of 4 (epoch 2 of 2)" in err
    code, out, _ = predict(run, "a.png", "--unfinished", "--format=csv")
    assert code == 0
    assert len(out.splitlines()) == 2


def test_a_model_of_a_newer_version_is_refused(predict, tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "format": 99, "udal_tf": "9.9"}))
    code, _, err = predict(run, "a.png")
    assert code == 2
    assert "has format 99, written by udal-tf 9.9" in err


def test_the_command_as_a_process_whose_reader_has_enough(tiny_run, photos):
    command = f"{sys.executable} -m udal_tf.commands.predict {tiny_run} {photos} {' '.join(['a.png'] * 3000)} | head -2"
    process = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=photos,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.splitlines()) == 2
    assert "Traceback" not in process.stderr
    assert "BrokenPipe" not in process.stderr
