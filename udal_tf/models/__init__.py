"""The backbones, as plain Keras models."""
