"""CReST and CReST+ (Wei et al. 2021): generations of training, each on a labeled set extended by the previous one.

Each generation starts with a new model, optimizer and q̂ from the run's seed and has its own folder, with its
checkpoints and `labeled.json`, the images added to its labeled set. So a run killed at any point can be resumed.
"""

import dataclasses
from typing import Any

import numpy as np
from etils import epath

from udal_tf.augment.views import make_views
from udal_tf.config import Config
from udal_tf.core import schedules
from udal_tf.data.dataset import SslData
from udal_tf.data.manifest import positions_sha256
from udal_tf.input import pipeline
from udal_tf.methods.crest import select
from udal_tf.methods.learner import Learner
from udal_tf.records.methods import CrestConfig
from udal_tf.run_dir import LABELED, RunDir, read_object
from udal_tf.run_records import AddedImages, Generation, Result, RunDirError
from udal_tf.shown_names import shown
from udal_tf.storage import write_json
from udal_tf.training import loop
from udal_tf.training.distribute import Workers
from udal_tf.training.evaluation import Predictor

# α is a setting of its generation, so it is rounded for display and saving.
ALPHA_DIGITS = 6


def generation_alpha(generation: int, generations: int, alpha_min: float) -> float:
    """α of CReST+'s alignment, constant within a generation: from 1 in the first to α_min in the last. UDAL Eq. 4.

    Args:
      generation: index, from 0.
      generations: their number; with a single one α = 1.
      alpha_min: α of the last.
    """
    alpha = schedules.alpha(generation / max(generations - 1, 1), alpha_min, k=1.0)
    return round(float(alpha), ALPHA_DIGITS)


def _generation_config(config: Config, generation: int) -> Config:
    method = config.method
    alpha = generation_alpha(generation, config.generations, method.alpha_min)
    # k = 0 keeps α at its minimum throughout the generation; CReST does not align and ignores it.
    return dataclasses.replace(config, method=dataclasses.replace(method, alpha_min=alpha, k=0.0))


def grown(data: SslData, probs: np.ndarray, select_alpha: float) -> dict[str, Any]:
    """The images that a generation adds to the original labeled ones, JSON-ready; selected afresh each time.

    Args:
      data: the original problem.
      probs: [len(data.unlabeled_only), C], the last generation's predictions for its unlabeled-only images.
      select_alpha: CReST's α.

    Returns:
      "positions" and "labels" of the added images, their SHA-256, per class their number and, if the true labels are
      known, precision (fraction of the added images with the correct label) and recall (fraction of the class's images
      added with the correct label); None for a class without any.
    """
    positions, labels = select(probs, data.unlabeled_only, data.p_data, select_alpha)
    truth, rest_truth = data.train_labels[positions], data.train_labels[data.unlabeled_only]
    per_class = range(data.num_classes)
    right = [int(np.sum((labels == c) & (truth == c))) for c in per_class]
    added = [int(np.sum(labels == c)) for c in per_class]
    present = [int(np.sum(rest_truth == c)) for c in per_class]
    known = bool(np.all(rest_truth >= 0))
    return {
        "positions": positions.tolist(),
        "labels": labels.tolist(),
        "positions_sha256": positions_sha256(positions),
        "labels_sha256": positions_sha256(labels),
        "added": added,
        "precision": [r / n if known and n else None for r, n in zip(right, added, strict=True)],
        "recall": [r / n if known and n else None for r, n in zip(right, present, strict=True)],
    }


def _with_added(data: SslData, added: dict[str, Any]) -> SslData:
    """The problem with the added images before the original labeled ones, as CReST orders them."""
    positions, labels = np.array(added["positions"], np.int64), np.array(added["labels"], np.int64)
    labels_l = np.concatenate([labels, data.labels_l])
    counts = np.bincount(labels_l, minlength=data.num_classes).tolist()
    return dataclasses.replace(
        data,
        labeled=np.concatenate([positions, data.labeled]),
        labels_l=labels_l,
        provenance={**data.provenance, "labeled_counts": counts},
    )


def train_generations(config: Config, data: SslData, run_dir: RunDir) -> Result:
    """Trains all generations, resuming an interrupted run; returns the result of the last one.

    Returns:
      As `loop.train`, with `steps` and `seconds` summed over all generations, and `generations`.
    """
    count, workers = config.generations, Workers()
    summaries, nothing = [], {"positions": [], "labels": [], "added": [0] * data.num_classes}
    for generation in range(count):
        own_dir, own_config = run_dir.generation(generation), _generation_config(config, generation)
        added = _read_added(own_dir / LABELED) if generation else nothing
        own_data = _with_added(data, added)
        print(
            f"Generation {generation + 1} of {count}: {len(own_data.labeled)} labeled images, "
            f"{len(added['positions'])} of them pseudo-labeled; α {own_config.method.alpha_min:.2f}"
        )
        result = loop.train(own_config, own_data, own_dir)
        following = run_dir.generation(generation + 1) / LABELED
        if generation + 1 < count and not following.exists():
            learner = loop.trained_learner(own_config, own_data, own_dir)
            with workers.chief_first():
                if workers.is_chief:
                    _grow(learner, data, config, following)
                    run_dir.publish()
                else:
                    run_dir.refresh(LABELED)
        kept: dict[str, Any] = {key: value for key, value in added.items() if key not in ("positions", "labels")}
        summaries.append(
            Generation(own_config.method.alpha_min, result.accuracy, result.balanced_accuracy, result.seconds, **kept)
        )
    result = dataclasses.replace(
        result,
        config=config.to_dict(),
        steps=count * config.train.total_steps,
        seconds=sum(summary.seconds for summary in summaries),
        generations=summaries,
    )
    if workers.is_chief:
        run_dir.write_result(result)
        run_dir.publish()
    return result


def _read_added(path: epath.Path) -> dict[str, Any]:
    """The content of `labeled.json`. Raises RunDirError for another content."""
    value = read_object(path)
    added = AddedImages.from_json(value, f"{shown(path)}: ")
    for name in ("positions", "labels"):
        if positions_sha256(np.array(getattr(added, name), np.int64)) != value[f"{name}_sha256"]:
            raise RunDirError(
                f"{shown(path)}: {name} do not match their hash: restore the file from a backup, or remove "
                f"{shown(path.parent)} to train this generation from its start"
            )
    return value


def _grow(learner: Learner, data: SslData, config: Config, path: epath.Path) -> None:
    plain = make_views(config.augment, *data.train.shape).plain
    images = pipeline.evaluation_batches(data.train, data.unlabeled_only, plain, config.train.eval_batch_size)
    probs = Predictor(learner)(images)
    added = grown(data, probs, config.own_section(CrestConfig).select_alpha)
    for c, number in enumerate(added["added"]):
        if not number:
            print(f"  no pseudo-labeled image of class {data.class_names[c]} joins the next generation")
    if not sum(added["added"]):
        print("  no pseudo-labeled images at all: the next generation trains on the same labeled images")
    known = [p * n for p, n in zip(added["precision"], added["added"], strict=True) if p is not None]
    if known:
        total = sum(added["added"])
        print(f"  {total} pseudo-labeled images join the next generation; {100 * sum(known) / total:.1f} % are correct")
    path.parent.mkdir(exist_ok=True)
    write_json(path, added)
