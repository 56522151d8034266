"""Builds the network that a config names, and checks that images fit it."""

import contextlib
from collections.abc import Iterator

import keras

from udal_tf import registry
from udal_tf.registry import BACKBONES
from udal_tf.sections import ModelConfig
from udal_tf.settings import Section


def check_images_fit(config: ModelConfig, input_shape: tuple[int, int, int]) -> None:
    """Raises ValueError if the network that `config` names cannot take images of this shape."""
    record = BACKBONES[config.arch]
    height, width, channels = input_shape
    if (record.rgb and channels != 3) or min(height, width) < record.smallest_side:
        raise ValueError(
            f"--arch={config.arch} needs {'RGB ' if record.rgb else ''}images of {record.smallest_side} pixels or "
            f"more, got {height}x{width}x{channels}; use --arch=wrn"
        )


@contextlib.contextmanager
def _layers_compute_in(precision: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_model(
    config: ModelConfig,
    input_shape: tuple[int, int, int],
    num_classes: int,
    precision: str = "float32",
    own: Section | None = None,
) -> keras.Model:
    """The network that `config` names, with random initial weights; `training.initial_weights` handles --pretrained.

    With --freeze=backbone nothing but its last layer is trainable.

    Args:
      config: the model section.
      input_shape: (H, W, C).
      num_classes: number of logits.
      precision: float32, bfloat16 or float16: the compute dtype up to the last pooling; weights are float32.
      own: the backbone's own section of the config; None means its defaults, if it has one.

    Returns:
      Keras model, float32 [B, H, W, C] in [−1, 1] -> logits float32 [B, num_classes].

    Raises:
      ValueError: if the network cannot take images of this shape, or cannot be frozen.
    """
    check_images_fit(config, input_shape)
    record = BACKBONES[config.arch]
    with _layers_compute_in(precision):
        model = registry.resolved(record.build)(input_shape, num_classes, config, registry.section_of(record, own))
    if config.frozen:
        last = model.layers[-1] if hasattr(model, "input") else model
        if not isinstance(last, keras.layers.Dense):
            raise ValueError(
                f"--freeze={config.freeze} needs a functional network that ends in a Dense layer, and --arch="
                f"{config.arch} ends in {type(last).__name__}"
            )
        for layer in model.layers[:-1]:
            layer.trainable = False
    return model
