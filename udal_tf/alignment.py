"""Distribution alignment under the paper's names: the parts of Eqs. 1–4 and 6–10, for your own training loop.

* Eqs. 1 and 8, alignment of probabilities: `align_probs`
* Eq. 2, p̃_α: `p_target`
* Eqs. 3, 6, 7 and 9, log(p_data / p̃_α) and log(q̂ / p̃_α), which are added to logits: `log_ratio`
* Eqs. 4 and 10, α_t: `alpha`, with t/T from `epoch_progress`
* §2.2, q̂: `p_model` of a history that starts as `uniform_history` and is updated by `push`

These are the functions of `udal_tf.core` that training uses.

>>> import tensorflow as tf
>>> from udal_tf import alignment
>>> p_data = tf.constant([0.8, 0.2])
>>> p_target = alignment.p_target(p_data, alignment.alpha(progress=0.5, alpha_min=0.0, k=1.0))
>>> print(p_target.numpy().round(4))
[0.6667 0.3333]
>>> print(alignment.log_ratio(p_data, p_target).numpy().round(4))
[ 0.1823 -0.5108]
"""

from udal_tf.core.alignment import align_probs, log_ratio
from udal_tf.core.alignment import tempered as p_target
from udal_tf.core.moving_average import distribution as p_model
from udal_tf.core.moving_average import push, uniform_history
from udal_tf.core.schedules import alpha, epoch_progress

__all__ = [
    "align_probs",
    "alpha",
    "epoch_progress",
    "log_ratio",
    "p_model",
    "p_target",
    "push",
    "uniform_history",
]
