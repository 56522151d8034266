"""The report: which run stands in which cell, what is left out, what the files say."""

import html.parser
import io
import json
import math
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from made_up_runs import CLASSES, write_run
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from udal_tf.commands import report
from udal_tf.folder_recipe import FolderFacts
from udal_tf.registry import METHODS
from udal_tf.reporting import (
    class_figures,
    comparison,
    figures,
    names,
    own_data,
    paper,
    plotting,
    run_figures,
    run_table,
    table_text,
    tables,
)
from udal_tf.reporting.plotting import Curve, Sketch
from udal_tf.reporting.runs import read_run, read_runs

CIFAR = {"dataset": "cifar10lt", "imbalance": 100.0, "beta": 0.1}


def tables_of(root):
    runs, left_out = read_runs([root])
    assert left_out == []
    return {table.name: table for table in tables.build_tables([run for run in runs if not own_data.is_own(run)])}


def cell_at(table, base, method, column, score="ema", measure=None):
    """The one line of a table's cells at that place; by the table's first measure unless another is given."""
    place = {"base": base, "method": method, "score": score, "column": column, "measure": measure or table.measures[0]}
    cells = table.cells
    for name, value in place.items():
        cells = cells[cells[name] == value]
    (cell,) = cells.itertuples()
    return cell


def csv_of(table):
    return pd.read_csv(io.StringIO(table.cells.to_csv(index=False, columns=tables.CELL_COLUMNS)))


def test_papers_cells_hold_its_printed_values():
    assert {name: len(table.rows) for name, table in paper.TABLES.items()} == {
        "table1": 11,
        "table1_open": 11,
        "table2": 3,
        "table3": 4,
        "table3_adam": 4,
        "table4": 8,
    }
    for table in paper.TABLES.values():
        assert all(len(row.values) == len(table.columns) for row in table.rows)
    udal_la = paper.TABLE_1.rows[-1]
    assert [(value.mean, value.std) for value in udal_la.values] == [(86.3, 0.37), (82.1, 0.37), (72.9, 1.21)]
    assert paper.TABLE_2.rows[2].values[9] == paper.Value(43.7, 0.41)
    assert paper.TABLE_4.rows[4].values[4] == paper.Value(73.7)


def test_mean_std_and_difference_over_folds(tmp_path):
    for fold, accuracy in ((1, 0.80), (2, 0.82), (3, 0.84), (4, 0.82), (5, 0.82)):
        write_run(tmp_path, accuracy, **CIFAR, fold=fold)
    cell = cell_at(tables_of(tmp_path)["table1"], "fixmatch", "udal", "CIFAR10-LT, β = 10 %, γ = 100")
    assert cell.mean == pytest.approx(82.0)
    assert cell.std == pytest.approx(math.sqrt(8 / 4))
    assert cell.difference == pytest.approx(82.0 - 80.2)
    assert (cell.n, cell.missing_folds) == (5, "")
    assert table_text.own_text(cell) == "82.0 ± 1.4"
    assert table_text.paper_texts(cell) == ["paper 80.2 ± 0.59", "+1.8"]


def test_missing_folds_are_said(tmp_path):
    write_run(tmp_path, 0.8, **CIFAR, fold=2)
    table = tables_of(tmp_path)["table1"]
    cell = cell_at(table, "fixmatch", "udal", "CIFAR10-LT, β = 10 %, γ = 100")
    assert math.isnan(cell.std) and (cell.n, cell.missing_folds) == (1, "1 3 4 5")
    assert "folds 1, 3, 4, 5 missing" in table_text.markdown(table)


def test_la_inf_rows_take_the_same_runs_other_score(tmp_path):
    write_run(tmp_path, 0.67, 0.70, **CIFAR, method="none", fold=1)
    table = tables_of(tmp_path)["table1"]
    heading = "CIFAR10-LT, β = 10 %, γ = 100"
    assert cell_at(table, "fixmatch", "none", heading).mean == pytest.approx(67.0)
    assert cell_at(table, "fixmatch", "none", heading, "ema_la").mean == pytest.approx(70.0)


def test_a_shorter_run_or_another_data_set_never_stands_in_the_papers_column(tmp_path):
    write_run(tmp_path, 0.5, **CIFAR, epochs=1, fold=1)
    write_run(tmp_path, 0.9, dataset="digitslt", fold=1)
    found = tables_of(tmp_path)
    assert found["table1"].runs.empty
    cell = cell_at(found["table1_cifar10lt"], "fixmatch", "udal", "CIFAR10-LT, γ = 100, β = 10 %, epochs 1")
    assert cell.n == 1
    assert math.isnan(cell.difference)
    columns = found["table1_cifar10lt"].columns
    assert [column.kind for column in columns] == ["other setting", "paper", "paper", "paper"]
    assert all("another dataset or recipe" in column.heading for column in columns[1:])
    assert "table1_digitslt" not in found


def test_runs_of_another_draw_or_arithmetic_get_a_column_of_their_own(tmp_path):
    write_run(tmp_path, 0.80, **CIFAR, fold=1)
    write_run(tmp_path, 0.70, **CIFAR, fold=1, precision="bfloat16")
    other = write_run(tmp_path, 0.60, **CIFAR, fold=1, epochs=64, k=2.0)
    result = json.loads((other / "result.json").read_text())
    result["data"]["draw"] = "CReST's own"
    (other / "result.json").write_text(json.dumps(result))
    table = tables_of(tmp_path)["table1"]
    columns = [column.heading for column in table.columns if "γ = 100" in column.label]
    means = [cell.mean for cell in table.cells.itertuples() if cell.n and cell.measure == "accuracy"]
    assert len(columns) == 3
    assert sorted(set(means)) == pytest.approx([60.0, 70.0, 80.0])


