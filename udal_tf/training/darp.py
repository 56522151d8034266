"""--darp_prior: the class distribution of the unlabeled set that DARP alone uses, given or estimated before training.

Kim et al. 2020, §3.3.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf.augment.views import make_views
from udal_tf.config import ESTIMATE, Config
from udal_tf.core import darp
from udal_tf.data.dataset import SslData
from udal_tf.data.manifest import positions_sha256
from udal_tf.input import pipeline
from udal_tf.methods.darp import PRIOR, stated_distribution
from udal_tf.records.methods import DarpConfig
from udal_tf.run_dir import PRIOR as PRIOR_FILE
from udal_tf.run_dir import RunDir, read_object
from udal_tf.run_records import EstimatedPrior, RunDirError
from udal_tf.shown_names import shown
from udal_tf.storage import write_json
from udal_tf.training import loop
from udal_tf.training.distribute import Workers
from udal_tf.training.evaluation import Predictor
from udal_tf.training.unlabeled_prior import noted

HALVES = 2


def with_darp_prior(config: Config, data: SslData, run_dir: RunDir) -> SslData:
    """The problem with the distribution of --darp_prior, if given, for `methods.darp` and in its provenance."""
    own = config.own_section(DarpConfig)
    if not own.darp_prior:
        return data
    estimating = own.darp_prior == (ESTIMATE,)
    prior = _estimated_distribution(config, data, run_dir) if estimating else stated_distribution(own, data.p_data)
    data = dataclasses.replace(data, prepared={**data.prepared, PRIOR: prior})
    return noted(data, kind=ESTIMATE if estimating else "given", distribution=prior.tolist())


def held_out_half(labels: np.ndarray, half: int) -> np.ndarray:
    """Every other image of each class; none of a class with a single image.

    Args:
      labels: [n] integer.
      half: 0 or 1; together the two cover every class with at least two images.

    Returns:
      [n] bool.
    """
    held_out = np.zeros(len(labels), bool)
    for c in np.unique(labels):
        rows = np.flatnonzero(labels == c)
        if len(rows) > 1:
            held_out[rows[half::HALVES]] = True
    return held_out


def distribution_from_predictions(
    probs_held_out: np.ndarray, labels: np.ndarray, probs_u: np.ndarray, pool_size: int
) -> np.ndarray:
    """The unlabeled class distribution that explains the mean prediction, given how each class is predicted.

    Args:
      probs_held_out: [n, C] float32, predictions for labeled images that the predicting model did not train on.
      labels: [n] integer, of these images.
      probs_u: [C] float32, the mean prediction for the unlabeled images.
      pool_size: number of unlabeled images; each class gets at least the fraction of a single image.

    Returns:
      [C] float32, above 0, sums to 1. A class without held-out images is assumed to be predicted without error.
    """
    num_classes = len(probs_u)
    confusion = darp.soft_confusion(tf.constant(probs_held_out), tf.constant(labels), num_classes).numpy()
    unseen = np.bincount(labels, minlength=num_classes) == 0
    confusion[unseen, unseen] = 1.0
    estimate = darp.estimate_class_distribution(tf.constant(confusion), tf.constant(probs_u)).numpy()
    estimate = np.maximum(estimate, 1.0 / pool_size)
    return estimate / estimate.sum()


def _estimated_distribution(config: Config, data: SslData, run_dir: RunDir) -> np.ndarray:
    """DARP's estimate: [C] float32, sums to 1.

    It trains two supervised models with the run's settings, each on one half of the labeled images, and measures how
    they predict the classes of the other half. (DARP's code holds out ten images of each class, once, but a class with
    few labels does not have them.) An interrupted estimate is resumed; the result is in `unlabeled_prior.json`.
    """
    path = run_dir / PRIOR_FILE
    if not path.exists():
        estimated, workers = _estimated(config, data, run_dir), Workers()
        with workers.chief_first():
            if workers.is_chief:
                write_json(path, estimated)
                run_dir.publish()
            else:
                run_dir.refresh(PRIOR_FILE)
    estimate = EstimatedPrior.from_json(read_object(path), f"{shown(path)}: ").distribution
    if len(estimate) != data.num_classes or not sum(estimate) > 0:
        raise RunDirError(
            f"{shown(path)}: distribution must have a proportion for each of the {data.num_classes} classes"
        )
    prior = np.array(estimate, np.float32)
    print(f"Estimated class distribution of the unlabeled images: {', '.join(f'{p:.3f}' for p in prior)}")
    return prior / prior.sum()


def _estimated(config: Config, data: SslData, run_dir: RunDir) -> dict[str, Any]:
    plain = make_views(config.augment, *data.train.shape).plain
    supervised = dataclasses.replace(
        config,
        method=dataclasses.replace(config.method, base="supervised", method="none"),
        train=dataclasses.replace(config.train, patience=0),
        own=dataclasses.replace(config.own, base=None, method=None),
    )

    def predicted(learner, positions: np.ndarray) -> np.ndarray:
        images = pipeline.evaluation_batches(data.train, positions, plain, config.train.eval_batch_size)
        return Predictor(learner)(images)

    probs, labels, mean_probs_u = [], [], []
    for half in range(HALVES):
        held_out = held_out_half(data.labels_l, half)
        own_data = dataclasses.replace(
            data,
            labeled=data.labeled[~held_out],
            labels_l=data.labels_l[~held_out],
            provenance={
                **data.provenance,
                "labeled_counts": np.bincount(data.labels_l[~held_out], minlength=data.num_classes).tolist(),
                "labeled_sha256": positions_sha256(data.labeled[~held_out]),
            },
        )
        print(f"Prior of the unlabeled images, half {half + 1} of {HALVES}: {len(own_data.labeled)} labeled images")
        own_dir = run_dir.half(half)
        loop.train(supervised, own_data, own_dir)
        learner = loop.trained_learner(supervised, own_data, own_dir)
        probs.append(predicted(learner, data.labeled[held_out]))
        labels.append(data.labels_l[held_out])
        mean_probs_u.append(predicted(learner, data.unlabeled).mean(axis=0))
    prior = distribution_from_predictions(
        np.concatenate(probs), np.concatenate(labels), np.mean(mean_probs_u, axis=0), len(data.unlabeled)
    )
    return {"distribution": prior.tolist(), "held_out": int(sum(map(len, labels)))}
