"""The exception of the data package; a module of its own, so that listing a folder needs no TensorFlow."""


class DataError(ValueError):
    """The data is missing or not as expected; the message says what to do."""
