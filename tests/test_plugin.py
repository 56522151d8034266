"""Plugins: the file that docs/extending.md shows goes through every command, from training to export."""

import json
import os
import pathlib
import re
import signal

import forked
import numpy as np
import pytest
from absl import flags
from PIL import Image

import udal_tf
from udal_tf import config as config_module
from udal_tf import registry
from udal_tf.commands import evaluate, export, predict, report, sweep
from udal_tf.commands.help_text import help_text
from udal_tf.config import resolve
from udal_tf.inference.workfolder import ModelError
from udal_tf.registry import PluginError
from udal_tf.run_dir import OwnRunDir, RunDirError

ROOT = pathlib.Path(__file__).resolve().parents[1]
CODE = re.search(r"^```python\n(.*?)^```", (ROOT / "docs/extending.md").read_text(encoding="utf-8"), re.S | re.M)[1]
CHOICES = {"dataset": "stripes", "base": "softlabel", "method": "balanced_head", "arch": "small"}
OWN = {"stripe_noise": 0.3, "soft_temperature": 0.4, "debias": 1.0, "small_filters": 5}
SHORT = {"epochs": 2, "steps_per_epoch": 8}
GIVEN = {**CHOICES, **OWN, **SHORT}


def killed_command(*arguments: str) -> None:
    """`run.py` in this process, which SIGKILL ends once the first epoch is saved."""
    import tensorflow as tf

    save = tf.train.CheckpointManager.save

    def killed_save(self, checkpoint_number):
        path = save(self, checkpoint_number=checkpoint_number)
        if self.directory.endswith("checkpoints"):
            os.kill(os.getpid(), signal.SIGKILL)
        return path

    tf.train.CheckpointManager.save = killed_save
    forked.run_command(*arguments)


# The program's own records.
OWN_RECORDS = [dict(table) for table in registry.TABLES]


def forget():
    """What the next command finds is what a new process would: no plugin."""
    for table, records in zip(registry.TABLES, OWN_RECORDS, strict=True):
        table._records = dict(records)
    registry._imported.clear()


@pytest.fixture(autouse=True)
def _no_plugin_before_and_after():
    forget()
    yield
    forget()


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("plugin") / "my_plugin.py"
    path.write_text(CODE, encoding="utf-8")
    return path


def run(workdir: pathlib.Path, plugin: pathlib.Path, command=forked.run_command) -> forked.Finished:
    settings = [f"--{name}={value}" for name, value in GIVEN.items()]
    return forked.Started(command, f"--plugin={plugin}", *settings, f"--workdir={workdir}", cwd=workdir.parent).finish()


@pytest.fixture(scope="module")
def resumed(tmp_path_factory, plugin) -> pathlib.Path:
    """The work folder of a run that was killed after its first epoch and resumed."""
    workdir = tmp_path_factory.mktemp("plugin_runs") / "resumed"
    killed = run(workdir, plugin, killed_command)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (workdir / "result.json").exists()
    again = run(workdir, plugin)
    assert again.returncode == 0, again.stderr
    assert "Resuming from step 8 of 16" in again.stdout
    return workdir


@pytest.fixture(scope="module")
def swept(tmp_path_factory, plugin) -> pathlib.Path:
    """The folder of a sweep over one cell of the same settings, never interrupted."""
    folder = tmp_path_factory.mktemp("plugin_sweep")
    (folder / "grid.json").write_text(json.dumps([{"settings": GIVEN}]))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.MonkeyPatch.context() as patch:  # In the arithmetic of the other runs.
            patch.setenv("TF_ENABLE_ONEDNN_OPTS", forked.ENVIRONMENT["TF_ENABLE_ONEDNN_OPTS"])
            sweep.main([str(folder / "grid.json"), f"--out={folder / 'runs'}", f"--plugin={plugin}"])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return folder / "runs"


def only_run(folder: pathlib.Path) -> pathlib.Path:
    (found,) = [path.parent for path in folder.glob("*/result.json")]
    return found


def rows(workdir: pathlib.Path) -> list[dict]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


def test_a_killed_run_of_a_plugin_ends_as_one_that_was_not_killed(resumed, swept):
    cell = only_run(swept)
    assert rows(resumed) == rows(cell) and len(rows(cell)) == 2
    last = rows(cell)[-1]["train"]
    assert last["loss_balanced"] > 0 and 0.25 < last["largest_bias"] < 1
    for name in ("accuracy", "per_class_recall", "la_prior"):
        ours, theirs = (json.loads((folder / "result.json").read_text())[name] for folder in (resumed, cell))
        assert ours == theirs
    config = json.loads((cell / "config.json").read_text())
    assert config["method_settings"] == {"debias": 1.0} and config["arch_settings"] == {"small_filters": 5}
    assert config["dataset_settings"] == {"stripe_noise": 0.3} and config["base_settings"] == {"soft_temperature": 0.4}
    assert cell.name.startswith("stripes_g4_b0.2_softlabel_balanced_head_fold1_archsmall")


def test_a_report_finds_the_plugin_and_draws_its_runs(swept, tmp_path, capsys):
    report.main([str(swept), f"--out={tmp_path / 'report'}"])
    assert "1 run, 0 left out" in capsys.readouterr().out
    page = (tmp_path / "report" / "report.html").read_text()
    assert "SoftLabel w/ Balanced head" in page and "Stripes" in page
    assert any("Balanced_head" in path.name for path in (tmp_path / "report" / "figures").iterdir())


