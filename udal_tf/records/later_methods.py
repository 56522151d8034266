"""Methods published after UDAL, over FixMatch: shifts between named distributions, and at most a second head.

Each has its release's constants; `docs/methods/family.md` is the table of their shifts.
"""

import dataclasses
from typing import Any

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
# SimPro's estimates for the unlabeled and for all images.
PI_UNLABELED = "pi_unlabeled"
PI_ALL = "pi_all"
# The exponent of a shift.
TAU = "tau"
# CDMAD's prediction for the blank image.
BLANK = "blank"


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


@dataclasses.dataclass(frozen=True)
class CdmadConfig(Section):
    """CDMAD's blank image (Lee and Kim 2024)."""

    blank: str = setting(
        "light_gray",
        "Color of the blank image whose logits CDMAD subtracts: the release's light gray, which is 1 in its normalized "
        "pixels, black or white.",
        choices=("light_gray", "black", "white"),
    )
    debias_start: float = setting(
        0.2, "Fraction of the run's epochs after which CDMAD subtracts them for the pseudo-labels.", low=0, high=1
    )


@dataclasses.dataclass(frozen=True)
class DebiasPlConfig(EstimateConfig):
    """DebiasPL's strength, views and cross-level discrimination (Wang et al. 2022)."""

    debias_tau: float = setting(0.4, "τ of DebiasPL: how much of q̂ its pseudo-labels and its loss are freed of.", low=0)
    debias_views: int = setting(1, "Weak and strong views of an image in DebiasPL; 2 in its scripts.", low=1, high=2)
    cld_weight: float = setting(0.0, "Weight of DebiasPL's cross-level discrimination loss; 0: none.", low=0)


@dataclasses.dataclass(frozen=True)
class SimProConfig(Section):
    """SimPro's exponent and estimates (Du et al. 2024)."""

    simpro_tau: float = setting(2.0, "τ of SimPro's shifts: 2 for CIFAR-10, 1 for CIFAR-100.", low=0)
    simpro_every: int = setting(500, "Steps between SimPro's updates of its class distributions.", low=1, high=10**9)
    simpro_momentum: float = setting(0.9, "Momentum of these updates.", low=0, high=1)
    simpro_scale: float = setting(
        0.0,
        "What SimPro's labeled loss is divided by; 0: unlabeled batches per pass / labeled batches per pass, as in the "
        "release.",
        low=0,
    )

    def check_run(self, config: Any) -> None:
        if config.train.unlabeled_curriculum and not self.simpro_scale:
            raise ValueError(
                "--unlabeled_curriculum changes the number of batches per pass, from which --method=simpro computes "
                "the scale of its labeled loss: give --simpro_scale, or leave the curriculum out"
            )


@dataclasses.dataclass(frozen=True)
class AcrConfig(Section):
    """ACR's exponent and its estimate of the unlabeled images' class distribution (Wei and Gan 2023)."""

    acr_tau: float = setting(2.0, "τ of ACR's shifts, and the largest τ_t.", low=0)
    acr_start: float = setting(
        0.012, "Fraction of the run before ACR estimates the distribution of the unlabeled images.", low=0, high=1
    )
    acr_every: int = setting(500, "Steps between changes of ACR's τ_t.", low=1, high=10**9)
    acr_momentum: float = setting(0.99, "Momentum of ACR's estimate.", low=0, high=1)
    acr_repeated: str = setting(
        "last",
        "How confident predictions of the same class in a batch count in ACR's estimate: `last`, the last one for all "
        "of them, as its release does on a CPU, or `sum`, each.",
        choices=("last", "sum"),
    )


@dataclasses.dataclass(frozen=True)
class AbcConfig(Section):
    """ABC's second head (Lee, Shin and Kim 2021)."""

    abc_threshold: float = setting(
        0.95, "Confidence threshold of ABC's second head; that of the first is --threshold.", low=0, high=1
    )


def adjusted(tau: float | str) -> Shift:
    """Logit adjustment from p_data to uniform with the exponent τ, with the epsilon of ACR's release."""
    return Shift(P_DATA, UNIFORM, tau=tau, epsilon=_EPSILON)


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
    Method(
        name="debiaspl",
        label="DebiasPL",
        targets=Targets(
            unlabeled=Shift(ESTIMATE, UNIFORM, tau=TAU, epsilon=_TINY),
            pseudo_label=Shift(ESTIMATE, UNIFORM, tau=TAU, epsilon=_TINY),
        ),
        settings=DebiasPlConfig,
        behavior="udal_tf.methods.debiaspl:DebiasPl",
        bases=_FIXMATCH,
        views=lambda own: (("x_w2", "unlabeled", "weak"), *_SECOND_STRONG) if own.debias_views == 2 else (),
        color="#4F6D9A",
        marker="8",
        reference="Wang et al. 2022, DebiasPL, CVPR; release frank-xwang/debiased-pseudo-labeling 3d68ccb",
    ),
    Method(
        name="simpro",
        label="SimPro",
        targets=Targets(
            labeled=Shift(PI_ALL, UNIFORM, tau=TAU, epsilon=_EPSILON),
            unlabeled=Shift(PI_ALL, UNIFORM, tau=TAU, epsilon=_EPSILON),
            pseudo_label=Shift(UNIFORM, PI_UNLABELED, tau=TAU, epsilon=_EPSILON),
        ),
        preset={"temperature": 1.0},
        settings=SimProConfig,
        behavior="udal_tf.methods.simpro:SimPro",
        bases=_FIXMATCH,
        views=(("x_l2", "labeled", "strong"), *_SECOND_STRONG),
        color="#B8860B",
        marker="H",
        reference="Du et al. 2024, SimPro, ICML; release LeapLabTHU/SimPro aa2425d",
    ),
    Method(
        name="cdmad",
        label="CDMAD",
        targets=Targets(pseudo_label=Shift(BLANK, UNIFORM, epsilon=_TINY)),
        preset={"threshold": 0.0, "temperature": 1.0},
        settings=CdmadConfig,
        behavior="udal_tf.methods.cdmad:Cdmad",
        bases=_FIXMATCH,
        views=_SECOND_STRONG,
        color="#FF5252",
        marker="d",
        reference="Lee and Kim 2024, CDMAD, CVPR; release LeeHyuck/CDMAD 7cd732b",
    ),
    Method(
        name="acr",
        label="ACR",
        targets=Targets(pseudo_label=adjusted(TAU)),
        settings=AcrConfig,
        behavior="udal_tf.methods.acr:Acr",
        bases=_FIXMATCH,
        views=_SECOND_STRONG,
        second_head=True,
        color="#C2459A",
        marker="*",
        reference="Wei and Gan 2023, ACR, CVPR; release Gank0078/ACR 9a8f421",
    ),
    Method(
        name="abc",
        label="ABC",
        settings=AbcConfig,
        behavior="udal_tf.methods.abc:Abc",
        bases=_FIXMATCH,
        moves_pseudo_labels=True,
        views=_SECOND_STRONG,
        second_head=True,
        color="#5C8A3A",
        marker="1",
        reference="Lee, Shin and Kim 2021, ABC, NeurIPS; release LeeHyuck/ABC f70e926",
    ),
)
