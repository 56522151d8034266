"""What every part of the data layer raises; apart, so that listing a folder needs no TensorFlow."""


class DataError(ValueError):
    """The data is missing or is not what it should be; the message says what to do."""
