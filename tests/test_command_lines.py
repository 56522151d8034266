"""Command lines that no command can use: refused by name, with a bound; and random ones, from the fuzz benchmark."""

import dataclasses
import pathlib
import runpy
import sys

import pytest
from absl import flags

from udal_tf import config as config_module
from udal_tf.commands import crest_export, evaluate, export, inspect, predict, report, suggest, sweep
from udal_tf.config import given_on_command_line, resolve
from udal_tf.settings import Section, setting

FUZZ = pathlib.Path(__file__).parents[1] / "benchmarks" / "fuzz_flags.py"


def test_random_command_lines_get_help_or_a_clear_error():
    """The benchmark does ten thousand."""
    fuzz = runpy.run_path(str(FUZZ))
    found = list(fuzz["outcomes"](400, seed=1))
    assert [one for one in found if one[2] not in fuzz["CLEAR"]] == []
    kinds = [outcome for _, _, outcome in found]
    assert min(kinds.count(kind) for kind in fuzz["CLEAR"]) >= 3
    assert len({name for name, _, _ in found}) == 9


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"batch_size": 10**9}, "--batch_size must be at least 1 and at most 65,536, got 1000000000"),
        ({"batch_size": 2**64}, "--batch_size must be at least 1 and at most 65,536, got 18446744073709551616"),
        ({"batch_size": 60_000, "unlabeled_ratio": 1000}, "make 60,000,000 unlabeled images per step; the most is"),
        ({"eval_batch_size": 10**6}, "--eval_batch_size must be at least 1 and at most 65,536"),
        ({"threads": 10**6}, "--threads must be at least 0 and at most 4,096, got 1000000"),
        ({"epochs": 2**63}, "--epochs must be at least 1 and at most 10,000,000"),
        ({"steps_per_epoch": 10**18}, "--steps_per_epoch must be at least 1 and at most 100,000,000"),
        ({"image_size": 10**6}, "--image_size must be at least 0 and at most 8,192"),
        ({"width": 10**6}, "--width must be at least 1 and at most 1,000"),
        ({"learning_rate": float("inf")}, "--learning_rate must be above 0, got inf"),
        ({"k": float("nan")}, "--k must be at least 0, got nan"),
        ({"learning_rate": 1e-50}, "--learning_rate must be 0 or a float32, from 1.2e-38 to 3.4e+38 in magnitude"),
        ({"unlabeled_weight": 1e39}, "--unlabeled_weight must be 0 or a float32"),
        ({"k": 10**400}, "--k must be a whole number of at most 64 bits"),
        ({"workdir": "run\0"}, r"--workdir must be without NUL bytes, got 'run\x00'"),
        ({"workdir": "caf\udce9"}, r"--workdir must be valid UTF-8, got 'caf\udce9'"),
        ({"plugin_sha256": ("\0",)}, "--plugin_sha256 must be without NUL bytes"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_work_is_refused_with_its_bound(given, words):
    with pytest.raises(ValueError) as raised:
        resolve(given)
    assert words in str(raised.value)


def test_images_may_lie_in_a_folder_of_any_bytes_but_results_go_where_tensorflow_can_write():
    config = resolve({"dataset": "folder", "data_dir": "/photos/caf\udce9", "beta": 1.0})
    assert config.data.data_dir == "/photos/caf\udce9"
    assert config.train.workdir == "runs/folder_caf__b1_fixmatch_udal_fold1"


def test_every_whole_number_has_an_upper_bound():
    fields = config_module.section_fields()
    numbers = {name: field for name, field in fields.items() if type(field.default) is int}
    assert len(numbers) > 15
    assert [name for name, field in numbers.items() if field.metadata["high"] is None] == []


def test_a_number_without_a_bound_of_its_own_has_64_bits():
    made = dataclasses.make_dataclass("made", [("depth_of_mine", int, setting(1, ""))], bases=(Section,), frozen=True)
    assert made(2**63 - 1).depth_of_mine == 2**63 - 1
    with pytest.raises(ValueError, match="--depth_of_mine must be a whole number of at most 64 bits, got 922337203685"):
        made(2**63)


@pytest.mark.parametrize("name", ["workdir", "data_dir", "cache_dir", "split_manifest", "pretrained", "tpu"])
def test_an_empty_value_as_of_an_unset_variable_is_refused(name):
    with pytest.raises(ValueError, match=f"--{name} must not be empty: leave it out for its default"):
        given_on_command_line([f"--{name}="])


@pytest.fixture
def nested_flagfile(tmp_path):
    (tmp_path / "outer.flags").write_text("# A device, which may have no end.\n--flagfile=/dev/null\n")
    return f"--flagfile={tmp_path / 'outer.flags'}"


@pytest.mark.parametrize("flag", ["--flagfile=/dev/null", "--unlabeled_prior=/dev/null", "--plugin=/dev/null", ""])
def test_devices_and_pipes_are_refused_as_files_of_settings(flag, nested_flagfile):
    """/dev/null in place of /dev/zero and of pipes, which would hang a version that reads them."""
    with pytest.raises(ValueError, match="/dev/null( cannot be read)?: not a regular file"):
        resolve(given_on_command_line([flag or nested_flagfile]))


RUN = ["run", "a.png"]
REFUSED = [
    (predict, [*RUN, "--top_k=0"], "--top_k: must be a whole number from 1 to 1,000,000, got 0"),
    (predict, [*RUN, f"--top_k={2**64}"], "--top_k: must be a whole number from 1 to 1,000,000"),
    (predict, [*RUN, "--out="], "--out: must not be empty"),
    (predict, ["", "a.png"], "WORKDIR: must not be empty"),
    (predict, ["run\0", "a.png"], r"WORKDIR: must be without NUL bytes, got 'run\x00'"),
    (predict, ["caf\udce9", "a.png"], r"WORKDIR: must be valid UTF-8, got 'caf\udce9'"),
    (predict, [*RUN, "--out=--"], "--out: must not be --"),
    (evaluate, ["run", ""], "DIR: must not be empty"),
    (evaluate, ["run", "photos", "--out=\0"], "--out: must be without NUL bytes"),
    (export, ["run", "caf\udce9", "--format=keras"], "OUT: must be valid UTF-8"),
    (report, [""], "folders: must not be empty"),
    (report, ["runs", "--out="], "--out: must not be empty"),
    (predict, ["run", ""], "IMAGES: must not be empty"),
    (predict, ["run", "a\0.png"], r"IMAGES: must be without NUL bytes, got 'a\x00.png'"),
    (predict, [*RUN, "--target_prior="], "--target_prior: must not be empty"),
    (predict, [*RUN, "--plugin="], "--plugin: must not be empty"),
    (export, ["run", "out", "--format=keras", "--images", ""], "--images: must not be empty"),
    (export, ["run", "out", "--format=keras", "--images", "\0"], "--images: must be without NUL bytes"),
    (inspect, [""], "DIR: must not be empty"),
    (inspect, ["photos\0"], "DIR: must be without NUL bytes"),
    (inspect, ["photos", "--out="], "--out: must not be empty"),
    (suggest, ["run", ""], "IMAGES: must not be empty"),
    (suggest, ["run", "--count=0"], "--count: must be a whole number from 1 to 100,000, got 0"),
    (suggest, ["run", "--by="], "--by: invalid choice: ''"),
    (suggest, ["run", "--image_root="], "--image_root: must not be empty"),
    (inspect, ["photos", "--model="], "--model: must not be empty"),
    (inspect, ["photos", "--count=0"], "--count: must be a whole number from 1 to 100,000, got 0"),
    (sweep, [""], "grid: must not be empty"),
    (sweep, ["digits", "--address="], "--address: must not be empty"),
    (sweep, ["digits", "--address=\0"], "--address: must be without NUL bytes"),
    (sweep, ["digits", "--only="], "--only: must not be empty"),
    (sweep, ["digits", "--jobs=0"], "--jobs: must be a whole number from 1 to 10,000, got 0"),
    (sweep, ["digits", "--jobs=99999999999"], "--jobs: must be a whole number from 1 to 10,000"),
    (sweep, ["digits", "--retries=-1"], "--retries: must be a whole number from 0 to 1,000,000"),
    (sweep, ["digits", "--num_gpus=nan"], "--num_gpus: must be a number from 0 to 1,000,000,000, got nan"),
    (sweep, ["digits", "--images_per_second=inf"], "--images_per_second: must be a number from 0 to 1,000,000,000"),
    (sweep, ["digits", "--resources=TPU=inf"], "--resources: must be NAME=NUMBER,… with numbers from 0 to"),
    (sweep, ["digits", "--out="], "--out: must not be empty"),
]


@pytest.mark.parametrize(("command", "arguments", "words"), REFUSED)
def test_every_command_refuses_by_name(call_command, command, arguments, words):
    code, out, err = call_command(command.main, *arguments)
    assert (code, out) == (2, "")
    assert f"error: argument {words}" in err


def test_a_sweep_that_cannot_write_names_the_folder(call_command, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = call_command(sweep.main, "digits", "--only=*fold1", f"--out={tmp_path / 'file' / 'runs'}")
    assert (code, err) == (2, f"error: {tmp_path}/file/runs/sweep: Not a directory\n")


@pytest.mark.parametrize("command", [evaluate, export, inspect, predict, report, suggest, sweep])
def test_unknown_flags_and_missing_arguments_end_with_2_and_help_with_0(call_command, command):
    assert call_command(command.main, "--nope")[0] == 2
    code, _, err = call_command(command.main)
    # What is inspected may be named by a folder or by a CSV file.
    missing = "--data_dir must name your folder, or --labels a CSV file" if command is inspect else "required"
    assert code == 2 and missing in err
    code, out, err = call_command(command.main, "--help")
    assert (code, err) == (0, "") and out.startswith("usage: ")


@pytest.fixture
def absl_command(monkeypatch, call_command):
    """Calls crest_export with absl's flags, of which a process has one set."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["crest_export", *arguments])
        return call_command(lambda argv: crest_export.main())

    own = flags.FlagValues()
    config_module.define_flags(own)
    flags.DEFINE_string("out", None, "", own)

    def forget():
        for name in set(own) & set(flags.FLAGS):
            delattr(flags.FLAGS, name)

    forget()
    yield call
    forget()


def test_crest_export_ends_as_the_others_do_for_an_unknown_flag(absl_command):
    code, out, err = absl_command("--nope")
    assert (code, out) == (2, "")
    assert err.startswith("error: Unknown command line flag 'nope'")


def test_crest_export_prints_the_help_that_was_asked_for_with_0(absl_command):
    code, out, err = absl_command("--help")
    assert (code, err) == (0, "")
    assert out.startswith("`python -m udal_tf.commands.crest_export") and "--out: Folder" in out and "--n1: N_1" in out


def test_crest_export_refuses_a_bad_value_by_name(absl_command):
    assert absl_command("--fold=x")[::2] == (
        2,
        "error: flag --fold=x: invalid literal for int() with base 10: 'x' (--help lists the allowed values)\n",
    )
