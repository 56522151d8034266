"""The training step of every base learner and method, and all state that training updates.

What holds this file together: the step and the state that it moves, which one checkpoint saves.
"""

import dataclasses
from collections.abc import Iterable

import keras
import tensorflow as tf

from udal_tf import registry
from udal_tf.config import ESTIMATE, Own
from udal_tf.core import losses, moving_average, schedules
from udal_tf.methods.aligner import ALPHA, Aligner
from udal_tf.methods.base import BaseLearner
from udal_tf.methods.method import Problem, make_method
from udal_tf.methods.network import SECOND_HEAD, network_of
from udal_tf.methods.prior_estimator import PriorEstimator
from udal_tf.methods.step import Step
from udal_tf.methods.supervised import Supervised
from udal_tf.models.layers import FusedBatchNorm
from udal_tf.registry import BASE_LEARNERS, METHODS, P_DATA, P_MODEL, P_UNLABELED
from udal_tf.sections import MethodConfig, OptimizerConfig, TrainConfig


class _LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The base learning rate times the factor of `core.schedules`, as a function of the optimizer's step."""

    def __init__(self, config: OptimizerConfig, total_steps: int):
        self.config, self.total_steps = config, total_steps

    def __call__(self, step):
        config = self.config
        return config.learning_rate * schedules.learning_rate_factor(
            config.schedule,
            step,
            self.total_steps,
            config.schedule_level,
            config.warmup,
            config.boundaries,
            config.schedule_decay,
        )

    def get_config(self):
        return {"config": dataclasses.asdict(self.config), "total_steps": self.total_steps}


# From Adam's paper (Kingma & Ba 2015, Algorithm 1), as in DARP's release; Keras's default is 1e-7.
ADAM_EPSILON = 1e-8


