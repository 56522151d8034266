"""The report of datasets that are not the paper's: rows, pairs by seed and fold, and what was gained, in sentences."""

import json
import math

import pytest
from made_up_runs import write_run

from udal_tf.commands import report
from udal_tf.folder_recipe import FolderFacts
from udal_tf.reporting import figures, own_data
from udal_tf.reporting.runs import read_runs

OWN = {"dataset": "folder", "data_dir": "flowers", "epochs": 3}
FACTS = FolderFacts(3, 40, 2, 400, 28, True, "3 classes; 40 labeled; 400 unlabeled; 30 to test")
SUPERVISED = {"base": "supervised", "method": "none"}


def own_run(root, accuracy, **given):
    return write_run(root, accuracy, facts=FACTS, **{**OWN, **given})


def table_of(root):
    (table,) = own_data.own_tables(read_runs([root])[0])
    return table


@pytest.fixture
def three_pairs(tmp_path):
    """UDAL at seeds and folds 0:1, 0:2, 1:1 and 2:1; the labeled images alone at all but 2:1 and, besides, at 3:1."""
    for seed, fold, udal, alone in ((0, 1, 0.72, 0.70), (0, 2, 0.76, 0.70), (1, 1, 0.74, 0.70)):
        own_run(tmp_path, udal, seed=seed, fold=fold)
        own_run(tmp_path, alone, **SUPERVISED, seed=seed, fold=fold)
    own_run(tmp_path, 0.99, seed=2)
    own_run(tmp_path, 0.10, **SUPERVISED, seed=3)
    return tmp_path


def test_rows_are_the_runs_present_averaged_over_seeds_and_folds(three_pairs):
    table = table_of(three_pairs)
    assert list(table.labels.values()) == [
        "Supervised",
        "Supervised w/ LA (Inf)",
        "FixMatch w/ UDAL",
        "FixMatch w/ UDAL & LA (Inf)",
    ]
    assert table.common == "epochs 3"
    cells = table.cells
    (udal,) = cells[(cells.row == "FixMatch w/ UDAL") & (cells.measure == "accuracy")].itertuples()
    assert (udal.mean, udal.n, udal.pairs) == (pytest.approx((72 + 76 + 74 + 99) / 4), 4, "0:1 0:2 1:1 2:1")
    deviations = [72 - 80.25, 76 - 80.25, 74 - 80.25, 99 - 80.25]
    assert udal.std == pytest.approx(math.sqrt(sum(d * d for d in deviations) / 3))
    assert "| FixMatch w/ UDAL            | **80.2 ± 12.6**" in own_data.markdown(table)


def test_the_gain_is_that_of_pairs_with_the_same_seed_and_fold(three_pairs):
    # Differences 2, 6 and 4: 4 ± 4.302653 · 2 / √3, the t distribution's 97.5 % point at two degrees of freedom.
    (sentence,) = own_data.answers(table_of(three_pairs))
    assert sentence == (
        "FixMatch w/ UDAL against the labeled images alone: +4.0 points of balanced accuracy (95 % interval −1.0 to "
        "+9.0, 3 pairs; no difference is not ruled out)."
    )
    frame = own_data.compare([table_of(three_pairs)])
    (line,) = frame[(frame.a == "FixMatch w/ UDAL") & (frame.b == "Supervised")].itertuples()
    assert (line.folds, line.n, line.wins) == ("0:1 0:2 1:1", 3, 3)
    assert (line.setting, line.difference) == ("custom dataset, flowers, epochs 3", pytest.approx(4.0))


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([2.0], "+2.0 points of balanced accuracy (a single pair of runs: repeat with other seeds)"),
        ([-0.04], "+0.0 points of balanced accuracy (a single pair of runs: repeat with other seeds)"),
        ([2.0, 2.0], "+2.0 points of balanced accuracy (the same in all 2 pairs)"),
        # −3 ± 12.7062 · √2 / √2, one degree of freedom.
        (
            [-2.0, -4.0],
            "−3.0 points of balanced accuracy (95 % interval −15.7 to +9.7, 2 pairs; no difference is not ruled out)",
        ),
        # 6 ± 3.182446 · 0.816497 / 2.
        ([5.0, 6.0, 6.0, 7.0], "+6.0 points of balanced accuracy (95 % interval +4.7 to +7.3, 4 pairs)"),
    ],
)
def test_a_gain_is_said_with_its_uncertainty(differences, said):
    assert own_data.worth(differences) == said


