"""The layers of the networks that Keras does not have as we need them: fused batch norm, explicit padding."""

import keras
import tensorflow as tf

BATCH_NORM_EPSILON = 1e-3


class FusedBatchNorm(keras.layers.Layer):
    """Batch normalisation over the last axis in one fused kernel; Keras 3's own layer is several small ones.

    Moving statistics: average ← momentum·average + (1 − momentum)·batch, the variance with Bessel's correction, as
    TensorFlow's fused kernel and thus CReST have it.

    Call with [B, H, W, C]; `training=True` normalises with the batch's statistics and moves the averages.
    """

    def __init__(self, momentum: float, epsilon: float = BATCH_NORM_EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=shape, initializer="zeros", trainable=False, aggregation="mean"
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", shape=shape, initializer="ones", trainable=False, aggregation="mean"
        )

    def call(self, x, training=False):
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=None if training else tf.convert_to_tensor(self.moving_mean),
            variance=None if training else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training:
            for average, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                average.assign(self.momentum * average + (1.0 - self.momentum) * batch)
        return outputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


def conv(filters: int, kernel_size: int, stride: int, name: str):
    """A convolution without bias that pads by kernel_size // 2 on every side, also at stride 2.

    Its kernel is drawn from He's truncated normal over the fan-out.

    TensorFlow's "same" padding at stride 2 pads the far sides only, which is another network.
    """
    layer = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, mode="fan_out"),
        name=name,
    )
    margin = kernel_size // 2
    if stride == 1 or not margin:
        return layer
    return lambda x: layer(keras.layers.ZeroPadding2D(margin, name=f"{name}_pad")(x))