def test_darps_protocol_has_its_own_table(tmp_path):
    write_run(tmp_path, 0.8, dataset="cifar10lt", protocol="darp", imbalance=150.0, method="darp", fold=1)
    found = tables_of(tmp_path)
    assert found["table1"].runs.empty
    assert cell_at(found["table3"], "fixmatch", "darp", "CIFAR10, DARP's protocol, γ = 150").mean == pytest.approx(80.0)


def test_table_4_tells_lengths_generations_and_alphas_apart(tmp_path):
    shared = {"dataset": "imagenet127", "fold": 1}
    write_run(tmp_path, 0.73, **shared, method="crest+", epochs=1000)
    write_run(tmp_path, 0.70, **shared, method="crest+", generations=4)
    write_run(tmp_path, 0.75, **shared, alpha_min=0.55)
    write_run(tmp_path, 0.76, **shared, base="supervised", method="none", beta=1.0, epochs=300, steps_per_epoch=5005)
    table = tables_of(tmp_path)["table4"]
    shown = {(cell.row, cell.column): table_text.own_text(cell) for cell in table.cells.itertuples() if cell.n}
    assert shown == {
        ("FixMatch w/ UDAL (ours, α_min = 0.55)", "Epochs, 1000"): "75.0",
        ("Supervised (100% labels)", "Epochs, supervised"): "76.0",
    }


def test_methods_that_the_table_lacks_are_further_rows(tmp_path):
    short = {**CIFAR, "epochs": 1, "fold": 1}
    write_run(tmp_path, 0.6, **short, base="supervised", method="none")
    write_run(tmp_path, 0.7, **short, method="hybrid")
    labels = list(tables_of(tmp_path)["table1_cifar10lt"].cells.row.unique())
    assert labels[:2] == ["Supervised", "Supervised w/ LA (Inf)"]
    assert labels[-2:] == ["FixMatch w/ hybrid of Figure 3a", "FixMatch w/ hybrid of Figure 3a & LA (Inf)"]


def test_points_of_an_ablation_are_no_columns(tmp_path):
    write_run(tmp_path, 0.6, **CIFAR, k=1.0, alpha_min=0.5, fold=1)
    assert "table1_cifar10lt" not in tables_of(tmp_path)


