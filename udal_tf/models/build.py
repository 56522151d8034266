"""The network of a config by its name."""

import keras

from udal_tf.config import ModelConfig
from udal_tf.models.resnet import check_resnet50_input, resnet50
from udal_tf.models.wide_resnet import wide_resnet


def check_pictures_fit(config: ModelConfig, input_shape: tuple[int, int, int]) -> None:
    """Raises ValueError where the network that `config` names cannot take pictures of this shape."""
    if config.arch == "resnet50":
        check_resnet50_input(input_shape)


def build_model(config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """The network that `config` names, with random initial weights.

    Args:
      config: the model section. input_shape: (H, W, C). num_classes: the logits' length.

    Returns:
      Keras model, float32 [B, H, W, C] in [−1, 1] -> logits float32 [B, num_classes].

    Raises:
      ValueError: where the pictures do not fit the network.
    """
    if config.arch == "resnet50":
        return resnet50(input_shape, num_classes, config.batch_norm_momentum)
    return wide_resnet(input_shape, num_classes, config.depth, config.width, config.batch_norm_momentum)
