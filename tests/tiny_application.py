"""A backbone in the manner of Keras Applications, as small as can be."""

import keras


def tiny(weights=None, include_top=False, input_shape=None, input_tensor=None) -> keras.Model:
    inputs = keras.Input(input_shape) if input_tensor is None else input_tensor
    x = keras.layers.Conv2D(4, 3, strides=4, use_bias=False)(inputs)
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    x = keras.layers.Dropout(0.5)(keras.layers.ReLU()(x))
    return keras.Model(keras.utils.get_source_inputs(x)[0], x)
