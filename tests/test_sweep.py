"""The sweep: what it lists, skips, retries and logs, and how it stops; small scripts stand in for the cells."""

import concurrent.futures
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest

from udal_tf.commands import report, sweep
from udal_tf.config import resolve
from udal_tf.run_dir import RunDir
from udal_tf.sweep import driver, engines, gpus, jobs
from udal_tf.training import timing

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = ["--epochs=1", "--steps_per_epoch=2", "--batch_size=4", "--unlabeled_ratio=1", "--depth=10"]
FINISH = "import json, pathlib, sys; (pathlib.Path(sys.argv[1]) / 'result.json').write_text('{}')"


@pytest.fixture
def make_job(tmp_path):
    """Makes the job of a cell that runs a Python text; its argument is the cell's folder."""

    def make(code, name="cell", retries=0):
        (tmp_path / name).mkdir()
        (tmp_path / "sweep").mkdir(exist_ok=True)
        command = (sys.executable, "-c", code, name)
        return jobs.Job(name, command, name, "sweep", str(tmp_path), "commit", retries)

    return make


def failures(tmp_path):
    path = tmp_path / "sweep" / "failures.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_finished_cell_is_recorded(make_job, tmp_path):
    assert jobs.run_job(make_job(FINISH)) == jobs.Outcome("finished")
    record = json.loads((tmp_path / "cell" / "cell.json").read_text())
    assert record["commit"] == "commit"
    assert record["command"].startswith("python -c ")
    assert record["attempt"] == 1


def test_a_cell_that_is_finished_is_not_run_again(make_job, tmp_path):
    job = make_job("raise SystemExit(1)")
    (tmp_path / "cell" / "result.json").write_text("{}")
    assert jobs.run_job(job) == jobs.Outcome("finished")
    assert failures(tmp_path) == []


def test_a_failure_is_retried_and_its_reason_kept(make_job, tmp_path):
    code = (
        "import pathlib, sys; p = pathlib.Path(sys.argv[1]) / 'tries'\n"
        "n = len(p.read_text()) if p.exists() else 0; p.write_text('x' * (n + 1)); print('attempt', n)\n"
        f"if n < 2: sys.exit('the disk is full')\n{FINISH}"
    )
    assert jobs.run_job(make_job(code, retries=2)) == jobs.Outcome("finished")
    kept = failures(tmp_path)
    assert [entry["attempt"] for entry in kept] == [1, 2]
    assert kept[0]["reason"].startswith("exit code 1: ") and "the disk is full" in kept[0]["reason"]
    assert json.loads((tmp_path / "cell" / "cell.json").read_text())["attempt"] == 3


def test_a_cell_that_keeps_failing_is_given_up(make_job, tmp_path):
    outcome = jobs.run_job(make_job("import os; os.kill(os.getpid(), 9)", retries=1))
    assert (outcome.state, outcome.reason) == ("failed", "killed by SIGKILL: ")
    assert len(failures(tmp_path)) == 2


def test_a_cell_in_use_is_waited_for_and_not_run_twice(make_job, tmp_path):
    job = make_job("raise SystemExit('ran a second time')")
    with open(tmp_path / "cell" / ".lock", "w") as lock, concurrent.futures.ThreadPoolExecutor() as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = pool.submit(jobs.run_job, job)
        time.sleep(3 * jobs.POLL_SECONDS)
        assert not running.done()
        (tmp_path / "cell" / "result.json").write_text("{}")
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert running.result(timeout=10) == jobs.Outcome("finished")
    assert failures(tmp_path) == []


def test_a_stop_reaches_the_cell_which_may_save_first(make_job, tmp_path):
    code = (
        "import pathlib, signal, sys, time; p = pathlib.Path(sys.argv[1])\n"
        "def save(*_): (p / 'saved').write_text(''); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, save); (p / 'ready').write_text(''); time.sleep(60)"
    )
    ready = tmp_path / "cell" / "ready"
    outcome = jobs.run_job(make_job(code), stop=lambda: signal.SIGTERM if ready.exists() else 0)
    assert outcome == jobs.Outcome("interrupted")
    assert (tmp_path / "cell" / "saved").exists()
    assert failures(tmp_path) == []


