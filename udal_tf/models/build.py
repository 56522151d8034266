"""The network of a config by its name."""

import contextlib
from collections.abc import Iterator

import keras

from udal_tf.config import NO_WEIGHTS, ModelConfig
from udal_tf.models import applications, resnet
from udal_tf.models.wide_resnet import wide_resnet


def check_pictures_fit(config: ModelConfig, input_shape: tuple[int, int, int]) -> None:
    """Raises ValueError where the network that `config` names cannot take pictures of this shape."""
    if config.arch == "resnet50":
        resnet.check_image_shape(input_shape)
    elif config.arch != "wrn":
        applications.check_pictures(config.arch, input_shape)


@contextlib.contextmanager
def _layers_compute_in(precision: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_model(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int, precision: str = "float32"
) -> keras.Model:
    """The network that `config` names, with random initial weights; --pretrained is `load_pretrained`'s.

    Args:
      config: the model section. input_shape: (H, W, C). num_classes: the logits' length.
      precision: float32, bfloat16 or float16, what the layers up to the last pooling compute in; weights are float32.

    Returns:
      Keras model, float32 [B, H, W, C] in [−1, 1] -> logits float32 [B, num_classes].

    Raises:
      ValueError: where the pictures do not fit the network.
    """
    momentum, synchronized = config.batch_norm_momentum, config.sync_batch_norm
    with _layers_compute_in(precision):
        if config.arch == "wrn":
            return wide_resnet(input_shape, num_classes, config.depth, config.width, momentum, synchronized)
        if config.arch == "resnet50":
            return resnet.resnet50(input_shape, num_classes, momentum, synchronized)
        published_pixels = config.pretrained != NO_WEIGHTS
        return applications.application(config.arch, input_shape, num_classes, momentum, synchronized, published_pixels)


def load_pretrained(config: ModelConfig, model: keras.Model) -> None:
    """Puts the weights that --pretrained names into the model, if it names any.

    Only a run that begins needs the file; afterwards its checkpoints hold all weights.

    Raises:
      ValueError: where the file is not there or holds the weights of another network.
    """
    if config.pretrained != NO_WEIGHTS:
        applications.load_pretrained(model, config.arch, config.pretrained)


def check_pretrained(config: ModelConfig, input_shape: tuple[int, int, int]) -> None:
    """Raises ValueError where `load_pretrained` would, by trying it on a model that is thrown away."""
    if config.pretrained != NO_WEIGHTS:
        load_pretrained(config, build_model(config, input_shape, num_classes=2))
