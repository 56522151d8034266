"""Builds the network that a config names, checks that images fit it, and loads pretrained weights."""

import contextlib
from collections.abc import Iterator

import keras

from udal_tf import registry
from udal_tf.models import applications
from udal_tf.registry import BACKBONES
from udal_tf.sections import NO_WEIGHTS, ModelConfig
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
    """The network that `config` names, with random initial weights; `load_pretrained` handles --pretrained.

    Args:
      config: the model section.
      input_shape: (H, W, C).
      num_classes: number of logits.
      precision: float32, bfloat16 or float16: the compute dtype up to the last pooling; weights are float32.
      own: the backbone's own section of the config; None means its defaults, if it has one.

    Returns:
      Keras model, float32 [B, H, W, C] in [−1, 1] -> logits float32 [B, num_classes].

    Raises:
      ValueError: if the network cannot take images of this shape.
    """
    check_images_fit(config, input_shape)
    record = BACKBONES[config.arch]
    with _layers_compute_in(precision):
        return registry.resolved(record.build)(input_shape, num_classes, config, registry.section_of(record, own))


def load_pretrained(config: ModelConfig, model: keras.Model) -> None:
    """Loads the weights that --pretrained names, if any, into the model.

    Only a new run needs the file: a resumed one finds all weights in its checkpoint.

    Raises:
      ValueError: if the file is missing or holds the weights of another network.
    """
    if config.pretrained != NO_WEIGHTS:
        applications.load_pretrained(model, config.arch, config.pretrained)


def check_pretrained(config: ModelConfig, input_shape: tuple[int, int, int]) -> None:
    """Raises ValueError if `load_pretrained` would, by trying it on a temporary model."""
    if config.pretrained != NO_WEIGHTS:
        load_pretrained(config, build_model(config, input_shape, num_classes=2))
