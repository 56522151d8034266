"""The network of a config by its name."""

import contextlib
from collections.abc import Iterator

import keras

from udal_tf.config import ModelConfig
from udal_tf.models.resnet import check_resnet50_input, resnet50
from udal_tf.models.wide_resnet import wide_resnet


def check_pictures_fit(config: ModelConfig, input_shape: tuple[int, int, int]) -> None:
    """Raises ValueError where the network that `config` names cannot take pictures of this shape."""
    if config.arch == "resnet50":
        check_resnet50_input(input_shape)


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
    """The network that `config` names, with random initial weights.

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
        if config.arch == "resnet50":
            return resnet50(input_shape, num_classes, momentum, synchronized)
        return wide_resnet(input_shape, num_classes, config.depth, config.width, momentum, synchronized)
