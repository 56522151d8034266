"""The base learners: their presets, and the settings specific to MixMatch and ReMixMatch."""

import dataclasses

from udal_tf.registry import BaseLearner
from udal_tf.settings import Section, setting


@dataclasses.dataclass(frozen=True)
class MixUpConfig(Section):
    """MixUp, for the base learners that mix images."""

    mixup_beta: float = setting(0.75, "Parameter a of MixUp's Beta(a, a) in MixMatch and ReMixMatch.", above=0)


@dataclasses.dataclass(frozen=True)
class ReMixMatchConfig(MixUpConfig):
    """ReMixMatch's views and auxiliary losses."""

    strong_views: int = setting(
        2, "K, strong views per unlabeled image in ReMixMatch: 2 in DARP, 8 in ReMixMatch's paper.", low=1, high=100
    )
    premixup_weight: float = setting(0.5, "Weight of ReMixMatch's loss on a strong view without MixUp.", low=0)
    rotation_weight: float = setting(0.5, "Weight of ReMixMatch's rotation loss.", low=0)


RECORDS = (
    BaseLearner(
        name="fixmatch",
        label="FixMatch",
        learner="udal_tf.methods.fixmatch:FixMatch",
        growing_batches=True,
        marker="o",
    ),
    BaseLearner(
        name="mixmatch",
        label="MixMatch",
        learner="udal_tf.methods.mixmatch:MixMatch",
        settings=MixUpConfig,
        marker="s",
        # §4.3: 128 epochs and α_min 0.5; temperature, weight and ramp (16,384 of 131,072 steps) are from MixMatch.
        preset={
            "alpha_min": 0.5,
            "epochs": 128,
            "unlabeled_ratio": 1,
            "threshold": 0.0,
            "temperature": 0.5,
            "unlabeled_weight": 75.0,
            "unlabeled_ramp": 0.125,
        },
    ),
    BaseLearner(
        name="remixmatch",
        label="ReMixMatch",
        learner="udal_tf.methods.remixmatch:ReMixMatch",
        settings=ReMixMatchConfig,
        unlabeled_views=lambda own: 1 + own.strong_views,
        marker="^",
        # As MixMatch, with the loss weights of ReMixMatch's release; its losses are cross-entropies: FixMatch's α_min.
        preset={
            "epochs": 128,
            "unlabeled_ratio": 1,
            "threshold": 0.0,
            "temperature": 0.5,
            "unlabeled_weight": 1.5,
            "unlabeled_ramp": 0.125,
        },
    ),
    BaseLearner(
        name="supervised",
        label="Supervised",
        learner="udal_tf.methods.supervised:Supervised",
        pseudo_labels=False,
        unlabeled_views=0,
        color="#808080",
        marker="*",
    ),
)
