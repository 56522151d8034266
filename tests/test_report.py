"""The report: which run stands in which cell, what is left out, what the files say."""

import csv
import html.parser
import io
import json
import math
import re

import numpy as np
import pytest
from made_up_runs import CLASSES, write_run
from matplotlib.backends.backend_agg import FigureCanvasAgg

from udal_tf.commands import report
from udal_tf.folder_recipe import FolderFacts
from udal_tf.reporting import class_figures, comparison, figures, paper, run_figures, table_text, tables
from udal_tf.reporting.drawing import Curve, Panel
from udal_tf.reporting.runs import read_run, read_runs

CIFAR = {"dataset": "cifar10lt", "imbalance": 100.0, "beta": 0.1}


def tables_of(root):
    runs, left_out = read_runs([root])
    assert left_out == []
    return {table.name: table for table in tables.build_tables(runs)}


def cell_at(table, base, method, heading, score="ema"):
    (row,) = [r for r in table.rows if (r.base, r.method, r.score) == (base, method, score)]
    (place,) = [i for i, column in enumerate(table.columns) if column.heading == heading]
    return row.cells[place]


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
    assert cell.missing == []
    assert table_text.own_text(cell) == "82.0 ± 1.4"
    assert table_text.difference_text(cell) == "+1.8"


def test_missing_folds_are_said(tmp_path):
    write_run(tmp_path, 0.8, **CIFAR, fold=2)
    table = tables_of(tmp_path)["table1"]
    cell = cell_at(table, "fixmatch", "udal", "CIFAR10-LT, β = 10 %, γ = 100")
    assert (cell.std, cell.missing) == (None, [1, 3, 4, 5])
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
    assert found["table1"].runs == []
    for name, heading in (
        ("table1_cifar10lt", "CIFAR10-LT, γ = 100, β = 10 %, epochs 1"),
        ("table1_digitslt", "digits-LT, γ = 12, β = 10 %"),
    ):
        cell = cell_at(found[name], "fixmatch", "udal", heading)
        assert len(cell.runs) == 1
        assert cell.difference is None
        assert [column.kind for column in found[name].columns] == ["other setting", "paper", "paper", "paper"]
        assert all("another data set or recipe" in column.heading for column in found[name].columns[1:])


def test_runs_of_another_draw_or_arithmetic_get_a_column_of_their_own(tmp_path):
    write_run(tmp_path, 0.80, **CIFAR, fold=1)
    write_run(tmp_path, 0.70, **CIFAR, fold=1, precision="bfloat16")
    other = write_run(tmp_path, 0.60, **CIFAR, fold=1, epochs=64, k=2.0)
    result = json.loads((other / "result.json").read_text())
    result["data"]["draw"] = "CReST's own"
    (other / "result.json").write_text(json.dumps(result))
    table = tables_of(tmp_path)["table1"]
    columns = [i for i, column in enumerate(table.columns) if "γ = 100" in column.label]
    (row,) = [r for r in table.rows if (r.base, r.method, r.score) == ("fixmatch", "udal", "ema")]
    assert sorted(row.cells[place].mean for place in columns) == pytest.approx([60.0, 70.0, 80.0])


def test_darps_protocol_has_its_own_table(tmp_path):
    write_run(tmp_path, 0.8, dataset="cifar10lt", protocol="darp", imbalance=150.0, method="darp", fold=1)
    found = tables_of(tmp_path)
    assert found["table1"].runs == []
    assert cell_at(found["table3"], "fixmatch", "darp", "CIFAR10, DARP's protocol, γ = 150").mean == pytest.approx(80.0)


def test_table_4_tells_lengths_generations_and_alphas_apart(tmp_path):
    shared = {"dataset": "imagenet127", "fold": 1}
    write_run(tmp_path, 0.73, **shared, method="crest+", epochs=1000)
    write_run(tmp_path, 0.70, **shared, method="crest+", generations=4)
    write_run(tmp_path, 0.75, **shared, alpha_min=0.55)
    write_run(tmp_path, 0.76, **shared, base="supervised", method="none", beta=1.0, epochs=300, steps_per_epoch=5005)
    table = tables_of(tmp_path)["table4"]
    shown = {
        (row.label, column.label): table_text.own_text(cell)
        for row in table.rows
        for cell, column in zip(row.cells, table.columns, strict=True)
        if cell and cell.runs
    }
    assert shown == {
        ("w/ UDAL (ours, α_min = 0.55)", "1000"): "75.0",
        ("Supervised (100% labels)", "supervised"): "76.0",
    }