def test_paired_differences_by_hand():
    result = comparison.paired([3.0, 5.0, 4.0], [1.0, 1.0, 1.0])
    assert (result["difference"], result["std"], result["n"], result["wins"]) == (3.0, 1.0, 3, 3)
    # t = 3 / (1 / √3) = √27 with two degrees of freedom: p = 1 − t / √(t² + 2).
    assert result["t_p"] == pytest.approx(1 - math.sqrt(27 / 29))
    # All three signs alike: two of the eight ways.
    assert result["wilcoxon_p"] == pytest.approx(0.25)
    # The t distribution's 97.5 % point at two degrees of freedom is 4.302653.
    assert result["ci_low"] == pytest.approx(3 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert result["ci_high"] == pytest.approx(3 + 4.302653 / math.sqrt(3), abs=1e-6)


def test_paired_says_nothing_where_nothing_can_be_said():
    two = comparison.paired([3.0, 5.0], [1.0, 1.0])
    assert (two["difference"], two["wins"]) == (3.0, 2) and two["std"] == pytest.approx(math.sqrt(2))
    one, same = comparison.paired([1.0], [0.5]), comparison.paired([1.0, 2.0, 4.0], [1.0, 2.0, 4.0])
    assert math.isnan(one["std"]) and same["wins"] == 0
    for result in (two, one, same):
        assert all(math.isnan(result[name]) for name in ("t_p", "wilcoxon_p", "ci_low", "ci_high"))
    # Equal differences have no spread, and t is infinite.
    assert math.isnan(comparison.paired([2.0, 3.0, 5.0], [1.0, 2.0, 4.0])["t_p"])


def test_only_folds_that_both_have_are_compared(tmp_path):
    for fold, (udal, none) in enumerate([(0.82, 0.80), (0.86, 0.80), (0.84, 0.80), (0.9, None)], start=1):
        write_run(tmp_path, udal, **CIFAR, fold=fold)
        if none:
            write_run(tmp_path, none, **CIFAR, method="none", fold=fold)
    found = comparison.compare(tables_of(tmp_path).values())
    (line,) = found[(found.a == "FixMatch w/ UDAL") & (found.b == "FixMatch")].itertuples()
    assert (line.setting, line.measure) == ("CIFAR10-LT, β = 10 %, γ = 100", "accuracy")
    assert (line.folds, line.n, line.wins) == ("1 2 3", 3, 3)
    assert line.difference == pytest.approx(4.0) and line.std == pytest.approx(2.0)


def test_broken_results_are_named_and_left_out(tmp_path):
    good = write_run(tmp_path, 0.8, dataset="digitslt", fold=1)
    cut = write_run(tmp_path, 0.8, dataset="digitslt", fold=2)
    (cut / "result.json").write_text((cut / "result.json").read_text()[:200])
    unfinished = write_run(tmp_path, 0.8, dataset="digitslt", fold=3)
    (unfinished / "result.json").unlink()
    missing = write_run(tmp_path, 0.8, dataset="digitslt", fold=4)
    result = json.loads((missing / "result.json").read_text())
    del result["accuracy"]["ema"]
    (missing / "result.json").write_text(json.dumps(result))
    impossible = write_run(tmp_path, 1.0, dataset="digitslt", fold=5)
    (impossible / "result.json").write_text((impossible / "result.json").read_text().replace("1.0", "NaN"))
    again = write_run(tmp_path / "again", 0.7, dataset="digitslt", fold=1)
    runs, left_out = read_runs([tmp_path])
    reasons = {one.label.rpartition("/")[0].count("/") * "again" + one.label[-1]: one.reason for one in left_out}
    assert len(runs) == 1 and len(left_out) == 5
    assert "not valid JSON" in reasons["2"]
    assert "only the first epochs" in reasons["3"]
    assert reasons["4"] == "result.json: accuracy.ema is missing"
    assert "must" in reasons["5"]
    assert any("same settings, fold and images" in one.reason for one in left_out)
    assert {good.name, again.name} >= {runs[0].folder.name}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report of a small miniature with ablations, generations and one broken file of curves."""
    root, out = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("report")
    for fold in (1, 2):
        write_run(root, 0.80 + 0.01 * fold, 0.85, dataset="digitslt", fold=fold)
        write_run(root, 0.70 + 0.02 * fold, dataset="digitslt", method="none", fold=fold)
        write_run(root, 0.6, dataset="digitslt", base="supervised", method="none", fold=fold)
        for alpha_min in (0.1, 0.5):
            write_run(root, 0.7, dataset="digitslt", method="hybrid", k=1.0, alpha_min=alpha_min, fold=fold)
            write_run(root, 0.75, dataset="digitslt", k=1.0, alpha_min=alpha_min, fold=fold)
            write_run(root, 0.65, dataset="digitslt", k=0.0, alpha_min=alpha_min, epochs=10, fold=fold)
    crest = write_run(root, 0.79, dataset="digitslt", method="crest+", fold=1)
    (crest / "cell.json").write_text(json.dumps({"command": "python run.py <&>", "commit": "abc123"}))
    broken = write_run(root, 0.79, dataset="digitslt", method="da", fold=1)
    (broken / "metrics.jsonl").write_text('{"epoch": 1}\n')
    count, left_out, _ = report.write_report([root], out)
    assert count == 20
    assert ["metrics.jsonl, line 1 is not a row" in one.reason for one in left_out] == [True]
    return out


def test_every_file_is_there(written):
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    # Nothing of the paper stands beside runs on another dataset.
    assert {name for name in names if name.startswith("tables/")} == {
        *(f"tables/own1.{ending}" for ending in ("md", "csv", "tex")),
        *("tables/comparisons.md", "tables/comparisons.csv", "tables/runs.csv"),
    }
    assert {"report.html", "tables/comparisons.md", "tables/comparisons.csv", "tables/runs.csv"} <= names
    setting = "digits_LT_g12_b10"
    for figure in (
        "fig1", "fig3a", "fig3b", "fig3c", "figA1_UDAL_FixMatch", "figA1_methods_FixMatch", "pseudo_precision_FixMatch",
        "pseudo_recall_FixMatch", "recall_FixMatch", "recall_Supervised", "time", "added_recall_FixMatch_w_CReST+",
    ):  # fmt: skip
        assert {f"figures/{figure}_{setting}.png", f"figures/{figure}_{setting}.svg"} <= names, figure


class _Page(html.parser.HTMLParser):
    VOID = {"meta", "link", "br"}

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.sources, self.ids = [], set(), [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href"):
                self.sources.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(written):
    text = (written / "report.html").read_text(encoding="utf-8")
    parser = _Page()
    parser.feed(text)
    assert parser.open == []
    assert not parser.tags & {"script", "img", "iframe", "object"}
    assert all(source.startswith(("#", "data:")) for source in parser.sources)
    assert not re.search(r"url\((?!#)|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert len(set(parser.ids)) == len(parser.ids)
    inner = {source[1:] for source in parser.sources if source.startswith("#")}
    assert inner <= set(parser.ids)


def test_page_shows_every_run_with_its_origin(written):
    text = (written / "report.html").read_text(encoding="utf-8")
    assert "python run.py &lt;&amp;&gt;" in text and "abc123" in text
    assert "python run.py --dataset=digitslt --base=fixmatch --method=hybrid --alpha_min=0.5 --k=1 --fold=2" in text
    assert "made up" in text
    assert "Left out (1)" in text and "Runs (20)" in text


def test_csv_has_a_line_per_row_and_measure(written):
    frame = pd.read_csv(written / "tables/own1.csv")
    assert tuple(frame) == own_data.CELL_COLUMNS
    assert all(frame[name].dtype.kind in "if" for name in ("mean", "std", "n"))
    ours = frame[frame.row == "FixMatch w/ UDAL"]
    assert list(ours.measure) == ["accuracy", "balanced_accuracy", "rarest_third_recall"]
    assert list(ours["mean"]) == pytest.approx([81.5] * 3)
    assert list(ours["std"]) == pytest.approx([math.sqrt(0.5)] * 3)
    assert [(line.n, line.pairs) for line in ours.itertuples()] == [(2, "0:1 0:2")] * 3
    assert not set(frame.row) & {"MixMatch", "FixMatch w/ CReST+ & LA (Inf) (ours)"}


def test_csv_has_full_precision_and_signed_differences(tmp_path):
    for fold, accuracy in ((1, 0.701), (2, 0.702), (3, 0.704)):
        write_run(tmp_path, accuracy, **CIFAR, fold=fold)
    frame = csv_of(tables_of(tmp_path)["table1"])
    line = frame[(frame.n == 3) & (frame.score == "ema") & (frame.measure == "accuracy")].iloc[0]
    assert line["mean"] == pytest.approx(70.2 + 0.1 / 3, abs=1e-12)
    assert line["difference"] == pytest.approx(70.2 + 0.1 / 3 - 80.2, abs=1e-12)


def test_comparisons_are_numbers(written):
    frame = pd.read_csv(written / "tables/comparisons.csv")
    assert tuple(frame) == comparison.COLUMNS
    (line,) = frame[(frame.a == "FixMatch w/ UDAL") & (frame.b == "FixMatch")].itertuples()
    assert (line.folds, line.n, line.wins) == ("1 2", 2, 2)
    assert line.difference == pytest.approx(8.5)
    assert math.isnan(line.t_p) and math.isnan(line.ci_low)
    text = (written / "tables/comparisons.md").read_text(encoding="utf-8")
    assert re.search(r"FixMatch w/ UDAL +\| FixMatch +\| \+8.5 ± 0.7 +\| – +\| 2 of 2 +\| – +\| – +\| 1, 2", text)


def test_every_run_has_a_line_with_its_settings_and_scores(written):
    frame = pd.read_csv(written / "tables/runs.csv")
    assert len(frame) == 20
    assert list(frame)[:6] == ["folder", "dataset", "base", "method", "seed", "fold"]
    # Settings in which all runs agree are not said.
    assert {"alpha_min", "k", "epochs"} <= set(frame) and not {"imbalance", "ema_decay"} & set(frame)
    run = frame[(frame.method == "udal") & (frame.fold == 1) & (frame.k == 2) & (frame.alpha_min == 0.1)].iloc[0]
    assert run.folder.endswith("datasetdigitslt_fold1")
    assert (run.accuracy_ema, run.accuracy_ema_la, run.balanced_accuracy_raw) == pytest.approx((81.0, 85.0, 81.0))
    assert (run.recall_ema_class2, run.recall_ema_la_class0) == pytest.approx((81.0, 85.0))
    assert (run.seconds, run.steps) == (60.0, 1000)


def test_a_class_without_test_images_has_no_recall_in_the_table_of_runs(tmp_path):
    folder = write_run(tmp_path, 0.8, **CIFAR)
    result = json.loads((folder / "result.json").read_text())
    result["per_class_recall"]["ema"] = [0.5, None, 0.25]
    (folder / "result.json").write_text(json.dumps(result))
    (line,) = run_table.run_table(read_runs([tmp_path])[0]).to_dict("records")
    assert (line["recall_ema_class0"], line["recall_ema_class2"]) == (50.0, 25.0)
    assert line["recall_ema_class1"] is None


def latex_rows(text):
    """The cells of a LaTeX table's rows by their labels."""
    body = text.split("\\midrule")[1].split("\\bottomrule")[0].replace(r"\&", "and")
    rows = [[cell.strip() for cell in line.rstrip(" \\").split(" & ")] for line in body.strip().splitlines()]
    return {label: cells for label, *cells in rows}


def test_latex_is_escaped(written):
    text = (written / "tables/own1.tex").read_text(encoding="utf-8")
    assert r"FixMatch w/ UDAL, $\alpha_{\min}$ = 0.5, k = 1" in text
    assert r"recall of the rarest third in \%" in text
    assert "\\toprule" in text and "\\usepackage{booktabs}" in text
    rows = latex_rows(text)
    assert len(rows) > 5
    # Three measures and the number of runs.
    assert {len(cells) for cells in rows.values()} == {4}


def test_latex_marks_the_best_of_a_column_and_has_no_words_for_what_is_missing(tmp_path):
    for fold in (1, 2):
        write_run(tmp_path, 0.80 + 0.02 * fold, **CIFAR, fold=fold)
        write_run(tmp_path, 0.70, **CIFAR, method="none", fold=fold)
    text = table_text.latex(tables_of(tmp_path)["table1"])
    assert "no run" not in text and "missing" not in text
    rows = latex_rows(text)
    small = r"{\scriptsize ($n$ = 2, paper 80.2 $\pm$ 0.59, +2.8)}"
    # The LA (Inf) score of the made-up runs is the plain one.
    for label in ("FixMatch w/ UDAL (ours)", r"FixMatch w/ UDAL and LA (Inf) (ours)"):
        assert rows[label][1].startswith(r"\textbf{83.0 $\pm$ 1.4} ")
    assert rows["FixMatch w/ UDAL (ours)"][1].endswith(small)
    assert rows["FixMatch"][1].startswith("70.0 ")
    assert rows["MixMatch"][:2] == [r"{\scriptsize (paper 69.1 $\pm$ 1.18)}", r"{\scriptsize (paper 60.4 $\pm$ 2.24)}"]


def test_only_present_leaves_out_what_has_no_run(tmp_path):
    write_run(tmp_path / "runs", 0.80, **CIFAR, fold=1)
    write_run(tmp_path / "runs", 0.70, **CIFAR, method="none", fold=1)
    write_run(tmp_path / "runs", 0.90, dataset="digitslt", fold=1)
    report.main([str(tmp_path / "runs"), f"--out={tmp_path / 'out'}", "--only_present"])
    folder = tmp_path / "out/tables"
    assert {path.stem for path in folder.glob("*.csv")} == {"table1", "table2", "own1", "comparisons", "runs"}
    frame = pd.read_csv(folder / "table1.csv")
    assert set(frame.column) == {"CIFAR10-LT, β = 10 %, γ = 100"}
    assert (frame.n > 0).all() and set(frame.method) == {"none", "udal"}
    rows = latex_rows((folder / "table1.tex").read_text(encoding="utf-8"))
    assert len(rows) == 4 and {len(cells) for cells in rows.values()} == {2}
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "no run" not in page and "no finished run" not in page


def test_figures_3_have_one_scale(written):
    def y_labels(name):
        svg = (written / f"figures/{name}_digits_LT_g12_b10.svg").read_text(encoding="utf-8")
        return re.findall(r"<!-- ([\d.]+) -->", svg.split('id="matplotlib.axis_2"')[1].split('id="legend')[0])

    assert y_labels("fig3a") == y_labels("fig3b") == y_labels("fig3c")
    assert y_labels("figA1_UDAL_FixMatch") == y_labels("figA1_methods_FixMatch")


def test_a_second_report_leaves_no_files_of_the_first(written, tmp_path):
    write_run(tmp_path / "runs", 0.8, dataset="digitslt", fold=1)
    out = tmp_path / "out"
    report.write_report([tmp_path / "runs"], out)
    old = out / "figures" / "old.png"
    old.write_bytes(b"")
    (out / "figures" / "notes.txt").write_text("mine")
    report.write_report([tmp_path / "runs"], out)
    assert not old.exists()
    assert (out / "figures" / "notes.txt").exists()


def test_command_line_refuses_what_it_cannot_use(tmp_path, capsys):
    for arguments, said in (
        ([str(tmp_path / "none")], "must be a folder with runs"),
        ([str(tmp_path), f"--out={tmp_path / 'out'}"], "no finished run"),
    ):
        with pytest.raises(SystemExit) as stopped:
            report.main(arguments)
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_holds_confusions_gets_a_matrix(tmp_path):
    folder = write_run(tmp_path / "runs", 0.8, dataset="digitslt", fold=1)
    result = json.loads((folder / "result.json").read_text())
    result["confusion"]["ema"] = [[8 if a == b else 1 for b in range(CLASSES)] for a in range(CLASSES)]
    (folder / "result.json").write_text(json.dumps(result))
    report.write_report([tmp_path / "runs"], tmp_path / "out")
    assert (tmp_path / "out/figures/confusion_FixMatch_w_UDAL_digits_LT_g12_b10.png").exists()


def test_pseudo_labels_of_each_class_are_drawn_where_they_were_counted(tmp_path):
    write_run(tmp_path / "runs", 0.8, dataset="digitslt", fold=1)
    report.write_report([tmp_path / "runs"], tmp_path / "out")
    for measure in ("precision", "recall"):
        assert (tmp_path / f"out/figures/pseudo_{measure}_by_class_FixMatch_w_UDAL_digits_LT_g12_b10.png").exists()


def test_shares_of_pseudo_labels_are_of_the_counts_of_all_folds(tmp_path):
    folders = [write_run(tmp_path / "runs", 0.8, dataset="digitslt", fold=fold) for fold in (1, 2)]
    runs = [read_run(folder, folder.name) for folder in folders]
    precision, recall = class_figures.pseudo_labels(runs, [run.rows() for run in runs], "UDAL", "digits")
    np.testing.assert_allclose(precision.matrix, np.repeat([[75.0], [25.0], [np.nan]], 3, axis=1))
    np.testing.assert_allclose(recall.matrix, np.repeat([[50.0], [25.0], [0.0]], 3, axis=1))


def sketch(heading="digits", **given):
    return Sketch("name", "title", heading, "caption", "x", "y", **given)


def test_a_color_bar_with_its_words_is_inside_of_the_figure():
    figure = plotting.render(sketch(matrix=np.array([[0, 100]]), color_label="images of the true class, %"))
    whole, drawn = figure.bbox, figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert drawn.x0 >= 0 and drawn.x1 <= whole.width
    assert figure.axes[0].get_position().x1 < figure.axes[1].get_position().x0


def test_matrices_that_share_their_axes_are_drawn_as_if_each_was_alone(tmp_path):
    for name, value in (("first", 10.0), ("second", 90.0)):
        matrix = np.array([[value, 50.0, np.nan], [0.0, 100.0, value]])
        one = Sketch(name, "title", name, "caption", "x", "y", matrix=matrix, y_names=["cat", "dog"], x_step=1)
        plotting.drawn([one], tmp_path)()
        alone = plotting.render(one)
        alone.canvas.draw()
        drawn = np.asarray(Image.open(tmp_path / f"{name}.png"), int)
        assert (np.abs(drawn - np.asarray(alone.canvas.buffer_rgba())[..., :3]).max(axis=-1) > 10).mean() < 1e-3
        svg = ElementTree.parse(tmp_path / f"{name}.svg")
        ids = [element.get("id") for element in svg.iter() if element.get("id")]
        assert len(ids) == len(set(ids))
        assert len(svg.findall(".//{http://www.w3.org/2000/svg}image")) == 2  # The matrix and the color bar.


def test_curves_that_share_their_axes_are_drawn_as_if_each_was_alone(tmp_path):
    def one(name, y):
        return Sketch(name, "title", name, "caption", "x", "y", [Curve("UDAL", [1, 2, 3], y, [1, 2, 1])], x_step=1)

    sketches = [one("first", [50, 60, 70]), one("second", [50, 55, 70])]
    assert plotting._frame_of(sketches[0]) == plotting._frame_of(sketches[1])
    plotting.drawn(sketches, tmp_path)()
    for sketched in sketches:
        alone = plotting.render(sketched)
        alone.canvas.draw()
        drawn = np.asarray(Image.open(tmp_path / f"{sketched.name}.png"), int)
        assert (np.abs(drawn - np.asarray(alone.canvas.buffer_rgba())[..., :3]).max(axis=-1) > 10).mean() < 1e-3


@pytest.mark.parametrize(
    ("y", "spread", "ends"),
    [
        ([51, 69], [1, 1], (50, 70)),
        ([0.12, float("nan"), 0.93], (), (0, 1)),
        ([80, 80], (), (76, 84)),
        ([0, 0], (), (-0.06, 0.06)),
        ([float("nan")], (), (0, 1)),
    ],
)
def test_limits_are_round_and_contain_every_curve(y, spread, ends):
    low, high = plotting.common_limits([Curve("UDAL", list(range(len(y))), y, spread)])
    pad = 0.03 * (ends[1] - ends[0])
    assert (low, high) == pytest.approx((ends[0] - pad, ends[1] + pad))


def test_runs_of_several_lengths_are_drawn_over_training_progress():
    short, long = (Curve(str(n), list(range(1, n + 1)), [0.5] * n) for n in (4, 8))
    progress = run_figures.epoch_sketch("name", "title", "digits", "caption", "share", [short, long])
    assert progress.x_label == "training progress, %"
    assert [curve.x[-1] for curve in progress.curves] == [100, 100]
    epochs = run_figures.epoch_sketch("name", "title", "digits", "caption", "share", [short, short])
    assert epochs.x_label == "epoch"


def test_runs_that_all_leave_the_recipes_length_are_drawn_too(tmp_path):
    for method in ("udal", "none"):
        write_run(tmp_path, 0.8, **CIFAR, method=method, epochs=2)
    write_run(tmp_path, 0.7, **CIFAR, epochs=2, alpha_min=0.5)
    runs, _ = read_runs([tmp_path])
    methods = {text: [run.settings["method"] for run in of] for text, of in figures.figure_groups(runs).items()}
    # As beside runs of the recipe, the point of an ablation has no figures of its own; all runs share the length.
    assert {text: sorted(of) for text, of in methods.items()} == {"CIFAR10-LT, γ = 100, β = 10 %": ["none", "udal"]}
    assert figures.common_texts(runs) == {"CIFAR10-LT": "epochs 2"}
    assert run_figures.run_figures(runs, {})


def test_beside_runs_of_the_recipe_the_points_of_an_ablation_have_no_figures_of_their_own(tmp_path):
    write_run(tmp_path, 0.8, **CIFAR)
    write_run(tmp_path, 0.7, **CIFAR, alpha_min=0.5)
    (of,) = figures.figure_groups(read_runs([tmp_path])[0]).values()
    assert [run.settings["alpha_min"] for run in of] == [0.1]


OWN = {"dataset": "folder", "data_dir": "flowers"}
FACTS = FolderFacts(3, 40, 2, 400, 28, True, "3 classes; 40 labeled; 400 unlabeled; 30 to test")


def test_a_folder_of_ones_own_is_called_by_its_name_and_what_its_recipe_says_is_no_deviation(tmp_path):
    write_run(tmp_path, 0.8, facts=FACTS, **OWN)
    write_run(tmp_path, 0.7, facts=FACTS, **OWN, threshold=0.9)
    runs, _ = read_runs([tmp_path])
    assert {tuple(run.deviations.items()) for run in runs} == {(), (("threshold", 0.9),)}
    assert set(figures.figure_groups(runs)) == {"custom dataset, flowers", "custom dataset, flowers, threshold 0.9"}
    (table,) = own_data.own_tables(runs)
    assert table.title == "custom dataset, flowers"
    assert list(table.labels.values()) == [
        "FixMatch w/ UDAL",
        "FixMatch w/ UDAL & LA (Inf)",
        "FixMatch w/ UDAL, threshold 0.9",
        "FixMatch w/ UDAL & LA (Inf), threshold 0.9",
    ]


def test_classes_stand_from_frequent_to_rare_whatever_order_their_names_are_in():
    recalls = [[0.2, 0.9, None], [0.4, 0.7, 0.5]]
    curve = class_figures._by_class("UDAL", recalls, np.array([1, 2, 0]))
    assert (list(curve.x), list(curve.y)) == ([0, 1, 2], pytest.approx([80, 50, 30]))


def test_the_recall_figure_names_classes_in_the_order_of_their_labels(tmp_path):
    run = write_run(tmp_path, 0.8, **CIFAR)
    result = json.loads((run / "result.json").read_text())
    result["p_data"], result["class_names"] = [0.2, 0.7, 0.1], ["lily", "rose", "iris"]
    result["per_class_recall"]["ema"] = [0.5, 0.9, 0.1]
    (run / "result.json").write_text(json.dumps(result))
    (recall,) = class_figures.recall({"FixMatch w/ UDAL": read_runs([tmp_path])[0]}, "flowers")
    assert recall.x_names == ["rose", "lily", "iris"]
    assert list(recall.curves[0].y) == pytest.approx([90, 50, 10])
    axes = plotting.render(recall).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["rose", "lily", "iris"]


def test_names_of_figures_fit_into_file_names_and_stay_apart():
    long = ["猫" * 200 + end for end in "ab"]
    assert all(len(figures.slug(text).encode()) < 120 for text in long)
    assert figures.slug(long[0]) != figures.slug(long[1])
    assert figures.slug("FixMatch; digits-LT, γ = 12, β = 10 %") == "FixMatch_digits_LT_g12_b10"


def test_a_long_heading_ends_within_its_figure():
    figure = plotting.render(
        sketch("FixMatch w/ UDAL; custom dataset, flowers, image_size 28, crop_padding 3, depth 10")
    )
    assert figure.get_suptitle().endswith("…")
    (heading,) = [text for text in figure.texts if text.get_text() == figure.get_suptitle()]
    assert heading.get_window_extent().x1 < figure.bbox.x1


def test_a_figure_says_what_it_shows_and_of_which_runs():
    assert plotting.render(sketch("FixMatch; digits")).get_suptitle() == "title\nFixMatch; digits"


def test_titles_of_figures_are_whole(tmp_path):
    for method in ("udal", "crest+"):
        write_run(tmp_path, 0.8, **CIFAR, method=method)
    runs, _ = read_runs([tmp_path])
    titles = {one.title for one in run_figures.run_figures(runs, run_figures.read_all_rows(runs)[0])}
    assert "Pseudo-label precision of each class over training" in titles
    assert max(map(len, titles)) <= plotting.LONGEST_HEADING
    assert not any(symbol in title for title in titles for symbol in ("$", "q̂", "KL"))


@pytest.mark.parametrize("side", ["x_names", "y_names"])
def test_class_names_have_room_beside_their_panel_and_above_its_legend(side):
    names_of_classes = ["ankle boot", "a name that is longer than any"]
    curve = Curve("UDAL", [0, 1], [50, 60])
    figure = plotting.render(sketch(10 * "epochs 2, ", curves=[curve], **{side: names_of_classes}))
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,), (legend,) = figure.axes, figure.legends
    axis = axes.xaxis if side == "x_names" else axes.yaxis
    box, legend = axis.get_tightbbox(renderer), legend.get_window_extent(renderer)
    assert box.x0 >= 0 and box.y0 >= legend.y1
    assert axes.get_window_extent(renderer).y0 > legend.y1
    assert axes.get_window_extent(renderer).height > 150


