"""One training run, from its config, data and folder to its result: `train`.

What holds this file together: everything that determines how a run is stopped, interrupted, rolled back and resumed.
"""

import contextlib
import dataclasses
import functools
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from udal_tf.augment.views import Views, make_views
from udal_tf.config import Config
from udal_tf.data.dataset import DataError, Held, SslData
from udal_tf.input import pipeline
from udal_tf.methods.learner import Learner
from udal_tf.methods.method import Problem
from udal_tf.models.build import build_model
from udal_tf.reporting import console, terminal
from udal_tf.run_dir import CHECKPOINTS, RESULT, RunDir
from udal_tf.run_records import BestEpoch, EpochRow, Result, best_row, out_of_patience
from udal_tf.stopping import StopRequest
from udal_tf.training import initial_weights, record
from udal_tf.training.checkpointing import Checkpoints
from udal_tf.training.distribute import Workers, compiled, compiles_update, hardware, is_tpu, only_gpu
from udal_tf.training.early_look import EarlyLook
from udal_tf.training.evaluation import Evaluator
from udal_tf.training.run_log import RunLog
from udal_tf.training.stages import Stage, images_before, stages
from udal_tf.training.steps import StepRunner
from udal_tf.training.weights import BestWeights, model_facts

# A compiled call runs as many steps as take about this long, to show progress and to stop promptly.
CALL_SECONDS = 1.0
# Folds with the same seed must also differ in their initial weights and order of images.
FOLD_SEEDS = 1000


class NonFiniteLoss(RuntimeError):
    """The loss is not finite; the message names the `step` and the last good checkpoint."""

    def __init__(self, step: int, message: str):
        super().__init__(message)
        self.step = step


class StorageError(RuntimeError):
    """The work folder cannot be written; the message says why. Checkpoints saved before are intact."""


class Interrupted(RuntimeError):
    """The run was stopped by the signal `signal_number`, and its state is saved."""

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.signal_number = signal_number


def make_learner(config: Config, data: SslData) -> Learner:
    """A new learner, inside the strategy's scope; its weights are drawn from Keras's generator, seeded by the run."""
    model = build_model(config.model, data.train.shape, data.num_classes, config.device.precision, config.own.arch)
    problem = problem_of(data, run_seed(config))
    learner = Learner(model, problem, config.method, config.optimizer, config.train, config.own)
    learner.compiles_update = compiles_update(config.device, tf.distribute.get_strategy())
    return learner


def problem_of(data: SslData, seed: int) -> Problem:
    """What a method may know about the data."""
    return Problem(
        p_data=data.p_data,
        p_unlabeled=data.p_unlabeled,
        known_distribution=data.known_distribution,
        labeled_counts=np.bincount(data.labels_l, minlength=data.num_classes),
        pool_size=len(data.unlabeled),
        labeled_rows=data.labeled_rows,
        prepared=data.prepared,
        seed=seed,
    )


def make_batch_maker(
    config: Config, data: SslData, views: Views, learner: Learner, stage: Stage | None = None, images: Any = None
) -> pipeline.BatchMaker:
    """The maker of a run's batches: the sets of images that its base learner uses, and their views.

    Args:
      config: of the run.
      data: of the run.
      views: of the run.
      learner: of the run, in this stage.
      stage: None: batches of the final size.
      images: where the training images are; None: as --input says.
    """
    train, base = config.train, learner.base
    images = training_images(config, data) if images is None else images
    stage = stage or Stage(0, train.total_steps, train.unlabeled_ratio)
    # The sets' tensors are placed where batches are made.
    with tf.device(None if config.device.input == "device" else "CPU:0"):
        labeled = pipeline.ImageSet(images, data.labeled, data.labels_l, train.batch_size)
        sets = {pipeline.LABELED: labeled.balanced() if learner.balances_labels or stage.head_alone else labeled}
        if any(of_set == pipeline.UNLABELED for _, of_set, _ in base.views):
            size, known = train.batch_size * stage.unlabeled_ratio, data.train_labels[data.unlabeled]
            first = stage.first_unlabeled - stage.first_step * size
            sets[pipeline.UNLABELED] = pipeline.ImageSet(images, data.unlabeled, known, size, first)
    return pipeline.BatchMaker(sets, base.views, views, run_seed(config), base.mixup_beta)


