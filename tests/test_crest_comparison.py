"""The comparisons with the CReST release that people start by hand: options, tables from made-up rows, the layout."""

import importlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a file of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def made_up_run(losses: list[float], figures, accuracy: float) -> dict:
    steps = {name: [0.5] * len(losses) for name in figures}
    kinds = ("raw", "ema", "raw_la", "ema_la")
    return {
        "steps": {**steps, "loss": losses},
        "accuracy": dict.fromkeys(kinds, accuracy),
        "facts": {"TensorFlow": "2.x"},
    }


def rows_of(table: str) -> dict[str, list[str]]:
    """The cells of a Markdown table's rows by their first one or two."""
    rows = {}
    for line in table.splitlines():
        if line.startswith("| "):
            first, *cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            rows.setdefault(first, []).append(cells)
    return rows


def test_the_loop_comparison_says_how_it_is_started():
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "crest_loop.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert "--crest_python" in done.stdout and "dataset-fashion-mnist" in done.stdout


@pytest.mark.parametrize(
    "option, message",
    [
        ("--steps=30", "--steps must be a multiple of 4, got 30"),
        ("--seeds=1", "--seeds must be at least 2, got 1"),
        ("--test_images=250", "--test_images must be a multiple of 100 up to 10000, got 250"),
    ],
)
def test_options_that_do_not_fit_are_refused(benchmark, monkeypatch, capsys, option, message):
    monkeypatch.setattr(sys, "argv", ["crest_loop.py", "--crest=DIR", "--crest_python=BIN", option])
    with pytest.raises(SystemExit) as ended:
        benchmark("crest_loop").parsed_arguments()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_report_sets_means_over_quarters_side_by_side(benchmark):
    crest_loop = benchmark("crest_loop")
    figures = crest_loop.FIGURES
    # Quarters of two steps; the first ones have means 2 and 4, 3 and 7.
    theirs = [made_up_run([1, 3, 0, 0, 0, 0, 1, 1], figures, 0.5), made_up_run([4, 4, 0, 0, 0, 0, 1, 1], figures, 0.7)]
    ours = [made_up_run([3, 3, 0, 0, 0, 0, 1, 1], figures, 0.5), made_up_run([6, 8, 0, 0, 0, 0, 1, 1], figures, 0.7)]
    counts = {"raw": 8, "ema": 7, "raw_la": 6, "ema_la": 5}
    check = {
        "first_step": {"theirs": dict.fromkeys(figures, 2.25), "ours": dict.fromkeys(figures, 2.5)},
        "differences": {"a": 1e-5, "b": 2e-5, "c": 4e-4},
        "correct": {"theirs": counts, "ours": {**counts, "ema_la": 4}},
        "views": {"images": 400, "bytes": 1228800, "darkened": 47, "differing": 98585, "differing_darkened": 0},
        "distinct": 15,
    }
    shared = {"steps": {"loss": [5.0, 6.0]}, "kernels": 15, "distinct": 8}
    settings = {"steps": 8, "batch_size": 16, "ratio": 3, "fold": 1, "test_images": 2000, "threads": 2}
    report = crest_loop.report(settings, {crest_loop.RELEASE: theirs, crest_loop.HERE_NAME: ours}, shared, check)
    rows = rows_of(report)
    # ((4 − 2)² / 2 + (7 − 3)² / 2) / 2 = 5 is the squared standard error of the difference, 2.
    assert rows["loss"][0] == ["1–2", "3.000 ± 1.414", "5.000 ± 2.828", "+2.000", "+0.9"]
    assert rows["loss"][3] == ["7–8", "1.000 ± 0.000", "1.000 ± 0.000", "+0.000", "0"]
    assert rows["test accuracy in %, EMA"] == [["8", "60.0 ± 14.1", "60.0 ± 14.1", "+0.0", "+0.0"]]
    assert rows["test images right, EMA & LA (Inf), CReST's last weights"] == [["5", "4"]]
    assert rows["step 1: loss"] == [["2.25", "2.5"]]
    assert rows["distinct convolution kernels at the start, of 15"] == [["8", "15"]]
    assert "2.0e-05, 4.0e-04" in report and "98,585" in report
    assert "loss over steps 1–2 is 5.500 in the mean, 3.000 from kernels drawn anew" in report