def test_methods_that_the_table_lacks_are_further_rows(tmp_path):
    write_run(tmp_path, 0.6, dataset="digitslt", base="supervised", method="none", fold=1)
    write_run(tmp_path, 0.7, dataset="digitslt", method="hybrid", fold=1)
    labels = [row.full_label for row in tables_of(tmp_path)["table1_digitslt"].rows]
    assert labels[:2] == ["Supervised", "Supervised w/ LA (Inf)"]
    assert labels[-2:] == ["FixMatch w/ hybrid of Figure 3a", "FixMatch w/ hybrid of Figure 3a & LA (Inf)"]


def test_points_of_an_ablation_are_no_columns(tmp_path):
    write_run(tmp_path, 0.6, dataset="digitslt", k=1.0, alpha_min=0.5, fold=1)
    assert "table1_digitslt" not in tables_of(tmp_path)


def test_paired_differences_by_hand():
    result = comparison.paired({1: 3.0, 2: 5.0, 7: 0.0}, {1: 1.0, 2: 1.0})
    assert (result.folds, result.mean, result.wins) == ((1, 2), 3.0, 2)
    assert result.std == pytest.approx(math.sqrt(2))
    # t = 3 / (√2 / √2) = 3 with one degree of freedom: p = 1 − 2·atan(3)/π.
    assert result.t_p == pytest.approx(1 - 2 * math.atan(3) / math.pi)
    assert result.wilcoxon_p == pytest.approx(0.5)


def test_paired_says_nothing_where_nothing_can_be_said():
    assert comparison.paired({1: 1.0}, {2: 1.0}) is None
    assert comparison.paired({1: 1.0}, {1: 0.5}).t_p is None
    same = comparison.paired({1: 1.0, 2: 2.0}, {1: 1.0, 2: 2.0})
    assert (same.t_p, same.wilcoxon_p, same.wins) == (None, None, 0)


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
    assert "no JSON" in reasons["2"]
    assert "only the first epochs" in reasons["3"]
    assert reasons["4"] == "result.json: accuracy.ema is missing"
    assert "must" in reasons["5"]
    assert any("same settings, fold and pictures" in one.reason for one in left_out)
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
    count, left_out = report.write_report([root], out)
    assert count == 20
    assert ["metrics.jsonl, line 1 is no row" in one.reason for one in left_out] == [True]
    return out


def test_every_file_is_there(written):
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    for table in ("table1", "table2", "table3", "table4", "table1_digitslt"):
        assert {f"tables/{table}.{ending}" for ending in ("md", "csv", "tex")} <= names
    assert {"report.html", "tables/comparisons.md", "tables/comparisons.csv"} <= names
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


def test_csv_has_a_line_per_cell(written):
    rows = list(csv.DictReader(io.StringIO((written / "tables/table1_digitslt.csv").read_text(encoding="utf-8"))))
    own = [row for row in rows if row["method"] == "udal" and row["base"] == "fixmatch" and row["score"] == "ema"]
    ours, *papers = own
    assert (ours["accuracy_mean"], ours["folds"], ours["missing_folds"]) == ("81.5000", "1 2", "3 4 5")
    assert ours["balanced_accuracy_mean"] == "81.5000"
    assert [row["paper_accuracy_mean"] for row in papers] == ["85.3000", "80.2000", "68.6000"]
    assert all(row["accuracy_difference"] == "" for row in own)