def training_images(config: Config, data: SslData) -> Any:
    """The training images, in the memory of the device with --input=device."""
    images: Any = data.train
    return images.on_device() if config.device.input == "device" else images


def run_seed(config: Config) -> int:
    """The seed of all randomness in training; depends on the fold."""
    return config.train.seed * FOLD_SEEDS + config.data.fold


def train(config: Config, data: SslData, run_dir: RunDir) -> Result:
    """Trains by `config` on `data`, resuming from the folder's last checkpoint; writes and returns the result.

    Raises:
      CheckpointError: if no checkpoint can be read.
      DataError: if --pretrained cannot be read.
      NonFiniteLoss, Interrupted, StorageError: see there; the same call resumes from the last checkpoint.
    """
    return run_dir.result() if run_dir.finished else _Run(config, data, run_dir).run()


def trained_learner(config: Config, data: SslData, run_dir: RunDir) -> Learner:
    """The learner of a run that `train` has finished, in its last state."""
    run = _Run(config, data, run_dir)
    run.checkpoints.restore()
    return run.learner


@contextlib.contextmanager
def _storage(run_dir: RunDir) -> Iterator[None]:
    """Turns a failure to write into a StorageError that says what to do."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
        raise StorageError(
            f"{run_dir.named(run_dir.path)} cannot be written: {reason.splitlines()[0]}. Checkpoints are intact: free "
            "up space or give write access, and the same command resumes from the last one."
        ) from error


class _Run:
    """The objects of one run while it trains."""

    def __init__(self, config: Config, data: SslData, run_dir: RunDir):
        self.config, self.data, self.run_dir = config, data, run_dir
        self.strategy, self.workers = tf.distribute.get_strategy(), Workers()
        self._compiled = compiled(config.device, self.strategy)
        static = self._compiled or is_tpu(self.strategy)
        self.views = make_views(config.augment, *data.train.shape, static_shapes=static)
        keras.utils.set_random_seed(run_seed(config))
        if config.train.deterministic:
            tf.config.experimental.enable_op_determinism()
        with self.strategy.scope():
            self.learner = make_learner(config, data)
        self.stages, self._images = stages(config), training_images(config, data)
        self._begin_stage(self.stages[0], anew=True)
        self.evaluator = self._evaluator(Held.of(data.test, data.test_labels))
        # Of the images that epochs are compared by.
        self.monitor = self.evaluator if data.validation is None else self._evaluator(data.validation)
        # Sums of the epoch's metrics so far; in the checkpoint, so that a run resumed within an epoch adds up the same.
        self.totals = tf.Variable([], shape=[None], dtype=tf.float64)
        # Steps with a non-finite loss; each gets the batch of a step after the run's last one instead.
        self.skipped = tf.Variable([], shape=[None], dtype=tf.int64)
        self.checkpoints = Checkpoints(
            run_dir / CHECKPOINTS, learner=self.learner, totals=self.totals, skipped=self.skipped
        )
        self.best = BestWeights(run_dir, self.learner)
        self.early_look = EarlyLook(self.learner, data, self.views.plain, config.train, run_dir.path)

    def _begin_stage(self, stage: Stage, anew: bool) -> None:
        """Makes the batches and the steps of a stage; anew: whether its first step is next."""
        self.stage, on_device = stage, self.config.device.input == "device"
        with self.strategy.scope():
            if stage.head_alone:
                self.learner.begin_head(anew)
            self.maker = make_batch_maker(self.config, self.data, self.views, self.learner, stage, self._images)
        self.runner = StepRunner(self.strategy, self.learner, self.maker, on_device, self._compiled)

    def _evaluator(self, held: Held) -> Evaluator:
        size = self.config.train.eval_batch_size
        batches = pipeline.evaluation_batches(held.images, held.positions, self.views.plain, size)
        return Evaluator(self.learner, batches, held.labels)

    def _shown_step(self, step: tf.Tensor, skipped_steps: list[int]) -> tf.Tensor:
        """The step whose batch is used: the step itself, or one after the run's last if its own batch is skipped."""
        for number, skipped in enumerate(skipped_steps):
            step = tf.where(step == skipped, tf.constant(self.config.train.total_steps + number, tf.int64), step)
        return step

    def _batches(self, start_step: int):
        """An iterator over the batches from a step on; each worker makes only those of its own replicas."""
        end = self.stage.end
        replicas, skipped = self.strategy.num_replicas_in_sync, self.skipped.numpy().tolist()

        def own_batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
            own_replicas = replicas // context.num_input_pipelines
            return pipeline.training_batches(
                lambda step, replica: self.runner.host_batch(self._shown_step(step, skipped), replica),
                start_step,
                end,
                replicas,
                first_replica=own_replicas * context.input_pipeline_id,
                own_replicas=own_replicas,
                device=only_gpu(self.strategy),
            )

        return iter(self.strategy.distribute_datasets_from_function(own_batches))

    def run(self) -> Result:
        train = self.config.train
        self.run_dir.refresh()
        restored = self.checkpoints.restore()
        step = int(self.learner.step.numpy())
        if restored:
            print(f"Resuming from step {step} of {train.total_steps} ({self.run_dir.named(restored)})")
        else:
            self._begin()
        if self.workers.is_chief:
            with _storage(self.run_dir):
                self.run_dir.path.mkdir(exist_ok=True)
                self.run_dir.write_model(model_facts(self.data))
                if train.on_nan == "rollback" and not restored:
                    self.checkpoints.save(step)
                self.run_dir.publish()
        with StopRequest() as stop:
            while True:
                with _storage(self.run_dir):
                    log = RunLog(self.run_dir, step) if self.workers.is_chief else None
                progress = terminal.Progress(train.total_steps, "steps", step, shown=log is not None)
                stop.say = functools.partial(progress.line, stream=sys.stderr)
                try:
                    self._train(step, log, progress, stop)
                    break
                except NonFiniteLoss as error:
                    step = self._rolled_back(error)
                finally:
                    progress.close()
        with self.workers.chief_first():
            if log is not None:
                return self._finish(log)
            self.run_dir.refresh(RESULT)
        return self.run_dir.result()

    def _begin(self) -> None:
        """Loads the weights of --pretrained; a resumed run has them in its checkpoint."""
        try:
            said = initial_weights.load(self.config, self.learner, self.data.class_names)
        except ValueError as error:
            raise DataError(str(error)) from error
        if said and self.workers.is_chief:
            print(said)

    def _rolled_back(self, error: NonFiniteLoss) -> int:
        """Restores the last checkpoint, to skip the bad step's batch, and returns its step; or raises `error`."""
        train, skipped = self.config.train, self.skipped.numpy().tolist()
        if train.on_nan != "rollback" or len(skipped) >= train.max_rollbacks:
            raise error
        self.run_dir.refresh()
        path = self.checkpoints.restore()
        self.skipped.assign([*skipped, error.step])
        resumed = self.run_dir.named(str(path))
        print(f"The loss of step {error.step} is not finite: resuming from {resumed} without that batch")
        step = int(self.learner.step.numpy())
        if self.stage.head_alone:  # The checkpoint may be of before it, with the head that it does not begin with.
            if step < self.stage.first_step:
                raise error
            self._begin_stage(self.stage, anew=step == self.stage.first_step)
        return step

    def _train(self, step: int, log: RunLog | None, progress: terminal.Progress, stop: StopRequest) -> None:
        """Trains from a step to the end; only the chief, which has a `log`, evaluates and writes."""
        train = self.config.train
        on_device = self.config.device.input == "device"
        iterator, skipped = None, self.skipped.numpy().tolist()
        started, saved = time.monotonic() - (log.seconds if log else 0.0), time.monotonic()
        totals = self.totals.numpy()
        count = 1  # The first call also compiles, so its time says nothing about the steps.
        while step < train.total_steps and not self._out_of_patience(step, log, progress):
            stage = next(one for one in self.stages if step < one.end)
            if stage != self.stage:
                self._begin_stage(stage, anew=step == stage.first_step)
                iterator, count = None, 1
            if iterator is None and not on_device:
                iterator = self._batches(step)
            count = min(count, train.steps_per_epoch - step % train.steps_per_epoch, stage.end - step)
            called = time.monotonic()
            source = self._shown_step(tf.range(step, step + count, dtype=tf.int64), skipped) if on_device else iterator
            rows = self.runner(source, count)
            seconds = time.monotonic() - called
            self._check_finite(rows, step)
            totals = totals if totals.size else np.zeros(rows.shape[1])
            for row in rows.astype(np.float64):  # One by one, so that the sum does not depend on the calls' lengths.
                totals = totals + row
            step += count
            speed = count * self.maker.images_per_step / max(seconds, 1e-9)
            progress.advance(count, console.metrics_text(dict(zip(self.runner.names, rows[-1], strict=True)), speed))
            if step > 1:
                count = max(1, min(2 * count, round(count * CALL_SECONDS / seconds)))
            # Workers must make calls of the same length and stop at the same step.
            agreed_count, stopping = self.workers.agreed([count, bool(stop.number)])
            count = int(agreed_count)
            if step % train.steps_per_epoch == 0:
                if log is not None:
                    sums = dict(zip(self.runner.names, totals.tolist(), strict=True))
                    trained_for = time.monotonic() - started
                    images = images_before(self.config, step)
                    row = record.epoch_row(train, self.data, self.learner, self.monitor, sums, trained_for, images)
                    with _storage(self.run_dir):
                        log.append(row)
                        self.best.offer(log.rows)
                        self.early_look.after(row.epoch)
                totals = totals[:0]
            due = time.monotonic() - saved > 60 * train.checkpoint_minutes
            if step % train.steps_per_epoch == 0 or stopping or due:
                self.totals.assign(totals)
                saved = time.monotonic()
                if log is not None:
                    with _storage(self.run_dir):
                        self.checkpoints.save(step)
                        self.run_dir.publish()
                    if step % train.steps_per_epoch == 0:  # Only now, as an epoch that is printed is not to be lost.
                        optimizer = vars(self.config.optimizer)
                        progress.line(console.epoch_text(log.rows[-1], train.epochs, self.data.class_names, optimizer))
                if stopping:
                    raise Interrupted(
                        stop.number or signal.SIGTERM,
                        f"Stopped at step {step}, saved as {self.run_dir.named(str(self.checkpoints.latest))}; "
                        "the same command resumes from there.",
                    )

    def _out_of_patience(self, step: int, log: RunLog | None, progress: terminal.Progress) -> bool:
        """Whether training ends before its last epoch; it follows from the rows, so a resumed run ends there, too."""
        train = self.config.train
        if not train.patience or step % train.steps_per_epoch:
            return False
        ends = log is not None and out_of_patience(log.rows, train.patience)
        if ends:
            progress.line(
                f"Stopped after epoch {step // train.steps_per_epoch}: --patience={train.patience} epochs without a "
                "better balanced accuracy on the validation images"
            )
        return bool(self.workers.agreed([ends]).any())

    def _check_finite(self, rows: np.ndarray, step: int) -> None:
        losses = rows[:, self.runner.names.index("loss")]
        if not np.isfinite(losses).all():
            bad = step + int(np.flatnonzero(~np.isfinite(losses))[0])
            raise NonFiniteLoss(
                bad,
                f"The loss of step {bad} is {losses[bad - step]}. The last good checkpoint is "
                f"{self.run_dir.named(self.checkpoints.latest or 'none: no epoch was completed')}. "
                "Try a lower --learning_rate, or look at the images.",
            )

    def _finish(self, log: RunLog) -> Result:
        """Writes the result; with validation images, this is where the test images are read."""
        rows = log.rows
        if self.data.validation is not None:
            test = record.scores_now(self.learner, self.evaluator)
            rows = [*rows[:-1], dataclasses.replace(rows[-1], test=test)]
        result = record.result(self.config, self.data, self.learner, self.evaluator, rows, hardware(self.strategy))
        if self.data.validation is not None:
            choices = record.la_choices(self.config, self.learner, self.monitor, rows[-1])
            result = dataclasses.replace(result, la_choices=choices)
            result = dataclasses.replace(result, best=self._scored_best(result, rows))
        with _storage(self.run_dir):
            record.draw(rows, self.data, self.run_dir.path)
            self.run_dir.write_result(result)
            self.run_dir.publish()
        return result

    def _scored_best(self, result: Result, rows: Sequence[EpochRow]) -> BestEpoch:
        """The best epoch by the validation images with its test scores; leaves the learner with its weights."""
        best = best_row(rows)
        if best is not rows[-1]:
            self.best.restore(best.step)
            best = dataclasses.replace(best, test=record.scores_now(self.learner, self.evaluator))
        return dataclasses.replace(result.best, validation=best.validation, test=best.test)
