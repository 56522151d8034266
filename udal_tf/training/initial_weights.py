"""The weights that a run starts from: random ones, or those that --pretrained names."""

import dataclasses
import functools
import hashlib
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from udal_tf import storage
from udal_tf.config import Config
from udal_tf.methods.ldam_drw import NormalizedDense
from udal_tf.methods.learner import Learner
from udal_tf.methods.network import SECOND_HEAD
from udal_tf.models import applications, pretrained
from udal_tf.models.build import build_model
from udal_tf.registry import BACKBONES
from udal_tf.run_dir import CHECKPOINTS, RunDir
from udal_tf.run_records import RunDirError
from udal_tf.sections import IMAGENET, NO_WEIGHTS, WEIGHT_FILE, WORK_FOLDER
from udal_tf.shown_names import shown
from udal_tf.storage import check_regular
from udal_tf.training.weights import latest_weights, network_of_run, part_with_model, restore_weights

_BLOCK = 1 << 20


def identified(config: Config) -> Config:
    """The config with the SHA-256 of the file or the checkpoint that --pretrained names, part of the run's identity.

    A run that has begun needs neither any more: if they are gone, it keeps the hash that it began with.

    Raises:
      ValueError: if there is no such file or finished run, and the run has not begun.
    """
    model = config.model
    if model.pretrained_kind not in (WORK_FOLDER, WEIGHT_FILE):
        return config
    path, run_dir = pathlib.Path(model.pretrained).expanduser(), RunDir(config.train.workdir)
    found = _hash_of(*([path] if model.pretrained_kind == WEIGHT_FILE else _checkpoint_files(model.pretrained)))
    if not found and run_dir.begun:
        begun_with = run_dir.config().model
        found = begun_with.pretrained_sha256 if begun_with.pretrained == model.pretrained else ""
    elif not found and model.pretrained_kind == WORK_FOLDER:
        _finished(model.pretrained)
    elif not found:
        raise ValueError(f"--pretrained={shown(path)} is not a file")
    return dataclasses.replace(config, model=dataclasses.replace(model, pretrained_sha256=found))


def _hash_of(*paths: str | os.PathLike) -> str:
    """SHA-256 of the contents of files, one after the other; "" for none, or if one is missing or no regular file."""
    try:
        for path in paths:
            check_regular(path)
        facts = [os.stat(path) for path in paths]
        return _sha256(tuple((str(p), s.st_size, s.st_mtime_ns) for p, s in zip(paths, facts, strict=True)))
    except OSError:
        return ""  # `check` says what is wrong with it.


