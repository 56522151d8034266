"""UDAL on TensorFlow and Keras: imbalanced semi-supervised learning by distribution alignment as a loss."""

__version__ = "0.1.0"
