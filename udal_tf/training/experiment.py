"""One experiment from its config to its result: `train_and_evaluate`, what `run.py` calls."""

import keras
import tensorflow as tf

from udal_tf import registry
from udal_tf.augment import randaugment
from udal_tf.augment.views import make_views
from udal_tf.config import Config
from udal_tf.data import settings, sources
from udal_tf.data.dataset import ArrayImages, DataError, SslData
from udal_tf.data.encoded import EncodedImages
from udal_tf.data.folder_layout import VALIDATION
from udal_tf.folder_recipe import network_warnings
from udal_tf.methods.learner import layers_of
from udal_tf.models.build import build_model, check_images_fit
from udal_tf.reporting import console, terminal
from udal_tf.run_dir import SKIPPED, OwnRunDir
from udal_tf.run_records import Result
from udal_tf.training import initial_weights, loop
from udal_tf.training.distribute import (
    DeviceError,
    Workers,
    check_fits,
    check_pod,
    compiled,
    hardware,
    is_out_of_memory,
    make_strategy,
    out_of_memory,
)
from udal_tf.training.unlabeled_prior import stated_prior, with_unlabeled_prior


def _network_warnings(config: Config, data: SslData) -> list[str]:
    """What `udal-inspect` warns of, too, where a recipe depends on the images."""
    facts, model = data.provenance.get("recipe_facts"), config.model
    if not facts:
        return []
    in_training = facts["labeled"] + facts["unlabeled"]
    found = network_warnings(model.arch, model.pretrained, data.train.shape[0], facts["side"], in_training)
    return list(found.values())


def train_and_evaluate(config: Config) -> Result:
    """Trains by `config`, resuming from its work folder's last checkpoint, and returns the content of `result.json`.

    Raises:
      DataError, DeviceError, RunDirError: before anything is written.
      CheckpointError: if no checkpoint can be read.
      NonFiniteLoss, Interrupted, StorageError, WorkerLost: the same command resumes from the last checkpoint.
      OutOfMemory: the same command would raise it again.
    """
    strategy = make_strategy(config.device)
    with strategy.scope():
        return _train_and_evaluate(config, strategy)


def _check_pooling(config: Config, data: SslData) -> None:
    """Raises DeviceError if the network has max pooling, whose gradient XLA does not compute reproducibly."""
    model = build_model(config.model, data.train.shape, data.num_classes, own=config.own.arch)
    if any(isinstance(layer, keras.layers.MaxPooling2D) for layer in layers_of(model)):
        flag = "--jit" if config.device.jit else "--input=device"
        raise DeviceError(
            f"{flag} cannot compile the gradient of max pooling, which --arch={config.model.arch} has, so that results "
            f"are reproducible: leave {flag} out, or give --deterministic=false"
        )


def _train_and_evaluate(config: Config, strategy: tf.distribute.Strategy) -> Result:
    check_fits(strategy, config.train.batch_size, config.device)
    check_pod(strategy, config.train.workdir, config.data.data_dir)
    workers = Workers()
    try:
        config = initial_weights.identified(config)
    except ValueError as error:
        raise DataError(str(error)) from error
    run_dir = OwnRunDir(config)
    if run_dir.finished:
        print(f"This run is already finished; its results are in {run_dir.named(run_dir.path)}")
        return run_dir.result()
    if workers.is_chief:
        print(console.settings_text(config))
        print(console.hardware_text(hardware(strategy)))
    with workers.chief_first():  # Hosts that share a disk share its cache.
        data = sources.load(config.data, config.own.dataset)
    settings.check_unlabeled(config, len(data.unlabeled_only))
    if workers.is_chief:
        print(console.provenance_text(data.provenance, data.class_names))
        for text in _network_warnings(config, data):
            print(terminal.wrapped(f"Warning: {text}", following="  "))
    method = config.records.method
    if config.device.input == "device" and not isinstance(data.train, ArrayImages):
        raise DataError(
            f"--input=device needs images in memory, and those of {config.data.dataset} are read from files"
        )
    if config.device.tpu not in ("", "local") and not isinstance(data.train, ArrayImages):
        raise DataError(
            f"The images of {config.data.dataset} are read from files of this machine, while --tpu={config.device.tpu} "
            "makes batches on its own: run on the TPU's VM, with --tpu=local"
        )
    try:
        make_views(config.augment, *data.train.shape)
        check_images_fit(config.model, data.train.shape)
        if not run_dir.begun:
            initial_weights.check(config, data.train.shape)
        registry.resolved(method.behavior).check(config.own.method, data)
        stated_prior(config.method, data.p_data, data.class_names)
    except ValueError as error:
        raise DataError(f"The settings do not fit {config.data.dataset}: {error}") from error
    if config.train.deterministic and compiled(config.device, strategy):
        _check_pooling(config, data)
    if config.train.patience and data.validation is None:
        own = f", or images in {VALIDATION}/" if config.records.dataset.by_folder else ""
        raise DataError(f"--patience={config.train.patience} needs validation images: give --validation=0.2{own}")
    left_out = randaugment.left_out_text(config.augment.strong_ops, data.train.shape[-1])
    if left_out and workers.is_chief:
        print(left_out)
    with workers.chief_first():
        if workers.is_chief:
            run_dir.open()
            if data.skipped:
                run_dir.write_skipped(data.skipped)
                print(f"Images skipped, with the reasons: {run_dir.named(run_dir / SKIPPED)}")
        else:
            run_dir.follow()
    try:
        with workers.watched():
            data = with_unlabeled_prior(config, data)
            if method.prepare:
                data = registry.resolved(method.prepare)(config, data, run_dir)
            train = registry.resolved(method.train) if method.train else loop.train
            return train(config, data, run_dir)
    except tf.errors.OpError as error:
        if is_out_of_memory(error):
            raise out_of_memory(error) from error
        faults = [images.fault() for images in (data.train, data.test) if isinstance(images, EncodedImages)]
        if not any(faults):
            raise
        raise DataError(
            f"{config.data.dataset}: an image cannot be read: {' and '.join(filter(None, faults))}.\n"
            "Replace it by a good copy; the same command then resumes from the last checkpoint."
        ) from error
    finally:
        run_dir.close()
