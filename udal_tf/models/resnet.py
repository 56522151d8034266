"""ResNet-50 for pictures of 128 pixels and more: the backbone of UDAL's ImageNet-127 experiments (§4.4.2)."""

import keras

SMALLEST_SIDE = 32


def check_resnet50_input(input_shape: tuple[int, int, int]) -> None:
    """Raises ValueError for pictures that are not RGB or too small."""
    height, width, channels = input_shape
    if channels != 3 or min(height, width) < SMALLEST_SIDE:
        raise ValueError(
            f"--arch=resnet50 needs RGB pictures of {SMALLEST_SIDE} pixels or more, got {height}x{width}x{channels}; "
            "use --arch=wrn"
        )


def resnet50(
    input_shape: tuple[int, int, int],
    num_classes: int,
    batch_norm_momentum: float = 0.999,
    sync_batch_norm: bool = False,
) -> keras.Model:
    """Keras Applications' ResNet-50 with random initial weights and logits at its end.

    Args:
      input_shape: (H, W, 3), 32 pixels at least, pixels in [−1, 1].
      num_classes: the logits' length.
      batch_norm_momentum: decay of the moving statistics. sync_batch_norm: statistics over all replicas' pictures.

    Returns:
      Keras model, float32 [B, H, W, 3] -> logits float32 [B, num_classes].

    Raises:
      ValueError: for pictures that are not RGB or too small.
    """
    check_resnet50_input(input_shape)
    backbone = keras.applications.ResNet50(weights=None, input_shape=input_shape, include_top=False)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum, layer.synchronized = batch_norm_momentum, sync_batch_norm
    # Keras's own top, but in float32 whatever the layers before compute in.
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool", dtype="float32")(backbone.output)
    logits = keras.layers.Dense(num_classes, name="predictions", dtype="float32")(x)
    return keras.Model(backbone.input, logits, name="resnet50")