def test_a_folders_name_with_dollar_signs_is_no_formula_in_a_heading(tmp_path):
    plotting.drawn([sketch(r"custom dataset, $\wrong{$")], tmp_path)()
    assert (tmp_path / "name.png").exists() and (tmp_path / "name.svg").exists()


def test_every_method_has_a_color_and_a_marker_of_its_own():
    styles = [names.method_style(method) for method in METHODS]
    assert len({color for color, _ in styles}) == len({marker for _, marker in styles}) == len(METHODS)
    assert len(set(names.COLORS)) >= len(METHODS)
    assert names.style_of("FixMatch w/ DA + DARP") != names.style_of("FixMatch")
    assert names.style_of("Supervised")[::2] == (plotting.GRAY, "--")


def test_several_processes_draw_what_one_draws(tmp_path):
    curves = [Curve("UDAL", [1, 2], [50, 60], [1, 2])]
    sketches = [plotting.Sketch(f"figure{n}", "title", f"{n}", "caption", "x", "y", curves) for n in range(3)]
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = plotting.drawn(sketches, tmp_path / "one")(), plotting.drawn(sketches, tmp_path / "two", processes=2)()
    assert one == two and [figure.name for figure in two] == ["figure0", "figure1", "figure2"]
    assert (tmp_path / "one/figure2.png").read_bytes() == (tmp_path / "two/figure2.png").read_bytes()


