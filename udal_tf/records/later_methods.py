"""Methods published after UDAL, over FixMatch: shifts between named distributions, and at most a second head.

Each has its release's constants; `docs/methods/family.md` is the table of their shifts.
"""

import dataclasses

from udal_tf.registry import P_DATA, P_MODEL, UNIFORM, Method, Shift, Targets, Views
from udal_tf.settings import Section, setting

# For releases without an epsilon: keeps a logarithm finite, and is lost beside any probability above 1e-22.
_TINY = 1e-30
# Of SimPro's and ACR's releases.
_EPSILON = 1e-12
_FIXMATCH = ("fixmatch",)
_SECOND_STRONG: Views = (("x_s2", "unlabeled", "strong"),)

# Distributions of `Method.values`: FlexDA's target, and the running estimate of the predictions.
TEMPERED = "tempered"
ESTIMATE = "estimate"


@dataclasses.dataclass(frozen=True)
class EstimateConfig(Section):
    """The running estimate q̂ of the predictions for unlabeled images."""

    q_momentum: float = setting(0.999, "Momentum m of the method's own q̂: m·q̂ + (1 − m)·batch mean.", low=0, high=1)


@dataclasses.dataclass(frozen=True)
class FlexDaConfig(EstimateConfig):
    """FlexDA's schedule and its complementary consistency regularization (Aimar et al. 2024)."""

    alpha_every: str = setting("step", "How often α_t changes in FlexDA.", choices=("step", "epoch"))
    ccr_weight: float = setting(
        1.0, "Weight of FlexDA's loss on the images without a confident pseudo-label; 0: none.", low=0
    )
    ccr_start: float = setting(50_000 / 262_144, "Fraction of the run before that loss starts.", low=0, high=1)
    ccr_temperature: bool = setting(
        False,
        "Soften that loss by the temperature exp(KL(uniform ‖ q̂)) of its first step; false: as the release is shipped.",
    )


RECORDS = (
    Method(
        name="flexda",
        label="FlexDA",
        targets=Targets(labeled=Shift(P_DATA, TEMPERED), unlabeled=Shift(P_MODEL, TEMPERED)),
        settings=FlexDaConfig,
        behavior="udal_tf.methods.flexda:FlexDa",
        bases=_FIXMATCH,
        moves_pseudo_labels=True,
        color="#2F9C95",
        marker="p",
        reference="Aimar et al. 2024, FlexDA (ADELLO), ECCV; release emasa/ADELLO-LTSSL b5f6013",
    ),
)
