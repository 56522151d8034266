"""recipes: what `--dataset=imagenet127` resolves to, number by number."""

import numpy as np
import pytest

from udal_tf.config import resolve
from udal_tf.methods.learner import _LearningRate
from udal_tf.models.build import build_model


def imagenet127(**given):
    return resolve({"dataset": "imagenet127", **given})


def learning_rates(config, steps) -> list[float]:
    rate = _LearningRate(config.optimizer, config.train.total_steps)
    return [float(rate(step)) for step in steps]


def test_imagenet127_learning_rates_of_the_3000_epochs_that_fixmatch_trains():
    """501 steps an epoch: 0.1 after 50 epochs of warm-up, a tenth of it from epoch 500 on, and every 500 again."""
    expected = {
        0: 0.0,
        12_525: 0.05,
        25_050: 0.1,
        250_499: 0.1,
        250_500: 0.01,
        501_000: 0.001,
        751_500: 1e-4,
        1_002_000: 1e-5,
        1_252_499: 1e-5,
        1_252_500: 1e-6,
        1_502_999: 1e-6,
    }
    config = imagenet127(epochs=3000)
    assert config.train.total_steps == 1_503_000
    np.testing.assert_allclose(learning_rates(config, expected), list(expected.values()), rtol=1e-5)


def test_imagenet127_learning_rates_of_other_lengths_are_in_proportion():
    # 1,000 epochs are 501,000 steps: 8,350 of warm-up, a boundary every 83,500.
    np.testing.assert_allclose(
        learning_rates(imagenet127(), [4_175, 8_350, 83_499, 83_500, 417_500]), [0.05, 0.1, 0.1, 0.01, 1e-6], rtol=1e-5
    )


def test_imagenet127_settings_of_fixmatchs_imagenet_release():
    config = imagenet127()
    optimizer, train, method = config.optimizer, config.train, config.method
    # The release's 3e-4 multiplies the sum of squares, ours half of it.
    assert (optimizer.optimizer, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.9, 6e-4)
    assert (optimizer.learning_rate, optimizer.ema_decay) == (0.1, 0.999)
    assert (train.batch_size, train.unlabeled_ratio, train.epochs, train.steps_per_epoch) == (256, 5, 1000, 501)
    assert (method.threshold, method.unlabeled_weight, method.joint_forward) == (0.7, 10.0, True)


def test_imagenet127_strong_view_has_no_cutout_and_moves_by_up_to_100_of_224_pixels():
    augment = imagenet127().augment
    assert augment.cutout == 0.0
    assert augment.max_translation * 224 == 100.0
    assert (augment.crop, augment.strong_layers, augment.strong_probability) == ("resized", 2, 0.5)
    assert len(augment.strong_ops) == 16


def test_imagenet127_network_is_fixmatchs_resnet50():
    config = imagenet127()
    assert (config.model.arch, config.model.batch_norm_momentum) == ("resnet50", 0.9)
    model = build_model(config.model, (224, 224, 3), 127)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables[:-2]) == 23_508_032
    assert model.get_layer("conv3_block1_2_conv").strides == (2, 2)
    assert not any(layer.use_bias for layer in model.layers if hasattr(layer, "kernel_size"))


@pytest.mark.parametrize("base", ["supervised", "mixmatch"])
def test_imagenet127_threshold_and_weight_are_fixmatchs_alone(base):
    method = imagenet127(base=base, method="none").method
    assert method.threshold != 0.7 and method.unlabeled_weight != 10.0