def test_a_stop_reaches_a_cell_of_a_sweep_under_nohup(make_job, tmp_path):
    """nohup has SIGHUP ignored, which children inherit."""
    job = make_job("import pathlib, sys, time; (pathlib.Path(sys.argv[1]) / 'ready').touch(); time.sleep(60)")
    ready = tmp_path / "cell" / "ready"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        outcome = jobs.run_job(job, stop=lambda: signal.SIGHUP if ready.exists() else 0)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert outcome == jobs.Outcome("interrupted")


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
def test_the_first_stop_signal_asks_the_cells_to_save_and_the_second_kills_them(make_job, capsys, signals):
    """What it passes on first is never a cell's second signal: a scheduler may have sent SIGTERM to all processes."""

    class Engine:
        """Has one cell, which ends when it is killed."""

        def __init__(self):
            self.stops, self.closed = [], False
            self.busy = True

        def submit(self, job):
            self.job = job

        def ended(self):
            if self.stops == [signal.SIGHUP, signal.SIGKILL]:
                self.busy = False
                return [(self.job, jobs.Outcome(jobs.INTERRUPTED))]
            if len(self.stops) == self.sent:
                signal.raise_signal(signals[self.sent])
                self.sent += 1
            time.sleep(0.01)
            return []

        sent = 0

        def stop(self, number):
            self.stops.append(number)

        def close(self):
            self.closed = True

    engine, job = Engine(), make_job("")
    cell = types.SimpleNamespace(images=10, config=resolve({"epochs": 1, "workdir": job.workdir}), name="cell")
    failed, number = driver.train_all({"cell": (cell, job)}, engine, 1, 0)
    assert (failed, number, engine.closed) == ({}, signals[0], True)
    assert engine.stops == [signal.SIGHUP, signal.SIGKILL]
    said = capsys.readouterr().err.splitlines()
    assert said == ["the running cells are stopping after this step; once more ends it"]


def test_one_failure_does_not_stop_the_rest(make_job, tmp_path):
    engine = engines.LocalEngine(sweep.parse(["digits", "--jobs=2"]))
    for job in (make_job(FINISH, "a"), make_job("raise SystemExit(3)", "b"), make_job(FINISH, "c")):
        engine.submit(job)
    states = {}
    while engine.busy:
        states |= {job.name: outcome.state for job, outcome in engine.ended()}
    assert states == {"a": "finished", "b": "failed", "c": "finished"}


def test_jobs_share_the_cores_out(make_job, tmp_path):
    code = (
        "import json, os, pathlib, sys; cores = json.dumps(sorted(os.sched_getaffinity(0)))\n"
        "(pathlib.Path(sys.argv[1]) / 'cores').write_text(cores)\n"
    )
    count = 2
    engine = engines.LocalEngine(sweep.parse(["digits", f"--jobs={count}"]))
    for name in "ab":
        engine.submit(make_job(code + FINISH, name))
    while engine.busy:
        engine.ended()
    shown = [set(json.loads((tmp_path / name / "cores").read_text())) for name in "ab"]
    available = os.sched_getaffinity(0)
    if len(available) >= count:
        assert shown[0].isdisjoint(shown[1]) or shown[0] == shown[1]  # One job may have run after the other.
        assert all(len(cores) < len(available) for cores in shown)
    else:
        assert shown == [available, available]


def devices_of(make_job, tmp_path, monkeypatch, visible, count, *arguments) -> list[list[str]]:
    """What cells that run at the same time see: CUDA_VISIBLE_DEVICES and whether memory grows, of each."""
    code = (
        "import json, os, pathlib, sys, time\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "names = ('CUDA_VISIBLE_DEVICES', 'TF_FORCE_GPU_ALLOW_GROWTH')\n"
        "(folder / 'seen').write_text(json.dumps([os.environ.get(name, '') for name in names]))\n"
        f"while len(list(folder.parent.glob('*/seen'))) < {count}: time.sleep(0.01)\n"
    )
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    engine = engines.LocalEngine(sweep.parse(["digits", f"--jobs={count}", *arguments]))
    for number in range(count):
        engine.submit(make_job(code + FINISH, f"cell{number}"))
    while engine.busy:
        engine.ended()
    return sorted(json.loads(path.read_text()) for path in tmp_path.glob("cell*/seen"))


