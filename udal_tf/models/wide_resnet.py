"""Wide ResNet-d-w (Zagoruyko & Komodakis 2016) as CReST implements it: the backbone of UDAL §4.3."""

import keras

from udal_tf.models.layers import FusedBatchNorm, conv
from udal_tf.records.backbones import WideResNetConfig
from udal_tf.sections import ModelConfig

LEAKY_RELU_SLOPE = 0.1
GROUP_FILTERS = (16, 32, 64)


def wide_resnet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    depth: int,
    width: int,
    batch_norm_momentum: float = 0.999,
    sync_batch_norm: bool = False,
) -> keras.Model:
    """Three groups of (depth − 4)/6 pre-activation blocks with 16, 32 and 64 times `width` filters.

    The first block of a group takes its shortcut from the activated input, through a 1×1 convolution where the filters
    differ. All convolutions pad by kernel // 2 on every side. The head is batch norm, LeakyReLU, global average pooling
    and a dense layer.

    Args:
      input_shape: (H, W, C) of the images, pixels in [−1, 1].
      num_classes: number of logits.
      depth: 6n + 4, at least 10.
      width: at least 1.
      batch_norm_momentum: decay of the moving statistics.
      sync_batch_norm: whether statistics are over the images of all replicas.

    Returns:
      Keras model, float32 [B, H, W, C] -> logits float32 [B, num_classes].

    Raises:
      ValueError: for a depth that is not 6n + 4.

    Source: CReST model/resnet.py.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"depth must be 6n + 4 and at least 10, got {depth}")
    blocks = (depth - 4) // 6

    def activated(x, name):
        x = FusedBatchNorm(batch_norm_momentum, synchronized=sync_batch_norm, name=f"{name}_bn")(x)
        return keras.layers.LeakyReLU(LEAKY_RELU_SLOPE, name=f"{name}_relu")(x)

    inputs = keras.Input(input_shape, name="images")
    x = conv(GROUP_FILTERS[0], 3, 1, "conv1_conv")(inputs)
    for group, base_filters in enumerate(GROUP_FILTERS):
        for block in range(blocks):
            name = f"conv{group + 2}_block{block + 1}"
            filters = base_filters * width
            stride = 2 if group > 0 and block == 0 else 1
            preactivated = activated(x, f"{name}_preact")
            shortcut = preactivated if block == 0 else x
            if shortcut.shape[-1] != filters:
                shortcut = conv(filters, 1, stride, f"{name}_0_conv")(shortcut)
            y = conv(filters, 3, stride, f"{name}_1_conv")(preactivated)
            y = conv(filters, 3, 1, f"{name}_2_conv")(activated(y, f"{name}_1"))
            x = keras.layers.Add(name=f"{name}_out")([shortcut, y])
    x = activated(x, "post")
    x = keras.layers.GlobalAveragePooling2D(name="pool", dtype="float32")(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="predictions")(x)
    return keras.Model(inputs, logits, name=f"wrn_{depth}_{width}")


def build(
    input_shape: tuple[int, int, int], num_classes: int, config: ModelConfig, own: WideResNetConfig
) -> keras.Model:
    """`wide_resnet` from the settings of a run, as registered."""
    return wide_resnet(
        input_shape, num_classes, own.depth, own.width, config.batch_norm_momentum, config.sync_batch_norm
    )
