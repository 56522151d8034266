"""The simplest methods for imbalanced classes: weights, sampling, margins, and a head trained anew.

Each has its paper's constants. They change the labeled loss or the labeled batches, so most work without unlabeled
images, too.
"""

import dataclasses
from typing import Any

from udal_tf.registry import Method
from udal_tf.settings import Section, setting

# MixUp blends images of several classes, which have no weight or margin of one class.
_WITHOUT_MIXUP = ("supervised", "fixmatch")


@dataclasses.dataclass(frozen=True)
class ClassBalancedConfig(Section):
    """The class-balanced weights of Cui et al. 2019."""

    balance_beta: float = setting(
        0.9999,
        "β of the class-balanced weights (1 − β)/(1 − β^n): 0 weights every image alike, and the closer to 1, the "
        "closer to 1/n.",
        low=0,
        high=0.999999,
    )


@dataclasses.dataclass(frozen=True)
class LdamConfig(ClassBalancedConfig):
    """LDAM's margins and its deferred re-weighting (Cao et al. 2019)."""

    ldam_margin: float = setting(0.5, "Largest of LDAM's margins, that of the smallest class.", low=0)
    ldam_scale: float = setting(
        30.0,
        "s of LDAM, which multiplies the cosines between features and class weights; 0: the logits of the network's "
        "own head, without normalization.",
        low=0,
    )
    reweight_start: float = setting(
        0.8, "Fraction of the run's epochs after which LDAM's class-balanced weights apply.", low=0, high=1
    )


@dataclasses.dataclass(frozen=True)
class FocalConfig(Section):
    """The focal loss (Lin et al. 2017)."""

    focal_gamma: float = setting(
        2.0, "γ of the focal loss (1 − p)^γ·cross-entropy on labeled images; 0: cross-entropy.", low=0
    )


@dataclasses.dataclass(frozen=True)
class SuppressedConfig(Section):
    """Suppressed consistency (Hyun et al. 2020)."""

    suppress_beta: float = setting(
        0.5, "β of the weight β^(1 − N_c/N_1) of the unlabeled loss; 1: no suppression.", above=0, high=1
    )


@dataclasses.dataclass(frozen=True)
class CrtConfig(Section):
    """cRT's second stage (Kang et al. 2020)."""

    retrain_head: float = setting(
        0.1,
        "Fraction of the run's epochs, the last ones, in which cRT trains a new head alone, on class-balanced batches "
        "of labeled images, with the rest of the network frozen.",
        above=0,
        high=0.9,
    )

    def check_run(self, config: Any) -> None:
        if config.train.epochs < 2:
            raise ValueError(
                f"--method=crt trains in two stages, which need --epochs of at least 2, got {config.train.epochs}"
            )
        if config.train.patience:
            raise ValueError(
                f"--patience={config.train.patience} cannot be used with --method=crt, whose second stage begins at a "
                "fixed epoch: leave it out"
            )


RECORDS = (
    Method(
        name="class_balanced",
        label="class-balanced weights",
        settings=ClassBalancedConfig,
        behavior="udal_tf.methods.class_balanced:ClassBalanced",
        bases=_WITHOUT_MIXUP,
        states_prior=False,
        color="#1B4D3E",
        marker="2",
        reference="Cui et al. 2019, Class-Balanced Loss, CVPR; release richardaecn/class-balanced-loss",
    ),
    Method(
        name="balanced_sampling",
        label="balanced sampling",
        balances_labels=True,
        states_prior=False,
        color="#9C755F",
        marker="3",
        reference="Kang et al. 2020, Decoupling Representation and Classifier, ICLR: class-balanced sampling",
    ),
    Method(
        name="crt",
        label="cRT",
        settings=CrtConfig,
        retrains_head=True,
        states_prior=False,
        color="#6B4C9A",
        marker="4",
        reference="Kang et al. 2020, Decoupling Representation and Classifier, ICLR: classifier re-training",
    ),
    Method(
        name="ldam_drw",
        label="LDAM-DRW",
        settings=LdamConfig,
        behavior="udal_tf.methods.ldam_drw:LdamDrw",
        network="udal_tf.methods.ldam_drw:with_normalized_head",
        bases=_WITHOUT_MIXUP,
        states_prior=False,
        color="#D4A017",
        marker="x",
        reference="Cao et al. 2019, LDAM-DRW, NeurIPS; release kaidic/LDAM-DRW",
    ),
    Method(
        name="focal",
        label="focal loss",
        settings=FocalConfig,
        behavior="udal_tf.methods.focal:Focal",
        bases=_WITHOUT_MIXUP,
        states_prior=False,
        color="#7F9C3B",
        marker="+",
        reference="Lin et al. 2017, Focal Loss, ICCV; keras.losses.CategoricalFocalCrossentropy",
    ),
    Method(
        name="suppressed",
        label="suppressed consistency",
        settings=SuppressedConfig,
        behavior="udal_tf.methods.suppressed:Suppressed",
        bases=("fixmatch",),
        moves_pseudo_labels=True,
        color="#3E8ED0",
        marker="|",
        reference="Hyun, Jeong and Kwak 2020, Class-Imbalanced Semi-Supervised Learning, arXiv 2002.06815",
    ),
)
