"""Backbones of Keras Applications for large images; `resnet.py` has the ResNet-50 of UDAL's ImageNet-127 (§4.4.2).

Each is built with random weights; `load_pretrained` puts a local file's in their place. Its batch norm is Keras's own
layer, with the momentum of ours: `--batch_norm_momentum` instead of the value that the network was published with.
"""

import pathlib

import keras
import numpy as np
import tensorflow as tf

from udal_tf.config import NO_WEIGHTS, ModelConfig
from udal_tf.registry import BACKBONES

# ImageNet's mean and standard deviation per channel (red, green, blue), as Keras Applications have them: in 0…255 for
# "caffe", in 0…1 for "torch".
CAFFE_MEAN = (123.68, 116.779, 103.939)
TORCH_MEAN, TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Half of 0…255: what takes [−1, 1] there.
_HALF = 127.5


class PixelRange(keras.layers.Layer):
    """Images in [−1, 1] as the weights of a backbone expect them.

    Args:
      pixels: a convention of `registry.Backbone`: "caffe", "torch", "own" (0…255) or "tf" (as they are).

    Call with [B, H, W, 3] float32, red first.
    """

    def __init__(self, pixels: str, **kwargs):
        super().__init__(**kwargs)
        self.pixels = pixels

    def call(self, x):
        if self.pixels == "tf":
            return x
        if self.pixels == "torch":
            return ((x + 1.0) / 2.0 - tf.constant(TORCH_MEAN, x.dtype)) / tf.constant(TORCH_STD, x.dtype)
        x = x * _HALF + _HALF
        return tf.reverse(x - tf.constant(CAFFE_MEAN, x.dtype), [-1]) if self.pixels == "caffe" else x

    def in_stock_keras(self) -> keras.layers.Layer:
        """Layers of Keras's own of the same function, for `models.stock`."""
        if self.pixels == "tf":
            return keras.layers.Identity(name=self.name)
        if self.pixels == "torch":
            mean, variance = [2 * m - 1 for m in TORCH_MEAN], [(2 * s) ** 2 for s in TORCH_STD]
            return keras.layers.Normalization(mean=mean, variance=variance, name=self.name)
        to_bytes = keras.layers.Rescaling(_HALF, _HALF, name=self.name)
        if self.pixels == "own":
            return to_bytes
        inputs = keras.Input([None, None, 3])
        centerd = keras.layers.Normalization(mean=CAFFE_MEAN, variance=[1.0] * 3)(to_bytes(inputs))
        return keras.Model(inputs, keras.ops.flip(centerd, axis=-1), name=f"{self.name}_caffe")

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "pixels": self.pixels}


def build(input_shape: tuple[int, int, int], num_classes: int, config: ModelConfig, own: None = None) -> keras.Model:
    """`application` by the settings of a run, as its records have it."""
    return application(
        config.arch,
        input_shape,
        num_classes,
        config.batch_norm_momentum,
        config.sync_batch_norm,
        published_pixels=config.pretrained != NO_WEIGHTS,
    )


def application(
    arch: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    batch_norm_momentum: float = 0.999,
    sync_batch_norm: bool = False,
    published_pixels: bool = False,
) -> keras.Model:
    """A backbone with random initial weights, global average pooling and logits at its end.

    Args:
      arch: the name of a record with `keras_name`.
      input_shape: (H, W, 3), pixels in [−1, 1]. num_classes: the logits' length.
      batch_norm_momentum: decay of the moving statistics. sync_batch_norm: statistics over all replicas' images.
      published_pixels: whether the backbone sees pixels as its published weights expect them. Without such weights
        it sees [−1, 1], except those that scale 0…255 themselves.

    Returns:
      Keras model, float32 [B, H, W, 3] -> logits float32 [B, num_classes]. Dropout inside of the backbone is off: its
      random numbers would not follow from the step.
    """
    pixels = BACKBONES[arch].pixels
    inputs = keras.Input(input_shape, name="images")
    x = (
        PixelRange(pixels, name="pixel_range", dtype="float32")(inputs)
        if published_pixels or pixels == "own"
        else inputs
    )
    backbone = _backbone(arch, input_tensor=x)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum, layer.synchronized = batch_norm_momentum, sync_batch_norm
        elif isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    # Float32 whatever the layers before compute in.
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool", dtype="float32")(backbone.output)
    logits = keras.layers.Dense(num_classes, name="predictions", dtype="float32")(x)
    return keras.Model(inputs, logits, name=arch)


def load_pretrained(model: keras.Model, arch: str, path: str | pathlib.Path) -> None:
    """Puts the weights of a file into the backbone of `application`'s model; its last layer stays as it is.

    Args:
      path: weights of the same Keras Application without its top (`include_top=False`), as `save_weights` or Keras's
        own downloads have them.

    Raises:
      ValueError: where the file cannot be read or holds other weights.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"--pretrained={path} is no file")
    # Loaded into a backbone of its own, so that what we add in front and behind does not disturb its layout.
    plain = _backbone(arch, input_shape=model.input_shape[1:])
    kernels = [v for v in plain.trainable_variables if len(v.shape) > 1]
    random = [kernel.numpy() for kernel in kernels]
    try:
        plain.load_weights(path)
        # Keras leaves some of what it does not find as it was.
        for kernel, before in zip(kernels, random, strict=True):
            if np.array_equal(kernel.numpy(), before):
                raise ValueError(f"nothing in it for {kernel.path}")
        ours, theirs = ([layer for layer in whole.layers if layer.weights] for whole in (model, plain))
        for layer, source in zip(ours[:-1], theirs, strict=True):
            layer.set_weights(source.get_weights())
    except (OSError, ValueError, KeyError) as error:  # What Keras and h5py raise for other files.
        raise ValueError(
            f"--pretrained={path} does not hold the weights of {BACKBONES[arch].keras_name} without its top "
            f"({str(error).strip().splitlines()[0]})"
        ) from error


def _backbone(arch: str, **options) -> keras.Model:
    build = getattr(keras.applications, BACKBONES[arch].keras_name)
    return build(weights=None, include_top=False, **options)
