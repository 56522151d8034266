"""Using a trained model: `load` a work folder, `predict` the classes of images."""

import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np
import scipy.special
import tensorflow as tf

from udal_tf import registry
from udal_tf.augment.views import normalize
from udal_tf.core.rebalancing import tau_normalized
from udal_tf.data.dataset import DataError
from udal_tf.data.files import NAMED
from udal_tf.inference import image_files, priors, workfolder
from udal_tf.inference.workfolder import LAST, RAW, WEIGHTS, ModelError, WorkFolder
from udal_tf.methods import own_prior
from udal_tf.methods.method import Method, make_method
from udal_tf.methods.network import features_of
from udal_tf.shown_names import shown
from udal_tf.training.distribute import usable_cores
from udal_tf.training.weights import network_of_run, problem_of, restore_weights

# The batch size: as many images as have this many pixels, but at most 64.
PIXELS_PER_PASS = 1 << 18
MOST_PER_PASS = 64


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A model's predictions for N images.

    Attributes:
      probs: [N, C] float32, rows sum to 1.
      labels: [N] int64, the most probable class of each image.
      names: N names of these classes.
    """

    probs: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]


class TrainedModel:
    """The network of a work folder with the requested weights; made by `load`.

    Layers compute in float32, also after mixed-precision training.

    Attributes:
      folder: the work folder's contents.
      class_names: C names.
      input_shape: (H, W, C) of an image.
      p_data: [C] float32, the class prior of the labeled images.
      network: Keras model, float32 [B, H, W, C] in [−1, 1] -> logits [B, C].
      batch_size: images per forward pass. Smaller batches are padded, so that one trace serves all and an image's
        logits do not depend on the other images.
    """

    def __init__(self, folder: WorkFolder, weights: str, batch_size: int, tau_norm: float = 0.0):
        facts = folder.facts
        self.folder, self.weights, self.tau_norm = folder, weights, tau_norm
        self.class_names = tuple(facts.class_names)
        height, width, channels = facts.input_shape
        self.input_shape = (height, width, channels)
        self.p_data = np.array(facts.p_data, np.float32)
        self.batch_size = batch_size or max(1, min(PIXELS_PER_PASS // (height * width), MOST_PER_PASS))
        self.network = _network(folder, weights, self.input_shape, len(self.class_names), tau_norm)
        self._read = image_files.reader(folder.config.data.dataset, self.input_shape)
        self._run = self._traced(lambda images: [self.network(normalize(images), training=False)])

    @functools.cached_property
    def _run_with_features(self) -> Callable[[tf.Tensor], Sequence[tf.Tensor]]:
        try:
            images, features, logits = features_of(self.network)
        except ValueError:  # A network of another kind: its logits are the only features known of it.
            return self._traced(lambda images: 2 * [self.network(normalize(images), training=False)])
        both = keras.Model(images, [logits, features])
        return self._traced(lambda images: both(normalize(images), training=False))

    def _traced(self, run: Callable[[tf.Tensor], Sequence[tf.Tensor]]) -> Callable[[tf.Tensor], Sequence[tf.Tensor]]:
        signature = [tf.TensorSpec([self.batch_size, *self.input_shape], tf.uint8)]
        return tf.function(run, input_signature=signature, autograph=False)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] uint8 images -> [N, C] float32 logits. Raises ValueError for a wrong shape or dtype."""
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != self.input_shape:
            raise ValueError(
                f"images must be uint8 [N, {', '.join(map(str, self.input_shape))}], got {images.dtype} "
                f"{list(images.shape)}; to predict files of any size, give their paths"
            )
        empty = np.zeros([0, len(self.class_names)], np.float32)
        return np.concatenate([empty, *(logits for (logits,) in self._in_batches(self._run, images))])

    def embed(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits [N, C] and the features [N, F] that the network's last layer is given, float32, of N > 0 images.

        images: as for `logits`. Of a network that does not end in a Dense layer, the features are its logits.
        """
        logits, features = zip(*self._in_batches(self._run_with_features, images), strict=True)
        return np.concatenate(logits), np.concatenate(features)

    def _in_batches(
        self, run: Callable[[tf.Tensor], Sequence[tf.Tensor]], images: np.ndarray
    ) -> Iterator[list[np.ndarray]]:
        for start in range(0, len(images), self.batch_size):
            some = images[start : start + self.batch_size]
            filled = np.pad(some, [(0, self.batch_size - len(some)), (0, 0), (0, 0), (0, 0)])
            yield [values.numpy()[: len(some)] for values in run(tf.constant(filled))]

    def logits_of_files(self, paths: Iterable[str]) -> Iterator[tuple[str, np.ndarray | str]]:
        """Each path with its image's logits [C], or what is wrong with it, in order.

        Files are read ahead by threads, a bounded number at a time.
        """
        for some in self.batches_of_files(paths):
            good = [pixels for _, pixels in some if not isinstance(pixels, str)]
            rows = iter(self.logits(np.stack(good)) if good else ())
            for path, pixels in some:
                yield path, pixels if isinstance(pixels, str) else next(rows)

    def batches_of_files(self, paths: Iterable[str]) -> Iterator[list[tuple[str, image_files.Pixels]]]:
        """Each path with its image as network input, or what is wrong with it, in order, a batch at a time."""
        read = image_files.read_ahead(paths, self._read, usable_cores())
        while some := list(itertools.islice(read, self.batch_size)):
            yield some

    def pixels(self, path: str | os.PathLike) -> image_files.Pixels:
        """An image file as network input, [H, W, C] uint8, or what is wrong with it."""
        return self._read(path)

    def source_prior(self, kind: str = "") -> np.ndarray:
        """[C] float32: the class prior that the model's predictions are assumed to follow, before LA (Inf).

        Args:
          kind: `labeled`, p_data; `own`, the prior that the method's labeled loss gives the model
            (`methods.own_prior.own_prior`); or "": as in the evaluation during training, chosen by --la_prior.

        Raises:
          ModelError: if it is not known for weights of this step.
        """
        config, row = self.folder.config, self.folder.row
        p_target = np.array(row.p_target, np.float32) if row else None
        kind = kind or config.method.la_prior
        if kind == own_prior.LABELED:
            return self.p_data
        try:
            if kind == own_prior.OWN:
                return own_prior.own_prior(config.method.method, self.p_data, p_target)
        except ValueError as error:
            raise ModelError(f"{shown(self.folder.run_dir.path)}: {error}") from error
        if self.folder.result:  # --la_prior=label_average or target, as it was at the end.
            return np.array(self.folder.result.la_prior.distribution, np.float32)
        raise ModelError(
            f"{shown(self.folder.run_dir.path)}: --la_prior={kind} is known only at the end of training; use the "
            f"source prior {own_prior.LABELED} for now"
        )

    def shift(self, target_prior: priors.Stated | None, source_prior: str = "") -> np.ndarray:
        """[C] float32, what LA (Inf) adds to the logits for a stated target prior; zeros for None.

        Raises:
          ValueError: see `priors.target_prior` and `source_prior`.
        """
        if target_prior is None:
            return np.zeros(len(self.class_names), np.float32)
        target = priors.target_prior(target_prior, self.class_names, self.p_data)
        return priors.shift(self.source_prior(source_prior), target)

    def predict(
        self,
        images: np.ndarray | Sequence[str | os.PathLike],
        target_prior: priors.Stated | None = None,
        source_prior: str = "",
    ) -> Prediction:
        """The classes of images.

        Args:
          images: [N, H, W, C] uint8 of the network's input shape, or N paths of image files of any size.
          target_prior: the class distribution of these images, for LA (Inf): `uniform`, `train`, a file, or numbers
            (see `priors.target_prior`); None for predictions without LA (Inf).
          source_prior: see `source_prior`; used only with a target prior.

        Raises:
          DataError: naming unreadable files.
          ValueError: for arrays of the wrong shape or dtype, or invalid priors.
        """
        added = self.shift(target_prior, source_prior)
        if isinstance(images, (str, os.PathLike)):
            raise ValueError(f"images must be an array or a list of paths, got {images!r}")
        if isinstance(images, np.ndarray) or not all(isinstance(path, (str, os.PathLike)) for path in images):
            logits = self.logits(np.asarray(images))
        else:
            logits = self._all_logits([os.fspath(path) for path in images])
        return self.prediction(logits, added)

    def prediction(self, logits: np.ndarray, shift: np.ndarray) -> Prediction:
        """The prediction for logits [N, C] after LA (Inf) adds `shift` [C]."""
        # In double precision, so that the last bit does not depend on the number of rows.
        probs = scipy.special.softmax(logits.astype(np.float64) + shift, axis=1).astype(np.float32)
        labels = probs.argmax(axis=1)
        return Prediction(probs, labels, tuple(self.class_names[label] for label in labels))

    def _all_logits(self, paths: Sequence[str]) -> np.ndarray:
        found = list(self.logits_of_files(paths))
        faults = [f"  {shown(path)}: {value}" for path, value in found if isinstance(value, str)]
        if faults:
            more = [f"  and {len(faults) - NAMED} more"] if len(faults) > NAMED else []
            raise DataError("\n".join([f"{len(faults)} images cannot be read:", *faults[:NAMED], *more]))
        return np.array([value for _, value in found], np.float32).reshape(len(found), len(self.class_names))


def load(
    workdir: str | os.PathLike[str],
    weights: str = LAST,
    unfinished: bool = False,
    batch_size: int = 0,
    tau_norm: float = 0.0,
) -> TrainedModel:
    """The model of a work folder, ready to predict.

    Args:
      workdir: the run's --workdir; with several generations, the last one's model is loaded.
      weights: `last`, the EMA weights at the end; `best`, the EMA weights of the epoch with the highest balanced
        accuracy on the validation images (without any, on the test images); `raw`, the weights at the end without EMA.
      unfinished: whether to accept an unfinished run, with its last checkpoint.
      batch_size: images per forward pass; 0: chosen by image size.
      tau_norm: τ ≥ 0 of the τ-normalized head: the last layer's weights of each class are divided by their norm^τ; 0:
        the head as it is.

    Raises:
      ModelError: if the folder has no such model.
      ValueError: for a τ that is not a finite number of at least 0.

    Example: ``udal_tf.load("runs/mine").predict(["a.jpg", "b.png"]).names``.
    """
    if not 0 <= tau_norm < math.inf:
        raise ValueError(f"tau_norm must be a number of at least 0, got {tau_norm}")
    return TrainedModel(workfolder.read(workdir, weights, unfinished), weights, batch_size, tau_norm)


def _network(
    folder: WorkFolder, weights: str, input_shape: tuple[int, int, int], num_classes: int, tau_norm: float
) -> keras.Model:
    """The inference network with its EMA weights, or RAW ones; a method's logit shift is added to its bias."""
    config, record = folder.config, folder.config.records.method
    try:
        network = network_of_run(config, input_shape, num_classes)
        averages = [tf.Variable(variable.value) for variable in network.averaged]
        method = None
        if registry.resolved(record.behavior).inference_shift is not Method.inference_shift:
            problem = problem_of(folder.facts)
            method = make_method(record, config.own.method, problem, config.method, network.model)
        restore_weights(folder.checkpoint, network, averages, method)
    except (AssertionError, ValueError, IndexError, RuntimeError, tf.errors.OpError) as error:
        # What TensorFlow raises for damaged files and for those of a different network.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the weights {shown(folder.checkpoint)} cannot be read: {reason}. Restore a good copy, or use other "
            f"weights ({', '.join(WEIGHTS)})"
        ) from error
    if weights != RAW:
        for variable, average in zip(network.averaged, averages, strict=True):
            variable.assign(average)
    head = network.evaluated.layers[-1]
    if tau_norm:
        head.kernel.assign(tau_normalized(head.kernel.value, tau_norm))
    shift = method.inference_shift(network.logits) if method else None
    if shift is not None:
        head.bias.assign_add(shift.numpy())
    # Of stock layers alone, so that it can be exported.
    return head.folded(network.evaluated) if hasattr(head, "folded") else network.evaluated
