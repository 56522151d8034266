"""keras_api under MirroredStrategy: on two logical CPUs, in a process of its own, as devices are set up once."""

import contextlib
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from forked import Started

import udal_tf

X = np.random.RandomState(0).randint(0, 256, (24, 8, 8, 1)).astype(np.uint8)
Y = np.arange(24) % 4
XU = np.random.RandomState(1).randint(0, 256, (60, 8, 8, 1)).astype(np.uint8)
# Soft pseudo-labels: hard ones jump with the last bits of a sum.
SETTINGS = {"threshold": 0.0, "temperature": 0.5, "unlabeled_weight": 1.0, "unlabeled_count": len(XU)}


class Steps(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.rows = []

    def on_train_batch_end(self, batch, logs=None):
        self.rows.append(logs)


def trained(base: str, method: str, strategy: tf.distribute.Strategy | None, **compiled) -> list[dict[str, float]]:
    """What Keras logs at each step, then at the end of an epoch."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        keras.utils.set_random_seed(1)
        network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
        model = udal_tf.SemiSupervisedModel(network, class_counts=[12, 6, 4, 2], base=base, method=method, **SETTINGS)
        top2 = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")
        model.compile(keras.optimizers.SGD(0.05), metrics=[top2], **compiled)
    augment = {"crop_padding": 1, "strong_ops": ("ShearX", "Contrast"), "cutout": 0.25}
    batches = udal_tf.batches(X, Y, XU, batch_size=4, unlabeled_ratio=2, augment=augment)
    steps = Steps()
    options = {"epochs": 2, "steps_per_epoch": 3, "verbose": 0, "validation_data": (X, Y)}
    history = model.fit(batches, callbacks=[steps], **options).history
    return [*steps.rows, {name: values[-1] for name, values in history.items()}]


def supervised(strategy: tf.distribute.Strategy | None) -> dict[str, list[float]]:
    """The history of a network trained by UDAL's Keras loss, made outside of the strategy's scope."""
    loss = udal_tf.losses.UDALCrossentropy([12, 6, 4, 2])
    with strategy.scope() if strategy else contextlib.nullcontext():
        keras.utils.set_random_seed(1)
        network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
        network.compile(keras.optimizers.SGD(0.05), loss, jit_compile=False)
    options = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0}
    return network.fit(X / 255.0, Y, callbacks=[udal_tf.losses.AlphaSchedule()], **options).history


def fit_on_two_devices(folder: pathlib.Path) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for base, method in (("fixmatch", "udal"), ("mixmatch", "none"), ("remixmatch", "da"), ("fixmatch", "darp")):
        one, two = (trained(base, method, under) for under in (None, strategy))
        assert 0 < one[-1]["val_top2"] <= 1
        for theirs, ours in zip(one, two, strict=True):
            assert theirs.keys() == ours.keys()
            for name in ours:
                np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-5, err_msg=f"{base} {name}")
    alone, mirrored = supervised(None), supervised(strategy)
    np.testing.assert_allclose(mirrored["alpha"], [1.0, 0.9, 0.6], rtol=1e-6)  # 1 − 0.9·(epoch/3)²
    np.testing.assert_allclose(mirrored["loss"], alone["loss"], rtol=1e-5)
    one, several_steps = (
        trained("fixmatch", "none", tf.distribute.MirroredStrategy(["CPU:0"]), steps_per_execution=steps)
        for steps in (1, 3)
    )
    for name in one[-1]:
        np.testing.assert_allclose(several_steps[-1][name], one[-1][name], rtol=1e-5, atol=1e-5, err_msg=name)
    with pytest.raises(ValueError, match="steps_per_execution must be 1 on several devices"):
        trained("fixmatch", "none", strategy, steps_per_execution=3)
    (folder / "done").write_text("done", encoding="utf-8")


def test_fit_on_two_devices_logs_and_trains_as_on_one(tmp_path):
    ended = Started(fit_on_two_devices, tmp_path, cwd=tmp_path).finish()
    assert ended.returncode == 0 and (tmp_path / "done").exists(), ended.stderr[-3000:]