IMAGENET = {"dataset": "imagenet127", "fold": 1}


def shown_in(table):
    """What a table's Markdown says: (row, heading) -> cell."""
    lines = [line for line in table_text.markdown(table).splitlines() if line.startswith("| ")]
    (_, *headings), *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {(label, heading): cell for label, *cells in rows for heading, cell in zip(headings, cells, strict=True)}


def test_table_4_and_figure_1_show_balanced_accuracy(tmp_path):
    write_run(tmp_path, 0.903, balanced=0.751, **IMAGENET, alpha_min=0.55)
    write_run(tmp_path, 0.901, balanced=0.748, **IMAGENET, alpha_min=0.55, epochs=2000)
    table = tables_of(tmp_path)["table4"]
    frame = csv_of(table)
    (ours,) = frame[
        (frame.row == "FixMatch w/ UDAL (ours, α_min = 0.55)") & (frame.column == "Epochs, 1000")
    ].itertuples()
    assert (ours.measure, ours.mean) == ("balanced_accuracy", pytest.approx(75.1))
    assert ours.difference == pytest.approx(0.0)
    assert set(frame.measure) == {"balanced_accuracy"}
    text = table_text.markdown(table)
    assert "75.1 · paper 75.1 · +0.0" in text and "90.3" not in text
    (figure,) = figures.paper_figures(read_runs([tmp_path])[0])
    assert figure.name.startswith("fig1_")
    assert "balanced accuracy" in figure.caption and "balanced accuracy" in figure.y_label
    assert list(figure.curves[0].y) == pytest.approx([75.1, 74.8])
    assert figure.curves[-1].label == "paper" and 74.5 in figure.curves[-1].y


