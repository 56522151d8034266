"""A model in training with additional linear heads, and the model that is evaluated."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from udal_tf import registry
from udal_tf.settings import Section

SECOND_HEAD = "second_head"


def network_of(
    record: registry.Method,
    own: Section | None,
    model: keras.Model,
    heads: Mapping[str, keras.layers.Layer] | None = None,
) -> "Network":
    """The network that a method trains: the model with the last layer that the method gives it, and its second head.

    Args:
      record: the method's.
      own: the method's own settings.
      model, heads: as in `Network`.

    Raises:
      ValueError: as `Network`.
    """
    if record.network:
        model = registry.resolved(record.network)(model, own)
    return Network(model, record.second_head, heads)


class Network:
    """A model with additional linear heads on its features, all computed in one forward pass.

    If nothing but the model's last layer is trainable (--freeze=backbone; or a network given with its other layers
    frozen), the features are those of inference mode, with batch norm's moving statistics, and have no gradient.

    Args:
      model: images [B, H, W, C] in [−1, 1] -> logits [B, C]; if heads are added, a functional or sequential model whose
        last layer is a Dense on the features.
      second_head: whether a second Dense layer, of the same size, predicts instead of the model's last layer.
      heads: by name, further layers on the features that are not used in evaluation.

    Attributes:
      heads: all of them by name, the second one as SECOND_HEAD.
      evaluated: the Keras model that predicts.
      frozen: whether nothing but heads is trained.
      averaged: the variables with an EMA: all trainable ones of `evaluated`, and the model's own last layer.
      training: whether calls are in training mode; false while all but the last layer is frozen.

    Raises:
      ValueError: if heads are to be added and the model's features cannot be found.
    """

    def __init__(
        self, model: keras.Model, second_head: bool = False, heads: Mapping[str, keras.layers.Layer] | None = None
    ):
        self.model, self.heads, self.training = model, dict(heads or {}), True
        self.evaluated, self.averaged = model, list(model.trainable_variables)
        self.frozen = _is_frozen(model)
        if not second_head and not self.heads and not self.frozen:
            self._models: dict[tuple[str, ...], keras.Model] = {(): model}
            return
        images, features, logits = features_of(model)
        if second_head:
            head = keras.layers.Dense(model.output_shape[-1], dtype="float32", name=SECOND_HEAD)
            self.evaluated = keras.Model(images, head(features), name=model.name)
            self.averaged += head.trainable_variables
            self.heads[SECOND_HEAD] = head
        outputs = {name: head(features) for name, head in self.heads.items()}
        if self.frozen:
            self._backbone = keras.Model(images, features)
            return
        self._models = {(): model}
        for names in (self._names(False), self._names(True)):
            if names not in self._models:
                self._models[names] = keras.Model(images, [logits, *(outputs[name] for name in names)])

    def _names(self, all_heads: bool) -> tuple[str, ...]:
        return tuple(name for name in self.heads if all_heads or name == SECOND_HEAD)

    def __call__(self, images: tf.Tensor, all_heads: bool) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Logits of the model, and by name those of the second head or of all heads, by `training`, in float32."""
        names = self._names(all_heads)
        if self.frozen:
            features = tf.stop_gradient(self._backbone(images, training=False))
            outputs = [self.model.layers[-1](features), *(self.heads[name](features) for name in names)]
            outputs = outputs if names else outputs[0]
        else:
            outputs = self._models[names](images, training=self.training)
        logits, *others = [tf.cast(values, tf.float32) for values in (outputs if names else [outputs])]
        return logits, dict(zip(names, others, strict=True))

    def logits(self, images: tf.Tensor, averages: list[tf.Variable] | None = None) -> tf.Tensor:
        """Logits [B, C] of `evaluated` in inference mode, with its own weights or with these averages of `averaged`."""
        weights = self.evaluated.trainable_variables
        if averages is not None:
            by_variable = {id(v): average for v, average in zip(self.averaged, averages, strict=True)}
            weights = [by_variable[id(v)] for v in weights]
        fixed = self.evaluated.non_trainable_variables
        return tf.cast(self.evaluated.stateless_call(weights, fixed, images, training=False)[0], tf.float32)


def _is_frozen(model: keras.Model) -> bool:
    """Whether the last layer, a Dense, has all of the model's trainable variables, and layers before it have others."""
    last = model.layers[-1] if model.layers else None
    if not isinstance(last, keras.layers.Dense) or not hasattr(model, "input"):
        return False
    of_last = {id(variable) for variable in last.variables}
    trainable = {id(variable) for variable in model.trainable_variables}
    return bool(trainable) and trainable <= of_last and any(id(v) not in of_last for v in model.variables)


def features_of(model: keras.Model) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """The model's images, the features [B, F] that its last layer is given, and its logits.

    Raises:
      ValueError: if its last layer is no Dense.
    """
    last = model.layers[-1] if model.layers else None
    if isinstance(last, keras.layers.Dense) and isinstance(model, keras.Sequential):
        images = features = keras.Input(model.input_shape[1:], name="images")
        for layer in model.layers[:-1]:
            features = layer(features)
        return images, features, last(features)
    if isinstance(last, keras.layers.Dense) and hasattr(model, "input"):
        return model.input, last.input, model.output
    raise ValueError(
        "a further head on the network's features needs a functional or sequential Keras model that ends in a Dense "
        f"layer, and {model.name} ends in {type(last).__name__}"
    )
