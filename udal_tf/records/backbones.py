"""The backbones: CReST's Wide ResNet, FixMatch's ResNet-50, and some of Keras Applications for large images."""

import dataclasses

from udal_tf.registry import Backbone, Speed
from udal_tf.settings import Section, setting

# Published measurements of other code, in float32: FixMatch's 1,000 steps of 960 images in 5 to 6 minutes, and
# ResNet-50 at 224 pixels.
_WRN_SPEED = Speed(
    2_900.0,
    "as others measured other code on one GPU in float32 (WRN-28-2 on a 2080 Ti: "
    "github.com/LeeDoYup/FixMatch-pytorch/issues/8)",
)
_APPLICATION_SPEED = Speed(
    412.0,
    "as others measured other code on one GPU in float32 (ResNet-50 on a V100: github.com/NVIDIA/DeepLearningExamples)",
)


@dataclasses.dataclass(frozen=True)
class WideResNetConfig(Section):
    """CReST's Wide ResNet-depth-width."""

    depth: int = setting(28, "Depth of the Wide ResNet, 6n + 4.", low=10, high=10_000)
    width: int = setting(
        2, "Width multiplier of the Wide ResNet; its first group has 16·width filters.", low=1, high=1000
    )

    def _check(self) -> None:
        if (self.depth - 4) % 6:
            raise ValueError(f"--depth must be 6n + 4 (10, 16, 22, 28, …), got {self.depth}")


def _application(name: str, keras_name: str, pixels: str, smallest_side: int = 32) -> Backbone:
    return Backbone(
        name=name,
        label=keras_name,
        build="udal_tf.models.applications:build",
        smallest_side=smallest_side,
        rgb=True,
        keras_name=keras_name,
        pixels=pixels,
        speed=_APPLICATION_SPEED,
    )


# Keras's own ResNet-50 is `keras_resnet50`; plain `resnet50` is FixMatch's.
# EfficientNet's first version is left out: its published weights need a scaling that Keras adds only when it downloads
# them itself.
RECORDS = (
    Backbone(
        name="wrn",
        label="Wide ResNet",
        build="udal_tf.models.wide_resnet:build",
        settings=WideResNetConfig,
        speed=_WRN_SPEED,
    ),
    Backbone(
        name="resnet50",
        label="ResNet-50",
        build="udal_tf.models.resnet:build",
        smallest_side=32,
        speed=_APPLICATION_SPEED,
    ),
    _application("keras_resnet50", "ResNet50", "caffe"),
    _application("resnet101", "ResNet101", "caffe"),
    _application("resnet50v2", "ResNet50V2", "tf"),
    _application("densenet121", "DenseNet121", "torch"),
    _application("mobilenetv2", "MobileNetV2", "tf"),
    _application("mobilenetv3small", "MobileNetV3Small", "own"),
    _application("mobilenetv3large", "MobileNetV3Large", "own"),
    _application("efficientnetv2b0", "EfficientNetV2B0", "own"),
    _application("efficientnetv2s", "EfficientNetV2S", "own"),
    _application("xception", "Xception", "tf", 71),
    _application("inceptionv3", "InceptionV3", "tf", 75),
)
