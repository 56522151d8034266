"""The losses of UDAL and its base learners, and their pseudo-labels, for your own training loop.

* L_CE of Eqs. 3, 5, 6 and 9: `cross_entropy`, of logits to which `alignment.log_ratio` has been added
* PL of Eq. 5: `pseudo_labels`, which returns targets and the mask of confident examples
* Masks and weights of examples: `weighted`
* MixMatch, §3.1: `squared_error`, of pseudo-labels from `average_views` and `sharpen`; `mixup` by `mixing_weights`
* Weight decay: `l2`
* KL divergence, Appendix A.1: `kl_divergence`
* For Keras's `compile`, where all images are labeled: `LogitAdjustedCrossentropy`, Eq. 3, and `UDALCrossentropy`,
  Eq. 6, whose α `AlphaSchedule` moves

The functions are those of `udal_tf.core` that training uses. They are per example: the expectations of the paper are
means over the whole batch, in which examples that are not confident count as zeros.

>>> import tensorflow as tf
>>> from udal_tf import losses
>>> probs_w = tf.constant([[0.9, 0.1], [0.4, 0.6]])
>>> targets, confident = losses.pseudo_labels(probs_w, threshold=0.8)
>>> logits_s = tf.math.log([[0.75, 0.25], [0.5, 0.5]])
>>> print(losses.weighted(confident, losses.cross_entropy(targets, logits_s)).numpy().round(4))
[0.2877 0.    ]
"""

from udal_tf.core.losses import cross_entropy, kl_divergence, l2, squared_error, weighted
from udal_tf.core.mixup import mixing_weights, mixup
from udal_tf.core.pseudo_labels import average_views, pseudo_labels, sharpen
from udal_tf.keras_api.losses import AlphaSchedule, LogitAdjustedCrossentropy, UDALCrossentropy

__all__ = [
    "AlphaSchedule",
    "LogitAdjustedCrossentropy",
    "UDALCrossentropy",
    "average_views",
    "cross_entropy",
    "kl_divergence",
    "l2",
    "mixing_weights",
    "mixup",
    "pseudo_labels",
    "sharpen",
    "squared_error",
    "weighted",
]
