"""Networks as plain Keras models."""
