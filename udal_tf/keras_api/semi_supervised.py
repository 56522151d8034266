"""Keras's `compile`, `fit`, `evaluate`, `predict` and `save` around the training step: `SemiSupervisedModel`.

What holds this file together: it is one class, whose length is the arguments, errors and documentation of Keras's own
methods.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from udal_tf.augment.rotations import NUM_ROTATIONS
from udal_tf.augment.views import normalize
from udal_tf.class_distribution import ESTIMATE
from udal_tf.core import alignment
from udal_tf.input.pipeline import LABELED, UNLABELED, ReplicaSlice
from udal_tf.input.stream import beta_weights, uniforms
from udal_tf.keras_api import checks
from udal_tf.keras_api.batches import Batches, endless
from udal_tf.keras_api.settings import method_settings
from udal_tf.keras_api.state import BalancedAccuracy, StepMeans, TrainingState
from udal_tf.methods.darp import PRIOR, stated_distribution
from udal_tf.methods.learner import Learner
from udal_tf.methods.method import Problem
from udal_tf.records.methods import DarpConfig
from udal_tf.sections import OptimizerConfig, TrainConfig
from udal_tf.training.unlabeled_prior import stated_prior

EMA = "ema"
RAW = "raw"
# Of the random numbers of MixUp, where batches have none; beyond those of `input.pipeline`, below those of methods.
_MIXING_STREAM = 500


class _Batch(dict):
    """A batch that names what it lacks."""

    def __missing__(self, key: str):
        raise ValueError(f'the batch has no "{key}", which the base learner or method needs; it has {", ".join(self)}')


class _Schedule(keras.callbacks.Callback):
    """Tells the model the length of the run when training begins, after the callbacks that restore a state.

    first_step: variable that then has the step whose batch is first; None for batches that do not start at a step.
    """

    def __init__(self, initial_epoch: int):
        super().__init__()
        self.initial_epoch = initial_epoch
        self.first_step: tf.Variable | None = None

    def on_train_begin(self, logs=None):
        # BackupAndRestore tells Keras at which epoch to resume by this attribute.
        initial_epoch = self.model._initial_epoch or self.initial_epoch
        self.model._begin(self.params["epochs"], self.params["steps"], initial_epoch)
        if self.first_step is not None:
            self.first_step.assign(initial_epoch * self.params["steps"])


@keras.saving.register_keras_serializable(package="udal_tf")
class SemiSupervisedModel(keras.Model):
    """Trains a network, images -> logits, by any base learner and method, with Keras's own `fit`.

    >>> import keras, numpy as np, udal_tf
    >>> network = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    >>> model = udal_tf.SemiSupervisedModel(network, class_counts=[6, 2])
    >>> model.compile(optimizer=keras.optimizers.Adam(1e-3))
    >>> images, labels = np.zeros((8, 4, 4, 1), np.uint8), np.array([0, 0, 0, 0, 0, 0, 1, 1])
    >>> batches = udal_tf.batches(images, labels, images, batch_size=4, unlabeled_ratio=2, augment={"crop_padding": 1})
    >>> history = model.fit(batches, epochs=1, steps_per_epoch=2, verbose=0)
    >>> model.predict(images, verbose=0).shape
    (8, 2)

    One step of `fit` is the step of the program. α_t follows the epochs that `fit` is given: a second `fit` starts its
    schedule again, unless `initial_epoch` says how many of the epochs are done. Learning rates are the optimizer's own.
    Evaluation and prediction return logits of the EMA weights; all of the state (EMA weights, q̂, the step, the state of
    the method) is in every file that Keras saves.

    Args:
      network: a built Keras model, float32 images [B, H, W, C] -> logits [B, C]. Methods and base learners with a
        further head need a functional or sequential one that ends in a Dense layer.
      class_counts: [C], numbers of labeled images per class, all above 0; or give `p_data`.
      p_data: [C], the class prior of the labels, sums to 1.
      base: the base learner: fixmatch, mixmatch, remixmatch, supervised or one that was registered.
      method: udal, none, da, la, … or one that was registered; not one that trains in generations.
      unlabeled_count: M, number of unlabeled images, for methods that keep a prediction of each (DARP).
      ema_decay: decay of the EMA weights.
      ema_warmup: whether the decay grows to this value from 0.1 at the first step of a `fit`, so that the EMA weights
        of a short one are not those of its beginning. The paper has no warm-up, nor has the program by default.
      weight_decay: coefficient of Σw²/2 in the loss, over all weights but those of batch norm. None: 5e-4, as in the
        paper, or 0 if the optimizer decays weights itself (AdamW).
      weights: whose logits evaluation and prediction return: "ema" or "raw".
      logit_adjustment: whether they remove the class prior, LA (Inf).
      seed: of a method's own random numbers.
      **settings: of the base learner and the method by their names as flags: alpha_min, k, threshold, …

    Raises:
      ValueError: for a network that ends in a softmax or has other classes, for an unknown setting or a bad value.

    Source: UDAL Algorithm 1; the loop is Keras's (its guide "Customizing what happens in fit").
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        class_counts: Sequence[float] | None = None,
        p_data: Sequence[float] | None = None,
        base: str = "fixmatch",
        method: str = "udal",
        unlabeled_count: int = 0,
        ema_decay: float = 0.999,
        ema_warmup: bool = True,
        weight_decay: float | None = None,
        weights: str = EMA,
        logit_adjustment: bool = False,
        seed: int = 0,
        name: str = "semi_supervised_model",
        **settings: Any,
    ):
        takes_uint8 = bool(settings.pop("takes_uint8", True))  # Restored by `from_config`.
        prior = checks.class_prior(class_counts, p_data)
        checks.checked_network(network, len(prior))
        config, own = method_settings(base, method, settings)
        prepared = {}
        if isinstance(own.method, DarpConfig):
            if own.method.darp_prior == (ESTIMATE,):
                raise ValueError("darp_prior='estimate' trains further networks first: use run.py or udal_tf.train")
            if unlabeled_count < 1:
                raise ValueError(f"method={method!r} needs unlabeled_count, the number of unlabeled images")
            if own.method.darp_prior:
                prepared[PRIOR] = stated_distribution(own.method, prior)
        # Of dtype float32, so that images reach the network as they are; its layers have policies of their own.
        super().__init__(name=name, dtype="float32")
        self._arguments: dict[str, Any] = {
            "class_counts": None if class_counts is None else np.asarray(class_counts).tolist(),
            "p_data": None if p_data is None else np.asarray(p_data, np.float64).tolist(),
            "base": base,
            "method": method,
            "unlabeled_count": int(unlabeled_count),
            "ema_decay": float(ema_decay),
            "ema_warmup": bool(ema_warmup),
            "weight_decay": weight_decay,
            "weights": weights,
            "logit_adjustment": logit_adjustment,
            "seed": int(seed),
            "name": name,
            **settings,
        }
        self.network = network
        self.num_classes = len(prior)
        self._takes_uint8, self._weight_decay = takes_uint8, weight_decay
        self._knows_labels_u = True
        self._defaults = self._shown = self._checked_view(weights, logit_adjustment)
        problem = Problem(
            p_data=prior,
            p_unlabeled=stated_prior(config, prior, [str(c) for c in range(len(prior))]),
            labeled_counts=None if class_counts is None else np.asarray(class_counts),
            pool_size=int(unlabeled_count),
            prepared=prepared,
            seed=int(seed),
        )
        averages = OptimizerConfig(ema_decay=ema_decay, ema_warmup=ema_warmup)
        self._learner = Learner(network, problem, config, averages, TrainConfig(), own)
        self.training_state = TrainingState(self._learner)
        self._step_means = StepMeans()
        self._test_loss = keras.metrics.Mean(name="loss")
        self._test_accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self._test_balanced = BalancedAccuracy(self.num_classes)
        self.built = True

    # What Keras calls.

    def build(self, input_shape=None) -> None:
        """Nothing: all weights exist since the constructor."""

    def call(self, images, training=False):
        """Logits [B, C]: of the network while training, else of the weights and with the adjustment that were chosen.

        images: float32 as the views give them, or uint8, which become [−1, 1].
        """
        images = self._prepared(images)
        if training:
            return self.network(images, training=True)
        weights, adjusted = self._shown
        logits = self._learner.logits(images, use_ema=weights == EMA)
        if adjusted:
            prior = self._learner.la_prior()
            logits -= alignment.log_ratio(prior, tf.ones_like(prior) / self.num_classes)
        return logits

    def compile(self, optimizer="sgd", metrics=None, jit_compile=False, **options) -> None:
        """As Keras's `compile`, without a loss: the base learner and the method have theirs.

        Args:
          optimizer: any Keras optimizer, with any learning rate or schedule.
          metrics: further ones for evaluation, of labels and logits.
          jit_compile: whether XLA compiles steps.
          **options: Keras's others: run_eagerly, steps_per_execution.

        Raises:
          ValueError: for a loss, and for steps_per_execution above 1 on several devices, where Keras fails with it.
        """
        if options.get("loss") is not None:
            raise ValueError("compile needs no loss: the base learner and the method have theirs")
        if options.get("steps_per_execution", 1) > 1 and self.distribute_strategy.num_replicas_in_sync > 1:
            raise ValueError(
                "steps_per_execution must be 1 on several devices, where Keras fails with more, got "
                f"{options['steps_per_execution']}"
            )
        optimizer = keras.optimizers.get(optimizer)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        weight_decay = self._weight_decay
        if weight_decay is None:
            weight_decay = 0.0 if inner.weight_decay else OptimizerConfig().weight_decay
        with self.distribute_strategy.scope():
            self._learner.use_optimizer(optimizer, l2_weight=weight_decay)
        super().compile(
            optimizer=self._learner.scaling or self._learner.optimizer,
            metrics=metrics,
            jit_compile=jit_compile,
            auto_scale_loss=False,
            **options,
        )
        if self._compile_metrics is not None:
            with self.distribute_strategy.scope():
                self._compile_metrics.build(tf.zeros([1], tf.int64), tf.zeros([1, self.num_classes]))

    def _maybe_symbolic_build(self, iterator=None, data_batch=None) -> None:
        # Everything is built; under a strategy Keras would take a batch for it, and training may begin at the next one.
        pass

    def compile_from_config(self, config: dict) -> None:
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{name: value for name, value in config.items() if name not in ("loss", "loss_weights")})

    def fit(self, x=None, y=None, *, callbacks=None, **options):
        """As Keras's `fit`.

        Args:
          x: what `udal_tf.keras_api.batches.batches` returns, or a tf.data set of dicts: "x_l", "x_w", "x_s" (float32
            [n, H, W, C], the base learner's views), "labels_l" (integer [B]), for DARP "rows_u" (index of each
            unlabeled image), and, if known, "labels_u", for monitoring alone. Batches must be of one size
            (`drop_remainder=True`).
          y: nothing; labels are in the batches.
          callbacks: any; they see the means over the epoch's steps of what a step measures.
          **options: Keras's others; `validation_data` is (images, labels) or batches of them.

        Raises:
          ValueError: for batches of another kind, and if the number of steps is not known.
        """
        if y is not None:
            raise ValueError(
                "fit takes batches with labeled and unlabeled images, not x and y: udal_tf.batches makes them"
            )
        schedule = _Schedule(options.get("initial_epoch", 0))
        known = x.knows_labels_u if isinstance(x, Batches) else None
        self._take_uint8(isinstance(x, Batches) and x.takes_uint8)
        if isinstance(x, Batches):
            maker = x.for_model(self._learner, self._arguments["base"], self.num_classes)
            options.setdefault("steps_per_epoch", x.steps_per_epoch)
            with tf.device("CPU:0"):
                # Not the learner's own: a step may count itself before the batch that it waits for is made.
                schedule.first_step = tf.Variable(0, dtype=tf.int64, trainable=False)
            x = endless(maker, self.distribute_strategy, schedule.first_step)
        elif not isinstance(x, (tf.data.Dataset, tf.distribute.DistributedDataset)):
            raise ValueError(f"fit takes udal_tf.batches or a tf.data set of such batches, got {type(x).__name__}")
        elif self._learner.balances_labels:
            raise ValueError(
                f"method={self._arguments['method']!r} samples the labeled images by class: give fit udal_tf.batches"
            )
        self._know_labels("labels_u" in x.element_spec if known is None else known)
        images = x.element_spec.get("x_l") if isinstance(x.element_spec, Mapping) else None
        if not isinstance(getattr(self.network, "input_shape", None), tuple) and isinstance(images, tf.TensorSpec):
            # A subclassed network shows what it returns only for images of a known size.
            checks.checked_outputs(self.network, images.shape[1:], self.num_classes)
        options.setdefault("shuffle", False)  # Without effect on a tf.data set, of which Keras warns.
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(schedule)
        else:
            given = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or [])
            callbacks = [*given, schedule]
        return super().fit(x, callbacks=callbacks, **options)

    def evaluate(self, x=None, y=None, *, weights: str | None = None, logit_adjustment: bool | None = None, **options):
        """As Keras's `evaluate`: loss, accuracy and balanced accuracy, and the metrics of `compile`.

        Args:
          x: images, or batches of images and labels.
          y: labels [n] integer.
          weights: "ema" or "raw", instead of the model's own choice.
          logit_adjustment: likewise.
          **options: Keras's others.
        """
        with self._viewed(weights, logit_adjustment):
            return super().evaluate(x, y, **options)

    def predict(self, x, *, weights: str | None = None, logit_adjustment: bool | None = None, **options):
        """As Keras's `predict`: logits [n, C]; their softmax are the probabilities.

        Args:
          x: images, float32 as the views give them, or uint8.
          weights: "ema" or "raw", instead of the model's own choice.
          logit_adjustment: likewise.
          **options: Keras's others.
        """
        with self._viewed(weights, logit_adjustment):
            return super().predict(x, **options)

    def train_step(self, data) -> dict[str, tf.Tensor]:
        scalars, _ = self._learner.counted_train_step(self._completed(data))
        if not self._knows_labels_u:
            scalars.pop("confident_correct", None)
        names = sorted(scalars)
        # Each replica's values are its part of a sum.
        values = tf.stack([tf.cast(scalars[name], tf.float32) for name in names])
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            values = context.all_reduce(tf.distribute.ReduceOp.SUM, values)
        self._step_means.update_state(dict(zip(names, tf.unstack(values), strict=True)))
        return self._step_means.result()

    def test_step(self, data) -> dict[str, tf.Tensor]:
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if labels is None:
            raise ValueError("evaluation needs labels: give images and labels, or batches of (images, labels)")
        if labels.shape.rank == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        labels = checks.checked_labels_in_graph("labels", labels, self.num_classes)
        logits = self(images, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        self._test_loss.update_state(losses, sample_weight=sample_weight)
        own = [self._test_accuracy, self._test_balanced]
        for metric in own:
            metric.update_state(labels, logits, sample_weight=sample_weight)
        results = {metric.name: metric.result() for metric in [self._test_loss, *own]}
        if self._compile_metrics is not None:
            self._compile_metrics.update_state(labels, logits, sample_weight=sample_weight)
            results |= self._compile_metrics.result()
        return results

    def get_metrics_result(self) -> dict:
        """Nothing: what a step returns is what is logged; training and evaluation have metrics of their own."""
        return {}

    def export(self, filepath, format="tf_saved_model", verbose=None, input_signature=None, **options) -> None:
        """As Keras's `export`: a model of float32 images, prepared as the views give them, whose outputs are those of
        `predict` by default."""
        shape = getattr(self.network, "input_shape", None)
        if input_signature is None and isinstance(shape, tuple):
            input_signature = [keras.InputSpec(shape=(None, *shape[1:]), dtype="float32")]
        super().export(filepath, format, verbose, input_signature, **options)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes: the network and the arguments."""
        network = keras.saving.serialize_keras_object(self.network)
        return {"network": network, **self._arguments, "takes_uint8": self._takes_uint8}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None) -> SemiSupervisedModel:
        """The model that `get_config` describes, with new weights."""
        network = keras.saving.deserialize_keras_object(config.pop("network"), custom_objects=custom_objects)
        return cls(network, **config)

    # What is ours.

    @property
    def p_model(self) -> np.ndarray:
        """q̂: [C] float32, the mean prediction over the last 128 steps' unlabeled batches."""
        return self._learner.p_model().numpy()

    def ema_network(self) -> keras.Model:
        """A copy of the network with the EMA weights, for deployment: float32 images [B, H, W, C] -> logits [B, C]."""
        evaluated = self._learner.network.evaluated
        copy = keras.models.clone_model(evaluated)
        copy.set_weights(evaluated.get_weights())
        averages = dict(zip(map(id, self._learner.network.averaged), self._learner.ema, strict=True))
        for ours, theirs in zip(copy.trainable_variables, evaluated.trainable_variables, strict=True):
            ours.assign(averages[id(theirs)].numpy())
        return copy

    def _begin(self, epochs: int, steps_per_epoch: int | None, initial_epoch: int) -> None:
        if not steps_per_epoch:
            raise ValueError("the number of batches is not known: give fit steps_per_epoch, which α_t needs")
        if self._learner.begin_schedules(steps_per_epoch, epochs, initial_epoch * steps_per_epoch):
            self.make_train_function(force=True)

    def _know_labels(self, known: bool) -> None:
        """Whether steps say how many pseudo-labels are right; a Python value, so the step is traced anew."""
        if known != self._knows_labels_u:
            self._knows_labels_u, self.train_function = known, None

    def _take_uint8(self, takes: bool) -> None:
        """Whether uint8 images are prepared as our views do; a Python value, so functions are traced anew."""
        if takes != self._takes_uint8:
            self._takes_uint8, self.test_function, self.predict_function = takes, None, None

    @contextlib.contextmanager
    def _viewed(self, weights: str | None, logit_adjustment: bool | None) -> Iterator[None]:
        """Shows logits of other weights for a while; they are Python values, so functions are traced anew."""
        default_weights, default_adjustment = self._defaults
        chosen = self._checked_view(
            default_weights if weights is None else weights,
            default_adjustment if logit_adjustment is None else logit_adjustment,
        )
        others = chosen != self._shown
        self._shown = chosen
        if others:
            self.test_function = self.predict_function = None
        try:
            yield
        finally:
            self._shown = self._defaults
            if others:
                self.test_function = self.predict_function = None

    def _completed(self, data) -> _Batch:
        """A replica's batch with everything that the step needs, checked as far as shapes and types tell.

        Labels of unlabeled images are −1 where they are not given; rotations, partners and weights in MixUp come from
        the step's own random numbers.
        """
        if not isinstance(data, Mapping):
            raise ValueError("a batch must be a dict of tensors, as udal_tf.batches makes them, and not a tuple")
        batch, base = _Batch(data), self._learner.base
        sizes: dict[str, int] = {}
        for key, of_set, _ in base.views:
            images = batch[key]
            if images.shape.rank != 4 or not images.dtype.is_floating:
                raise ValueError(
                    f'"{key}" must be float32 images [n, H, W, C], got {images.dtype.name} {images.shape.as_list()}'
                )
            if images.shape[0] is None:
                raise ValueError(f'"{key}" must have a fixed number of images: batch(…, drop_remainder=True)')
            if sizes.setdefault(of_set, images.shape[0]) != images.shape[0]:
                raise ValueError(f'"{key}" has {images.shape[0]} images, and another view of the same {sizes[of_set]}')
            batch[key] = tf.cast(images, tf.float32)
        labels = batch["labels_l"]
        if labels.shape.rank == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        batch["labels_l"] = checks.checked_labels_in_graph("labels_l", labels, self.num_classes)
        if labels.shape[0] != sizes[LABELED]:
            raise ValueError(f'"labels_l" has {labels.shape[0]} labels, and there are {sizes[LABELED]} labeled images')
        if UNLABELED in sizes:
            count = sizes[UNLABELED]
            unknown = tf.fill([count], tf.constant(-1, tf.int64))
            batch["labels_u"] = tf.cast(batch.get("labels_u", unknown), tf.int64)
            batch.setdefault("rotations_u", tf.range(count, dtype=tf.int64) % NUM_ROTATIONS)
            if "rows_u" in batch:
                batch["rows_u"] = tf.cast(batch["rows_u"], tf.int64)
        if base.mixup_beta is not None and not any(key.startswith("pair_") for key in batch):
            batch.update(self._mixing(base, sizes))
        return batch

    def _mixing(self, base, sizes: Mapping[str, int]) -> dict[str, tf.Tensor]:
        """Partners and weights in MixUp over the global batch, as `input.pipeline` describes them."""
        context = tf.distribute.get_replica_context()
        replica = ReplicaSlice(context.replica_id_in_sync_group, context.num_replicas_in_sync)
        counts = [sizes[of_set] * replica.count for _, of_set, _ in base.views]
        step, seed = self._learner.step, self._arguments["seed"]
        order = tf.argsort(uniforms(step, sum(counts), 1, seed, _MIXING_STREAM)[:, 0])
        weights = beta_weights(step, sum(counts), base.mixup_beta, seed, _MIXING_STREAM + 1)
        mixing = {}
        for kind, values in (("pair", tf.cast(order, tf.int64)), ("mix", weights)):
            parts = zip(base.views, tf.split(values, counts), strict=True)
            mixing.update({f"{kind}_{key}": replica.of(part) for (key, _, _), part in parts})
        return mixing

    @staticmethod
    def _checked_view(weights: str, logit_adjustment: bool) -> tuple[str, bool]:
        if weights not in (EMA, RAW):
            raise ValueError(f"weights must be {EMA!r} or {RAW!r}, got {weights!r}")
        return weights, bool(logit_adjustment)

    def _prepared(self, images) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        if images.dtype == tf.uint8 and self._takes_uint8:
            return normalize(images)
        if images.dtype.is_floating:
            return images
        hint = "as your own view for evaluation prepares them" if images.dtype == tf.uint8 else "or uint8 from 0 to 255"
        raise ValueError(f"images must be float32, {hint}, got {images.dtype.name}")