def test_latex_is_escaped(written):
    text = (written / "tables/table1_digitslt.tex").read_text(encoding="utf-8")
    assert r"FixMatch w/ DA ($\alpha_{\min}$ = 0.5) + LA (Sup)" in text
    assert r"\multicolumn{3}{c}{$\beta$ = 10 \%}" in text
    rows = [line for line in text.splitlines() if line.startswith("FixMatch")]
    assert len(rows) > 5
    # Our setting's two measures and the paper's three columns.
    assert all(line.replace(r"\&", "").count("&") == 5 for line in rows)


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
    drawn = []

    class Seen(Panel):
        def save(self, name, caption, folder):
            drawn.append((name, self.axes.images[0].get_array()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_figures, "Panel", Seen)
        class_figures.pseudo_labels(runs, [run.rows() for run in runs], "UDAL", "digits", tmp_path)
    (_, precision), (_, recall) = drawn
    np.testing.assert_allclose(precision.filled(-1), np.repeat([[75.0], [25.0], [-1.0]], 3, axis=1))
    np.testing.assert_allclose(recall.filled(-1), np.repeat([[50.0], [25.0], [0.0]], 3, axis=1))


def test_a_colour_bar_with_its_words_is_inside_of_the_picture():
    panel = Panel("digits", "epoch", "class")
    panel.add_colour_bar(panel.axes.imshow([[0, 100]], aspect="auto"), "share of the true class, %")
    whole, drawn = panel.figure.bbox, panel.figure.get_tightbbox().transformed(panel.figure.dpi_scale_trans)
    assert drawn.x0 >= 0 and drawn.x1 <= whole.width
    assert panel.axes.get_position().x1 < panel.figure.axes[1].get_position().x0


def test_runs_of_several_lengths_stand_over_their_share_of_the_training():
    short, long = (Curve(str(n), list(range(1, n + 1)), [0.5] * n) for n in (4, 8))
    panel = run_figures._epoch_panel("digits", "share", [short, long])
    assert panel.axes.get_xlabel() == "share of the training, %"
    assert [line.get_xdata()[-1] for line in panel.axes.lines] == [100, 100]
    assert run_figures._epoch_panel("digits", "share", [short, short]).axes.get_xlabel() == "epoch"


def test_runs_that_all_leave_the_recipes_length_are_drawn_too(tmp_path):
    for method in ("udal", "none"):
        write_run(tmp_path, 0.8, **CIFAR, method=method, epochs=2)
    write_run(tmp_path, 0.7, **CIFAR, epochs=2, alpha_min=0.5)
    runs, _ = read_runs([tmp_path])
    methods = {text: [run.settings["method"] for run in of] for text, of in figures.figure_groups(runs).items()}
    alike = "CIFAR10-LT, γ = 100, β = 10 %, epochs 2"
    assert {text: sorted(of) for text, of in methods.items()} == {
        alike: ["none", "udal"],
        "CIFAR10-LT, γ = 100, β = 10 %, α_min = 0.5, epochs 2": ["udal"],
    }
    assert run_figures.run_figures(runs, {}, tmp_path)


def test_beside_runs_of_the_recipe_the_points_of_an_ablation_have_no_figures_of_their_own(tmp_path):
    write_run(tmp_path, 0.8, **CIFAR)
    write_run(tmp_path, 0.7, **CIFAR, alpha_min=0.5)
    (of,) = figures.figure_groups(read_runs([tmp_path])[0]).values()
    assert [run.settings["alpha_min"] for run in of] == [0.1]


OWN = {"dataset": "folder", "data_dir": "flowers"}
FACTS = FolderFacts(3, 40, 2, 400, 28, True, "3 classes; 40 labelled; 400 unlabelled; 30 to test")


def test_a_folder_of_ones_own_is_called_by_its_name_and_what_its_recipe_says_is_no_deviation(tmp_path):
    write_run(tmp_path, 0.8, facts=FACTS, **OWN)
    write_run(tmp_path, 0.7, facts=FACTS, **OWN, threshold=0.9)
    runs, _ = read_runs([tmp_path])
    assert {tuple(run.deviations.items()) for run in runs} == {(), (("threshold", 0.9),)}
    assert set(figures.figure_groups(runs)) == {"own pictures, flowers", "own pictures, flowers, threshold 0.9"}
    headings = [
        column.heading for column in tables_of(tmp_path)["table1_folder"].columns if "flowers" in column.heading
    ]
    assert sorted(headings) == ["own pictures, flowers", "own pictures, flowers, threshold 0.9"]


def test_classes_stand_from_frequent_to_rare_whatever_order_their_names_are_in():
    recalls = [[0.2, 0.9, None], [0.4, 0.7, 0.5]]
    curve = class_figures._by_class("UDAL", recalls, np.array([1, 2, 0]))
    assert (list(curve.x), list(curve.y)) == ([0, 1, 2], pytest.approx([80, 50, 30]))


def test_the_recall_figure_names_classes_in_the_order_of_their_labels(tmp_path, monkeypatch):
    run = write_run(tmp_path, 0.8, **CIFAR)
    result = json.loads((run / "result.json").read_text())
    result["p_data"], result["class_names"] = [0.2, 0.7, 0.1], ["lily", "rose", "iris"]
    result["per_class_recall"]["ema"] = [0.5, 0.9, 0.1]
    (run / "result.json").write_text(json.dumps(result))
    panels = []
    monkeypatch.setattr(Panel, "save", lambda panel, *_: panels.append(panel))
    class_figures.recall({"FixMatch w/ UDAL": read_runs([tmp_path])[0]}, "flowers", tmp_path)
    axes = panels[0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["rose", "lily", "iris"]
    assert axes.lines[0].get_ydata() == pytest.approx([90, 50, 10])


def test_names_of_figures_fit_into_file_names_and_stay_apart():
    long = ["猫" * 200 + end for end in "ab"]
    assert all(len(figures.slug(text).encode()) < 120 for text in long)
    assert figures.slug(long[0]) != figures.slug(long[1])
    assert figures.slug("FixMatch; digits-LT, γ = 12, β = 10 %") == "FixMatch_digits_LT_g12_b10"


def test_a_long_title_ends_within_its_figure():
    panel = Panel("FixMatch w/ UDAL; own pictures, flowers, image_size 28, crop_padding 3, depth 10", "x", "y")
    title = panel.axes._left_title
    assert title.get_text().endswith("…")
    assert title.get_window_extent(FigureCanvasAgg(panel.figure).get_renderer()).x1 < panel.figure.bbox.x1


@pytest.mark.parametrize("side", ["xaxis", "yaxis"])
def test_class_names_have_room_beside_their_panel_and_above_its_legend(side, tmp_path):
    panel = Panel("own pictures, flowers, " + 10 * "epochs 2, ", "class", "recall, %")
    panel.draw(Curve("UDAL", [0, 1], [50, 60]))
    panel.name_classes(getattr(panel.axes, side), ["ankle boot", "a name that is longer than any"])
    panel.save("named", "", tmp_path)
    renderer = FigureCanvasAgg(panel.figure).get_renderer()
    box = getattr(panel.axes, side).get_tightbbox(renderer)
    legend = panel.figure.legends[0].get_window_extent(renderer)
    assert box.x0 >= 0 and box.y0 >= legend.y1
    assert panel.axes.get_window_extent(renderer).y0 > legend.y1
    assert panel.axes._left_title.get_window_extent(renderer).x1 <= panel.figure.bbox.x1


def test_a_folders_name_with_dollar_signs_is_no_formula_in_a_title(tmp_path):
    Panel(r"own pictures, $\wrong{$", "x", "y").save("named", "", tmp_path)
    assert (tmp_path / "named.png").exists()


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
    cells = {(row["row"], row["column"]): row for row in csv.DictReader(io.StringIO(table_text.csv_text(table)))}
    ours = cells["FixMatch w/ UDAL (ours, α_min = 0.55)", "Epochs, 1000"]
    assert (ours["balanced_accuracy_mean"], ours["balanced_accuracy_difference"]) == ("75.1000", "0.0000")
    assert not {"accuracy_mean", "paper_accuracy_mean"} & set(ours)
    text = table_text.markdown(table)
    assert "75.1 · paper 75.1 · +0.0" in text and "90.3" not in text
    drawn = []

    class Seen(Panel):
        def save(self, name, caption, folder):
            drawn.append((name, caption, self.axes))
            return super().save(name, caption, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "Panel", Seen)
        for draw in figures.paper_figures(read_runs([tmp_path])[0], tmp_path):
            draw()
    ((name, caption, axes),) = drawn
    assert name.startswith("fig1_") and "balanced accuracy" in caption and "balanced accuracy" in axes.get_ylabel()
    assert axes.lines[0].get_ydata() == pytest.approx([75.1, 74.8])


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


def test_every_table_says_its_measures(written):
    measures = {"table4": "balanced accuracy"}
    for path in sorted((written / "tables").glob("table*.md")):
        said = f"({measures.get(path.stem, 'accuracy and balanced accuracy')}, %)"
        assert said in path.read_text(encoding="utf-8").splitlines()[0]
        latex = path.with_suffix(".tex").read_text(encoding="utf-8")
        assert said.replace("%", r"\%") in re.search(r"\\caption\{(.*)\}\n", latex)[1]
        header = path.with_suffix(".csv").read_text(encoding="utf-8").splitlines()[0]
        assert ("balanced_accuracy_mean" in header, ",accuracy_mean" in header) == (True, path.stem != "table4")
    page = (written / "report.html").read_text(encoding="utf-8")
    assert page.count("(accuracy and balanced accuracy, %)") >= 5 and "(balanced accuracy, %)" in page
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
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
    assert "as DARP's own paper has them, trained by Adam at 0.002 for 500 × 500 steps" in found["table3"].notes[-1]
    # In the paper's own table the recipe's run alone stands.
    row = {cell for (label, _), cell in shown_in(found["table1"]).items() if label == "FixMatch w/ DA (α_min = 0.5)"}
    assert any(cell.startswith("74.5") for cell in row) and not any(cell.startswith("71.5") for cell in row)
