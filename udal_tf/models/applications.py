"""Backbones of Keras Applications for large images; `resnet.py` has the ResNet-50 of UDAL's ImageNet-127 (§4.4.2).

Each is built with random weights, which `load_pretrained` replaces by those of a local file. Batch norm is Keras's own
layer, with `--batch_norm_momentum` instead of the momentum that the network was published with.
"""

import pathlib

import keras
import numpy as np
import tensorflow as tf

from udal_tf.registry import BACKBONES
from udal_tf.sections import ModelConfig
from udal_tf.shown_names import shown

# ImageNet's mean and standard deviation per channel (red, green, blue), as in Keras Applications: of pixels in 0…255
# for "caffe", in 0…1 for "torch".
CAFFE_MEAN = (123.68, 116.779, 103.939)
TORCH_MEAN = (0.485, 0.456, 0.406)
TORCH_STD = (0.229, 0.224, 0.225)
# The name of the layer that scales pixels.
PIXEL_RANGE = "pixel_range"
# Scale and offset from [−1, 1] to 0…255.
_HALF = 127.5


class PixelRange(keras.layers.Layer):
    """Converts images in [−1, 1] to the pixel range that a backbone's weights expect.

    Args:
      pixels: a convention of `registry.Backbone`: "caffe", "torch", "own" (0…255) or "tf" (unchanged).

    Call with [B, H, W, 3] float32, channels in RGB order.
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
        """The equivalent in Keras's own layers, for `models.stock`."""
        if self.pixels == "tf":
            return keras.layers.Identity(name=self.name)
        if self.pixels == "torch":
            mean, variance = [2 * m - 1 for m in TORCH_MEAN], [(2 * s) ** 2 for s in TORCH_STD]
            return keras.layers.Normalization(mean=mean, variance=variance, name=self.name)
        to_bytes = keras.layers.Rescaling(_HALF, _HALF, name=self.name)
        if self.pixels == "own":
            return to_bytes
        inputs = keras.Input([None, None, 3])
        centered = keras.layers.Normalization(mean=CAFFE_MEAN, variance=[1.0] * 3)(to_bytes(inputs))
        return keras.Model(inputs, keras.ops.flip(centered, axis=-1), name=f"{self.name}_caffe")

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "pixels": self.pixels}


def build(input_shape: tuple[int, int, int], num_classes: int, config: ModelConfig, own: None = None) -> keras.Model:
    """`application` from the settings of a run, as registered."""
    return application(
        config.arch,
        input_shape,
        num_classes,
        config.batch_norm_momentum,
        config.sync_batch_norm,
        published_pixels=config.published_pixels,
    )


def application(
    arch: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    batch_norm_momentum: float = 0.999,
    sync_batch_norm: bool = False,
    published_pixels: bool = False,
) -> keras.Model:
    """A backbone with random initial weights, global average pooling and a layer of logits.

    Args:
      arch: the name of a registered backbone with `keras_name`.
      input_shape: (H, W, 3), pixels in [−1, 1].
      num_classes: number of logits.
      batch_norm_momentum: decay of the moving statistics.
      sync_batch_norm: whether statistics are over the images of all replicas.
      published_pixels: whether the backbone is given pixels in the range that its published weights expect. Otherwise
        it is given [−1, 1], except backbones that rescale 0…255 themselves.

    Returns:
      Keras model, float32 [B, H, W, 3] -> logits float32 [B, num_classes]. Dropout inside the backbone is off: its
      random numbers would not be a function of the step.
    """
    pixels = BACKBONES[arch].pixels
    inputs = keras.Input(input_shape, name="images")
    x = PixelRange(pixels, name=PIXEL_RANGE, dtype="float32")(inputs) if published_pixels or pixels == "own" else inputs
    backbone = _backbone(arch, input_tensor=x)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum, layer.synchronized = batch_norm_momentum, sync_batch_norm
        elif isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    # Float32 whatever the precision of the layers before.
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool", dtype="float32")(backbone.output)
    logits = keras.layers.Dense(num_classes, name="predictions", dtype="float32")(x)
    return keras.Model(inputs, logits, name=arch)


def load_pretrained(model: keras.Model, arch: str, path: str | pathlib.Path) -> None:
    """Loads a weights file into the backbone of a model made by `application`; the last layer is unchanged.

    Args:
      model: made by `application`.
      arch: its backbone.
      path: weights of the same Keras Application without its top (`include_top=False`), as written by `save_weights`
        or downloaded by Keras.

    Raises:
      ValueError: where the file cannot be read or does not match the backbone.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"--pretrained={shown(path)} is not a file")
    # Loaded into a bare backbone, so that the layers added before and after it do not change its layout.
    plain = _backbone(arch, input_shape=model.input_shape[1:])
    kernels = [v for v in plain.trainable_variables if len(v.shape) > 1]
    random = [kernel.numpy() for kernel in kernels]
    try:
        plain.load_weights(path)
        # Keras silently skips some weights that the file lacks.
        for kernel, before in zip(kernels, random, strict=True):
            if np.array_equal(kernel.numpy(), before):
                raise ValueError(f"no weights for {kernel.path}")
        ours, theirs = ([layer for layer in whole.layers if layer.weights] for whole in (model, plain))
        for layer, source in zip(ours[:-1], theirs, strict=True):
            layer.set_weights(source.get_weights())
    except (OSError, ValueError, KeyError) as error:  # What Keras and h5py raise for other files.
        raise ValueError(
            f"--pretrained={shown(path)} does not hold the weights of {BACKBONES[arch].keras_name} without its top "
            f"({str(error).strip().splitlines()[0]})"
        ) from error


def _backbone(arch: str, **options) -> keras.Model:
    build = getattr(keras.applications, BACKBONES[arch].keras_name)
    return build(weights=None, include_top=False, **options)