def test_one_run_of_three_generations_fills_crests_row_of_table_4(tmp_path):
    write_run(tmp_path, 0.88, balanced=0.737, by_generation=(0.683, 0.707, 0.737), **IMAGENET, method="crest+")
    table = tables_of(tmp_path)["table4"]
    row = {column: cell for (label, column), cell in shown_in(table).items() if label == "FixMatch w/ CReST+"}
    assert row == {
        "Epochs, supervised": "–",
        "Epochs, 1000": "–",
        "Epochs, 2000": "68.3 · paper 68.3 · +0.0",
        "Epochs, 4000": "70.7 · paper 70.7 · +0.0",
        "Epochs, 6000": "73.7 · paper 73.7 · +0.0",
    }


def test_a_run_that_lacks_a_generation_or_its_balanced_accuracy_is_left_out(tmp_path):
    for fold, change in enumerate((lambda of: of.pop(), lambda of: of[1].pop("balanced_accuracy")), start=1):
        folder = write_run(tmp_path, 0.8, dataset="digitslt", method="crest+", generations=3, fold=fold)
        result = json.loads((folder / "result.json").read_text())
        change(result["generations"])
        (folder / "result.json").write_text(json.dumps(result))
    runs, left_out = read_runs([tmp_path])
    assert runs == []
    assert ["must hold 3 generations, got 2" in one.reason for one in left_out] == [True, False]
    assert ["generations.1.balanced_accuracy is missing" in one.reason for one in left_out] == [False, True]


