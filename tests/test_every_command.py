"""Every command on the outputs that people have: ASCII in the C locale, Latin-1, a reader that has left, a full disk.

One process for each kind of output trains on a folder whose classes are not ASCII, and then uses the run.
"""

import dataclasses
import io
import json
import locale
import os
import pathlib
import sys
from collections.abc import Callable

import absl.logging
import numpy as np
import pytest
from forked import Finished, Started, shrink_network
from PIL import Image

CLASSES = ("Käse", "日本")
TINY = ("--epochs=1", "--steps_per_epoch=1", "--batch_size=2", "--unlabeled_ratio=1", "--image_size=8", "--depth=10")
COMMANDS = (
    "train", "predict", "predict --out", "evaluate", "suggest", "export", "report", "sweep", "sweep --list", "inspect",
    "doctor", "crest_export", "train --help",
)  # fmt: skip
# Whose result is what they print; the others write files, whatever becomes of their output.
PRINTING = ("predict", "sweep --list", "inspect", "doctor", "train --help")
KINDS = ("C locale", "latin-1", "closed pipe", "full disk")


def write_images(root: pathlib.Path) -> None:
    draw = np.random.RandomState(0)
    parts = [f"{part}/{name}" for part in ("labeled", "test") for name in CLASSES] + ["unlabeled"]
    for part in parts:
        (root / part).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(draw.randint(0, 256, (8, 8, 3), np.uint8)).save(root / part / f"é{number}.png")


def write_archive(folder: pathlib.Path) -> None:
    """A small CIFAR, in place of the real one."""
    import test_data_cifar

    from udal_tf.data import cifar

    ten = test_data_cifar.Cifar("cifar10lt", 10, (6, 9, 9, 4, 1, 1, 2, 7, 8, 3))
    small = {"train_per_class": 20, "test_per_class": 2, "test_start": (0, 0, 1)}
    cifar.EDITIONS["cifar10lt"] = dataclasses.replace(cifar.EDITIONS["cifar10lt"], **small)
    folder.mkdir()
    test_data_cifar.write_archive(folder, ten)


def put_output(kind: str, path: pathlib.Path) -> None:
    """Makes standard output what a shell would make it."""
    if kind == "closed pipe":
        reader, target = os.pipe()
        os.close(reader)
    else:
        target = os.open("/dev/full" if kind == "full disk" else path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(target, 1)
    os.close(target)
    encoding = {"latin-1": "latin-1", "C locale": "ascii"}.get(kind, "utf-8")
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding, errors="strict")


def called(kind: str, main: Callable, arguments: list[str], by_argv: bool) -> dict[str, object]:
    """How a command ended: its exit code, what it printed and its errors."""
    out, err = pathlib.Path("out"), pathlib.Path("err")
    for path in (out, err):
        path.unlink(missing_ok=True)
    put_output(kind, out)
    errors = os.open(err, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(errors, 2)
    os.close(errors)
    sys.stderr = io.TextIOWrapper(
        os.fdopen(2, "wb", closefd=False), "ascii", errors="backslashreplace", line_buffering=True
    )
    # absl's handler has the stream of the process that was forked.
    absl.logging.get_absl_handler().python_handler.stream = sys.stderr
    code = 0
    try:
        if by_argv:
            sys.argv = ["command", *arguments]
        main(*([] if by_argv else [arguments]))
    except SystemExit as ended:
        code = ended.code or 0
    sys.stdout.flush()  # As the interpreter does at its end.
    printed = out.read_bytes().decode("latin-1") if out.exists() else ""
    return {"code": code, "out": printed, "err": err.read_text(encoding="ascii")}


def use_every_command(kind: str) -> None:
    """Leaves in ended.json how each command ended."""
    from absl import flags

    from udal_tf.commands import (
        crest_export,
        doctor,
        evaluate,
        export,
        inspect,
        predict,
        report,
        suggest,
        sweep,
        train,
        udal,
    )
    from udal_tf.config import given_on_command_line, resolve
    from udal_tf.reporting import plotting
    from udal_tf.sweep.grids import cell_name
    from udal_tf.training import checkup, record

    record.draw = lambda rows, data, folder: None
    shrink_network()
    # What `test_doctor.py` has.
    checkup.check = lambda *given: checkup.Check([], "CPU", 1, 1, 1.0, 1.0, 0, 0.0, 0.0, checkup.EXACT)
    checkup.unused_devices = lambda config: []
    plotting.drawn = lambda sketches, place, processes=1: list
    if kind == "C locale":
        locale.setlocale(locale.LC_ALL, "C")
    here = pathlib.Path.cwd()
    write_images(here / "images")
    write_archive(here / "cifar")
    data = ["--dataset=folder", f"--data_dir={here / 'images'}", f"--cache_dir={here / 'cache'}"]
    training = [*data, *TINY]
    (here / "grid.json").write_text('[{"settings": {"method": "udal"}}]', encoding="utf-8")
    cifar = ["--dataset=cifar10lt", "--data_dir=cifar", "--n1=20", "--imbalance=10", "--beta=0.2", "--out=crest"]
    image = str(here / "images" / "test" / CLASSES[0] / "é0.png")
    lines = {
        "train": (train.main, [*training, "--workdir=run"]),
        "train --help": (train.main, ["--help"]),
        "predict": (udal.main, ["predict", "run", *[image] * 2000]),
        "predict --out": (predict.main, ["run", image, "--out=predictions.csv", "--format=csv"]),
        "evaluate": (evaluate.main, ["run", str(here / "images" / "test"), "--out=evaluation"]),
        "suggest": (suggest.main, ["run", "--count=2"]),
        "export": (export.main, ["run", "exported", "--format=keras"]),
        "report": (report.main, [".", "--out=report"]),
        "sweep": (sweep.main, ["grid.json", "--out=runs", "--", *training]),
        "sweep --list": (sweep.main, ["grid.json", "--list", "--out=runs", "--", *training]),
        "inspect": (inspect.main, [str(here / "images"), "--model=run", "--out=sheet.png", "--", *TINY[:4]]),
        "doctor": (doctor.main, ["--steps=1"]),
        "crest_export": (crest_export.main, cifar),
    }
    own = flags.FlagValues()
    train.define_flags(own)
    flags.DEFINE_string("out", None, "", own)
    ended = {}
    for name in COMMANDS:
        main, arguments = lines[name]
        if name == "sweep":  # The cell is the run that is there.
            cell = cell_name(resolve(given_on_command_line([*training, "--method=udal"])))
            (here / "runs").mkdir()
            (here / "runs" / cell).symlink_to(here / "run")
        by_argv = main in (train.main, crest_export.main)
        if by_argv:
            for flag in set(own) & set(flags.FLAGS):  # Each of them is defined once in a process.
                delattr(flags.FLAGS, flag)
        ended[name] = called(kind, main, arguments, by_argv)
    (here / "ended.json").write_text(json.dumps(ended), encoding="utf-8")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, tuple[pathlib.Path, dict[str, Finished]]]:
    """For each kind of output, the folder, and how each command ended."""
    places = {kind: tmp_path_factory.mktemp("every") for kind in KINDS}
    started = {kind: Started(use_every_command, kind, cwd=place) for kind, place in places.items()}
    found = {}
    for kind, process in started.items():
        whole = process.finish()
        assert whole.returncode == 0, whole.stderr[-3000:]
        ended = json.loads((places[kind] / "ended.json").read_text(encoding="utf-8"))
        found[kind] = places[kind], {n: Finished(e["code"], e["out"], e["err"]) for n, e in ended.items()}
    return found


