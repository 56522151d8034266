"""The look at pseudo-labels while training: which images it shows, after which epochs, and that it is drawn."""

import dataclasses

import numpy as np
import pytest

from udal_tf.augment.views import make_views
from udal_tf.config import resolve
from udal_tf.data import sources
from udal_tf.reporting import contact_sheet
from udal_tf.training import early_look
from udal_tf.training.early_look import EarlyLook, columns
from udal_tf.training.loop import make_learner


def test_the_surest_stand_on_the_left_and_the_least_sure_on_the_right():
    confidence = np.array([0.5, 0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4, 0.95, 0.99, 0.05, 0.45])
    placed = columns(np.arange(1, 13), confidence)  # Not of image 0.
    assert placed == {0: 10, 1: 9, 2: 1, 3: 3, 4: 5, 5: 8, 6: 6, 7: 4, 8: 2, 9: 11}


def test_a_class_of_few_images_leaves_places_empty_and_shows_none_twice():
    confidence = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert columns(np.arange(7), confidence) == {0: 6, 1: 5, 2: 4, 3: 3, 4: 2, 8: 1, 9: 0}
    assert columns(np.array([], int), confidence) == {}


@pytest.fixture
def look(monkeypatch, tmp_path):
    """Makes a look at digits, with or without their true labels, and the list of what it draws."""
    drawn = []
    monkeypatch.setattr(contact_sheet, "draw", lambda *arguments: drawn.append(arguments))
    config = resolve({"epochs": 6})

    def make(known: bool) -> tuple[EarlyLook, list]:
        data = sources.load(config.data)
        if not known:
            labels = np.array(data.train_labels)
            labels[data.unlabeled_only] = -1
            data = dataclasses.replace(data, train_labels=labels)
        learner = make_learner(config, data)
        return EarlyLook(
            learner, data, make_views(config.augment, *data.train.shape).plain, config.train, tmp_path
        ), drawn

    return make


def test_it_comes_after_epochs_1_2_4_and_the_last(look):
    early, drawn = look(known=False)
    for epoch in range(1, 7):
        early.after(epoch)
    assert [title.split("epoch ")[1] for _, _, _, title, _ in drawn] == ["1 of 6", "2 of 6", "4 of 6", "6 of 6"]


def test_rows_are_all_classes_from_frequent_to_rare_and_their_numbers_add_up(look):
    early, drawn = look(known=False)
    early.after(1)
    ((images, names, headings, title, path),) = drawn
    assert images.shape == (10, 10, 8, 8, 3) and sum(count for _, count in headings) == 10
    assert [name.split("\n")[0] for name in names] == [str(c) for c in range(10)]
    counts = [int(name.split("\n")[1].split()[0]) for name in names]
    assert f"Predictions for {sum(counts)} unlabeled images" in title
    assert ["median confidence" in name for name in names] == [count > 0 for count in counts]
    assert max(len(line) for name in names for line in name.split("\n")) <= contact_sheet.LONGEST_NAME
    filled = [int(np.any(images[row] != 255, axis=(1, 2, 3)).sum()) for row in range(10)]
    assert filled == [min(count, 10) for count in counts]
    assert path.name == early_look.SHEET


def test_where_all_true_classes_are_known_there_is_none(look):
    early, drawn = look(known=True)
    early.after(1)
    assert drawn == []
