"""One experiment from its config to its result: `train_and_evaluate`, what `run.py` calls."""

from typing import Any

import tensorflow as tf

from udal_tf import registry
from udal_tf.augment.views import make_views
from udal_tf.config import Config
from udal_tf.data import sources
from udal_tf.data.dataset import ArrayPictures, DataError
from udal_tf.models.build import check_pictures_fit, check_pretrained
from udal_tf.reporting import console
from udal_tf.training import loop
from udal_tf.training.distribute import Workers, check_fits, hardware, make_strategy
from udal_tf.training.unlabeled_prior import stated_prior, with_unlabeled_prior
from udal_tf.training.workdir import Workdir


def train_and_evaluate(config: Config) -> dict[str, Any]:
    """Trains by `config`, going on from its work folder's last state, and returns what `result.json` holds.

    Raises:
      DataError, DeviceError, WorkdirError: before anything is written.
      CheckpointError: where no checkpoint can be read.
      NonFiniteLoss, Interrupted, StorageError, WorkerLost: the same command goes on from the last checkpoint.
    """
    strategy = make_strategy(config.device)
    with strategy.scope():
        return _train_and_evaluate(config, strategy)


def _train_and_evaluate(config: Config, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    check_fits(strategy, config.train.batch_size, config.device.jit)
    workers = Workers()
    workdir = Workdir(config)
    finished = workdir.result()
    if finished:
        print(f"This run is finished already; its results are in {workdir.path}")
        return finished
    if workers.is_chief:
        print(console.settings_text(config.to_dict()))
        print("Hardware: " + "  ".join(f"{name}={value}" for name, value in hardware(strategy).items()))
    data = sources.load(config.data, config.own.dataset)
    if workers.is_chief:
        print(console.provenance_text(data.provenance, data.class_names))
    method = config.records["method"]
    if config.device.input == "device" and not isinstance(data.train, ArrayPictures):
        raise DataError(
            f"--input=device needs pictures in memory, and those of {config.data.dataset} are read from files"
        )
    try:
        make_views(config.augment, *data.train.shape)
        check_pictures_fit(config.model, data.train.shape)
        if workdir.is_new:
            check_pretrained(config.model, data.train.shape)
        registry.resolved(method.behavior).check(config.own.method, data)
        stated_prior(config.method, data.p_data, data.class_names)
    except ValueError as error:
        raise DataError(f"The settings do not fit {config.data.dataset}: {error}") from error
    with workers.chief_first():
        if workers.is_chief:
            workdir.open()
    try:
        with workers.watched():
            data = with_unlabeled_prior(config, data)
            if method.prepare:
                data = registry.resolved(method.prepare)(config, data, workdir.path)
            train = registry.resolved(method.train) if method.train else loop.train
            return train(config, data, workdir.path)
    finally:
        workdir.close()