def errors(ended: Finished) -> str:
    """What a command itself said on standard error, without TensorFlow's lines."""
    own = ("error: ", "standard output")
    return "\n".join(line for line in ended.stderr.splitlines() if line.startswith(own))


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_command_ends_as_it_should_whatever_its_output_is(folders, kind, name):
    ended = folders[kind][1][name]
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    if kind == "full disk" and name in PRINTING:
        assert (ended.returncode, errors(ended)) == (
            1,
            "error: standard output cannot be written: No space left on device",
        )
    else:
        assert ended.returncode == 0, ended.stderr
        assert "error: " not in errors(ended)
    if kind == "closed pipe":
        goes_on = {"train": "training goes on without it", "sweep": "the sweep goes on without it"}
        lost = f"standard output cannot be written: Broken pipe; {goes_on[name]}" if name in goes_on else ""
        assert errors(ended) == lost


@pytest.mark.parametrize("kind", ["C locale", "latin-1"])
def test_what_an_encoding_lacks_is_escaped(folders, kind):
    ended = folders[kind][1]
    cheese = "Käse" if kind == "latin-1" else r"K\xe4se"
    for name in ("train", "predict", "evaluate", "suggest", "inspect"):
        assert cheese in ended[name].stdout
    assert r"\u65e5\u672c" in ended["train"].stdout
    assert r"\u03b1 " in ended["train"].stdout
    if kind != "latin-1":
        assert all(one.stdout.isascii() for one in ended.values())


@pytest.mark.parametrize("kind", KINDS)
def test_all_files_are_whole_and_utf_8(folders, kind):
    folder = folders[kind][0]
    assert json.loads((folder / "run" / "result.json").read_text(encoding="utf-8"))["class_names"] == list(CLASSES)
    assert len((folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    assert [path.name for path in (folder / "run" / "checkpoints").glob("*.index")] == ["ckpt-1.index"]
    assert "Käse" in (folder / "evaluation" / "per_class.csv").read_text(encoding="utf-8")
    assert "é0.png,,train," in (folder / "run" / "suggestions" / "labels.csv").read_text(encoding="utf-8")
    assert "Käse" in (folder / "label_issues.csv").read_text(encoding="utf-8")
    assert "日本" in (folder / "exported" / "classes.json").read_text(encoding="utf-8")
    assert (folder / "exported" / "model.keras").is_file()
    assert len((folder / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 2
    assert "udal" in (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert len(list(folder.glob("crest/cifar-lt/*/*.tfrecords"))) == 2
    assert (folder / "sheet.png").is_file()
