"""The methods: where each aligns distributions, its preset, and the settings specific to CReST and DARP."""

import dataclasses
import math
from typing import Any

from udal_tf.class_distribution import ESTIMATE, LABELED
from udal_tf.records import later_methods, simple_methods
from udal_tf.registry import P_DATA, P_MODEL, ZERO, Method, Shift, Targets
from udal_tf.settings import Section, setting


@dataclasses.dataclass(frozen=True)
class CrestConfig(Section):
    """CReST's generations and selection (Wei et al. 2021)."""

    generations: int = setting(
        1, "Number of generations of crest and crest+, --epochs each; the paper uses 6.", low=1, high=1000
    )
    select_alpha: float = setting(
        3.0, "α of CReST's selection: the larger, the more similar the fractions kept of each class.", above=0
    )


@dataclasses.dataclass(frozen=True)
class DarpConfig(Section):
    """DARP's refinement of pseudo-labels (Kim et al. 2020)."""

    darp_warmup: float = setting(0.4, "Fraction of the run before DARP starts refining pseudo-labels.", low=0, high=1)
    darp_every: int = setting(10, "Steps between refinements.", low=1, high=100_000_000)
    darp_delta: float = setting(
        2.0, "δ: before a refinement, each class keeps its δ · total most confident entries.", above=0
    )
    darp_prior: tuple = setting(
        (),
        "Class distribution of the unlabeled images that DARP alone assumes: a proportion per class, comma-separated; "
        "empty: that of --unlabeled_prior; `estimate`: estimated before training, from the predictions of models "
        "trained on half of the labels for the other half.",
    )

    def _check(self) -> None:
        if self.darp_prior == (ESTIMATE,):
            return
        try:
            proportions = [float(entry) for entry in self.darp_prior]
        except ValueError as error:
            raise ValueError(f"--darp_prior must be numbers or estimate, got {','.join(self.darp_prior)!r}") from error
        if any(not p >= 0 for p in proportions) or (proportions and not 0 < sum(proportions) < math.inf):
            raise ValueError(f"--darp_prior must be proportions with a positive sum, got {','.join(self.darp_prior)!r}")

    def check_run(self, config: Any) -> None:
        if self.darp_prior and config.method.unlabeled_prior != (LABELED,):
            raise ValueError(
                f"--darp_prior={','.join(self.darp_prior)} and "
                f"--unlabeled_prior={','.join(config.method.unlabeled_prior)} both give the unlabeled images' "
                "class distribution: leave one out (without --darp_prior, DARP uses that of --unlabeled_prior)"
            )


# UDAL's two shifts (Eqs. 6 and 9), logit adjustment (Eq. 3), and distribution alignment of pseudo-labels (Eq. 1).
_LABELED = Shift(P_DATA)
_UNLABELED = _ALIGNED = Shift(P_MODEL)
_ADJUSTED = Shift(P_DATA, alpha=ZERO)
# For DA, α_min 0.5 is from Table 1, and the linear schedule of Eq. 4 (k = 1) from CReST.
_DA = {"alpha_min": 0.5, "k": 1.0}
# Alignment to p_data itself: ReMixMatch as published, also under DARP.
_FIXED_DA = {"alpha_min": 1.0}
_CREST = Method(
    name="crest",
    label="CReST",
    # CReST's LA (Inf) removes its moving average of label batches, which follows the grown labeled set, not p_data.
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
    *later_methods.RECORDS,
    *simple_methods.RECORDS,
)
