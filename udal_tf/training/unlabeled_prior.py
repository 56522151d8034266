"""Which class distribution the unlabelled pictures are taken to have: --unlabeled_prior, and DARP's own --darp_prior.

What is estimated before training stands here (DARP, Kim et al. 2020, §3.3); what training estimates as it goes,
--unlabeled_prior=estimate, in methods.prior_estimator.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf import class_shares
from udal_tf.augment.views import make_views
from udal_tf.config import ESTIMATE, LABELED, UNIFORM, Config, DarpConfig, MethodConfig
from udal_tf.core import refinement
from udal_tf.data.dataset import SslData
from udal_tf.data.manifest import positions_sha256
from udal_tf.input import pipeline
from udal_tf.recipes import METHODS
from udal_tf.run_dir import PRIOR, RunDir, read_object
from udal_tf.storage import write_json
from udal_tf.training import loop
from udal_tf.training.distribute import Workers
from udal_tf.training.evaluation import Predictor

HALVES = 2


def stated_prior(config: MethodConfig, p_data: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """The distribution that --unlabeled_prior states, for `estimate` the one that it starts from: [C], sums to 1.

    Raises:
      ValueError: if the shares of --unlabeled_prior are not one for each class.
    """
    if config.unlabeled_prior == (LABELED,):
        return p_data
    if config.unlabeled_prior in ((UNIFORM,), (ESTIMATE,)):
        return np.full_like(p_data, 1 / len(p_data))
    try:
        shares = class_shares.as_distribution(config.unlabeled_prior, class_names)
    except ValueError as error:
        raise ValueError(f"--unlabeled_prior: {error}") from error
    return np.array(shares, np.float32)


def stated_shares(config: DarpConfig, p_data: np.ndarray) -> np.ndarray:
    """The distribution that --darp_prior gives, else p_data: [C] float32, sums to 1.

    Raises:
      ValueError: if --darp_prior has another number of classes.
    """
    if not config.darp_prior or config.darp_prior == (ESTIMATE,):
        return p_data
    if len(config.darp_prior) != len(p_data):
        raise ValueError(f"--darp_prior must be {len(p_data)} shares, one per class, got {len(config.darp_prior)}")
    shares = np.array([float(share) for share in config.darp_prior], np.float32)
    return shares / shares.sum()


def held_out_half(labels: np.ndarray, half: int) -> np.ndarray:
    """Of each class every other picture, by turns; a class with a single one holds none out.

    Args:
      labels: [n] integer. half: 0 or 1; together the two cover every class that has two pictures or more.

    Returns:
      [n] bool.
    """
    held_out = np.zeros(len(labels), bool)
    for c in np.unique(labels):
        rows = np.flatnonzero(labels == c)
        if len(rows) > 1:
            held_out[rows[half::HALVES]] = True
    return held_out


def shares_from_predictions(
    probs_held_out: np.ndarray, labels: np.ndarray, probs_u: np.ndarray, pool_size: int
) -> np.ndarray:
    """The unlabelled class distribution that explains the mean prediction, given how each class is predicted.

    Args:
      probs_held_out: [n, C] float32, predictions for labelled pictures that the predicting model did not train on.
      labels: [n] integer, theirs. probs_u: [C] float32, the mean prediction for the unlabelled pictures.
      pool_size: unlabelled pictures; each class is given the share of one at least.

    Returns:
      [C] float32, above 0, sums to 1. A class without a held-out picture is taken to be predicted without error.
    """
    num_classes = len(probs_u)
    confusion = refinement.soft_confusion(tf.constant(probs_held_out), tf.constant(labels), num_classes).numpy()
    unseen = np.bincount(labels, minlength=num_classes) == 0
    confusion[unseen, unseen] = 1.0
    shares = refinement.estimate_class_distribution(tf.constant(confusion), tf.constant(probs_u)).numpy()
    shares = np.maximum(shares, 1.0 / pool_size)
    return shares / shares.sum()


def with_unlabeled_prior(config: Config, data: SslData, run_dir: RunDir) -> SslData:
    """The problem with `p_unlabeled` as --unlabeled_prior says, and for DARP `p_refined` as --darp_prior does.

    What the run takes for the distribution is noted in the data's provenance, unless it is p_data and nothing is
    refined by it.
    """
    prior, darp_prior = config.method.unlabeled_prior, config.darp.darp_prior
    data = dataclasses.replace(data, p_unlabeled=stated_prior(config.method, data.p_data, data.class_names))
    refined = METHODS[config.method.method].refined
    if refined and darp_prior:
        estimating = darp_prior == (ESTIMATE,)
        shares = _estimated_shares(config, data, run_dir) if estimating else stated_shares(config.darp, data.p_data)
        data = dataclasses.replace(data, p_refined=shares)
        return _noted(data, kind=ESTIMATE if estimating else "given", shares=shares.tolist())
    if prior == (ESTIMATE,):
        return _noted(data, kind="estimated during training")
    if refined or prior != (LABELED,):
        kind = prior[0] if prior in ((LABELED,), (UNIFORM,)) else "given"
        return _noted(data, kind=kind, shares=data.p_unlabeled.tolist())
    return data


def _noted(data: SslData, **facts: Any) -> SslData:
    return dataclasses.replace(data, provenance={**data.provenance, "unlabeled_prior": facts})


def _estimated_shares(config: Config, data: SslData, run_dir: RunDir) -> np.ndarray:
    """DARP's estimate: [C] float32, sums to 1.

    It trains a supervised model twice by the run's settings, each time on one half of the labelled pictures, to see how
    the other half's classes are predicted. (DARP's code holds ten pictures of each class out, once, which a class of
    few labels does not have.) It goes on where it was cut, and stands in the folder's `unlabeled_prior.json` when done.
    """
    path = run_dir / PRIOR
    if not path.exists():
        estimated, workers = _estimated(config, data, run_dir), Workers()
        with workers.chief_first():
            if workers.is_chief:
                write_json(path, estimated)
    shares = np.array(read_object(path)["shares"], np.float32)
    print(f"The unlabelled pictures are taken to have the shares {', '.join(f'{share:.3f}' for share in shares)}")
    return shares / shares.sum()


def _estimated(config: Config, data: SslData, run_dir: RunDir) -> dict[str, Any]:
    plain = make_views(config.augment, *data.train.shape).plain
    supervised = dataclasses.replace(
        config, method=dataclasses.replace(config.method, base="supervised", method="none"), darp=DarpConfig()
    )

    def predicted(learner, positions: np.ndarray) -> np.ndarray:
        pictures = pipeline.evaluation_batches(data.train, positions, plain, config.train.eval_batch_size)
        return Predictor(learner)(pictures)

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
        print(f"Prior of the unlabelled pictures, half {half + 1} of {HALVES}: {len(own_data.labeled)} labelled ones")
        own_dir = run_dir.half(half)
        loop.train(supervised, own_data, own_dir)
        learner = loop.trained_learner(supervised, own_data, own_dir)
        probs.append(predicted(learner, data.labeled[held_out]))
        labels.append(data.labels_l[held_out])
        mean_probs_u.append(predicted(learner, data.unlabeled).mean(axis=0))
    shares = shares_from_predictions(
        np.concatenate(probs), np.concatenate(labels), np.mean(mean_probs_u, axis=0), len(data.unlabeled)
    )
    return {"shares": shares.tolist(), "held_out": int(sum(map(len, labels)))}