def test_runs_of_other_settings_in_the_folder_are_refused(benchmark, tmp_path, capsys):
    crest_loop = benchmark("crest_loop")
    crest_loop.keep_settings(tmp_path / "settings.json", {"steps": 8})
    crest_loop.keep_settings(tmp_path / "settings.json", {"steps": 8})
    with pytest.raises(SystemExit):
        crest_loop.keep_settings(tmp_path / "settings.json", {"steps": 480})
    assert "holds runs of {'steps': 8}, not {'steps': 480}" in capsys.readouterr().err


def test_what_is_finished_is_not_run_again_and_what_fails_ends_the_comparison(benchmark, tmp_path, capsys):
    crest_loop = benchmark("crest_loop")
    finished, other = tmp_path / "a.json", tmp_path / "b.json"
    finished.write_text("{}")
    fails = [sys.executable, "-c", "print('said'); raise SystemExit(3)"]
    crest_loop.begin(finished, fails)
    with pytest.raises(SystemExit):
        crest_loop.begin(other, fails)
    assert f"b ended with status 3; see {tmp_path / 'b.log'}" in capsys.readouterr().err
    assert (tmp_path / "b.log").read_text() == "said\n"
    crest_loop.begin(
        other, [sys.executable, "-c", f"import os; open({str(other)!r}, 'w').write(os.environ['X'])"], {"X": "[1]"}
    )
    assert json.loads(other.read_text()) == [1]


def test_fashion_images_get_a_margin_and_three_channels(benchmark):
    images = np.full((2, 28, 28, 1), 7, np.uint8)
    wide = benchmark("crest_loop_ours").as_cifar(images)
    assert wide.shape == (2, 32, 32, 3) and wide.dtype == np.uint8
    assert wide.sum() == 7 * 2 * 28 * 28 * 3
    assert (wide[:, 2:30, 2:30] == 7).all()


def test_priors_of_la_are_rows_over_the_same_weights(benchmark):
    def run(raw, labeled, average):
        def of(la):
            return {"raw": raw, "ema": raw, "raw_la": la, "ema_la": la}

        return {
            "labeled": {"distribution": [0.8, 0.2], "accuracy": of(labeled)},
            "label_average": {"distribution": [0.6, 0.4], "accuracy": of(average)},
        }

    rows = rows_of(benchmark("la_priors").table([run(0.8, 0.9, 0.85), run(0.82, 0.94, 0.85)]))
    assert rows["without LA (Inf)"] == [["81.0 ± 1.4", "81.0 ± 1.4", ""]]
    assert rows["& LA (Inf), --la_prior=labeled"] == [["92.0 ± 2.8", "92.0 ± 2.8", "4.0 : 1"]]
    assert rows["& LA (Inf), --la_prior=label_average"] == [["85.0 ± 0.0", "85.0 ± 0.0", "1.5 : 1"]]


def test_priors_of_la_need_finished_runs(benchmark, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["la_priors.py", str(tmp_path)])
    with pytest.raises(SystemExit):
        benchmark("la_priors").main()
    assert f"not a finished run: {tmp_path}" in capsys.readouterr().err


def test_priors_of_la_on_a_finished_run_agree_with_its_own_result(benchmark, tiny_run):
    found = benchmark("la_priors").evaluated(tiny_run)
    result = json.loads((tiny_run / "result.json").read_text())
    assert result["la_prior"]["kind"] == "labeled"
    assert found["labeled"]["accuracy"] == result["accuracy"]
    assert found["labeled"]["distribution"] == result["la_prior"]["distribution"]
    # After four batches the moving average of labels is still close to uniform.
    np.testing.assert_allclose(found["label_average"]["distribution"], np.full(10, 0.1), atol=0.004)
