"""A look at pseudo-labels during training, for images whose true classes are unknown."""

import pathlib

import numpy as np
import tensorflow as tf

from udal_tf.augment.views import View
from udal_tf.data.dataset import SslData
from udal_tf.input import pipeline
from udal_tf.methods.learner import Learner
from udal_tf.reporting import contact_sheet
from udal_tf.sections import TrainConfig
from udal_tf.training.evaluation import Predictor

SHEET = "pseudo_labels.png"
# Number of unlabeled images to predict, evenly spread over all.
MOST_IMAGES = 500
# Images shown of each class.
MOST_CONFIDENT = 5
LEAST_CONFIDENT = 5


class EarlyLook:
    """Draws the EMA weights' predictions for some unlabeled images, after epochs 1, 2, 4, 8, … and the last.

    Does nothing if all true classes are known, as the accuracy of pseudo-labels is then reported after every epoch.

    Args:
      learner: its weights are read at each call.
      data: of the run.
      plain: the view of a whole image.
      train: the run's settings.
      folder: of the run.
    """

    def __init__(self, learner: Learner, data: SslData, plain: View, train: TrainConfig, folder: pathlib.Path):
        self._learner, self._data, self._train, self._folder = learner, data, train, folder
        spread = np.linspace(0, len(data.unlabeled_only) - 1, min(MOST_IMAGES, len(data.unlabeled_only))).astype(int)
        self._positions = data.unlabeled_only[spread]
        self._wanted = data.true_distribution is None and len(data.unlabeled_only) > 0
        self._predict = Predictor(learner)
        self._batches = pipeline.evaluation_batches(data.train, self._positions, plain, train.eval_batch_size)

    def after(self, epoch: int) -> None:
        """Draws the sheet if it is due after this epoch, counted from 1."""
        power_of_two = epoch & (epoch - 1) == 0
        if not self._wanted or not (power_of_two or epoch == self._train.epochs):
            return
        probs = self._learner.aligner().pseudo_probs(tf.constant(self._predict(self._batches))).numpy()
        guesses, confidence = probs.argmax(axis=1), probs.max(axis=1)
        names, rows = [], []
        for c in contact_sheet.some_rows(np.argsort(-self._data.p_data, kind="stable").tolist()):
            (own,) = np.nonzero(guesses == c)
            rows.append(self._row(columns(own, confidence)))
            median = f"\nmedian confidence {np.median(confidence[own]):.2f}" if len(own) else ""
            names.append(f"{self._data.class_names[c]}\n{len(own)} image{'s' * (len(own) != 1)}{median}")
        title = f"Predictions for {len(probs)} unlabeled images after epoch {epoch} of {self._train.epochs}"
        headings = [("most confident", MOST_CONFIDENT), ("least confident", LEAST_CONFIDENT)]
        contact_sheet.draw(np.stack(rows), names, headings, title, self._folder / SHEET)

    def _row(self, placed: dict[int, int]) -> np.ndarray:
        """[columns, H, W, 3] uint8: the images in their columns, white in empty ones."""
        images = self._data.train
        row = np.full([MOST_CONFIDENT + LEAST_CONFIDENT, *images.shape[:2], 3], contact_sheet.WHITE, np.uint8)
        if placed:
            row[list(placed)] = images.fetch(tf.constant(self._positions[list(placed.values())])).numpy()
        return row


def columns(own: np.ndarray, confidence: np.ndarray) -> dict[int, int]:
    """The column of each shown image in its row: the most confident from the left, the least confident from the right.

    Args:
      own: positions of the images of the row's class.
      confidence: of all images, by position.

    Returns:
      column -> position; each image at most once.
    """
    ranked = own[np.argsort(-confidence[own], kind="stable")]
    most_confident, others = ranked[:MOST_CONFIDENT], ranked[MOST_CONFIDENT:]
    least = others[max(0, len(others) - LEAST_CONFIDENT) :]
    placed = {column: int(i) for column, i in enumerate(most_confident)}
    return placed | {MOST_CONFIDENT + LEAST_CONFIDENT - len(least) + column: int(i) for column, i in enumerate(least)}