def test_predict_evaluate_and_export_find_the_plugin_and_take_the_second_head(resumed, tmp_path, capsys):
    model = udal_tf.load(resumed)
    source = registry.resolved(registry.DATASETS["stripes"].load)(None, model.folder.config.own.dataset)
    images = source.test.fetch(np.arange(40)).numpy()
    probs = model.predict(images).probs
    result = json.loads((resumed / "result.json").read_text())
    assert np.mean(probs.argmax(axis=1) == source.test_labels) == pytest.approx(result["accuracy"]["ema"])
    assert model.network.layers[-1].name == "second_head"
    for number, (image, label) in enumerate(zip(images[::5], source.test_labels[::5], strict=True)):
        folder = tmp_path / "images" / source.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / f"{number}.png")

    forget()
    with pytest.raises(SystemExit) as ended:
        predict.main([str(resumed), str(tmp_path / "images"), "--format=csv"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and {line.split(",")[1] for line in lines[1:]} <= set(source.class_names)

    forget()
    with pytest.raises(SystemExit) as ended:
        evaluate.main([str(resumed), str(tmp_path / "images"), f"--out={tmp_path / 'evaluation'}"])
    assert ended.value.code == 0
    assert json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())["count"] == 8

    forget()
    export.main([str(resumed), str(tmp_path / "exported"), "--format=keras"])
    assert "Written and checked" in capsys.readouterr().out


def test_help_lists_its_records_with_the_flags_they_own(plugin):
    registry.load_plugin(plugin)
    known = flags.FlagValues()
    config_module.define_flags(known)
    text = help_text(known, "")
    headings = ["Datasets", "Base learners", "Methods", "Backbones"]
    parts = re.split("|".join(f"\n{heading} " for heading in headings), text)[1:]
    for part, name, flag in zip(parts, CHOICES.values(), OWN, strict=True):
        assert re.search(rf"\n  {name}: .*\n      --{flag}: ", part), name
    with pytest.raises(ValueError, match="--debias belongs to --method=balanced_head, and this is --method=udal"):
        resolve({"debias": 1.0})


def test_methods_of_plugins_get_looks_of_their_own(plugin):
    from udal_tf.reporting import names

    registry.load_plugin(plugin)
    registry.register(*(registry.Method(name=f"other{i}", label=f"Other {i}") for i in range(12)))
    looks = [names.method_style(method) for method in registry.METHODS]
    assert len(looks) == 35
    assert len({color for color, _ in looks}) == len({marker for _, marker in looks}) == 35
    assert len(set(map(names.base_marker, registry.BASE_LEARNERS))) == 5


def test_a_plugins_file_may_have_any_name(tmp_path):
    path = tmp_path / "mine"
    path.write_text(
        "from udal_tf import registry\nregistry.register(registry.Method(name='mine', label=__file__ + __name__))\n"
    )
    _, sha256 = registry.load_plugin(path)
    assert registry.METHODS["mine"].label == f"{path}udal_tf_plugin_{sha256[:12]}"


def test_a_name_that_is_taken_is_refused_and_nothing_of_the_file_stays(tmp_path):
    path = tmp_path / "twice.py"
    path.write_text(
        "from udal_tf import registry\n"
        "registry.register(registry.Method(name='mine', label='Mine'), registry.Method(name='udal', label='Mine'))\n"
    )
    with pytest.raises(PluginError, match=f"{path} fails: ValueError: there is already a method 'udal'"):
        resolve({"plugin": (str(path),)})
    assert "mine" not in registry.METHODS


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("darp_every", "there is already a setting --darp_every, of --method=darp, da_darp"),
        ("epochs", "--base=mine must not have a setting --epochs: every run already has one"),
    ],
)
def test_a_setting_that_is_taken_is_refused(tmp_path, name, said):
    path = tmp_path / "taken.py"
    path.write_text(
        "import dataclasses\nfrom udal_tf import registry\nfrom udal_tf.settings import Section, setting\n"
        f"@dataclasses.dataclass(frozen=True)\nclass Mine(Section):\n    {name}: int = setting(1, 'Mine.')\n"
        "registry.register(registry.BaseLearner(name='mine', label='Mine', learner='x:y', settings=Mine))\n"
    )
    with pytest.raises(ValueError, match=said):
        resolve({"plugin": (str(path),)})


def test_a_plugin_that_has_changed_or_gone_is_refused_by_name(resumed, swept, plugin, tmp_path, capsys):
    kept = CODE.replace("0.9 * self.bias", "0.8 * self.bias")
    plugin.write_text(kept, encoding="utf-8")
    try:
        with pytest.raises(ModelError, match=f"the plugin {plugin} has changed: its SHA-256 was"):
            udal_tf.load(resumed)
        again = resolve({**GIVEN, "plugin": (str(plugin),), "workdir": str(resumed)})
        with pytest.raises(RunDirError, match=f"the plugin {plugin} has changed"):
            OwnRunDir(again)
        forget()
        with pytest.raises(SystemExit):
            report.main([str(swept), f"--out={tmp_path / 'report'}"])
        assert "has changed" in capsys.readouterr().err
        plugin.unlink()
        with pytest.raises(ModelError, match=f"the plugin {plugin} cannot be read: No such file"):
            udal_tf.load(resumed)
        copy = tmp_path / "copy.py"
        copy.write_text(CODE, encoding="utf-8")
        registry.load_plugin(copy)  # As --plugin names it.
        assert udal_tf.load(resumed).class_names == ("hair", "thin", "wide", "broad")
    finally:
        plugin.write_text(CODE, encoding="utf-8")
