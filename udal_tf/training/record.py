"""What a run records: a row after each epoch, and the result and figures at the end."""

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from etils import epath

from udal_tf import __version__
from udal_tf.config import Config
from udal_tf.core import alignment, label_shift
from udal_tf.data.dataset import SslData
from udal_tf.methods.learner import Learner
from udal_tf.methods.own_prior import LABELED, OWN, has_own_prior, own_prior
from udal_tf.registry import METHODS
from udal_tf.reporting import revision, training_plots
from udal_tf.run_records import (
    NO_LA,
    TEST,
    VALIDATION,
    BestEpoch,
    Confusion,
    EpochRow,
    LaChoice,
    LaPrior,
    MedianAccuracy,
    PseudoLabelCounts,
    Result,
    Scores,
    best_row,
)
from udal_tf.sections import TrainConfig
from udal_tf.training.evaluation import Evaluator
from udal_tf.training.steps import by_class

# CReST also reports the median over the last epochs.
MEDIAN_EPOCHS = 20


def epoch_row(
    train: TrainConfig,
    data: SslData,
    learner: Learner,
    evaluator: Evaluator,
    sums: Mapping[str, float],
    seconds: float,
    images: int,
) -> EpochRow:
    """The row of the epoch that has just ended.

    Args:
      train: the run's settings.
      data: of the run.
      learner: of the run.
      evaluator: of the run's validation images, or of its test images if there are none.
      sums: each of the step runner's metrics, summed over the epoch's steps.
      seconds: of training so far.
      images: trained on so far.
    """
    step = int(learner.step.numpy())
    figures, _ = by_class({name: value / train.steps_per_epoch for name, value in sums.items()})
    _, counts = by_class(sums)
    p_unlabeled, true_distribution = learner.p_unlabeled(), data.true_distribution
    p_target = alignment.tempered(p_unlabeled, figures["alpha"])
    if true_distribution is None:  # It is unknown which pseudo-labels are correct.
        figures.pop("confident_correct", None)
        counts = {name: values for name, values in counts.items() if name == "confident_of_class"}
    else:
        figures["p_unlabeled_error"] = float(label_shift.total_variation(p_unlabeled, tf.constant(true_distribution)))
    pseudo_labels = {name.removesuffix("_of_class"): values for name, values in counts.items()}
    return EpochRow(
        step=step,
        epoch=step // train.steps_per_epoch,
        seconds=seconds,
        images=images,
        train=figures,
        p_model=learner.p_model().numpy().tolist(),
        p_target=p_target.numpy().tolist(),
        p_unlabeled=p_unlabeled.numpy().tolist(),
        pseudo_labels=PseudoLabelCounts(**pseudo_labels) if pseudo_labels else None,
        **{TEST if data.validation is None else VALIDATION: scores_now(learner, evaluator)},
    )


def scores_now(learner: Learner, evaluator: Evaluator) -> Scores:
    """The scores of the learner's present weights."""
    return Scores.from_json(evaluator(learner.la_prior().numpy()), "scores")


def test_scores(rows: Sequence[EpochRow]) -> Scores:
    """The test scores of the last epoch. Raises ValueError if its row has none."""
    test = rows[-1].test
    if test is None:
        raise ValueError("the last epoch has not been scored on the test images")
    return test


def la_choices(config: Config, learner: Learner, evaluator: Evaluator, row: EpochRow) -> list[LaChoice]:
    """What LA (Inf) gives on the validation images by each prior that it could remove, and without it.

    Args:
      config: of the run.
      learner: of the run, at the end.
      evaluator: of the validation images.
      row: of the last epoch.
    """
    p_data, method = learner.p_data.numpy(), config.method
    priors = {NO_LA: None, LABELED: p_data, method.la_prior: learner.la_prior().numpy()}
    if METHODS[method.method].targets.labeled is not None and has_own_prior(METHODS[method.method]):
        priors[OWN] = own_prior(method.method, p_data, np.array(row.p_target, np.float32))
    found = evaluator.by_priors(priors)
    return [LaChoice(name, one["accuracy"], one["balanced_accuracy"]) for name, one in found.items()]


def draw(rows: Sequence[EpochRow], data: SslData, folder: epath.Path) -> None:
    """Draws the figures of a finished run."""
    names = list(data.class_names)
    recall, counts = test_scores(rows).per_class_recall, data.provenance["labeled_counts"]
    training_plots.training_curves(rows, folder / "training_curves.png")
    training_plots.per_class_recall(recall, names, counts, folder / "per_class_recall.png")
    training_plots.pseudo_label_divergence(rows, data.p_data.tolist(), names, folder / "pseudo_label_divergence.png")


def result(
    config: Config,
    data: SslData,
    learner: Learner,
    evaluator: Evaluator,
    rows: Sequence[EpochRow],
    hardware: Mapping[str, Any],
) -> Result:
    """The result of a finished run: the last epoch's scores, and everything needed to reproduce them."""
    prior, best = learner.la_prior().numpy(), best_row(rows)
    last = rows[-MEDIAN_EPOCHS:]
    tested = [row.test.accuracy.ema for row in last if row.test]
    return Result(
        **vars(test_scores(rows)),
        confusion=Confusion(**evaluator.confusion(prior)),
        best=BestEpoch(best.epoch, best.step, best.scores.balanced_accuracy.ema),
        median_ema_accuracy=MedianAccuracy(len(last), statistics.median(tested)) if data.validation is None else None,
        config=config.to_dict(),
        class_names=list(data.class_names),
        p_data=data.p_data.tolist(),
        p_unlabeled=learner.p_unlabeled().numpy().tolist(),
        la_prior=LaPrior(config.method.la_prior, prior.tolist()),
        steps=rows[-1].step,
        seconds=rows[-1].seconds,
        data=data.provenance,
        hardware=hardware,
        commit=revision.commit(),
        versions={
            "udal_tf": __version__,
            "python": sys.version.split()[0],
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        validation=rows[-1].validation,
    )
