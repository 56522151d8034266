"""How long a run would take on this machine, measured on a few of its steps: `measure`."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from udal_tf.augment.views import make_views
from udal_tf.config import Config
from udal_tf.data.dataset import ArrayImages, Source, SslData
from udal_tf.data.problem import make_problem
from udal_tf.input import pipeline
from udal_tf.training import loop
from udal_tf.training.distribute import compiled, is_tpu, make_strategy
from udal_tf.training.evaluation import Evaluator
from udal_tf.training.steps import StepRunner

# Steps are timed for about so long.
SECONDS = 4.0
# Bounds on the number of timed steps.
FEWEST = 2
MOST = 50
# A call runs as many steps as take about so long.
CALL_SECONDS = 1.0
# A step passes images forward and backward, which costs about two forward passes.
PASSES_OF_TRAINING = 3
# Random images in the timed steps; their number does not affect the speed.
IMAGES = 256


@dataclasses.dataclass(frozen=True)
class Timing:
    """Measured times.

    steps: how many were timed; 0 if there was time for the first one only, with which everything is compiled.
    seconds_to_compile: once per run, the first step included.
    seconds_per_step: 0 without timed steps.
    seconds_per_evaluation: where there was no time for one, estimated from the steps: an image passes forward once,
      instead of forward and backward, which takes about three times as long.
    total_seconds: of the whole run, without reading the images; without timed steps, a time that it exceeds.
    """

    steps: int
    seconds_per_step: float
    seconds_per_evaluation: float
    seconds_to_compile: float
    total_seconds: float


def measure(
    config: Config,
    num_classes: int,
    test_images: int,
    side: int = 0,
    limit: float = math.inf,
    say: Callable[[str], None] = lambda text: None,
) -> Timing:
    """Times steps of a run by `config`, on random RGB images of its size, and one evaluation.

    Args:
      config: of the run.
      num_classes: of the dataset.
      test_images: their number in the dataset.
      side: of the images; 0: `data.image_size`.
      limit: seconds in total, compiling included, after which no further step is begun.
      say: called with what is being measured.
    """
    began = time.monotonic()
    say("building and compiling")
    strategy = make_strategy(config.device)
    with strategy.scope():
        side = side or config.data.image_size
        data = _random_problem(config, num_classes, side, min(test_images, config.train.eval_batch_size))
        jit = compiled(config.device, strategy)
        views = make_views(config.augment, *data.train.shape, static_shapes=jit or is_tpu(strategy))
        learner = loop.make_learner(config, data)
        maker = loop.make_batch_maker(config, data, views, learner)
        on_device = config.device.input == "device"
        runner = StepRunner(strategy, learner, maker, on_device, jit)
        batches = _batches(strategy, runner, 1 + FEWEST + MOST)

        def train(first: int, count: int) -> float:
            started = time.monotonic()
            runner(tf.range(first, first + count, dtype=tf.int64) if on_device else batches, count)
            return time.monotonic() - started

        train(0, 1)
        compiling = time.monotonic() - began
        steps, seconds = 0, 0.0

        def time_left() -> float:
            return limit - (time.monotonic() - began)

        # The batches of the first steps were made while the step was compiled.
        warming, first = 0.0, 1
        while first < 1 + FEWEST and time_left() > 0:
            say("timing steps")
            warming, first = train(first, 1), first + 1
        wanted = min(max(round(SECONDS / max(warming, 1e-9)), FEWEST), MOST)
        while steps < wanted and time_left() > 0:
            count = min(wanted - steps, max(1, round(CALL_SECONDS / max(warming, 1e-9))))
            seconds, steps = seconds + train(first + steps, count), steps + count
        if not steps and warming:
            steps, seconds = 1, warming
        if steps and time_left() > 0:
            say("timing an evaluation")
            evaluation = _evaluation_seconds(config, data, views, learner) * test_images / len(data.test)
        else:
            evaluation = seconds / max(steps, 1) * test_images / maker.images_per_step / PASSES_OF_TRAINING
    per_step = seconds / max(steps, 1)
    total = compiling + config.train.total_steps * per_step + config.train.epochs * evaluation
    return Timing(steps, per_step, evaluation, compiling, total * config.generations)


def _random_problem(config: Config, num_classes: int, side: int, test_images: int) -> SslData:
    """A problem with so many classes of random RGB images, all of them labeled."""
    generator = np.random.default_rng(0)

    def images(count: int) -> ArrayImages:
        return ArrayImages(generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8))

    count = max(IMAGES, num_classes)
    source = Source(
        train=images(count),
        train_labels=np.arange(count, dtype=np.int64) % num_classes,
        test=images(test_images),
        test_labels=np.arange(test_images, dtype=np.int64) % num_classes,
        class_names=tuple(map(str, range(num_classes))),
        provenance={"source": "random images"},
        long_tailed=True,
        geometric=False,
    )
    whole: dict[str, Any] = {
        "beta": 1.0,
        "validation": 0.0,
        "protocol": "crest",
        "imbalance_u": 0.0,
        "unlabeled_shape": "same",
    }
    return make_problem(source, dataclasses.replace(config.data, **whole))


def _batches(strategy: tf.distribute.Strategy, runner: StepRunner, steps: int):
    """An iterator over the batches of so many steps, as in training."""
    replicas = strategy.num_replicas_in_sync
    dataset = pipeline.training_batches(runner.host_batch, 0, steps, replicas, own_replicas=replicas)
    return iter(strategy.distribute_datasets_from_function(lambda context: dataset))


def _evaluation_seconds(config: Config, data: SslData, views, learner) -> float:
    positions = np.arange(len(data.test))
    batches = pipeline.evaluation_batches(data.test, positions, views.plain, config.train.eval_batch_size)
    evaluator, prior = Evaluator(learner, batches, data.test_labels), learner.la_prior().numpy()
    evaluator(prior)  # Compiles.
    started = time.monotonic()
    evaluator(prior)
    return time.monotonic() - started
