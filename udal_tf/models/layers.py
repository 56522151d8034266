"""Layers that Keras lacks in the form needed here: fused batch norm and convolutions with explicit padding."""

import keras
import tensorflow as tf

BATCH_NORM_EPSILON = 1e-3


@keras.saving.register_keras_serializable(package="udal_tf")
class FusedBatchNorm(keras.layers.Layer):
    """Batch normalization over the last axis in one fused kernel; Keras 3's own layer runs several small ones.

    Moving statistics: average ← momentum·average + (1 − momentum)·batch, the variance with Bessel's correction, as
    in TensorFlow's fused kernel and thus in CReST. Statistics and weights are float32 in every precision.

    Args:
      momentum: of the moving statistics.
      epsilon: added to the variance.
      synchronized: whether training uses statistics over the images of all replicas; with several replicas the
        kernel is then not fused.

    Call with [B, H, W, C]; `training=True` normalizes with the batch's statistics and updates the moving ones, unless
    the layer is not `trainable`, as in Keras.
    """

    def __init__(self, momentum: float, epsilon: float = BATCH_NORM_EPSILON, synchronized: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.synchronized = synchronized

    def build(self, input_shape):
        shape = (input_shape[-1],)
        moving = {"trainable": False, "aggregation": "mean", "autocast": False}
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", autocast=False)
        self.moving_mean = self.add_weight(name="moving_mean", shape=shape, initializer="zeros", **moving)
        self.moving_variance = self.add_weight(name="moving_variance", shape=shape, initializer="ones", **moving)

    def call(self, x, training=False):
        training = training and self.trainable
        replicas = tf.distribute.get_replica_context()
        if training and self.synchronized and replicas is not None and replicas.num_replicas_in_sync > 1:
            outputs, mean, variance = self._over_replicas(x, replicas)
        else:
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

    def _over_replicas(self, x, replicas):
        """Normalized x, and the mean and the corrected variance over the images of all replicas."""
        values = tf.cast(x, tf.float32)
        count = float(x.shape[0] * x.shape[1] * x.shape[2] * replicas.num_replicas_in_sync)
        mean = replicas.all_reduce(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(values, axis=[0, 1, 2]))
        squares = tf.reduce_mean(tf.math.squared_difference(values, mean), axis=[0, 1, 2])
        variance = replicas.all_reduce(tf.distribute.ReduceOp.MEAN, squares)
        outputs = tf.nn.batch_normalization(values, mean, variance, self.beta, self.gamma, self.epsilon)
        return tf.cast(outputs, x.dtype), mean, variance * (count / (count - 1.0))

    def in_stock_keras(self) -> keras.layers.Layer:
        """The equivalent Keras layer, for `models.stock`; its weights have the same order."""
        return keras.layers.BatchNormalization(momentum=self.momentum, epsilon=self.epsilon, name=self.name)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"momentum": self.momentum, "epsilon": self.epsilon, "synchronized": self.synchronized}
        return {**super().get_config(), **own}


def conv(filters: int, kernel_size: int, stride: int, name: str):
    """A convolution without bias, padded by kernel_size // 2 on every side, also at stride 2.

    Its kernel is initialized by He's truncated normal over the fan-out. TensorFlow's "same" padding at stride 2 would
    pad the bottom and right only, which is a different network.
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
