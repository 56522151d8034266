"""Which class distribution the unlabeled set is taken to have before training: --unlabeled_prior.

What training estimates as it goes, --unlabeled_prior=estimate, is in `methods.prior_estimator`; what DARP alone takes,
--darp_prior, in `training.darp`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from udal_tf import class_distribution
from udal_tf.config import ESTIMATE, LABELED, UNIFORM, Config, MethodConfig
from udal_tf.data.dataset import SslData
from udal_tf.registry import METHODS


def stated_prior(config: MethodConfig, p_data: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """The distribution that --unlabeled_prior states, for `estimate` the one that it starts from: [C], sums to 1.

    Raises:
      ValueError: if --unlabeled_prior does not state one number per class.
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
    """The problem with `p_unlabeled` as --unlabeled_prior says.

    What the run takes for the distribution is noted in the data's provenance, unless it is p_data and the method makes
    no use of it but to temper it.
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
    """The problem with the facts about the distribution of the unlabeled set in its provenance."""
    return dataclasses.replace(data, provenance={**data.provenance, "unlabeled_prior": facts})
