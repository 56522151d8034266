"""Images of an evaluation: drawn for few and many classes, odd names and no mistakes, without a complaint."""

import logging
import warnings

import matplotlib.image
import numpy as np
import pytest

from udal_tf.inference.assessment import calibration
from udal_tf.reporting import assessment_plots, plotting


@pytest.fixture
def drawn(tmp_path, caplog):
    """Calls a plot function with a path; the pixels [H, W, 3]. Any warning, missing glyphs included, is a failure."""

    def call(function, *arguments) -> np.ndarray:
        path = tmp_path / "image.png"
        with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
            warnings.simplefilter("error")
            function(*arguments, path)
        assert not caplog.records
        return matplotlib.image.imread(path)[..., :3]

    return call


def ink(pixels):
    return (pixels.min(axis=-1) < 0.5).mean()


@pytest.mark.parametrize("num_classes", [2, 12, 20, 127])
def test_confusion_matrices_of_any_number_of_classes(drawn, num_classes):
    matrix = np.eye(num_classes, dtype=int) * 9
    matrix[0, -1], matrix[-1] = 3, 0  # The last class has no image.
    names = [f"class {c} of $many$ with a name that is long" for c in range(num_classes)]
    pixels = drawn(assessment_plots.confusion_matrices, {"one": matrix.tolist(), "two": matrix.tolist()}, names)
    assert ink(pixels) > 0.005


def test_reliability_shows_a_bar_as_high_as_the_accuracy(drawn):
    def of(accuracy):
        probs = np.tile(np.array([[0.9, 0.1]], np.float32), [100, 1])
        labels = (np.arange(100) >= 100 * accuracy).astype(int)
        return {"all": calibration(probs, labels)}

    blue = np.array([0x00, 0x72, 0xB2]) / 255
    full, half = (
        (np.abs(drawn(assessment_plots.reliability, of(accuracy)) - blue).max(axis=-1) < 0.02).sum()
        for accuracy in (1.0, 0.5)
    )
    assert half == pytest.approx(0.5 * full, rel=0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_shows_every_mistake(drawn, channels):
    red = np.zeros([8, 8, channels], np.uint8)
    red[..., 0] = 255
    mistake = assessment_plots.Mistake(red, "some/where/$1.png", "cat_$5", "a dog with a very long name", 0.987)
    one, eight = (drawn(assessment_plots.mistakes, [mistake] * count) for count in (1, 8))

    def shown(pixels):
        if channels == 1:  # White on white: the sheet grows by its rows instead.
            return pixels.shape[0]
        return (np.abs(pixels - [1, 0, 0]).max(axis=-1) < 0.02).sum()

    assert shown(eight) > (7 if channels == 3 else 1.5) * shown(one)


def test_a_confusion_matrix_and_a_reliability_diagram_are_titled_in_words(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plotting, "save_png", lambda figure, *_: figures.append(figure))
    assessment_plots.confusion_matrices({"without LA (Inf)": [[1, 0], [1, 1]]}, ["cat", "dog"], tmp_path)
    found = {"ece": 0.125, "bins": [{"low": 0.5, "high": 0.75, "accuracy": 0.5, "count": 12}]}
    assessment_plots.reliability({"without LA (Inf)": found}, tmp_path)
    matrix, diagram = figures
    assert matrix.get_suptitle() == "Confusion matrix: images of each class by what they are predicted as"
    assert [matrix.axes[0].get_xlabel(), matrix.axes[0].get_ylabel()] == ["predicted class", "true class"]
    assert diagram.get_suptitle() == "Reliability: accuracy of the predictions by their confidence"
    assert diagram.axes[0].get_title(loc="left") == "without LA (Inf)\ncalibration error (ECE) 12.5 %"


def test_a_sheet_without_mistakes_says_so(drawn):
    assert 0 < ink(drawn(assessment_plots.mistakes, [])) < 0.02
