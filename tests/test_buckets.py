"""Runs, data and outputs in a bucket, whose stand-in refuses whatever an object store cannot do (`object_store`)."""

import builtins
import contextlib
import errno
import io
import json
import os
import pathlib
import signal
import socket
import sys
import tempfile
import time
from unittest import mock

import numpy as np
import object_store
import pytest
import tensorflow as tf
from forked import Started, run_command

from udal_tf import buckets, config, mirror, storage
from udal_tf.commands import evaluate, inspect, outputs, predict, report, sweep
from udal_tf.data import files
from udal_tf.run_dir import OwnRunDir, RunDir
from udal_tf.run_records import RunDirError
from udal_tf.sweep import jobs
from udal_tf.training import loop

PLUGIN = f"--plugin={object_store.__file__}"
TINY = ("--epochs=2", "--steps_per_epoch=2", "--batch_size=4", "--unlabeled_ratio=2", "--threshold=0.12")


@pytest.fixture
def store(tmp_path, monkeypatch) -> pathlib.Path:
    """The folder of an empty store; the working directory is another empty one."""
    (tmp_path / "store").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("UDAL_TEST_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "store"


def run_killed(name: str, time_of: int, *arguments: str) -> None:
    """run.py in this process, which is killed when it is about to put an object of this name for the nth time."""
    put, counts = buckets.put, []

    def put_or_die(local, path):
        if path.name == name:
            counts.append(name)
            if len(counts) == time_of:
                os.kill(os.getpid(), signal.SIGKILL)
        put(local, path)

    buckets.put = put_or_die
    run_command(*arguments)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The processes of an uninterrupted run on a disk and of one in a bucket, killed while it puts a checkpoint."""
    folder = tmp_path_factory.mktemp("bucket")
    (folder / "store").mkdir()
    (folder / "here").mkdir()
    environment = {"UDAL_TEST_STORE": str(folder / "store"), "UDAL_TEST_TMP": str(folder)}
    arguments = (PLUGIN, *TINY)

    def start(function, where, workdir, *further):
        return Started(
            function, *further, *arguments, f"--workdir={workdir}", cwd=folder / where, environment=environment
        )

    started = [start(run_command, "", "local"), start(run_killed, "here", "store://b/run", "checkpoint", 4)]
    processes = [one.finish() for one in started]
    state = sorted(path.name for path in (folder / "store/b/run").rglob("*") if path.is_file())
    processes.append(start(run_command, "here", "store://b/run").finish())
    return folder, processes, state


@pytest.fixture
def trained(runs, monkeypatch, tmp_path):
    """The store with the finished run."""
    monkeypatch.setenv("UDAL_TEST_STORE", str(runs[0] / "store"))
    monkeypatch.chdir(tmp_path)
    return runs[0] / "store/b/run"


def weights(folder: pathlib.Path) -> dict[str, np.ndarray]:
    path = tf.train.latest_checkpoint(str(folder / "checkpoints"))
    names = [name for name, _ in tf.train.list_variables(path)]
    return {name: tf.train.load_variable(path, name) for name in names if "OBJECT_GRAPH" not in name}


def rows(folder: pathlib.Path) -> list[dict]:
    return [{**row.to_json(), "seconds": 0} for row in RunDir(folder).rows()]


def test_a_run_that_was_killed_while_it_put_a_checkpoint_resumes_to_the_same_bits(runs):
    folder, (local, killed, resumed), state = runs
    assert (local.returncode, killed.returncode, resumed.returncode) == (0, -signal.SIGKILL, 0), resumed.stderr
    # The second checkpoint had arrived, but not the list that names it, so the first one counts.
    assert "ckpt-4.index" in state and "ckpt-2.index" in state and "result.json" not in state
    assert "The lock of store://b/run is taken over" in resumed.stdout and "has ended" in resumed.stdout
    assert "Resuming from step 2 of 4 (store://b/run/checkpoints/ckpt-2)" in resumed.stdout
    assert "Results, metrics and images: store://b/run" in resumed.stdout
    assert rows(folder / "store/b/run") == rows(folder / "local")
    there, here = weights(folder / "store/b/run"), weights(folder / "local")
    assert there.keys() == here.keys() and len(here) > 40
    assert all(np.array_equal(there[name], here[name]) for name in here)


def test_a_bucket_holds_what_a_disk_does_and_nothing_is_left_here(runs):
    folder, _, _ = runs

    def names(path):
        return {
            one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file() and "events" not in one.name
        }

    # The killed process had put its best weights, but not yet removed those before them.
    unremoved = {"best/ckpt-2.index", "best/ckpt-2.data-00000-of-00001"}
    assert names(folder / "store/b/run") - unremoved == names(folder / "local") - {".lock"} - unremoved
    assert len(list((folder / "store/b/run/tensorboard").iterdir())) == 1
    assert [path.name for path in (folder / "here").iterdir() if not path.name.startswith("printed")] == []
    assert [path.suffix for path in (folder / f"udal_tf-{os.getuid()}").iterdir()] == [".lock"]


def test_a_model_in_a_bucket_predicts_and_the_predictions_go_there(trained, call_command):
    image = trained.parents[1] / "photos/new/a b.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(tf.io.encode_png(np.zeros([8, 8, 1], np.uint8)).numpy())
    arguments = ("store://b/run", "store://photos/new", PLUGIN, "--format=csv", "--out=store://b/out/classes.csv")
    code, _, err = call_command(predict.main, *arguments)
    assert code == 0, err
    heading, line = (trained.parent / "out/classes.csv").read_text().splitlines()
    assert heading == "file,class,confidence" and line.startswith("store://photos/new/a b.png,")
    code, _, err = call_command(predict.main, *arguments)
    assert (code, "store://b/out/classes.csv exists already" in err) == (2, True)
    assert list(pathlib.Path().iterdir()) == []


def test_an_evaluation_of_images_in_a_bucket_goes_there(trained, call_command):
    for name in ("0", "1"):
        image = trained.parents[1] / f"photos/test/{name}/a.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(tf.io.encode_png(np.full([8, 8, 1], 99, np.uint8)).numpy())
    code, _, err = call_command(evaluate.main, "store://b/run", "store://photos/test", PLUGIN, "--out=store://b/scores")
    assert code == 0, err
    found = json.loads((trained.parent / "scores/evaluation.json").read_text())
    assert (found["count"], found["images"], found["workdir"]) == (2, "store://photos/test", "store://b/run")
    table = (trained.parent / "scores/predictions.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table[1:]] == ["store://photos/test/0/a.png", "store://photos/test/1/a.png"]
    assert list(pathlib.Path().iterdir()) == []


def test_a_report_of_runs_in_a_bucket_goes_there(trained, call_command, monkeypatch):
    monkeypatch.setattr(report, "_sketches", lambda runs: ([], []))  # Drawn as everywhere else.
    (trained.parent / "report/tables").mkdir(parents=True)
    (trained.parent / "report/tables/old.md").write_text("of an earlier report")
    (trained.parent / "report/notes.txt").write_text("mine")
    code, out, err = call_command(report.main, "store://b", PLUGIN, "--out=store://b/report", "--only_present")
    assert code == 0, err
    assert "1 run, 0 left out: store://b/report/report.html" in out
    assert "b/run" in (trained.parent / "report/report.html").read_text()
    assert not (trained.parent / "report/tables/old.md").exists()
    assert (trained.parent / "report/notes.txt").read_text() == "mine"
    assert (trained.parent / "report/tables/runs.csv").read_text().count("\n") == 2


def test_a_folder_that_is_put_is_never_taken_for_a_whole_one_before_it_is(store, monkeypatch):
    place, seen = storage.at("store://b/out"), []
    put = buckets.put

    def put_and_look(local, path):
        put(local, path)
        seen.append(buckets.objects(place))

    monkeypatch.setattr(buckets, "put", put_and_look)
    for names in (("a", "deep/b", "mark"), ("c", "mark")):
        with outputs.new_folder(place, True, "mark") as folder:
            for name in names:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(name)
    assert seen == [["a"], ["a", "deep/b"], ["a", "deep/b", "mark"], ["a", "c", "deep/b"], ["c", "mark"]]
    refused = pytest.raises(ValueError, match="store://b/out exists already: choose another name, or give --overwrite")
    with refused, outputs.new_folder(place, False, "mark"):
        pass


class Failing(io.BytesIO):
    """A file that fails after the first three bytes have been read or written."""

    def read(self, size=-1) -> bytes:
        if self.tell():
            raise OSError(errno.EIO, "the disk failed")
        found = super().read(3)
        if size < 0:
            raise OSError(errno.EIO, "the disk failed")
        return found


def test_a_file_that_cannot_be_read_to_its_end_puts_no_part_and_leaves_the_earlier_object(store, monkeypatch):
    place, local = storage.at("store://b/run"), pathlib.Path("metrics.jsonl")
    local.write_text("earlier")
    buckets.put(local, place / "old")
    opened = open

    def failing(path, *arguments, **options):
        return Failing(b"content") if path == local else opened(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", failing)
        for name in ("new", "old"):
            with pytest.raises(OSError, match="the disk failed"):
                buckets.put(local, place / name)
    assert buckets.objects(place) == ["old"] and buckets.read(place / "old") == b"earlier"


def test_an_object_of_which_a_part_was_written_is_removed_and_one_not_begun_stays(store, monkeypatch):
    place = storage.at("store://b/run")
    opened = type(place).open

    @contextlib.contextmanager
    def of_a_full_disk(self, mode):
        with opened(self, mode) as file:
            file.write(b"con")
            full = mock.Mock()
            full.write.side_effect = OSError(errno.ENOSPC, "No space left on device")
            yield full

    def refused(self, mode):
        raise OSError(errno.EIO, "not reached")

    buckets.write(place / "old", b"earlier")
    for opening, message, left in ((refused, "not reached", ["old"]), (of_a_full_disk, "No space left", [])):
        monkeypatch.setattr(type(place), "open", opening)
        for name in ("new", "old"):
            with pytest.raises(OSError, match=message):
                buckets.write(place / name, b"content")
        assert buckets.objects(place) == left


def test_a_copy_that_is_interrupted_leaves_no_part(store, monkeypatch):
    place = storage.at("store://b/run/a")
    buckets.write(place, b"content")
    monkeypatch.setattr(type(place), "open", lambda self, mode: Failing(b"content"))
    with pytest.raises(OSError, match="the disk failed"):
        buckets.get(place, pathlib.Path("a"))
    assert list(pathlib.Path().iterdir()) == []


def test_a_folder_of_a_run_in_a_bucket_gets_the_next_number(store):
    for name in ("evaluation", "evaluation_2"):
        with outputs.numbered_folder(storage.at("store://b/run/evaluation"), "mark") as (folder, path):
            assert str(path) == f"store://b/run/{name}"
            (folder / "mark").write_text(name)
    assert buckets.objects(storage.at("store://b")) == ["run/evaluation/mark", "run/evaluation_2/mark"]


def make_config(**given):
    return config.resolve({"workdir": "store://b/run", **given})


def test_a_second_process_is_refused_with_the_name_of_the_first(store):
    first = OwnRunDir(make_config())
    first.open()
    with pytest.raises(
        RunDirError, match=rf"--workdir store://b/run is in use by process {os.getpid()} on .* since 20"
    ):
        OwnRunDir(make_config()).open()
    assert RunDir("store://b/run").in_use
    first.close()
    assert not RunDir("store://b/run").in_use
    with pytest.raises(RunDirError, match="belongs to a run with other settings:\n  --fold: 1 there, 2 here"):
        OwnRunDir(make_config(fold=2))


def lock_of(host: str, seconds_ago: float, pid: int = 1) -> bytes:
    renewed = time.time() - seconds_ago
    value = {"token": "theirs", "host": host, "boot": "x", "pid": pid, "since": renewed, "renewed": renewed}
    return json.dumps(value).encode()


def test_the_lock_of_a_host_that_is_gone_is_taken_over_and_that_of_another_host_is_not(store, capsys):
    place = storage.at("store://b/run")
    buckets.write(place / ".lock", lock_of("elsewhere", 30))
    with pytest.raises(RunDirError, match="is in use by process 1 on elsewhere since"):
        OwnRunDir(make_config()).open()
    # The process itself before it restarted, as a worker does.
    ours = json.loads(lock_of("elsewhere", 0)) | dict(zip(("host", "boot"), mirror._this_host(), strict=True))
    buckets.write(place / ".lock", json.dumps(ours | {"pid": os.getpid()}).encode())
    run_dir = OwnRunDir(make_config())
    run_dir.open()
    run_dir.close()
    assert "taken over: process" in capsys.readouterr().out
    buckets.write(place / ".lock", lock_of("elsewhere", 600))
    run_dir = OwnRunDir(make_config())
    run_dir.open()
    assert "process 1 on elsewhere" in capsys.readouterr().out
    run_dir.write_skipped([("a.png", "empty")])
    run_dir.publish()
    assert "skipped_images.csv" in buckets.objects(place)
    buckets.write(place / ".lock", lock_of("elsewhere", 0))
    with pytest.raises(BlockingIOError, match="in use by process 1 on elsewhere"):
        run_dir.publish()
    run_dir.close()
    assert mirror.holder(place / ".lock").host == "elsewhere"  # It is theirs now.


def test_a_lock_is_renewed_while_it_is_held(store, monkeypatch):
    monkeypatch.setattr(mirror, "BEAT_SECONDS", 0.001)
    place = storage.at("store://b/.lock")
    lock = mirror.Lock(place)
    lock.take()
    first = mirror.holder(place)
    while mirror.holder(place).renewed == first.renewed:
        time.sleep(0.001)
    assert mirror.holder(place).since == first.since
    lock.release()
    assert mirror.holder(place) is None


def test_a_bucket_that_fails_in_the_midst_of_a_run_stops_it_with_the_reason(store, monkeypatch):
    run_dir = OwnRunDir(make_config())
    run_dir.open()

    class PermissionDeniedError(Exception):  # As TensorFlow's, which is no OSError.
        pass

    def denied(self, *arguments, **options):
        raise PermissionDeniedError("the account has no right to write\nmore")

    (run_dir / "metrics.jsonl").write_text("{}\n")
    with monkeypatch.context() as patch, pytest.raises(loop.StorageError) as stopped:
        patch.setattr(type(storage.at("store://b")), "open", denied)
        with loop._storage(run_dir):
            run_dir.publish()
    assert "store://b/run cannot be written: the account has no right to write. Checkpoints" in str(stopped.value)
    run_dir.publish()
    assert (store / "b/run/metrics.jsonl").read_text() == "{}\n"
    run_dir.close()


def test_objects_are_put_so_that_whatever_has_arrived_can_be_resumed(store, monkeypatch):
    order = [
        "config.json",
        "generation_0/metrics.jsonl",
        "generation_1/labeled.json",
        "generation_0/best/ckpt-2.data-00000-of-00001",
        "generation_0/best/ckpt-2.index",
        "generation_0/best/checkpoint",
        "generation_0/checkpoints/ckpt-2.data-00000-of-00001",
        "generation_0/checkpoints/ckpt-2.index",
        "generation_0/checkpoints/checkpoint",
        "generation_0/result.json",
        "result.json",
    ]
    run_dir, put, seen = OwnRunDir(make_config()), buckets.put, []
    run_dir.open()

    def noted(local, path):
        put(local, path)
        seen.append(buckets.below(path, storage.at("store://b/run")))

    monkeypatch.setattr(buckets, "put", noted)
    for name in order:
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).write_text(name)
    run_dir.publish()
    assert seen == order
    (run_dir / "generation_0/metrics.jsonl").unlink()
    (run_dir / "generation_0/checkpoints/checkpoint").write_text("another")
    run_dir.publish()
    assert seen[len(order) :] == ["generation_0/checkpoints/checkpoint"]
    assert "generation_0/metrics.jsonl" not in buckets.objects(storage.at("store://b/run"))
    run_dir.close()


def test_a_worker_that_only_reads_sees_what_the_chief_published(store):
    chief, other = OwnRunDir(make_config()), OwnRunDir(make_config())
    chief.open()
    other.follow()
    (chief.generation(1).path).mkdir()
    storage.write_json(chief.generation(1) / "labeled.json", {"a": 1})
    chief.publish()
    other.refresh("labeled.json")
    assert storage.read_json(other.generation(1) / "labeled.json") == {"a": 1}
    assert chief.path != other.path
    other.close()
    chief.close()
    assert buckets.objects(storage.at("store://b/run")) == ["config.json", "generation_1/labeled.json"]


def test_data_are_copied_once_and_what_has_changed_again(store, tmp_path, capsys):
    for name in ("a", "b"):
        (store / "d/images/x").mkdir(parents=True, exist_ok=True)
        (store / f"d/images/x/{name}").write_text(name)
    local = buckets.kept("store://d/images", tmp_path / "cache")
    assert sorted(path.name for path in (local / "x").iterdir()) == ["a", "b"]
    assert "Copying 2 files, 0.0 MB, from store://d/images to" in capsys.readouterr().out
    (store / "d/images/x/b").write_text("longer")
    (store / "d/images/x/a").unlink()
    assert buckets.kept("store://d/images", tmp_path / "cache") == local
    assert "Copying 1 files" in capsys.readouterr().out
    assert [(path.name, path.read_text()) for path in (local / "x").iterdir()] == [("b", "longer")]
    buckets.kept("store://d/images", tmp_path / "cache")
    assert capsys.readouterr().out == ""
    given = config.resolve({"data_dir": "store://d/images", "cache_dir": str(tmp_path / "cache")})
    assert files.data_dirs(given.data)[0] == local
    assert buckets.origin(local / "x/b") == "store://d/images/x/b"


def test_a_cell_of_a_sweep_in_a_bucket_is_finished_there_and_its_log_is_here(store):
    code = (
        "import os, pathlib; folder = pathlib.Path(os.environ['UDAL_TEST_STORE'], 'b/runs/cell')\n"
        "folder.mkdir(parents=True); (folder / 'result.json').write_text('{}'); print('trained')\n"
    )
    notes = sweep._notes(storage.at("store://b/runs"))
    notes.mkdir()
    job = jobs.Job("cell", (sys.executable, "-c", code), "store://b/runs/cell", str(notes), os.getcwd(), "commit", 0)
    assert jobs.run_job(job) == jobs.Outcome("finished")
    assert json.loads((store / "b/runs/cell/cell.json").read_text())["commit"] == "commit"
    assert pathlib.Path("sweep_runs/cell.log").read_text() == "trained\n"
    assert sorted(path.name for path in pathlib.Path().iterdir()) == ["sweep_runs"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((predict.main, "run", "store://b/*.png"), "patterns work on local files alone, got store://b/*.png"),
        ((inspect.main, "photos", "--labels=gs://b/l.csv"), "--labels: must be a local path, got 'gs://b/l.csv'"),
        ((inspect.main, "photos", "--", "--cache_dir=gs://b/c"), "--cache_dir must be a local path, got gs://b/c"),
        ((predict.main, "run", "a.png", "--plugin=gs://b/p.py"), "the plugin gs://b/p.py must be a local file"),
        ((sweep.main, "digits", "--out=store://b/runs", "--engine=ray", PLUGIN), "--engine=ray needs a folder"),
        ((report.main, "nowhere://b/runs"), "nowhere:// is not known, got nowhere://b/runs"),
        ((report.main, "store://missing/runs", PLUGIN), "store://missing/runs must be a folder with runs, and is not"),
    ],
)
def test_what_cannot_be_in_a_bucket_is_refused_by_name(store, call_command, arguments, words):
    code, _, err = call_command(*arguments)
    assert (code, words in err) == (2, True), err
    assert list(pathlib.Path().iterdir()) == []


def test_a_bucket_that_does_not_answer_is_refused_in_time(store, call_command, monkeypatch):
    """TensorFlow's own client, whose way out is a proxy that accepts and never answers."""
    monkeypatch.setattr(buckets, "SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for name in ("https_proxy", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        code, _, err = call_command(report.main, "gs://udal-tf-silent/runs")
    assert code == 2
    assert "gs://udal-tf-silent cannot be used: no answer within 0.2 s. gs:// needs credentials" in err
    assert list(pathlib.Path().iterdir()) == []
