"""The methods: where each aligns distributions, its preset, and the settings that CReST and DARP have of their own."""

import dataclasses
import math
from typing import Any

from udal_tf.class_distribution import ESTIMATE, LABELED
from udal_tf.registry import P_DATA, P_MODEL, ZERO, Method, Shift, Targets
from udal_tf.settings import Section, setting


@dataclasses.dataclass(frozen=True)
class CrestConfig(Section):
    """CReST's generations and selection (Wei et al. 2021)."""

    generations: int = setting(1, "Generations of crest and crest+, --epochs each; the paper has 6.", low=1)
    select_alpha: float = setting(
        3.0, "α of crest's selection: the larger, the more alike the shares that classes add.", above=0
    )


@dataclasses.dataclass(frozen=True)
class DarpConfig(Section):
    """DARP's refinement of pseudo-labels (Kim et al. 2020)."""

    darp_warmup: float = setting(0.4, "Part of the run before pseudo-labels are refined.", low=0, high=1)
    darp_every: int = setting(10, "Steps from one refinement to the next.", low=1)
    darp_delta: float = setting(
        2.0, "δ: a class keeps its δ · total most confident entries before the refinement.", above=0
    )
    darp_prior: tuple = setting(
        (),
        "What DARP alone takes for the class distribution of the unlabeled images, one share per class, "
        "comma-separated; none: as --unlabeled_prior; `estimate`: estimated before training, from how a model of half "
        "the labels predicts the other half.",
    )

    def _check(self) -> None:
        if self.darp_prior == (ESTIMATE,):
            return
        try:
            shares = [float(share) for share in self.darp_prior]
        except ValueError as error:
            raise ValueError(f"--darp_prior must be numbers or estimate, got {','.join(self.darp_prior)!r}") from error
        if any(not share >= 0 for share in shares) or (shares and not 0 < sum(shares) < math.inf):
            raise ValueError(f"--darp_prior must be shares of a positive sum, got {','.join(self.darp_prior)!r}")

    def check_run(self, config: Any) -> None:
        if self.darp_prior and config.method.unlabeled_prior != (LABELED,):
            raise ValueError(
                f"--darp_prior={','.join(self.darp_prior)} and "
                f"--unlabeled_prior={','.join(config.method.unlabeled_prior)} both state the unlabeled images' "
                "distribution: leave one out (DARP takes that of --unlabeled_prior where it has none of its own)"
            )


# UDAL's two shifts (Eqs. 6 and 9), logit adjustment (Eq. 3), and distribution alignment of pseudo-labels (Eq. 1).
_LABELED, _UNLABELED = Shift(P_DATA), Shift(P_MODEL)
_ADJUSTED, _ALIGNED = Shift(P_DATA, alpha=ZERO), Shift(P_MODEL)
# α_min 0.5 is Table 1's for DA; Eq. 4's straight line (k = 1) is CReST's for it.
_DA = {"alpha_min": 0.5, "k": 1.0}
# Alignment to p_data itself: ReMixMatch as it was published, also beneath DARP.
_FIXED_DA = {"alpha_min": 1.0}
_CREST = Method(
    name="crest",
    label="CReST",
    # CReST's LA (Inf) takes away its moving average of label batches, which follows the grown labeled set, not p_data.
    preset={"generations": 6, "alpha_min": 0.5, "la_prior": "label_average"},
    settings=CrestConfig,
    behavior="udal_tf.methods.crest:Crest",
    moves_pseudo_labels=True,
    train="udal_tf.training.crest:train_generations",
    color="#8C6BD8",
    marker="X",
    reference="Wei et al. 2021, CReST, arXiv 2102.09559",
)
_DARP = Method(
    name="darp",
    label="DARP",
    settings=DarpConfig,
    behavior="udal_tf.methods.darp:Darp",
    moves_pseudo_labels=True,
    uses_unlabeled_prior=True,
    prepare="udal_tf.training.darp:with_darp_prior",
    color="#B2506E",
    marker=">",
    reference="Kim et al. 2020, DARP, arXiv 2007.08844",
)

RECORDS = (
    Method(
        name="none",
        label="",
        color="#0072B2",
        marker="o",
        reference="the base learner as it is",
    ),
    Method(
        name="udal",
        label="UDAL",
        targets=Targets(labeled=_LABELED, unlabeled=_UNLABELED),
        color="#D55E00",
        marker="s",
        reference="the paper, Eqs. 6 and 9, Algorithm 1",
    ),
    Method(
        name="da",
        label="DA",
        targets=Targets(pseudo_label=_ALIGNED),
        preset=_DA,
        presets_by_base={"remixmatch": _FIXED_DA},
        color="#009E73",
        marker="^",
        reference="the paper, Eq. 1; Berthelot et al. 2020, ReMixMatch",
    ),
    Method(
        name="da_la",
        label="DA + LA (Sup)",
        targets=Targets(labeled=_ADJUSTED, pseudo_label=_ALIGNED),
        preset=_DA,
        color="#CC79A7",
        marker="D",
        reference="the paper, Eqs. 1 and 3",
    ),
    Method(
        name="la",
        label="LA (Sup)",
        targets=Targets(labeled=_ADJUSTED),
        color="#A07800",
        marker="v",
        reference="the paper, Eq. 3; Menon et al. 2021",
    ),
    Method(
        name="hybrid",
        label="hybrid of Figure 3a",
        targets=Targets(labeled=_LABELED, pseudo_label=_ALIGNED),
        color="#56B4E9",
        marker="P",
        reference="the paper, §4.5, Figure 3a",
    ),
    _CREST,
    dataclasses.replace(
        _CREST,
        name="crest+",
        label="CReST+",
        targets=Targets(pseudo_label=_ALIGNED),
        moves_pseudo_labels=False,
        color="#66A61E",
        marker="<",
    ),
    _DARP,
    dataclasses.replace(
        _DARP,
        name="da_darp",
        label="DA + DARP",
        targets=Targets(pseudo_label=_ALIGNED),
        preset=_FIXED_DA,
        color="#7A5230",
        marker="h",
    ),
)
