"""RandAugment as a Keras layer, for models and pipelines outside this package's own input stream."""

import keras
import tensorflow as tf

from udal_tf.augment import randaugment


class RandAugment(keras.layers.Layer):
    """CReST's RandAugment on uint8 images [B, H, W, C]; the identity outside training.

    It compiles under XLA, whose generator gives different random numbers for the same seed.

    Args:
      ops: names of the operations to choose from; Color only where images have 1 or 3 channels.
      layers: operations chosen per image.
      probability: that a chosen operation is applied.
      seed: of the layer's own generator; None picks one at random.

    Raises:
      ValueError: for an unknown operation, negative layers or a probability outside [0, 1].
    """

    def __init__(
        self, ops=randaugment.OPS, layers: int = 2, probability: float = 0.5, seed: int | None = None, **kwargs
    ):
        super().__init__(dtype="uint8", **kwargs)
        randaugment.check_settings(ops, layers, probability)
        self.ops, self.layers, self.probability, self.seed = tuple(ops), layers, probability, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        if not training:
            return images
        shape = (tf.shape(images)[0], self.layers * randaugment.UNIFORMS_PER_LAYER)
        uniforms = tf.random.stateless_uniform(shape, tf.cast(self.generator.next(), tf.int64))
        return randaugment.rand_augment(images, uniforms, self.ops, self.layers, self.probability)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"ops": self.ops, "layers": self.layers, "probability": self.probability, "seed": self.seed}
        config = {**super().get_config(), **own}
        del config["dtype"]
        return config
