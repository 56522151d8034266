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


# Where Keras has the weights of its applications.
_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications/"


def _application(
    name: str,
    keras_name: str,
    pixels: str,
    weights: str,
    md5: str,
    image_side: int = 224,
    smallest_side: int = 32,
) -> Backbone:
    return Backbone(
        name=name,
        label=keras_name,
        build="udal_tf.models.applications:build",
        smallest_side=smallest_side,
        rgb=True,
        keras_name=keras_name,
        pixels=pixels,
        weights=_WEIGHTS + weights,
        weights_md5=md5,
        image_side=image_side,
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
    _application(
        "keras_resnet50",
        "ResNet50",
        "caffe",
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    _application(
        "resnet101",
        "ResNet101",
        "caffe",
        "resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "88cf7a10940856eca736dc7b7e228a21",
    ),
    _application(
        "resnet50v2",
        "ResNet50V2",
        "tf",
        "resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "fac2f116257151a9d068a22e544a4917",
    ),
    _application(
        "densenet121",
        "DenseNet121",
        "torch",
        "densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "30ee3e1110167f948a6b9946edeeb738",
    ),
    _application(
        "mobilenetv2",
        "MobileNetV2",
        "tf",
        "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        "",
    ),
    _application(
        "mobilenetv3small",
        "MobileNetV3Small",
        "own",
        "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    _application(
        "mobilenetv3large",
        "MobileNetV3Large",
        "own",
        "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    _application(
        "efficientnetv2b0",
        "EfficientNetV2B0",
        "own",
        "efficientnet_v2/efficientnetv2-b0_notop.h5",
        "893217f2bb855e2983157299931e43ff",
    ),
    _application(
        "efficientnetv2s",
        "EfficientNetV2S",
        "own",
        "efficientnet_v2/efficientnetv2-s_notop.h5",
        "af0682fb74e8c54910f2d4393339c070",
        384,
    ),
    _application(
        "xception",
        "Xception",
        "tf",
        "xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "b0042744bf5b25fce3cb969f33bebb97",
        299,
        71,
    ),
    _application(
        "inceptionv3",
        "InceptionV3",
        "tf",
        "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "bcbd6486424b2319ff4ef7d526e38f63",
        299,
        75,
    ),
)
