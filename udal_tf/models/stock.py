"""Models of Keras's own layers only, so that loading them needs no code of this package."""

import keras


def stock_copy(model: keras.Model) -> keras.Model:
    """The same network with the same weights, with this package's layers replaced by their `in_stock_keras`.

    Raises:
      ValueError: for a layer that is not Keras's and has no `in_stock_keras`.
    """

    def stock(layer: keras.layers.Layer) -> keras.layers.Layer:
        if hasattr(layer, "in_stock_keras"):
            return layer.in_stock_keras()
        if not type(layer).__module__.startswith("keras."):
            raise ValueError(f"layer {layer.name} is a {type(layer).__name__}, which is not a Keras layer")
        return type(layer).from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=stock)
    copy.set_weights(model.get_weights())
    return copy
