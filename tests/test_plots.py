"""Figures of a run: drawn from rows alone, for any number of rows and classes, without a complaint."""

import dataclasses
import logging
import warnings

import matplotlib.image
import numpy as np
import pytest
from run_files import make_row, scores

from udal_tf.reporting import plotting, training_plots
from udal_tf.run_records import ByWeights, EpochRow


def make_rows(epochs: int, num_classes: int, supervised: bool = False) -> list[EpochRow]:
    random = np.random.RandomState(0)
    rows = []
    for epoch in range(1, epochs + 1):
        train = {"loss": 3 / epoch, "loss_labeled": 2 / epoch, "loss_unlabeled": 1 / epoch, "alpha": 1 - epoch / 40}
        train |= {"kl_data": 0.3 / epoch, "kl_target": 0.1 / epoch}
        if not supervised:
            train |= {"confident": 0.4, "confident_correct": 0.3}
        p_model, p_target = random.dirichlet(np.ones(num_classes), 2)
        distributions = {
            "p_model": p_model.tolist(),
            "p_target": p_target.tolist(),
            "p_unlabeled": [1 / num_classes] * num_classes,
        }
        rows.append(make_row(epoch, train=train, test=scores(1 - 0.5 / epoch), **distributions))
    return rows


@pytest.fixture
def draws_well(tmp_path, caplog):
    """Calls a plot function with a path; any warning, missing glyphs included, and an empty figure is a failure."""

    def call(function, *arguments):
        path = tmp_path / "figure.png"
        with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
            warnings.simplefilter("error")
            function(*arguments, path)
        assert not caplog.records
        assert path.read_bytes().startswith(b"\x89PNG\r\n")
        pixels = matplotlib.image.imread(path)
        assert (pixels[..., :3].min(axis=-1) < 0.5).mean() > 0.005  # Ink, not a white page.

    return call


@pytest.mark.parametrize("epochs", [1, 2, 20])
def test_training_curves_of_any_length(draws_well, epochs):
    draws_well(training_plots.training_curves, make_rows(epochs, 10))


def test_training_curves_of_a_run_without_pseudo_labels(draws_well):
    draws_well(training_plots.training_curves, make_rows(3, 10, supervised=True))


def rows_ending_without_pseudo_labels() -> list[EpochRow]:
    """As of a run whose last stage trains the head alone."""
    return [*make_rows(2, 10), *make_rows(4, 10, supervised=True)[2:]]


def test_training_curves_of_a_run_that_ends_without_pseudo_labels(draws_well):
    draws_well(training_plots.training_curves, rows_ending_without_pseudo_labels())


def test_pseudo_labels_curves_end_where_they_do(figures, tmp_path):
    training_plots.training_curves(rows_ending_without_pseudo_labels(), tmp_path)
    (axes,) = (a for part in figures[-1].subfigs for a in part.axes if a.get_title(loc="left") == "Pseudo-labels")
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [40.0, 40.0, np.nan, np.nan])


@pytest.mark.parametrize("num_classes", [2, 10, 20, 127])
def test_recall_of_any_number_of_classes(draws_well, num_classes):
    recall = np.linspace(1, 0, num_classes).tolist()
    names = [f"class {c}" for c in range(num_classes)]
    draws_well(
        training_plots.per_class_recall, {"ema": recall, "ema_la": recall[::-1]}, names, list(range(num_classes, 0, -1))
    )


def test_recall_where_classes_have_no_test_images(draws_well):
    scores = {"ema": [1.0, None, 0.5], "ema_la": [0.5, None, 0.5]}
    draws_well(
        training_plots.per_class_recall, scores, ["airplane", "automobile", "a class with a long name"], [5, 2, 1]
    )


def test_class_names_that_look_like_formulas_are_drawn_as_they_are(draws_well):
    names = [r"$\nothing$", r"$\wrong{$", "5 $"]
    scores = {"ema": [1.0, 0.5, 0.5], "ema_la": [0.5, 0.5, 0.5]}
    draws_well(training_plots.per_class_recall, scores, names, [5, 2, 1])
    draws_well(training_plots.pseudo_label_divergence, make_rows(2, 3), [0.5, 0.3, 0.2], names)