def test_alignment_is_compared_with_none_and_with_its_like(tmp_path):
    own_run(tmp_path, 0.8)
    own_run(tmp_path, 0.7, method="none")
    own_run(tmp_path, 0.9, threshold=0.5)
    own_run(tmp_path, 0.6, method="none", threshold=0.5)
    said = own_data.answers(table_of(tmp_path))
    single = "points of balanced accuracy (a single pair of runs: repeat with other seeds)."
    assert said == [
        f"FixMatch w/ UDAL against FixMatch without it: +10.0 {single}",
        f"FixMatch w/ UDAL, threshold 0.5 against FixMatch without it: +30.0 {single}",
        "What the unlabeled images are worth is unknown: train on the labeled ones alone as well (--base=supervised "
        "--method=none).",
    ]


def test_runs_on_other_images_or_labels_have_a_table_of_their_own(tmp_path):
    own_run(tmp_path, 0.8)
    own_run(tmp_path, 0.7, method="none")
    own_run(tmp_path, 0.9, validation=0.2)
    first, second = own_data.own_tables(read_runs([tmp_path])[0])
    assert len(first.labels) == 4 and len(second.labels) == 2
    assert second.common == "validation 0.2, epochs 3" and (first.name, second.name) == ("own1", "own2")


def test_the_rarest_third_goes_by_labeled_images_and_skips_classes_without_test_images(tmp_path):
    folder = own_run(tmp_path, 0.8)
    result = json.loads((folder / "result.json").read_text())
    result["class_names"], result["p_data"] = ["lily", "rose", "iris"], [0.1, 0.6, 0.3]
    result["per_class_recall"]["ema"], result["per_class_recall"]["ema_la"] = [0.25, 0.9, 0.8], [None, 0.9, 0.8]
    (folder / "result.json").write_text(json.dumps(result))
    table = table_of(tmp_path)
    cells = table.cells[table.cells.measure == own_data.RAREST]
    assert cells["mean"].tolist()[0] == 25.0 and math.isnan(cells["mean"].tolist()[1])
    assert table.notes[1].endswith("by their labeled images: lily.")
    assert own_data.rarest_third([0.25] * 4) == [3]
    assert own_data.rarest_third([0.1, 0.2, 0.05, 0.3, 0.15, 0.2]) == [0, 2]


def test_the_report_of_ones_own_data_has_no_paper_in_it_and_says_common_settings_once(three_pairs, tmp_path, capsys):
    out = tmp_path / "out"
    report.main([str(three_pairs), f"--out={out}"])
    printed = capsys.readouterr().out
    assert "FixMatch w/ UDAL against the labeled images alone: +4.0 points" in " ".join(printed.split())
    assert max(map(len, printed.splitlines()[:-1])) <= 80
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "the paper" not in page.lower().split('<h2 id="runs">')[0]
    assert "All runs on custom dataset, flowers: epochs 3." in page
    assert "epochs 3" not in page.split('<h2 id="figures">')[1].split('<h2 id="left_out">')[0]
    assert not list((out / "tables").glob("table*"))


def test_seeds_of_ones_own_data_share_figures(three_pairs):
    runs, _ = read_runs([three_pairs])
    assert list(figures.figure_groups(runs)) == ["custom dataset, flowers"]
    assert figures.common_texts(runs) == {"custom dataset, flowers": "epochs 3"}
