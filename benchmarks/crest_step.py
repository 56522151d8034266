"""Times CReST's own trainer; `benchmarks/speed.py` starts this file by --crest_python.

It is the release's FixMatch without generations: its loader, its step, its loop over an epoch and the four passes over
the test images that its loop makes after each epoch. Reads $ML_DATA as the release does.
"""

import argparse
import itertools
import os
import sys
import tempfile

import timed_process

# Images in a batch of its evaluation. CReST data/cifar.py.
EVALUATION_BATCH = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crest", required=True, help="Folder of the CReST release.")
    parser.add_argument("--imbalance", type=float, required=True, help="CReST's class_im_ratio, 1/γ.")
    parser.add_argument("--labeled", type=float, required=True, help="Labeled fraction of each class.")
    parser.add_argument("--batch_size", type=int, required=True)
    parser.add_argument("--ratio", type=int, required=True, help="Unlabeled images per labeled one.")
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--test_images", type=int, required=True, help=f"A multiple of {EVALUATION_BATCH}.")
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    sys.path.insert(0, args.crest)
    # Its absl flags are the trainer's settings, and the module defines them when it is imported.
    import train_and_eval_lib
    import train_and_eval_loop as release

    # The release was written for the optimizers that Keras 2.11 moved here; it does not start with the others. This
    # comes after the imports above, for one of them loads Keras anew.
    tf.keras.optimizers.SGD = tf.keras.optimizers.legacy.SGD
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "model_dir": folder,
            "method": "fixmatch",
            "dataset": "cifar10lt",
            "class_im_ratio": args.imbalance,
            "percent_labeled": args.labeled,
            "batch_size": args.batch_size,
            "unlab_ratio": args.ratio,
            "net_width": args.width,
            "num_generation": 1,
        }
        release.FLAGS([release.__name__, *(f"--{name}={value}" for name, value in given.items())])
        settings = release.FLAGS.get_flags_for_module(release.__name__)
        trainer = train_and_eval_lib.get_trainer(release.HParams({flag.name: flag.value for flag in settings}))
        trainer.strategy = trainer.setup_tf()
        with trainer.strategy.scope():
            trainer.config(gen_idx=0)
            trainer.train_begin()
            trainer.train_epoch_begin()
            timed = TimedTrainer(trainer, args.test_images // EVALUATION_BATCH)
            timed.train(0, 1)
            actions = {"train": timed.train, "step": timed.step, "input": timed.input, "evaluate": timed.evaluate}
            timed_process.serve(actions, {"tensorflow": tf.__version__})


class TimedTrainer:
    """What `serve` asks for, done by the release's trainer, which must have begun to train."""

    def __init__(self, trainer, test_batches: int):
        self._trainer, self._test_batches = trainer, test_batches
        self._fixed_batch = None

    def train(self, warmup: int, steps: int) -> float:
        """Seconds for an epoch of so many steps."""
        return timed_process.timed(self._epoch, warmup, steps)

    def step(self, warmup: int, steps: int) -> float:
        """Seconds for so many steps on one and the same batch."""
        if self._fixed_batch is None:
            self._fixed_batch = next(self._trainer.train_iterator)
        return timed_process.timed(self._fixed_steps, warmup, steps)

    def input(self, warmup: int, batches: int) -> float:
        """Seconds for so many batches from the loader, for nobody."""
        return timed_process.timed_batches(self._trainer.train_loader, warmup, batches)

    def evaluate(self, warmup: int, times: int) -> float:
        """Seconds for so many evaluations."""
        return timed_process.timed(self._evaluations, warmup, times)

    def _epoch(self, steps: int) -> None:
        self._trainer.num_batch = steps
        self._trainer.train_epoch("")
        self._wait()

    def _fixed_steps(self, count: int) -> None:
        for _ in range(count):
            self._trainer.strategy.run(self._trainer.train_step_fn, args=(self._fixed_batch,))
        self._wait()

    def _evaluations(self, times: int) -> None:
        """The passes that the release makes after an epoch: raw and EMA, each without and with LA."""
        dataset = (self._trainer.test_iterator[0], self._test_batches)
        for _ in range(times):
            for ema, adjusted in itertools.product((False, True), repeat=2):
                self._trainer.eval_epoch(dataset, is_val=False, is_ema=ema, use_logit_adjustment=adjusted)

    def _wait(self) -> None:
        self._trainer.optimizer.iterations.numpy()


if __name__ == "__main__":
    main()