def test_elsewhere_both_measures_have_a_column_where_runs_stand(tmp_path):
    write_run(tmp_path, 0.80, balanced=0.70, **IMAGENET, base="mixmatch", method="udal")
    write_run(tmp_path, 0.82, **CIFAR, fold=1)
    found = tables_of(tmp_path)
    cells = shown_in(found["table1"])
    setting = "CIFAR10-LT, β = 10 %, γ = 100"
    row = "FixMatch w/ UDAL (ours)"
    missing = "(folds 2, 3, 4, 5 missing)"
    assert cells[row, f"{setting}, accuracy"] == f"82.0 {missing} · paper 80.2 ± 0.59 · +1.8"
    assert cells[row, f"{setting}, balanced accuracy"] == f"82.0 {missing}"
    assert (row, "CIFAR10-LT, β = 10 %, γ = 50, balanced accuracy") not in cells
    cells = shown_in(found["table1_imagenet127"])
    own = {heading: cell for (label, heading), cell in cells.items() if label == "MixMatch w/ UDAL (ours)"}
    assert [cell.split()[0] for heading, cell in own.items() if "ImageNet" in heading] == ["80.0", "70.0"]


def test_every_table_says_its_measures(tmp_path):
    write_run(tmp_path / "runs", 0.8, **CIFAR)
    written = tmp_path / "out"
    report.write_report([tmp_path / "runs"], written)
    measures = {"table4": "balanced accuracy"}
    for path in sorted((written / "tables").glob("table*.md")):
        said = f"({measures.get(path.stem, 'accuracy and balanced accuracy')}, %)"
        assert said in path.read_text(encoding="utf-8").splitlines()[0]
        latex = path.with_suffix(".tex").read_text(encoding="utf-8")
        assert said.replace("%", r"\%") in re.search(r"\\caption\{(.*)\}\n", latex)[1]
        said = {"balanced_accuracy"} if path.stem == "table4" else {"accuracy", "balanced_accuracy"}
        assert set(pd.read_csv(path.with_suffix(".csv")).measure) == said
    page = (written / "report.html").read_text(encoding="utf-8")
    assert page.count("(accuracy and balanced accuracy, %)") >= 5 and "(balanced accuracy, %)" in page


