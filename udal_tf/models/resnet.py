"""ResNet-50 (He et al. 2016) as FixMatch trains it on ImageNet: the backbone of UDAL §4.4.2."""

import keras

from udal_tf.models.layers import FusedBatchNorm
from udal_tf.sections import ModelConfig

BATCH_NORM_EPSILON = 1e-5
# Blocks per stage and filters of their 3×3 convolutions; a block's output has EXPANSION times as many.
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
EXPANSION = 4
# Of the initial weights of the last layer.
HEAD_STDDEV = 0.01


def resnet50(
    input_shape: tuple[int, int, int],
    num_classes: int,
    batch_norm_momentum: float = 0.9,
    sync_batch_norm: bool = False,
) -> keras.Model:
    """Four stages of bottleneck blocks; the stride of a stage is in its first block's 3×3 convolution ("v1.5").

    Convolutions have no bias and are initialized by He's normal over the fan-in; every batch norm starts at γ = 1,
    including the last one of a block. Layer names are those of Keras Applications. Padding at stride 2 is TensorFlow's
    "same", which pads the bottom and right only, except for the first convolution, padded by 3 on every side.

    Args:
      input_shape: (H, W, C) of the images, pixels in [−1, 1]; H and W at least 32.
      num_classes: number of logits.
      batch_norm_momentum: decay of the moving statistics.
      sync_batch_norm: whether statistics are over the images of all replicas.

    Returns:
      Keras model, float32 [B, H, W, C] -> logits float32 [B, num_classes]; 23,508,032 weights before its last layer for
      three channels.

    Source: FixMatch imagenet/models/resnet50_model.py.
    """

    def conv(x, filters, kernel_size, stride, name, padding="same"):
        convolution = keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=stride,
            padding=padding,
            use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(),
            name=f"{name}_conv",
        )
        norm = FusedBatchNorm(batch_norm_momentum, BATCH_NORM_EPSILON, sync_batch_norm, name=f"{name}_bn")
        return norm(convolution(x))

    def relu(x, name):
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    inputs = keras.Input(input_shape, name="images")
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = relu(conv(x, 64, 7, 2, "conv1", padding="valid"), "conv1")
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="pool1_pool")(x)
    for stage, (blocks, filters) in enumerate(STAGES):
        for block in range(blocks):
            name = f"conv{stage + 2}_block{block + 1}"
            stride = 2 if stage > 0 and block == 0 else 1
            shortcut = conv(x, EXPANSION * filters, 1, stride, f"{name}_0") if block == 0 else x
            y = relu(conv(x, filters, 1, 1, f"{name}_1"), f"{name}_1")
            y = relu(conv(y, filters, 3, stride, f"{name}_2"), f"{name}_2")
            y = conv(y, EXPANSION * filters, 1, 1, f"{name}_3")
            x = relu(keras.layers.Add(name=f"{name}_add")([shortcut, y]), f"{name}_out")
    # Float32 whatever the precision of the layers before.
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool", dtype="float32")(x)
    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.RandomNormal(stddev=HEAD_STDDEV),
        name="predictions",
        dtype="float32",
    )(x)
    return keras.Model(inputs, logits, name="resnet50")


def build(input_shape: tuple[int, int, int], num_classes: int, config: ModelConfig, own: None = None) -> keras.Model:
    """`resnet50` from the settings of a run, as registered."""
    return resnet50(input_shape, num_classes, config.batch_norm_momentum, config.sync_batch_norm)
