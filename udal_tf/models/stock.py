"""A network of Keras's own layers alone, so that anyone who loads it needs Keras and nothing of ours."""

import keras


def stock_copy(model: keras.Model) -> keras.Model:
    """The same network with the same weights; layers of our own are replaced by what their `in_stock_keras` returns.

    Raises:
      ValueError: naming a layer that is neither Keras's nor says what to put in its place.
    """

    def stock(layer: keras.layers.Layer) -> keras.layers.Layer:
        if hasattr(layer, "in_stock_keras"):
            return layer.in_stock_keras()
        if not type(layer).__module__.startswith("keras."):
            raise ValueError(f"layer {layer.name} is a {type(layer).__name__}, which is not Keras's own")
        return type(layer).from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=stock)
    copy.set_weights(model.get_weights())
    return copy
