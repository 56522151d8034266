"""int8 for TensorFlow Lite: the images that it is calibrated on, and how much accuracy it loses.

Weights and activations are quantized after training; the input stays uint8 and the probabilities float32. The ranges of
the activations are those of the calibration images.
"""

import dataclasses

import numpy as np

from udal_tf.data import sources
from udal_tf.data.dataset import DataError
from udal_tf.inference.export_check import Real, Run
from udal_tf.inference.real_images import fetched, in_turn
from udal_tf.inference.trained import TrainedModel
from udal_tf.shown_names import shown

# Images to calibrate on, and images whose classes are compared.
MOST_CALIBRATED = 256
MOST_COMPARED = 1000


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of a quantization.

    Attributes:
      calibration: [M, H, W, C] uint8.
      compared: [N, H, W, C] uint8, the images on which both models are compared.
      labels: [N] their true classes; None if they are not known.
      words: which images these are.
    """

    calibration: np.ndarray
    compared: np.ndarray
    labels: np.ndarray | None
    words: str


@dataclasses.dataclass(frozen=True)
class Loss:
    """What int8 changes.

    Attributes:
      count: number of images.
      agreement: the part of them that both models put into the same class.
      accuracy: accuracy of the float model and of the quantized one; None without true classes.
      words: which images these are.
    """

    count: int
    agreement: float
    accuracy: tuple[float, float] | None
    words: str

    def said(self) -> str:
        """A sentence."""
        same = f"the same class for {100 * self.agreement:.1f} % of {self.count:,} images ({self.words})"
        if self.accuracy is None:
            return f"int8 and the float model predict {same}."
        before, after = (100 * value for value in self.accuracy)
        return f"int8 has an accuracy of {after:.1f} %, the float model {before:.1f} %; they predict {same}."


def images(model: TrainedModel, named: bool, real: Real) -> Images:
    """The images to calibrate and compare on: those that a user names, else training and test images of the run.

    Raises:
      ValueError: if none are named and the run's data is not available.
    """
    if named:
        return Images(real.images, real.images, None, "given by the user; the same that it was calibrated on")
    config = model.folder.config.data
    try:
        source = sources.load_source(config, model.folder.config.own.dataset)
    except DataError as error:
        raise ValueError(
            "--quantize=int8 needs images to calibrate on, and the training data is not available "
            f"({shown(str(error).splitlines()[0])}): give --images"
        ) from error
    calibration = fetched(source.train, in_turn(source.train_labels, MOST_CALIBRATED))
    if not len(source.test):
        return Images(calibration, calibration, None, f"training images of {config.dataset}; it has no test images")
    tested = in_turn(source.test_labels, MOST_COMPARED)
    which = "the test images" if len(tested) == len(source.test) else "test images, as many of each class as there are"
    return Images(
        calibration,
        fetched(source.test, tested),
        source.test_labels[tested],
        f"{which} of {config.dataset}",
    )


def loss(model: TrainedModel, shift: np.ndarray, run: Run, chosen: Images) -> Loss:
    """What int8 changes.

    Args:
      model: the model.
      shift: [C], what LA (Inf) adds to the logits.
      run: the quantized model, from uint8 [N, H, W, C] to probabilities [N, C].
      chosen: the images.
    """
    before = model.prediction(model.logits(chosen.compared), shift).labels
    batches = range(0, len(chosen.compared), model.batch_size)
    after = np.concatenate([run(chosen.compared[i : i + model.batch_size]).argmax(axis=1) for i in batches])
    accuracy = None
    if chosen.labels is not None:
        accuracy = (float(np.mean(before == chosen.labels)), float(np.mean(after == chosen.labels)))
    return Loss(len(before), float(np.mean(before == after)), accuracy, chosen.words)
