"""Times this repository's training; `benchmarks/speed.py` and `benchmarks/scaling.py` start this file.

It is what `run.py` does before and after its first step: the same data source, strategy, objects of the loop, compiled
calls of many steps and evaluation. Only checkpoints, logs and the progress bar are left out.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import timed_process


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", required=True, help="The run's flags: JSON, name -> value.")
    parser.add_argument("--made_up", help="Random images for the dataset's own: JSON, {image_count, classes, side}.")
    parser.add_argument("--test_images", type=int, help="Evaluate on so many images only.")
    parser.add_argument("--replicas", type=int, default=1, help="Logical devices that the processor is split into.")
    args = parser.parse_args()

    # As the command sets it (commands/train.py), before TensorFlow's import.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    from udal_tf.config import resolve
    from udal_tf.data import sources
    from udal_tf.training import distribute

    if args.replicas > 1:
        logical = [tf.config.LogicalDeviceConfiguration()] * args.replicas
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
    with tempfile.TemporaryDirectory() as folder:
        config = resolve({**json.loads(args.settings), "workdir": folder})
        strategy = distribute.make_strategy(config.device)
        with strategy.scope():
            data = made_up_data(config.data, **json.loads(args.made_up)) if args.made_up else sources.load(config.data)
            if args.test_images:
                data = with_fewer_test_images(data, args.test_images)
            timed = TimedRun(config, data, pathlib.Path(folder))
            timed.train(0, 1)
            actions = {"train": timed.train, "step": timed.step, "input": timed.input, "evaluate": timed.evaluate}
            facts = {"tensorflow": tf.__version__, "keras": keras.__version__}
            timed_process.serve(actions, {**facts, "on": distribute.hardware(strategy)["processor"]})


def made_up_data(config, image_count: int, classes: int, side: int):
    """A balanced problem of random RGB images; `config` says which fraction is labeled."""
    import numpy as np

    from udal_tf.data.dataset import ArrayImages, Source
    from udal_tf.data.problem import make_problem

    images = np.random.default_rng(0).integers(0, 256, (image_count, side, side, 3), dtype=np.uint8)
    labels = np.arange(image_count, dtype=np.int64) % classes
    source = Source(
        train=ArrayImages(images),
        train_labels=labels,
        test=ArrayImages(images[:classes]),
        test_labels=labels[:classes],
        class_names=tuple(map(str, range(classes))),
        provenance={"source": "random images"},
        long_tailed=True,
        geometric=False,
    )
    return make_problem(source, config)


def with_fewer_test_images(data, count: int):
    """The same problem with the first `count` test images."""
    import numpy as np

    from udal_tf.data.dataset import ArrayImages

    images = data.test.fetch(np.arange(count)).numpy()
    return dataclasses.replace(data, test=ArrayImages(images), test_labels=data.test_labels[:count])


class TimedRun:
    """What `serve` asks for, done by the objects of a training: those that `loop.train` makes for itself."""

    def __init__(self, config, data, folder: pathlib.Path):
        from udal_tf.run_dir import RunDir
        from udal_tf.training import loop

        self._run = loop._Run(config, data, RunDir(folder))
        self._iterator = self._batches()
        self._fixed_batch = None

    def train(self, warmup: int, steps: int) -> float:
        """Seconds for so many steps in one compiled call, as the loop makes them."""
        return timed_process.timed(lambda count: self._run.runner(self._iterator, count), warmup, steps)

    def step(self, warmup: int, steps: int) -> float:
        """Seconds for so many steps on one and the same batch."""
        import tensorflow as tf

        if self._fixed_batch is None:
            self._fixed_batch = iter(tf.data.Dataset.from_tensors(next(self._batches())).repeat())
        return timed_process.timed(lambda count: self._run.runner(self._fixed_batch, count), warmup, steps)

    def input(self, warmup: int, batches: int) -> float:
        """Seconds for so many batches from the input pipeline, for nobody."""
        return timed_process.timed_batches(self._batches(), warmup, batches)

    def evaluate(self, warmup: int, times: int) -> float:
        """Seconds for so many evaluations: raw and EMA, each without and with LA (Inf)."""
        return timed_process.timed(self._evaluations, warmup, times)

    def _batches(self):
        return self._run._batches(0)

    def _evaluations(self, times: int) -> None:
        for _ in range(times):
            self._run.evaluator(self._run.learner.la_prior().numpy())


if __name__ == "__main__":
    main()