def _make_optimizer(config: OptimizerConfig, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer that `config` names; its learning rate follows the schedule."""
    rate = _LearningRate(config, total_steps)
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=config.momentum, nesterov=True)
    if config.optimizer in ("adam", "adam_shrink"):
        return keras.optimizers.Adam(rate, epsilon=ADAM_EPSILON)
    return keras.optimizers.AdamW(rate, epsilon=ADAM_EPSILON, weight_decay=config.weight_decay)


def _distribution(name: str, probs, num_classes: int) -> tf.Tensor:
    """The probabilities as [C] float32. Raises ValueError unless they are a distribution over the model's classes."""
    probs = tf.constant(probs, tf.float32)
    if probs.shape != (num_classes,) or abs(float(tf.reduce_sum(probs)) - 1.0) > 1e-4:
        raise ValueError(f"{name} must be {num_classes} probabilities that sum to 1, got {probs.numpy()}")
    return probs


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers of the model, including those inside of other layers."""
    return list(model._flatten_layers(include_self=False))


class Learner(tf.Module):
    """A model in training: weights, their EMA, the optimizer and the moving average of predictions.

    All state that changes is tracked by this object, so one `tf.train.Checkpoint` saves it all. Construct it inside the
    strategy's scope; `train_step` runs in replica context on that replica's part of the global batch.

    Args:
      model: Keras model, images [B, H, W, C] in [−1, 1] -> logits [B, C], which a Dense on the features gives.
      problem: what is known about the data.
      method: settings of the base learner and the method.
      optimizer: its settings, and those of the EMA and the weight decay; see `use_optimizer` for other optimizers.
      train: length of the run and batch sizes; see `begin_schedules` for a length that is not known yet.
      own: the sections of the base learner and the method; missing ones have their defaults.

    Attributes:
      compiles_update: whether XLA compiles what follows from the gradients, the optimizer's step and the EMA, as one
        function: one node of the step's graph, and few kernels on a GPU, where each variable's are tiny. For a single
        replica; False where XLA compiles the whole step.

    Raises:
      ValueError: if p_data or p_unlabeled is not a distribution over the model's classes.
    """

    def __init__(
        self,
        model: keras.Model,
        problem: Problem,
        method: MethodConfig,
        optimizer: OptimizerConfig,
        train: TrainConfig,
        own: Own = Own(),  # noqa: B008 (frozen)
    ):
        super().__init__(name="learner")
        # A subclassed model does not tell its output's shape.
        num_classes = getattr(model, "output_shape", (None, len(problem.p_data)))[-1]
        self.p_data = p_data = _distribution("p_data", problem.p_data, num_classes)
        self._p_unlabeled = p_data
        if problem.p_unlabeled is not None:
            self._p_unlabeled = _distribution("p_unlabeled", problem.p_unlabeled, num_classes)
        estimated = method.unlabeled_prior == (ESTIMATE,)
        floor = tf.zeros_like(p_data) if problem.known_distribution is None else problem.known_distribution
        self.estimator = PriorEstimator(self._p_unlabeled, floor) if estimated else None
        base = BASE_LEARNERS[method.base]
        self.base: BaseLearner = registry.resolved(base.learner)(method, registry.section_of(base, own.base))
        record = METHODS[method.method]
        self.balances_labels = record.balances_labels
        if further := record.further_views(registry.section_of(record, own.method)):
            self.base.views = (*self.base.views, *further)
        self.network = network_of(record, registry.section_of(record, own.method), model, self.base.heads)
        self.model = model = self.network.model
        # Tracked here, so that they are in the checkpoint.
        self.heads = dict(self.network.heads)
        self.second_head = self.heads.get(SECOND_HEAD)
        self.method = make_method(record, own.method, problem, method, model)
        self._seed = problem.seed
        # Identities of the variables that no step changes: not lists of others, which would be in the checkpoint.
        self._frozen: frozenset[int] = frozenset()
        self._trained = [*model.trainable_variables, *(v for h in self.heads.values() for v in h.trainable_variables)]
        self._method, self._train = method, train
        self.compiles_update = False
        self._ema_decay, self._ema_warmup = optimizer.ema_decay, optimizer.ema_warmup
        normalizing = [
            layer for layer in layers_of(model) if isinstance(layer, (FusedBatchNorm, keras.layers.BatchNormalization))
        ]
        not_decayed = [v for layer in normalizing for v in layer.trainable_variables]
        excluded = {id(v) for v in not_decayed}
        self._decayed = [v for v in self._trained if id(v) not in excluded]
        keras_optimizer = _make_optimizer(optimizer, train.total_steps)
        if optimizer.optimizer == "adamw":
            keras_optimizer.exclude_from_weight_decay(not_decayed)
        decoupled = optimizer.optimizer in ("adamw", "adam_shrink")
        self.use_optimizer(keras_optimizer, l2_weight=0.0 if decoupled else optimizer.weight_decay)
        self._shrinkage = optimizer.weight_decay if optimizer.optimizer == "adam_shrink" else 0.0
        # Steps done; counted separately, as the optimizer does not count steps that overflow.
        self.step = tf.Variable(
            0, dtype=tf.int64, trainable=False, name="step", aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
        )
        # Every replica computes the same average, so the first replica's is used.
        self.ema = [
            tf.Variable(
                v.value, trainable=False, name=f"ema_{i}", aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
            )
            for i, v in enumerate(self.network.averaged)
        ]
        self.history = tf.Variable(
            moving_average.uniform_history(num_classes),
            trainable=False,
            name="p_model_history",
            aggregation=tf.VariableAggregation.MEAN,
        )
        # CReST's moving average of label batches, which LA (Inf) can use as its prior.
        self.label_average = tf.Variable(
            tf.fill([num_classes], 1.0 / num_classes),
            trainable=False,
            name="label_average",
            aggregation=tf.VariableAggregation.MEAN,
        )

    def use_optimizer(self, optimizer: keras.optimizers.Optimizer, l2_weight: float) -> None:
        """Trains with this optimizer, before the first step or instead of the present one.

        Args:
          optimizer: any of Keras; wrapped to scale the loss if the model has float16 layers.
          l2_weight: coefficient of Σw²/2 in the loss, over all weights but those of batch norm.
        """
        self._l2_weight = l2_weight
        # Gradients of float16 layers underflow unless the loss is scaled up; if they overflow, the step is skipped.
        if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer) and any(
            layer.compute_dtype == "float16" for layer in layers_of(self.model)
        ):
            optimizer.build(self._trained)
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(self._trained)
        scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        self.scaling = optimizer if scales else None
        self.optimizer = optimizer.inner_optimizer if scales else optimizer

    def begin_schedules(self, steps_per_epoch: int, epochs: int, step: int = 0) -> bool:
        """Starts the schedules of α and of the method anew, for this many epochs, as if `step` steps had been done.

        Returns:
          Whether the length has changed, so that a step that is compiled already must be compiled again.
        """
        length = dataclasses.replace(self._train, steps_per_epoch=steps_per_epoch, epochs=epochs)
        changed, self._train = length != self._train, length
        self.step.assign(step)
        return changed

    def begin_averages(self) -> None:
        """Restarts the EMA weights from the model's weights, for weights loaded after construction."""
        for average, variable in zip(self.ema, self.network.averaged, strict=True):
            average.assign(variable.value)

    def begin_head(self, anew: bool) -> None:
        """From here on trains the last layer alone, by the labeled images; the rest of the network is frozen.

        Frozen weights, their EMA and the statistics of batch norm do not change by a bit: the network computes in
        inference mode, and the optimizer, the weight decay and the EMA pass over the others.

        Args:
          anew: whether the layer gets new initial weights, and the rest of the network its EMA weights; False for a
            run that is resumed later.
        """
        head = self.network.evaluated.layers[-1]
        self.base, self.network.training = Supervised(self._method), False
        layers = [self.model, *self.heads.values()]
        self._frozen = frozenset(id(v) for layer in layers for v in layer.variables) - {id(v) for v in head.variables}
        if anew:
            for average, variable in zip(self.ema, self.network.averaged, strict=True):
                variable.assign(average)
            head.kernel.assign(head.kernel_initializer(head.kernel.shape, head.kernel.dtype))
            if head.use_bias:
                head.bias.assign(head.bias_initializer(head.bias.shape, head.bias.dtype))
            for moment in self.optimizer.variables:
                if moment.shape:  # Neither the step nor the learning rate.
                    moment.assign(tf.zeros(moment.shape, moment.dtype))
            self.begin_averages()

    def _moving(self, variables: Iterable) -> list:
        """Those of the variables that are not frozen."""
        return [variable for variable in variables if id(variable) not in self._frozen]

    def p_model(self) -> tf.Tensor:
        """q̂: [C] float32, the mean prediction over the last 128 steps' unlabeled batches."""
        return moving_average.distribution(self.history)

    def p_unlabeled(self) -> tf.Tensor:
        """[C] float32, the class distribution assumed for the unlabeled images at this step."""
        return self._p_unlabeled if self.estimator is None else tf.identity(self.estimator.distribution)

    def aligner(self) -> Aligner:
        """The alignment of the next training step."""
        return self._step({}).aligner

    def _step(self, batch: dict[str, tf.Tensor]) -> Step:
        progress = schedules.epoch_progress(self.step, self._train.steps_per_epoch, self._train.epochs)
        alpha = schedules.alpha(progress, self._method.alpha_min, self._method.k)
        values = {P_DATA: self.p_data, P_UNLABELED: self.p_unlabeled(), P_MODEL: self.p_model(), ALPHA: alpha}
        number, total = tf.identity(self.step), self._train.total_steps
        return Step(batch, number, total, progress, self.network, self.method, values, self._seed)

    def _ramp(self) -> tf.Tensor:
        return schedules.linear_ramp(self.step, self._method.unlabeled_ramp * self._train.total_steps)

    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One optimizer step; then the averages are updated, so that step t uses predictions up to step t − 1.

        Args:
          batch: this replica's part, as `input.pipeline` describes it.

        Returns:
          Scalars whose *sum* over the replicas is the value for the global batch.
        """
        return self.counted_train_step(batch)[0]

    def counted_train_step(self, batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """As `train_step`, and the counts per class (`base.pseudo_label_counts`): vectors [C] to be summed."""
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        step = self._step(batch)

        def mean_part(per_example: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
            if weights is not None:
                copies = per_example.shape[0] // weights.shape[0]
                per_example = losses.weighted(tf.tile(weights, [copies]), per_example)
            return tf.reduce_sum(per_example) / (per_example.shape[0] * replicas)

        trained = self._moving(self._trained)
        with tf.GradientTape() as tape:
            parts = step.losses = self.base.losses(batch, step)
            loss_l, l2 = (
                mean_part(parts.labeled, self.method.labeled_weights(step)),
                losses.l2(self._moving(self._decayed)) / replicas,
            )
            loss_u = tf.constant(0.0)
            if parts.unlabeled is not None:
                loss_u = mean_part(parts.unlabeled, self.method.unlabeled_weights(step))
            parts_beside = {**parts.auxiliary, **self.method.auxiliary(step)}
            auxiliary = {name: mean_part(part.values) for name, part in parts_beside.items()}
            ramp = self._ramp()
            loss = loss_l + ramp * self._method.unlabeled_weight * loss_u + self._l2_weight * l2
            for name, part in parts_beside.items():
                loss += part.weight * (ramp if part.ramped else 1.0) * auxiliary[name]
            for regularization in self.model.losses:
                loss += tf.cast(regularization, tf.float32) / replicas
            scaled_loss = loss if self.scaling is None else self.scaling.scale_loss(loss)
        metrics = {"loss": loss, "loss_labeled": loss_l, "loss_unlabeled": loss_u, "loss_l2": l2}
        metrics.update({f"loss_{name}": value for name, value in auxiliary.items()})
        whole_batch = {**self._monitors(step.aligner), **parts.monitors}
        metrics.update({name: tf.cast(value, tf.float32) / replicas for name, value in whole_batch.items()})

        update = tf.function(self._update, jit_compile=True, autograph=False) if self.compiles_update else self._update
        update(tape.gradient(scaled_loss, trained), metrics["learning_rate"] * replicas)
        if parts.probs_u is not None:
            self.history.assign(moving_average.push(self.history, parts.probs_u))
        if self.estimator is not None:
            self.estimator.update(parts.probs_u, step.aligner.p_own())
        self.label_average.assign(moving_average.decayed(self.label_average, batch["labels_l"]))
        self.method.update(step)
        self.step.assign_add(1)
        return metrics, parts.counts

    def _update(self, gradients: list[tf.Tensor | None], learning_rate: tf.Tensor) -> None:
        """What follows from the gradients: the optimizer's step, the EMA weights and `adam_shrink`'s weight decay."""
        trained = self._moving(self._trained)
        (self.optimizer if self.scaling is None else self.scaling).apply(gradients, trained)
        decay = moving_average.warmed_decay(self._ema_decay, self.step) if self._ema_warmup else self._ema_decay
        for average, variable in zip(self.ema, self.network.averaged, strict=True):
            if id(variable) in self._frozen:
                continue
            average.assign(decay * average + (1.0 - decay) * variable.value)
        if self._shrinkage:
            kept = 1.0 - learning_rate * self._shrinkage
            layers = [self.model, *self.heads.values()]
            every = [v for layer in layers for v in layer.variables if "float" in str(v.dtype)]
            for variable in self._moving(self._trained if self.network.frozen else every):
                variable.assign(variable * kept)

    def la_prior(self) -> tf.Tensor:
        """[C] float32, sums to 1: the prior that LA (Inf) removes, selected by --la_prior."""
        if self._method.la_prior == "label_average":
            return self.label_average / tf.reduce_sum(self.label_average)
        if self._method.la_prior == "target":
            return self.aligner().p_target()
        return self.p_data

    def _monitors(self, aligner: Aligner) -> dict[str, tf.Tensor]:
        """Scalars that describe the state of training, the same on every replica."""
        uniform = tf.ones_like(self.p_data) / self.p_data.shape[0]
        monitors = {
            "alpha": aligner.alpha,
            "learning_rate": self.optimizer.learning_rate,
            "kl_uniform": losses.kl_divergence(uniform, aligner.p_model),
            "kl_data": losses.kl_divergence(aligner.p_model, self.p_data),
            "kl_target": losses.kl_divergence(aligner.p_model, aligner.p_target()),
        }
        return {**monitors, **self.method.monitors()}

    def logits(self, images: tf.Tensor, use_ema: bool) -> tf.Tensor:
        """Logits [B, C] in inference mode, with the EMA weights or the raw weights.

        The EMA weights are used with the raw model's batch-norm statistics, as in CReST.
        """

        def plain(images: tf.Tensor) -> tf.Tensor:
            return self.network.logits(images, self.ema if use_ema else None)

        shift = self.method.inference_shift(plain)
        return plain(images) if shift is None else plain(images) + shift
