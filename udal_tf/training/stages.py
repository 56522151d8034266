"""The stages of a run: ranges of steps with batches of one size, of which the last may train the head alone; and the
images that they train on."""

import dataclasses

from udal_tf.config import Config
from udal_tf.records.simple_methods import CrtConfig


@dataclasses.dataclass(frozen=True)
class Stage:
    """A range of a run's steps.

    first_step, end: the first step and the one after the last.
    unlabeled_ratio: unlabeled images per labeled one in a step.
    first_unlabeled: number of unlabeled images in the steps before.
    head_alone: whether only a new head is trained, on class-balanced batches of labeled images.
    """

    first_step: int
    end: int
    unlabeled_ratio: int
    first_unlabeled: int = 0
    head_alone: bool = False


def stages(config: Config) -> list[Stage]:
    """All stages of a run by `config`, in order: one, unless its batches grow or its head is retrained."""
    train = config.train
    whole = train.total_steps
    if config.records.method.retrains_head:
        epochs = min(max(1, round(config.own_section(CrtConfig).retrain_head * train.epochs)), train.epochs - 1)
        whole -= epochs * train.steps_per_epoch
    starts = [(first, ratio) for first, ratio in train.unlabeled_ratios if first < whole]
    ends = [*(first for first, _ in starts[1:]), whole]
    found, shown = [], 0
    for (first, ratio), end in zip(starts, ends, strict=True):
        found.append(Stage(first, end, ratio, shown))
        shown += (end - first) * ratio * train.batch_size
    if whole < train.total_steps:
        found.append(Stage(whole, train.total_steps, train.unlabeled_ratio, shown, head_alone=True))
    return found


def images_per_step(config: Config, unlabeled_ratio: int = 0) -> int:
    """Training images per step, each view counted once: 960 in the paper's FixMatch recipe.

    unlabeled_ratio: unlabeled images per labeled one; 0: the run's, to which a curriculum grows.
    """
    further = [of_set for _, of_set, _ in config.records.method.further_views(config.own.method)]
    views = config.records.base.views_per_unlabeled_image(config.own.base) + further.count("unlabeled")
    labeled = (1 + further.count("labeled")) * config.train.batch_size
    return labeled + views * config.train.batch_size * (unlabeled_ratio or config.train.unlabeled_ratio)


def images_before(config: Config, step: int) -> int:
    """Images that a run has trained on before a step, each view counted."""
    total = 0
    for stage in stages(config):
        steps = max(0, min(stage.end, step) - stage.first_step)
        per_step = config.train.batch_size if stage.head_alone else images_per_step(config, stage.unlabeled_ratio)
        total += steps * per_step
    return total
