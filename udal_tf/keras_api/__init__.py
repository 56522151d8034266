"""The methods for people with a Keras model, arrays or a training loop of their own; see `semi_supervised`."""
