"""CDMAD (Lee and Kim 2024): what a blank image's logits say of the classes is taken away, in training and after it."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from udal_tf.core import losses
from udal_tf.methods.method import Method, Setup
from udal_tf.methods.step import Step
from udal_tf.records.later_methods import BLANK, CdmadConfig
from udal_tf.settings import of_kind

# Added to probabilities in the release's losses.
LOSS_EPSILON = 1e-8
# Mean plus standard deviation of CIFAR-10's red, green and blue, from 0 to 1: the release's blank image is 1 in its
# normalized pixels.
LIGHT_GRAY = (0.4914 + 0.2471, 0.4822 + 0.2435, 0.4465 + 0.2616)


def blank_image(shape: tuple[int, int, int], color: str) -> np.ndarray:
    """An image without content: [1, H, W, channels] float32 in [−1, 1].

    Args:
      shape: (H, W, channels).
      color: `light_gray`, `black` or `white`; the gray of other than three channels is the mean of the three.
    """
    gray = np.array(LIGHT_GRAY) if shape[-1] == len(LIGHT_GRAY) else np.mean(LIGHT_GRAY)
    values = {"light_gray": gray, "black": 0.0, "white": 1.0}[color]
    return np.broadcast_to(2.0 * np.asarray(values, np.float32) - 1.0, (1, *shape)).copy()


class Cdmad(Method):
    """Soft pseudo-labels from the logits less those of a blank image, which are subtracted at inference, too.

    In a step the blank image passes through the network alone, in training mode and without gradient, as in the
    release: batch norm normalizes it by itself, and its statistics enter the moving ones.

    Raises:
      ValueError: for a network whose images have no fixed size.
    """

    def __init__(self, setup: Setup):
        super().__init__(setup)
        own = of_kind(CdmadConfig, setup.settings)
        fixed = [side for side in setup.image_shape if side is not None]
        if len(fixed) != 3:
            shown = setup.image_shape or "none"
            raise ValueError(f"--method=cdmad needs a network with a fixed input shape (H, W, channels), got {shown}")
        height, width, channels = fixed
        self.blank, self._start = tf.constant(blank_image((height, width, channels), own.blank)), own.debias_start

    def values(self, step: Step) -> dict[str, tf.Tensor]:
        return {BLANK: tf.constant(self.setup.uniform)}

    def pseudo_probs(self, step: Step, probs: tf.Tensor) -> tf.Tensor:
        (logits,) = step.forward(blank=self.blank)
        bias = tf.nn.softmax(tf.stop_gradient(logits[0]))
        step.values[BLANK] = tf.where(step.progress > self._start, bias, step.values[BLANK])
        return super().pseudo_probs(step, probs)

    def cross_entropy(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return losses.bounded_cross_entropy(targets, logits, LOSS_EPSILON)

    def inference_shift(self, logits: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        return -logits(self.blank)[0]
