"""The starting state of the step vectors and their batch, by the formulas of the golden README, for our own Learner."""

import dataclasses

import numpy as np
import tensorflow as tf

from udal_tf.config import MethodConfig, OptimizerConfig, TrainConfig
from udal_tf.methods.learner import Learner
from udal_tf.methods.method import Problem
from udal_tf.models.wide_resnet import wide_resnet

DEPTH = 28
WIDTH = 1
COARSE_CELLS = 4
# Of the images of a batch in the order in which they are drawn, and of MixMatch's pairs.
VIEWS = {"fixmatch": ("x_l", "x_w", "x_s"), "mixmatch": ("x_l", "x_w", "x_w2")}


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """An entry's settings: one that is missing, or that stands here for nothing, is a TypeError."""

    method: str
    dalign_t: float | None
    threshold: float
    temperature: float
    unlabeled_weight: float
    prior_ratio: float
    learning_rate: float
    schedule_level: float
    momentum: float
    weight_decay: float
    ema_decay: float
    epochs: int
    steps_per_epoch: int
    step: int
    batch_seed: int
    picture_size: int
    labeled: int
    unlabeled: int
    arrays: str

    def __post_init__(self):
        if self.method not in VIEWS:
            raise ValueError(f"method must be one of {', '.join(VIEWS)}, got {self.method!r}")
        if self.arrays not in ("all", "some"):
            raise ValueError(f"arrays must be all or some, got {self.arrays!r}")
        if self.picture_size % COARSE_CELLS:
            raise ValueError(f"picture_size must be a multiple of {COARSE_CELLS}, got {self.picture_size}")


def initial_value(name: str, shape: list[int], noise: np.ndarray) -> np.ndarray:
    """A variable's value, float64, from standard normal noise of its shape."""
    layer, kind = name.removesuffix(":0").split("/")
    if kind == "kernel" and len(shape) == 4:
        height, width, _, out = shape
        return noise * np.sqrt(0.5 / (height * width * out))
    if kind == "gamma":
        return (1.0 if layer == "post_bn" else 0.3) * (1 + 0.1 * noise)
    if kind == "beta":
        signs = 1.0 - 2.0 * (np.arange(shape[0]) % 2)
        return (0.0 if layer == "post_bn" else signs) + 0.1 * noise
    scaled = {
        "kernel": noise,
        "bias": 0.1 * noise,
        "moving_mean": 0.001 * noise,
        "moving_variance": 0.0001 * (1 + np.abs(noise)),
    }
    return scaled[kind]


def normalized(values: np.ndarray) -> np.ndarray:
    return values / values.sum(axis=-1, keepdims=True)


def variables_by_name(learner: Learner) -> dict[str, dict[str, tf.Variable]]:
    """ "raw", "ema" and "momentum": the learner's variables by the vectors' names.

    The EMA model has no moving statistics of its own: they are the live model's. Only what is trained has momentum.
    """
    trainable = [f"{v.path}:0" for v in learner.model.trainable_variables]
    raw = {f"{v.path}:0": v for v in learner.model.variables}
    return {
        "raw": raw,
        "ema": raw | dict(zip(trainable, learner.ema, strict=True)),
        "momentum": dict(zip(trainable, learner.optimizer.momentums, strict=True)),
    }


def make_learner(settings: StepSettings, names: list[str], shapes: list[list[int]], seed: int) -> Learner:
    """The package's learner in the state that the README describes, `settings.step` steps done."""
    num_classes = shapes[names.index("predictions/bias:0")][0]
    classes = np.arange(num_classes)
    size = settings.picture_size
    aligned = settings.dalign_t is not None
    # With k = 0 alpha stays at alpha_min.
    method = MethodConfig(
        base=settings.method,
        method="da" if aligned else "none",
        alpha_min=settings.dalign_t if aligned else 1.0,
        k=0.0,
        threshold=settings.threshold,
        temperature=settings.temperature,
        unlabeled_weight=settings.unlabeled_weight,
        unlabeled_ramp=0.0,
    )
    optimizer = OptimizerConfig(
        learning_rate=settings.learning_rate,
        schedule="half_cosine",
        schedule_level=settings.schedule_level,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        ema_decay=settings.ema_decay,
    )
    learner = Learner(
        wide_resnet((size, size, 3), num_classes, DEPTH, WIDTH),
        Problem(normalized(settings.prior_ratio ** (classes / (num_classes - 1.0)))),
        method,
        optimizer,
        TrainConfig(epochs=settings.epochs, steps_per_epoch=settings.steps_per_epoch),
    )

    variables = variables_by_name(learner)
    assert {name: list(v.shape) for name, v in variables["raw"].items()} == dict(zip(names, shapes, strict=True))
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        random = np.random.RandomState(1000 * seed + number)
        value, slot, average = (random.standard_normal(shape) for _ in range(3))
        variables["raw"][name].assign(np.float32(initial_value(name, shape, value)))
        if name in variables["momentum"]:
            variables["momentum"][name].assign(np.float32(0.01 * slot))
            variables["ema"][name].assign(np.float32(0.1 * average))
    noise = np.random.RandomState(1000 * seed + 900).standard_normal(learner.history.shape)
    learner.history.assign(np.float32(normalized(np.exp(noise - 0.9 * classes))))
    noise = np.random.RandomState(1000 * seed + 901).standard_normal(num_classes)
    learner.label_average.assign(np.float32(normalized(np.exp(0.5 * noise - 0.3 * classes))))
    learner.step.assign(settings.step)
    learner.optimizer.iterations.assign(settings.step)
    return learner


def make_batch(settings: StepSettings, num_classes: int) -> dict[str, tf.Tensor]:
    """The entry's batch, as `input.pipeline` would hand it to the learner."""
    random = np.random.RandomState(settings.batch_seed)
    keys = VIEWS[settings.method]
    size = settings.picture_size
    sizes = [settings.labeled, settings.unlabeled, settings.unlabeled]
    batch = {}
    for key, n in zip(keys, sizes, strict=True):
        color = random.random_sample([n, 1, 1, 3])
        coarse = random.random_sample([n, COARSE_CELLS, COARSE_CELLS, 3])
        fine = random.random_sample([n, size, size, 3])
        coarse = np.kron(coarse, np.ones([1, size // COARSE_CELLS, size // COARSE_CELLS, 1]))
        batch[key] = np.float32(2 * (0.5 * color + 0.3 * coarse + 0.2 * fine) - 1)
    for key, n in (("labels_l", settings.labeled), ("labels_u", settings.unlabeled)):
        batch[key] = np.floor(num_classes * random.random_sample(n)).astype(np.int64)
    if settings.method == "mixmatch":
        ends = np.cumsum(sizes)[:-1]
        pairs = np.argsort(random.random_sample(sum(sizes)), kind="stable")
        weights = np.float32(random.random_sample(sum(sizes)))
        for key, pair, weight in zip(keys, np.split(pairs, ends), np.split(weights, ends), strict=True):
            batch[f"pair_{key}"], batch[f"mix_{key}"] = pair, weight
    return {key: tf.constant(value) for key, value in batch.items()}
