"""One training from its config, data and folder to its result: `train`."""

import json
import pathlib
import signal
import statistics
import sys
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from udal_tf import __version__
from udal_tf.augment.views import make_views
from udal_tf.config import Config
from udal_tf.core import alignment
from udal_tf.data.dataset import SslData
from udal_tf.input import pipeline
from udal_tf.methods.learner import Learner
from udal_tf.methods.refiner import Refiner
from udal_tf.models.build import build_model
from udal_tf.recipes import METHODS
from udal_tf.reporting import console, plots
from udal_tf.reporting.run_log import RunLog, write_json
from udal_tf.training.checkpointing import Checkpoints
from udal_tf.training.evaluation import Evaluator
from udal_tf.training.steps import StepRunner

# A compiled call runs as many steps as take about this long, to show progress and to stop in time.
CALL_SECONDS = 1.0
# CReST also reports the median of the last epochs.
MEDIAN_EPOCHS = 20
# Folds of one seed must differ in their initial weights and order of pictures, too.
FOLD_SEEDS = 1000


class NonFiniteLoss(RuntimeError):
    """The loss is no longer a number; the message names the step and the last good checkpoint."""


class Interrupted(RuntimeError):
    """A signal asked to stop, and the state is saved. `signal_number` says which."""

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.signal_number = signal_number


class _StopRequest:
    """Remembers SIGTERM or SIGINT until the loop comes to a point where it can save."""

    def __init__(self):
        self.signal_number = 0

    def __enter__(self):
        self._previous = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _handle(self, number, frame):
        self.signal_number = number

    def __exit__(self, *exception):
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def make_learner(config: Config, data: SslData) -> Learner:
    """A new learner; its weights come from Keras's generator, which the run has seeded."""
    model = build_model(config.model, data.train.shape, data.num_classes)
    refiner = None
    if METHODS[config.method.method].refined:
        refiner = Refiner(config.darp, len(data.unlabeled), data.p_unlabeled, config.train.total_steps)
    return Learner(model, data.p_data, config.method, config.optimizer, config.train, refiner)


def run_seed(config: Config) -> int:
    """The seed of everything random in training; the fold is part of it."""
    return config.train.seed * FOLD_SEEDS + config.data.fold


def train(config: Config, data: SslData, folder: pathlib.Path) -> dict[str, Any]:
    """Trains by `config` on `data`, going on from the folder's last checkpoint; writes and returns `result.json`.

    Raises:
      CheckpointError: where no checkpoint can be read.
      NonFiniteLoss, Interrupted: see there; the same call goes on from the last checkpoint.
    """
    finished = folder / "result.json"
    if finished.exists():
        return json.loads(finished.read_text(encoding="utf-8"))
    folder.mkdir(exist_ok=True)
    return _Run(config, data, folder).run()


def trained_learner(config: Config, data: SslData, folder: pathlib.Path) -> Learner:
    """The learner of a training that `train` has finished, with its last state."""
    run = _Run(config, data, folder)
    run.checkpoints.restore()
    return run.learner


