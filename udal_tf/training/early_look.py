"""A look at the pseudo-labels while training goes on, for pictures whose true classes nobody knows."""

import pathlib

import numpy as np
import tensorflow as tf

from udal_tf.augment.views import View
from udal_tf.config import TrainConfig
from udal_tf.data.dataset import SslData
from udal_tf.input import pipeline
from udal_tf.methods.learner import Learner
from udal_tf.reporting import contact_sheet
from udal_tf.training.evaluation import Predictor

SHEET = "pseudo_labels.png"
# Unlabelled pictures that are looked at, evenly spread; of each class so many of the surest and of the least sure.
MOST_PICTURES, SUREST, LEAST_SURE = 500, 5, 5


class EarlyLook:
    """Draws what the averaged weights take some unlabelled pictures for, after 1, 2, 4, 8, … epochs and the last.

    Does nothing where all true classes are known, for then every epoch says how many pseudo-labels are right.

    Args:
      learner: whose weights are read when called. plain: the view of a whole picture. folder: of the run.
    """

    def __init__(self, learner: Learner, data: SslData, plain: View, train: TrainConfig, folder: pathlib.Path):
        self._learner, self._data, self._train, self._folder = learner, data, train, folder
        spread = np.linspace(0, len(data.rest) - 1, min(MOST_PICTURES, len(data.rest))).astype(int)
        self._positions = data.rest[spread]
        self._wanted = data.true_shares is None and len(data.rest) > 0
        self._predict = Predictor(learner)
        self._batches = pipeline.evaluation_batches(data.train, self._positions, plain, train.eval_batch_size)

    def after(self, epoch: int) -> None:
        """Draws the sheet after this epoch, counted from 1, if it is one of those."""
        power_of_two = epoch & (epoch - 1) == 0
        if not self._wanted or not (power_of_two or epoch == self._train.epochs):
            return
        probs = self._learner.aligner().pseudo_probs(tf.constant(self._predict(self._batches))).numpy()
        guesses, confidence = probs.argmax(axis=1), probs.max(axis=1)
        names, rows = [], []
        for c in contact_sheet.some_rows(np.argsort(-self._data.p_data, kind="stable").tolist()):
            (own,) = np.nonzero(guesses == c)
            rows.append(self._row(columns(own, confidence)))
            median = f", median {np.median(confidence[own]):.2f}" if len(own) else ""
            names.append(f"{self._data.class_names[c]}\n{len(own)} picture{'s' * (len(own) != 1)}{median}")
        title = f"What {len(probs)} unlabelled pictures are taken for after epoch {epoch} of {self._train.epochs}"
        headings = [("surest", SUREST), ("least sure", LEAST_SURE)]
        contact_sheet.draw(np.stack(rows), names, headings, title, self._folder / SHEET)

    def _row(self, placed: dict[int, int]) -> np.ndarray:
        """[columns, H, W, 3] uint8: the pictures in their places, white between them."""
        pictures = self._data.train
        row = np.full([SUREST + LEAST_SURE, *pictures.shape[:2], 3], contact_sheet.WHITE, np.uint8)
        if placed:
            row[list(placed)] = pictures.fetch(tf.constant(self._positions[list(placed.values())])).numpy()
        return row


def columns(own: np.ndarray, confidence: np.ndarray) -> dict[int, int]:
    """Where on its row each shown picture goes: the surest from the left, the least sure up to the right end.

    Args:
      own: positions of the pictures of the row's class. confidence: of all pictures, by position.

    Returns:
      column -> position; no picture comes twice.
    """
    ranked = own[np.argsort(-confidence[own], kind="stable")]
    surest, others = ranked[:SUREST], ranked[SUREST:]
    least = others[max(0, len(others) - LEAST_SURE) :]
    placed = {column: int(i) for column, i in enumerate(surest)}
    return placed | {SUREST + LEAST_SURE - len(least) + column: int(i) for column, i in enumerate(least)}