@functools.lru_cache
def _sha256(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in files:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest() if files else ""


def _checkpoint_files(workdir: str) -> list[pathlib.Path]:
    """The files of a run's last checkpoint, in the order of their names."""
    try:
        part = part_with_model(RunDir(workdir))[1]
        last = latest_weights(part, CHECKPOINTS) if part else None
    except OSError:
        return []
    path = pathlib.Path(last) if last else None
    return sorted(path.parent.glob(f"{path.name}.*")) if path else []


def check(config: Config, image_shape: tuple[int, int, int]) -> None:
    """Raises ValueError if `load` would, by trying it on a temporary model. Downloads published weights."""
    if config.model.pretrained_kind == WORK_FOLDER:
        _check_network(config, _finished(config.model.pretrained), image_shape)
    elif config.model.pretrained_kind != NO_WEIGHTS:
        _load_backbone(config, build_model(config.model, image_shape, num_classes=2, own=config.own.arch))


def load(config: Config, learner: Learner, class_names: tuple[str, ...]) -> str:
    """Gives a new run's learner the weights that --pretrained names, if any; returns what was done, for people.

    Files and published weights fill all layers but the last. A work folder's EMA weights fill those, too, and of the
    last layer and of a second head the classes of the same name; other classes keep their random weights.

    Raises:
      ValueError: if they are missing or are those of another network.
    """
    kind, name = config.model.pretrained_kind, shown(config.model.pretrained)
    said = ""
    if kind == WORK_FOLDER:
        said = _warm_start(config, learner, class_names)
    elif kind != NO_WEIGHTS:
        _load_backbone(config, learner.model)
        said = f"Initial weights: {name}, a new last layer"
        if kind == IMAGENET:
            said = f"Initial weights: {pretrained.described(BACKBONES[config.model.arch])}, a new last layer"
    learner.begin_averages()
    return said


def _load_backbone(config: Config, model: keras.Model) -> None:
    if config.model.pretrained_kind == IMAGENET:
        applications.load_pretrained(model, config.model.arch, pretrained.published_file(BACKBONES[config.model.arch]))
        return

    def rebuilt(num_classes: int) -> keras.Model:
        return build_model(config.model, model.input_shape[1:], num_classes, own=config.own.arch)

    pretrained.load_file(model, config.model, rebuilt)


def _finished(workdir: str) -> RunDir:
    """The folder of a finished run. Raises ValueError if it is not one."""
    run_dir = RunDir(workdir)
    if not run_dir.begun:
        what = "holds no run" if storage.is_dir(run_dir.path) else "does not exist"
        is_file = what != "holds no run" and storage.exists(run_dir.path)
        raise ValueError(
            f"--pretrained={shown(workdir)} must be {IMAGENET}, a .h5, .weights.h5 or .keras file, or the work folder "
            f"of a run, but it {'is a file of another kind' if is_file else what}"
        )
    if not run_dir.finished:
        raise ValueError(f"--pretrained={shown(workdir)}: that run is not finished; finish it first")
    return run_dir


def _model_part(run_dir: RunDir) -> RunDir:
    """The folder with the model of a run: its own, or that of its last generation. Raises ValueError without one."""
    part = part_with_model(run_dir)[1]
    if part is None:
        raise ValueError(f"--pretrained={shown(run_dir.path)} has no checkpoint")
    return part


def _check_network(config: Config, run_dir: RunDir, image_shape: tuple[int, int, int]) -> Config:
    """The config of the earlier run. Raises ValueError if its network is another one than this run's."""
    try:
        theirs, facts = run_dir.config(), _model_part(run_dir).model()
    except RunDirError as error:
        raise ValueError(f"--pretrained={shown(run_dir.path)} cannot be used: {error}") from error
    values = [
        {
            "arch": one.model.arch,
            **(dataclasses.asdict(one.own.arch) if one.own.arch else {}),
            "channels": shape[-1],
            "pixels": "published" if one.model.published_pixels else "plain",
        }
        for one, shape in ((theirs, facts.input_shape), (config, image_shape))
    ]
    different = [
        f"--{name}={values[0].get(name, 'none')} there, {values[1].get(name, 'none')} here"
        for name in {**values[0], **values[1]}
        if values[0].get(name) != values[1].get(name)
    ]
    if different:
        raise ValueError(
            f"--pretrained={shown(run_dir.path)} is a run of another network ({'; '.join(different)}): train the same "
            "one, which leaving these flags out does, or choose other initial weights"
        )
    return theirs


def _warm_start(config: Config, learner: Learner, class_names: tuple[str, ...]) -> str:
    run_dir = _finished(config.model.pretrained)
    shape = learner.model.input_shape[1:]
    theirs = _check_network(config, run_dir, shape)
    part = _model_part(run_dir)
    facts, checkpoint = part.model(), latest_weights(part, CHECKPOINTS) or ""
    network = network_of_run(theirs, shape, len(facts.class_names))
    source = network.model
    averages = [tf.Variable(variable.value) for variable in network.averaged]
    try:
        restore_weights(checkpoint, network, averages)
    except (AssertionError, IndexError, RuntimeError, tf.errors.OpError) as error:  # Of damaged files.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"--pretrained={shown(run_dir.path)}: {shown(checkpoint)} cannot be read ({reason})"
        ) from error
    for variable, average in zip(network.averaged, averages, strict=True):
        variable.assign(average)
    for layer, other in zip(learner.model.layers[:-1], source.layers[:-1], strict=True):
        layer.set_weights(other.get_weights())
    predicting = network.evaluated.layers[-1]
    # With a second head in both runs, each head continues as itself; otherwise all begin as the one that predicts.
    first = source.layers[-1] if learner.second_head is not None else predicting
    known = [(c, facts.class_names.index(name)) for c, name in enumerate(class_names) if name in facts.class_names]
    _copy_classes(learner.model.layers[-1], first, known)
    if learner.second_head is not None:
        _copy_classes(learner.heads[SECOND_HEAD], predicting, known)
    new = [name for name in class_names if name not in facts.class_names]
    rows = f"{len(known)} of {len(class_names)} classes" + (f", new: {', '.join(map(shown, new))}" if new else "")
    if isinstance(predicting, NormalizedDense) != isinstance(learner.network.evaluated.layers[-1], NormalizedDense):
        rows += ", the directions of their weights alone, as one of the two heads is normalized"
    return f"Initial weights: the EMA weights of {shown(run_dir.path)}; of the last layer {rows}"


def _copy_classes(head: keras.layers.Dense, source: keras.layers.Dense, pairs: list[tuple[int, int]]) -> None:
    """Gives classes of a head the weights of classes of another one: (class here, class there).

    A normalized head has directions alone: another head gets them with a length of 1, and without biases, and so
    predicts the same classes with another confidence.
    """
    weights = [np.array(values) for values in head.get_weights()]
    given = _kernel_and_bias(source)[: len(weights)]  # Not every head has a bias.
    for values, others in zip(weights, given, strict=True):
        for ours, theirs in pairs:
            values[..., ours] = others[..., theirs]
    head.set_weights(weights)


def _kernel_and_bias(head: keras.layers.Dense) -> tuple[np.ndarray, np.ndarray]:
    """[F, C] and [C]: zeros where a head has no bias, and a normalized head's directions."""
    kernel, *bias = (np.array(values) for values in head.get_weights())
    if isinstance(head, NormalizedDense):
        kernel /= np.linalg.norm(kernel, axis=0)
    return kernel, bias[0] if bias else np.zeros(kernel.shape[-1], np.float32)
