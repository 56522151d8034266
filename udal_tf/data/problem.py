"""Makes the semi-supervised problem of a config: the long-tailed subset and its labeled/unlabeled split (§4.2)."""

from typing import Any

import numpy as np

from udal_tf.data import longtail, manifest
from udal_tf.data.dataset import DataError, Held, Source, SslData
from udal_tf.data.manifest import positions_sha256
from udal_tf.sections import DataConfig


def make_problem(source: Source, config: DataConfig) -> SslData:
    """Applies the protocol of `config`, or the positions of its split manifest.

    With β = 1 every image is labeled and the unlabeled pool equals the labeled set: Figure 1's upper bound.

    Raises:
      DataError: if a class has too few images for the protocol.
    """
    num_classes = len(source.class_names)
    labels, usable = source.train_labels, source.train_labels.copy()
    usable[source.hidden] = -1
    if num_classes < 2:
        raise DataError(f"{config.dataset}: only one class ({source.class_names[0]}); at least two are needed")
    try:
        if config.split_manifest:
            labeled, others, draw = manifest.read_split(config, labels)
        elif config.protocol == "darp":
            labeled, others = _darp(config, usable, num_classes)
            draw = "first images of each class"
        else:
            labeled, others = _crest(config, source, usable, num_classes)
            draw = source.draw.format(draw=config.draw)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{config.dataset}: {error}") from error
    labeled_counts = _counts(labels[labeled], num_classes)
    if min(labeled_counts) == 0:
        raise DataError(
            f"{config.dataset}: no labeled image of class {source.class_names[labeled_counts.index(0)]}; "
            "every class needs at least one"
        )
    labeled, validation, of_validation = _validation(config, source, labels, labeled)
    labeled_counts = _counts(labels[labeled], num_classes)
    unlabeled = np.concatenate([labeled, others])
    p_data = (
        longtail.geometric_prior(config.imbalance, num_classes)
        if source.geometric
        else longtail.counted_prior(labeled_counts)
    )
    provenance = {
        **source.provenance,
        "protocol": config.protocol,
        "draw": draw,
        "labeled_counts": labeled_counts,
        "labeled_sha256": positions_sha256(labeled),
        "unlabeled_sha256": positions_sha256(unlabeled),
    }
    # Of the images without a label alone, though base learners also use the labeled ones as unlabeled, as in CReST; if
    # no class of theirs is known, there are no counts.
    if not len(others) or labels[others].max() >= 0:
        provenance["unlabeled_counts"] = _counts(labels[others], num_classes)
    provenance |= of_validation
    if np.any(labels < 0):
        provenance["unlabeled_of_unknown_class"] = int(np.sum(labels[unlabeled] < 0))
    return SslData(
        train=source.train,
        train_labels=labels,
        test=source.test,
        test_labels=source.test_labels,
        class_names=source.class_names,
        labeled=labeled,
        labels_l=labels[labeled],
        unlabeled=unlabeled,
        unlabeled_only=others,
        p_data=p_data,
        p_unlabeled=p_data,
        provenance=provenance,
        skipped=source.skipped,
        validation=validation,
    )


def long_tailed_pool(source: Source, labels: np.ndarray, config: DataConfig) -> np.ndarray:
    """Positions of the long-tailed set in the order of its records, without images of class −1.

    Raises:
      ValueError: for a class that is too small.
    """
    if source.long_tailed:
        return np.flatnonzero(labels >= 0)
    counts = longtail.class_counts(config.n1, config.imbalance, len(source.class_names))
    return longtail.subset(labels, counts, config.draw, source.files)


def _crest(config: DataConfig, source: Source, labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    pool = long_tailed_pool(source, labels, config)
    in_labeled, in_others = longtail.fold_split(labels[pool], config.beta, config.fold, num_classes)
    return pool[in_labeled], np.concatenate([pool[in_others], np.flatnonzero(labels < 0)])


def _darp(config: DataConfig, labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """DARP's split; images of unknown class, as STL-10 has, are the unlabeled set where there are any."""
    labeled_counts = longtail.class_counts(config.n1, config.imbalance, num_classes)
    unknown = np.flatnonzero(labels < 0)
    if not len(unknown):
        further = longtail.unlabeled_counts(
            config.m1, config.imbalance_u or config.imbalance, config.unlabeled_shape, num_classes
        )
        return longtail.darp_split(labels, labeled_counts, further)
    if config.imbalance_u or config.unlabeled_shape != "same":
        raise ValueError(
            f"the unlabeled set is all {len(unknown):,} images without labels, whose classes are unknown: leave out "
            "--imbalance_u and --unlabeled_shape"
        )
    labeled, _ = longtail.darp_split(labels, labeled_counts, [0] * num_classes)
    return labeled, unknown


def _validation(
    config: DataConfig, source: Source, labels: np.ndarray, labeled: np.ndarray
) -> tuple[np.ndarray, Held | None, dict[str, Any]]:
    """The positions that remain labeled, the validation images, and what the provenance says of them.

    Raises:
      DataError: if there are none to take, or if the dataset has its own.
    """
    if not config.validation:
        held, where = source.validation, source.validation_from
    elif source.validation is not None:
        raise DataError(
            f"{config.dataset}: --validation={config.validation:g} takes labeled images for validation, and "
            f"{source.validation_from} holds some already: leave one of them out"
        )
    else:
        mask = longtail.validation_mask(labels[labeled], config.validation, config.fold, len(source.class_names))
        if not mask.any():
            raise DataError(
                f"{config.dataset}: --validation={config.validation:g} needs a class with at least two labeled images; "
                "all have one, which stays in training"
            )
        held, where = Held(source.train, labeled[mask], labels[labeled[mask]]), f"{config.validation:g} of the labels"
        labeled = labeled[~mask]
    if held is None:
        return labeled, None, {}
    counts = _counts(held.labels, len(source.class_names))
    said: dict[str, Any] = {"validation": where, "validation_counts": counts}
    if without := [name for name, count in zip(source.class_names, counts, strict=True) if not count]:
        said["no_validation"] = without
    return labeled, held, said


def _counts(labels: np.ndarray, num_classes: int) -> list[int]:
    return np.bincount(labels[labels >= 0], minlength=num_classes).tolist()