class _Run:
    """The objects of one training while it lasts."""

    def __init__(self, config: Config, data: SslData, folder: pathlib.Path):
        self.config, self.data, self.folder = config, data, folder
        self.views = make_views(config.augment, *data.train.shape)
        self.strategy = tf.distribute.get_strategy()
        keras.utils.set_random_seed(run_seed(config))
        if config.train.deterministic:
            tf.config.experimental.enable_op_determinism()
        with self.strategy.scope():
            self.learner = make_learner(config, data)
        self.runner = StepRunner(self.strategy, self.learner)
        test = pipeline.evaluation_batches(
            data.test, np.arange(len(data.test)), self.views.plain, config.train.eval_batch_size
        )
        self.evaluator = Evaluator(self.learner, test, data.test_labels)
        # Sums of the epoch's metrics so far; in the checkpoint, so that a run cut within an epoch adds up the same.
        self.totals = tf.Variable([], shape=[None], dtype=tf.float64)
        self.checkpoints = Checkpoints(folder / "checkpoints", learner=self.learner, totals=self.totals)

    def _batches(self, start_step: int):
        train, data = self.config.train, self.data
        sets = {pipeline.LABELED: pipeline.PictureSet(data.train, data.labeled, data.labels_l, train.batch_size)}
        base = self.learner.base
        requests = base.views
        if any(of_set == pipeline.UNLABELED for _, of_set, _ in requests):
            sets[pipeline.UNLABELED] = pipeline.PictureSet(
                data.train, data.unlabeled, data.train_labels[data.unlabeled], train.unlabeled_batch_size
            )
        self.images_per_step = sum(sets[of_set].batch_size for _, of_set, _ in requests)
        seed = run_seed(self.config)
        mixup_beta = self.config.method.mixup_beta if base.mixes else None

        @tf.autograph.experimental.do_not_convert  # No Python branch in it asks a tensor; converting takes seconds.
        def batch_of_step(step):
            return pipeline.make_batch(step, sets, requests, self.views, seed, mixup_beta)

        batches = pipeline.training_batches(batch_of_step, start_step, train.total_steps)
        return iter(self.strategy.experimental_distribute_dataset(batches))

    def run(self) -> dict[str, Any]:
        train = self.config.train
        restored = self.checkpoints.restore()
        step = int(self.learner.step.numpy())
        log = RunLog(self.folder, step)
        if restored:
            print(f"Going on from step {step} of {train.total_steps} ({restored})")
        iterator = self._batches(step)
        progress = console.Progress(train.total_steps, step, self.images_per_step)
        with _StopRequest() as stop:
            try:
                self._train(step, iterator, log, progress, stop)
            finally:
                progress.close()
        return self._finish(log)

    def _train(self, step: int, iterator, log: RunLog, progress: console.Progress, stop: _StopRequest) -> None:
        train = self.config.train
        started, saved = time.monotonic() - log.seconds, time.monotonic()
        totals = self.totals.numpy()
        count = 1  # The first call also compiles: nothing to measure a step by.
        while step < train.total_steps:
            left = train.steps_per_epoch - step % train.steps_per_epoch
            count = min(count, left)
            called = time.monotonic()
            rows = self.runner(iterator, count)
            seconds = time.monotonic() - called
            self._check_finite(rows, step)
            totals = totals if totals.size else np.zeros(rows.shape[1])
            for row in rows.astype(np.float64):  # One after the other: the sum must not depend on the calls' lengths.
                totals = totals + row
            step += count
            progress.advance(count, dict(zip(self.runner.names, rows[-1], strict=True)), seconds)
            if step > 1:
                count = max(1, min(2 * count, round(count * CALL_SECONDS / seconds)))
            if step % train.steps_per_epoch == 0:
                log.append(self._epoch_row(step, totals, time.monotonic() - started))
                progress.line(console.epoch_text(log.rows[-1], train.epochs))
                totals = totals[:0]
            due = time.monotonic() - saved > 60 * train.checkpoint_minutes
            if step % train.steps_per_epoch == 0 or stop.signal_number or due:
                self.totals.assign(totals)
                path = self.checkpoints.save(step)
                saved = time.monotonic()
                if stop.signal_number:
                    raise Interrupted(
                        stop.signal_number,
                        f"Stopped at step {step}, saved as {path}; the same command goes on from there.",
                    )

    def _check_finite(self, rows: np.ndarray, step: int) -> None:
        losses = rows[:, self.runner.names.index("loss")]
        if not np.isfinite(losses).all():
            bad = step + int(np.flatnonzero(~np.isfinite(losses))[0])
            raise NonFiniteLoss(
                f"The loss of step {bad} is {losses[bad - step]}. The last good checkpoint is "
                f"{self.checkpoints.latest or 'none: no epoch was finished'}. "
                "Try a lower --learning_rate, or look at the pictures."
            )

    def _epoch_row(self, step: int, totals: np.ndarray, seconds: float) -> dict[str, Any]:
        train = self.config.train
        means = totals / train.steps_per_epoch
        epoch = step // train.steps_per_epoch
        train_figures = dict(zip(self.runner.names, means.tolist(), strict=True))
        p_target = alignment.tempered(tf.constant(self.data.p_data), train_figures["alpha"])
        if np.any(self.data.train_labels[self.data.unlabeled] < 0):
            train_figures.pop("confident_correct", None)  # Nobody knows which pseudo-labels are right.
        return {
            "step": step,
            "epoch": epoch,
            "seconds": seconds,
            "train": train_figures,
            "test": self.evaluator(self.learner.la_prior().numpy()),
            "p_model": self.learner.p_model().numpy().tolist(),
            "p_target": p_target.numpy().tolist(),
        }

    def _finish(self, log: RunLog) -> dict[str, Any]:
        path, data, train = self.folder, self.data, self.config.train
        names = list(data.class_names)
        test = log.rows[-1]["test"]
        median = statistics.median(row["test"]["accuracy"]["ema"] for row in log.rows[-MEDIAN_EPOCHS:])
        plots.training_curves(log.rows, path / "training_curves.png")
        plots.per_class_recall(
            test["per_class_recall"], names, data.provenance["labeled_counts"], path / "per_class_recall.png"
        )
        plots.pseudo_label_divergence(log.rows, data.p_data.tolist(), names, path / "pseudo_label_divergence.png")
        result = {
            **test,
            "median_ema_accuracy": {"epochs": min(MEDIAN_EPOCHS, len(log.rows)), "accuracy": median},
            "config": self.config.to_dict(),
            "class_names": names,
            "p_data": data.p_data.tolist(),
            "la_prior": {"kind": self.config.method.la_prior, "shares": self.learner.la_prior().numpy().tolist()},
            "steps": train.total_steps,
            "seconds": log.seconds,
            "data": data.provenance,
            "versions": {
                "udal_tf": __version__,
                "python": sys.version.split()[0],
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
            },
        }
        write_json(path / "result.json", result)
        return result