@pytest.mark.parametrize(("epochs", "num_classes"), [(1, 10), (2, 10), (20, 10), (1, 127), (20, 127)])
def test_divergence_of_any_number_of_rows_and_classes(draws_well, epochs, num_classes):
    p_data = np.geomspace(1, 0.01, num_classes)
    names = [f"class {c}" for c in range(num_classes)]
    draws_well(
        training_plots.pseudo_label_divergence, make_rows(epochs, num_classes), (p_data / p_data.sum()).tolist(), names
    )


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, as they are before that."""
    found = []
    monkeypatch.setattr(plotting, "save_png", lambda figure, *_: found.append(figure))
    return found


def test_divergence_shows_an_unlabeled_prior_of_its_own(figures, tmp_path):
    uniform, other = [0.5, 0.5], [0.25, 0.75]
    for p_unlabeled in (uniform, other):
        rows = [dataclasses.replace(row, p_unlabeled=p_unlabeled) for row in make_rows(1, 2)]
        training_plots.pseudo_label_divergence(rows, uniform, ["a", "b"], tmp_path)
    labels = [[line.get_label() for axes in figure.axes[1:] for line in axes.get_lines()] for figure in figures]
    assert r"unlabeled images, $p_{unlabeled}$" not in labels[0]
    assert labels[1] == [*labels[0], r"unlabeled images, $p_{unlabeled}$"]


def test_classes_stand_from_frequent_to_rare_whatever_order_their_names_are_in(figures, tmp_path):
    names = ["apple", "mango", "zebra"]
    recalls = {"ema": [0.5, None, 0.75], "ema_la": [0.5, 0.25, 1.0]}
    training_plots.per_class_recall(recalls, names, [3, 1, 5], tmp_path)
    training_plots.pseudo_label_divergence(make_rows(1, 3), [0.3, 0.1, 0.6], names, tmp_path)
    recall, counts = figures[0].axes
    assert [bar.get_height() for bar in counts.patches] == [5, 3, 1]
    np.testing.assert_array_equal([bar.get_height() for bar in recall.patches], [75, 50, np.nan, 100, 50, 25])
    distributions = figures[1].axes[1]
    np.testing.assert_array_equal(distributions.lines[0].get_ydata(), [0.6, 0.3, 0.1])
    for axes in (counts, distributions):
        assert [label.get_text() for label in axes.get_xticklabels()] == ["zebra", "apple", "mango"]


def test_legends_stand_below_their_axes(figures, tmp_path):
    training_plots.training_curves(make_rows(3, 10), tmp_path)
    (figure,) = figures
    figure.draw_without_rendering()
    assert [len(part.legends) for part in figure.subfigs] == [1] * 4
    for part in figure.subfigs:
        assert part.legends[0].get_window_extent().y1 <= part.axes[-1].get_tightbbox().y0


def test_training_curves_have_both_accuracies_and_no_alpha_among_percentages(figures, tmp_path):
    rows = [dataclasses.replace(row, validation=row.test, test=None) for row in make_rows(2, 4)]
    even = ByWeights(0.25, 0.5, 0.125, 0.75)
    last = dataclasses.replace(rows[-1], validation=dataclasses.replace(rows[-1].validation, balanced_accuracy=even))
    training_plots.training_curves([rows[0], last], tmp_path)
    by_title = {axes.get_title(loc="left"): axes for part in figures[0].subfigs for axes in part.axes}
    assert list(by_title) == [
        "Training loss",
        "Validation accuracy",
        "Validation balanced accuracy",
        "Pseudo-labels",
        "Strength of alignment",
    ]
    balanced = by_title["Validation balanced accuracy"]
    assert [line.get_ydata()[-1] for line in balanced.lines] == [25.0, 50.0, 75.0]
    assert [line.get_label() for line in by_title["Pseudo-labels"].lines] == ["confident", "confident and correct"]
    assert by_title["Pseudo-labels"].get_ylabel() == "unlabeled images, %"
    (alpha,) = by_title["Strength of alignment"].lines
    assert alpha.get_ydata().tolist() == [1 - 1 / 40, 1 - 2 / 40] and "%" not in alpha.axes.get_ylabel()


def test_divergence_of_equal_distributions(draws_well):
    even = {"p_model": [0.25] * 4, "p_target": [0.25] * 4}
    rows = [
        dataclasses.replace(row, train={**row.train, "kl_data": 0.0, "kl_target": 0.0}, **even)
        for row in make_rows(2, 4)
    ]
    draws_well(training_plots.pseudo_label_divergence, rows, [0.25] * 4, ["a", "b", "c", "d"])


def test_names_are_cut_by_their_width_and_letters_of_double_width_count_twice():
    assert plotting.shortened("a" * 18) == "a" * 18 and plotting.shortened("a" * 19) == "a" * 17 + "…"
    assert plotting.shortened("猫" * 9) == "猫" * 9 and plotting.shortened("猫" * 10) == "猫" * 8 + "…"
    assert plotting.columns_of("Straße 狗") == 9


def test_figures_of_a_run_are_titled_in_words(figures, tmp_path):
    training_plots.pseudo_label_divergence(make_rows(2, 3), [0.5, 0.3, 0.2], ["a", "b", "c"], tmp_path)
    training_plots.per_class_recall({"ema": [1.0, 0.5], "ema_la": [0.5, 0.5]}, ["a", "b"], [5, 2], tmp_path)
    above, below = figures[0].subfigs
    title = "How far the predicted class distribution of the unlabeled images is from two others"
    assert above.axes[0].get_title(loc="left") == title and below.get_suptitle() == "Class distributions"
    assert figures[1].axes[0].get_title(loc="left") == "Recall of each class on the test images"
    assert figures[1].axes[1].get_xlabel() == "class, from frequent to rare"
