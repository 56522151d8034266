"""--unlabeled_prior: the class distribution that is assumed for the unlabeled set before training.

The estimate during training, --unlabeled_prior=estimate, is in `methods.prior_estimator`; --darp_prior, which only DARP
uses, in `training.darp`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from udal_tf import class_distribution
from udal_tf.config import ESTIMATE, LABELED, UNIFORM, Config
from udal_tf.data.dataset import SslData
from udal_tf.registry import METHODS
from udal_tf.sections import MethodConfig


def stated_prior(config: MethodConfig, p_data: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """The distribution of --unlabeled_prior; for `estimate` the initial one: [C], sums to 1.

    Raises:
      ValueError: unless --unlabeled_prior has one proportion per class.
    """
    if config.unlabeled_prior == (LABELED,):
        return p_data
    if config.unlabeled_prior in ((UNIFORM,), (ESTIMATE,)):
        return np.full_like(p_data, 1 / len(p_data))
    try:
        distribution = class_distribution.as_distribution(config.unlabeled_prior, class_names)
    except ValueError as error:
        raise ValueError(f"--unlabeled_prior: {error}") from error
    return np.array(distribution, np.float32)


def with_unlabeled_prior(config: Config, data: SslData) -> SslData:
    """The problem with `p_unlabeled` according to --unlabeled_prior.

    The distribution is recorded in the data's provenance, unless it is p_data and the method uses it only as the basis
    of p̃.
    """
    prior = config.method.unlabeled_prior
    data = dataclasses.replace(data, p_unlabeled=stated_prior(config.method, data.p_data, data.class_names))
    if prior == (ESTIMATE,):
        return noted(data, kind="estimated during training")
    if METHODS[config.method.method].uses_unlabeled_prior or prior != (LABELED,):
        kind = prior[0] if prior in ((LABELED,), (UNIFORM,)) else "given"
        return noted(data, kind=kind, distribution=data.p_unlabeled.tolist())
    return data


def noted(data: SslData, **facts: Any) -> SslData:
    """The problem with these facts about the unlabeled set's distribution in its provenance."""
    return dataclasses.replace(data, provenance={**data.provenance, "unlabeled_prior": facts})
