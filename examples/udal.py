"""UDAL on one screen: each equation of the paper beside the line that computes it.

    python examples/udal.py

FixMatch + UDAL on digits-LT: real handwritten digits, 50 labels, 12 of the largest class and 1 of the smallest. 1,000
steps take less than a minute on two cores. `python run.py` takes the same step and adds what long runs need:
checkpoints, multiple devices, reports, the other methods and base learners. docs/method.md explains each equation.
"""

import keras
import numpy as np
import tensorflow as tf

from udal_tf import alignment, losses
from udal_tf.augment.views import make_views
from udal_tf.config import resolve
from udal_tf.data.sources import load
from udal_tf.models.wide_resnet import wide_resnet

ALPHA_MIN = 0.1  # final α; this and K from UDAL, §4.3
K = 2.0  # exponent of the schedule: the larger, the later α falls
THRESHOLD = 0.8  # 0.95 on CIFAR; here the class with one label hardly ever reaches that
LABELED_BATCH = 32
UNLABELED_BATCH = 128
EPOCHS = 20
STEPS_PER_EPOCH = 50
LEARNING_RATE = 0.03
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
EMA_DECAY = 0.99
BATCH_NORM_MOMENTUM = 0.95


@tf.function
def train_step(model, optimizer, ema, history, p_data, alpha, batch):
    """One step of Algorithm 1: updates the model, the EMA weights and the prediction history; returns the losses."""
    x_l, y_l, u_weak, u_strong = batch
    p_model = alignment.p_model(history)  # q̂, the moving average of the predictions on unlabeled images: §2.2
    p_target = alignment.p_target(p_data, alpha)  # p̃_α = Normalize(p_data^α): Eq. 2

    with tf.GradientTape() as tape:
        logits = model(tf.concat([x_l, u_weak, u_strong], axis=0), training=True)
        logits_l, logits_w, logits_s = tf.split(logits, [LABELED_BATCH, UNLABELED_BATCH, UNLABELED_BATCH])

        # Labeled images, f(x) + log(p_data / p̃_α): Eq. 6.
        loss_l = losses.cross_entropy(y_l, logits_l + alignment.log_ratio(p_data, p_target))

        # Unlabeled images: pseudo-labels from the weak view for the strong view, FixMatch's Eq. 5.
        probs_w = tf.stop_gradient(tf.nn.softmax(logits_w))
        targets, confident = losses.pseudo_labels(probs_w, THRESHOLD)
        # f(u^strong) + log(q̂ / p̃_α): Eq. 9.
        loss_u = losses.cross_entropy(targets, logits_s + alignment.log_ratio(p_model, p_target))

        loss_l, loss_u = tf.reduce_mean(loss_l), tf.reduce_mean(losses.weighted(confident, loss_u))
        loss = loss_l + loss_u + WEIGHT_DECAY * losses.l2(decayed_variables(model))

    weights = model.trainable_variables
    optimizer.apply(tape.gradient(loss, weights), weights)
    for average, weight in zip(ema, weights, strict=True):
        average.assign(EMA_DECAY * average + (1.0 - EMA_DECAY) * weight)
    history.assign(alignment.push(history, probs_w))  # q̂ of the next step
    return {"loss": loss, "loss_l": loss_l, "loss_u": loss_u, "confident": tf.reduce_mean(confident)}


def decayed_variables(model):
    """Kernels and biases, without batch normalization's variables."""
    layers = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    return [variable for layer in layers for variable in layer.trainable_variables]


def make_model_and_state(p_data):
    """The network, its optimizer, the EMA weights and the history of predictions whose mean is q̂."""
    model = wide_resnet((8, 8, 1), len(p_data), depth=10, width=1, batch_norm_momentum=BATCH_NORM_MOMENTUM)
    # CReST's schedule, cos(π/16 · t/T): with alpha −1, Keras's falls from the rate to minus the rate in 16 T steps.
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, 16 * EPOCHS * STEPS_PER_EPOCH, alpha=-1.0)
    optimizer = keras.optimizers.SGD(rate, momentum=MOMENTUM, nesterov=True)
    optimizer.build(model.trainable_variables)
    ema = [tf.Variable(weight.value, trainable=False) for weight in model.trainable_variables]
    history = tf.Variable(alignment.uniform_history(len(p_data)), trainable=False)
    return model, optimizer, ema, history


def make_batches(data, views):
    """Endless batches for `train_step`: views float32 [B or U, 8, 8, 1] in [−1, 1] and labels [B]."""

    def shuffled(batch_size, *arrays):
        dataset = tf.data.Dataset.from_tensor_slices(arrays).shuffle(len(arrays[0])).repeat()
        return dataset.batch(batch_size, drop_remainder=True)

    def seen(view, positions):
        return view.apply(data.train.fetch(positions), tf.random.uniform([len(positions), view.uniforms]))

    def with_views(labeled, unlabeled):
        (at_l, y_l), (at_u,) = labeled, unlabeled
        return seen(views.weak, at_l), y_l, seen(views.weak, at_u), seen(views.strong, at_u)

    both = shuffled(LABELED_BATCH, data.labeled, data.labels_l), shuffled(UNLABELED_BATCH, data.unlabeled)
    return tf.data.Dataset.zip(both).map(with_views).prefetch(tf.data.AUTOTUNE)


def ema_accuracy(model, ema, data, views):
    """Test accuracy of the EMA weights, with the model's own batch-norm statistics."""
    images = views.plain.apply(data.test.fetch(np.arange(len(data.test))), tf.zeros([len(data.test), 0]))
    logits, _ = model.stateless_call(ema, model.non_trainable_variables, images, training=False)
    return np.mean(np.argmax(logits, axis=-1) == data.test_labels)


def main(seed=1):
    """Trains, and returns the test accuracy."""
    keras.utils.set_random_seed(seed)
    settings = resolve({"dataset": "digitslt", "fold": 1})  # only for data and views; all others are above
    data = load(settings.data)
    views = make_views(settings.augment, *data.train.shape)
    p_data = tf.constant(data.p_data)  # [10], the class prior of the labeled images
    model, optimizer, ema, history = make_model_and_state(p_data)
    batches = iter(make_batches(data, views))

    for epoch in range(EPOCHS):
        alpha = alignment.alpha(epoch / EPOCHS, ALPHA_MIN, K)  # α_t = 1 − (1 − α_min)·(t/T)^k: Eq. 10
        for _ in range(STEPS_PER_EPOCH):
            step = train_step(model, optimizer, ema, history, p_data, alpha, next(batches))
        accuracy = ema_accuracy(model, ema, data, views)
        shown = f"loss {step['loss_l']:.3f} + {step['loss_u']:.3f}, {step['confident']:.0%} confident"
        print(f"epoch {epoch + 1}: α {alpha:.3f}, {shown}, test accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