def test_figures_say_their_measures(written):
    page = (written / "report.html").read_text(encoding="utf-8")
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert captions
    assert all("accuracy" in caption for caption in captions if re.match("Figure [13]|Training time", caption))


def test_headings_of_the_page_span_all_columns_of_the_rows_below(written):
    page = (written / "report.html").read_text(encoding="utf-8")
    for text in re.findall("<table>(.*?)</table>", page):
        head, body = text.split("</thead>")
        widths = {
            sum(int(n or 1) for n in re.findall(r'<th(?: colspan="(\d+)")?', row)) for row in head.split("<tr>")[1:]
        }
        widths |= {len(re.findall("<t[hd]", row)) for row in body.split("<tr>")[1:]}
        assert len(widths) == 1


def test_twins_stand_one_under_the_other_against_the_papers_figure(tmp_path):
    write_run(tmp_path, 0.745, **CIFAR, method="da", fold=1)
    write_run(tmp_path, 0.715, **CIFAR, method="da", k=0.0, fold=1)
    darp = {"dataset": "cifar10lt", "protocol": "darp", "imbalance": 100.0, "method": "none", "fold": 1}
    write_run(tmp_path, 0.710, **darp)
    write_run(tmp_path, 0.714, **darp, **paper.DARP_RECIPE)
    found = tables_of(tmp_path)
    for name, setting, expected in (
        ("table1_open", "CIFAR10-LT, β = 10 %, γ = 100", {"74.5": "+0.9", "71.5": "−2.1"}),
        ("table3_adam", "CIFAR10, DARP's protocol, γ = 100", {"71.0": "−0.5", "71.4": "−0.1"}),
    ):
        cells = [cell for (_, heading), cell in shown_in(found[name]).items() if heading == f"{setting}, accuracy"]
        filled = {
            cell.split()[0]: (place, cell.split()[-1]) for place, cell in enumerate(cells) if "no run" not in cell
        }
        assert {own: difference for own, (_, difference) in filled.items()} == expected
        (first, _), (second, _) = filled.values()
        assert second == first + 1
    assert "trained with Adam at learning rate 0.002 for 500 × 500 steps" in found["table3"].notes[-1]
    # In the paper's own table the recipe's run alone stands.
    row = {cell for (label, _), cell in shown_in(found["table1"]).items() if label == "FixMatch w/ DA (α_min = 0.5)"}
    assert any(cell.startswith("74.5") for cell in row) and not any(cell.startswith("71.5") for cell in row)


def test_labels_of_axes_stand_beside_their_ticks():
    curves = [Curve("UDAL", [1, 2], [50000, 60000])]
    for one in (sketch(curves=curves), sketch(matrix=np.eye(2), color_label="share", y_names=["airplane", "dog"])):
        figure = plotting.render(one)
        figure.set_dpi(plotting.PANEL_DPI)
        figure.draw_without_rendering()
        renderer = FigureCanvasAgg(figure).get_renderer()
        for axes in figure.axes:
            label, ticks = axes.yaxis.label.get_window_extent(renderer), axes.get_yticklabels()
            boxes = [tick.get_window_extent(renderer) for tick in ticks if tick.get_text()]
            assert boxes and not any(label.overlaps(box) for box in boxes)