@pytest.mark.parametrize(
    ("visible", "arguments", "seen"),
    [
        ("4,7", (), [["4", ""], ["7", ""]]),
        ("4", (), [["4", "true"], ["4", "true"]]),
        ("4,7,8,9", ("--gpus_per_job=2",), [["4,7", ""], ["8,9", ""]]),
        ("4,7", ("--gpus_per_job=0",), [["4,7", ""], ["4,7", ""]]),
    ],
)
def test_two_jobs_get_a_gpu_each(make_job, tmp_path, monkeypatch, visible, arguments, seen):
    assert devices_of(make_job, tmp_path, monkeypatch, visible, 2, *arguments) == seen


def test_gpus_are_those_that_nvidia_smi_lists(tmp_path, monkeypatch, capsys):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 0\necho 1\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert gpus.names(None) == ["0", "1"]
    with pytest.raises(ValueError, match="--gpus_per_job=3: this machine has 2 GPUs"):
        gpus.variables(gpus.names(None), 1, 3)
    smi.write_text("#!/bin/sh\nexit 9\n")
    with pytest.raises(ValueError, match="nvidia-smi cannot list this machine's GPUs"):
        gpus.names(None)


@pytest.mark.parametrize(("cluster", "asked"), [({"CPU": 4.0}, 0.0), ({"CPU": 4.0, "GPU": 2.0}, 1.0)])
def test_a_ray_task_asks_for_a_gpu_where_the_cluster_has_any(tmp_path, monkeypatch, cluster, asked):
    given = {}
    task = types.SimpleNamespace(options=lambda **resources: given.update(resources))
    ray = types.SimpleNamespace(
        init=lambda **settings: None, remote=lambda function: task, cluster_resources=lambda: cluster
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    engines.RayEngine(sweep.parse(["digits", f"--out={tmp_path}"]))
    assert given["num_gpus"] == asked


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        sweep.main(list(arguments))
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_bad_input_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "the grid must be one of table1" in refused(capsys, "nothing")
    assert "--imbalance must be at least 1" in refused(capsys, "digits", "--", "--imbalance=0")
    assert "no cell of digits matches --only=x" in refused(capsys, "digits", "--only=x")
    assert "argument --jobs: must be a whole number from 1 to 10,000, got 0" in refused(capsys, "digits", "--jobs=0")
    assert "NAME=NUMBER" in refused(capsys, "digits", "--resources=TPU")
    assert list(tmp_path.iterdir()) == []


def test_ray_that_is_missing_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'udal-tf[sweep]'" in refused(capsys, "digits", "--engine=ray", f"--out={tmp_path}")


def test_ray_workers_import_from_the_checkout_and_the_callers_path(tmp_path, monkeypatch):
    given = {}
    task = types.SimpleNamespace(options=lambda **resources: given.update(resources))
    ray = types.SimpleNamespace(init=lambda **settings: given.update(settings), remote=lambda function: task)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setenv("PYTHONPATH", "mine")
    engines.RayEngine(sweep.parse(["digits", f"--out={tmp_path}", "--num_cpus=3", "--num_gpus=1"]))
    variables = {"PYTHONPATH": f"{ROOT}{os.pathsep}mine", "TF_NUM_INTRAOP_THREADS": "3"}
    assert given["runtime_env"] == {"env_vars": variables}
    assert (given["num_gpus"], given["max_retries"]) == (1.0, 1)


def test_list_has_every_command_its_state_and_cost(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    name = "cifar10lt_g50_b0.1_fixmatch_udal_fold1"
    (tmp_path / name).mkdir()
    config = resolve({"dataset": "cifar10lt", "imbalance": 50.0, "beta": 0.1})
    RunDir(tmp_path / name).write_config(config)
    (tmp_path / name / "result.json").write_text("{}")
    sweep.main(["table1", "--list", f"--out={tmp_path}", "--images_per_second=1000"])
    text = capsys.readouterr().out
    assert f"{name}  finished  62,914,560 images  17.48 h\n" in text
    command = "python run.py --flagfile=flags/table1_fixmatch_udal.flags --imbalance=50 --fold=1"
    assert f"{command} --workdir={tmp_path / name}\n" in text
    assert "still to train: 119 cells" in text
    assert "Every cell resolves: 1 finished, 0 started, 119 new." in text
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_hours_say_whose_measurement_they_rest_on(tmp_path, capsys):
    sweep.main(["table4", "--dry_run", f"--out={tmp_path}"])
    text = capsys.readouterr().out
    assert "Hours at 412 images per second, as others measured other code on one GPU" in text
    # 1,410,816,000 images.
    assert "imagenet127_g286_b0.1_fixmatch_none_fold1  new  1,410,816,000 images  951.20 h" in text
    sweep.main(["digits", "--dry_run", f"--out={tmp_path}"])
    assert "as measured on two cores" in capsys.readouterr().out


def test_hours_by_steps_timed_here_are_said_to_be_so_and_each_kind_is_timed_once(tmp_path, capsys, monkeypatch):
    timed = []

    def measure(config, num_classes, test_images, side):
        timed.append((config.method.base, config.train.unlabeled_batch_size, num_classes, side))
        return timing.Timing(5, 0.5, 1.0, 1.0, 100.0)

    monkeypatch.setattr(timing, "measure", measure)
    sweep.main(["digits", "--list", "--measure", f"--out={tmp_path}"])
    text = capsys.readouterr().out
    assert timed == [("supervised", 128, 10, 8), ("fixmatch", 128, 10, 8), ("mixmatch", 128, 10, 8)]
    # 32 labeled images in half a second; with two views of 128 unlabeled ones, 288.
    assert "Hours at 64 and 576 images per second, as just measured on this machine (device CPU" in " ".join(
        text.split()
    )
    # 1,000 steps.
    assert "supervised_none_fold1  new  32,000 images  0.14 h" in text


def test_a_listing_can_be_left_in_the_middle(tmp_path):
    command = f"{sys.executable} -m udal_tf.commands.sweep table2 --list --out={tmp_path} | head -1"
    ended = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "cifar10lt" in ended.stdout


def test_a_folder_of_another_run_is_refused(tmp_path, capsys):
    folder = tmp_path / "digitslt_g12_b0.1_fixmatch_udal_fold1"
    folder.mkdir()
    RunDir(folder).write_config(resolve({"epochs": 3}))
    assert "--epochs: 3 there" in refused(capsys, "digits", "--dry_run", f"--out={tmp_path}")


def start(tmp_path, *further):
    grid = tmp_path / "grid.json"
    grid.write_text(json.dumps([{"settings": {"method": "none", "fold": [1, 2]}}]))
    command = [sys.executable, "-m", "udal_tf.commands.sweep", str(grid), f"--out={tmp_path / 'runs'}", "--retries=0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [*command, *further], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_stopped_sweep_goes_on_and_its_runs_make_a_report(tmp_path):
    long = [*TINY, "--epochs=30"]
    first = start(tmp_path, "--jobs=2", "--", *long)
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("runs/*/checkpoints/*.index")) and time.monotonic() < deadline:
        assert first.poll() is None, first.communicate()
        time.sleep(0.2)
    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 128 + signal.SIGTERM, output
    assert "the same command resumes the sweep" in output
    begun = {path.parents[1].name for path in tmp_path.glob("runs/*/checkpoints/*.index")}
    assert begun and not list(tmp_path.glob("runs/*/result.json"))
    assert not (tmp_path / "runs/sweep/failures.jsonl").exists()
    second = start(tmp_path, "--jobs=2", "--", *long)
    output, errors = second.communicate(timeout=300)
    assert second.returncode == 0, errors
    assert "[2/2]" in output
    for name in begun:
        assert "Resuming from step" in (tmp_path / "runs/sweep" / f"{name}.log").read_text()
    third = start(tmp_path, "--", *long)
    assert "Nothing to do." in third.communicate(timeout=60)[0]
    count, left_out, _ = report.write_report([tmp_path / "runs"], tmp_path / "report")
    assert (count, left_out) == (2, [])


def test_a_stop_file_says_the_signal_until_it_is_taken_back(tmp_path):
    stop = jobs.StopFile(tmp_path / "stop")
    assert stop() == 0
    stop.ask(signal.SIGTERM)
    assert stop() == signal.SIGTERM
    stop.ask(0)
    assert stop() == 0
