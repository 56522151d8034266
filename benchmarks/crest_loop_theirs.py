"""The release's part of `benchmarks/crest_loop.py`, which starts this file by --crest_python.

train   a run from kernels drawn anew: figures of every step, accuracies, first batch, first and last weights
shared  a quarter of a run from the kernels as the release makes them
views   the strong view of given images by given random numbers, and what its rounding does to the 256 values
"""

import argparse
import itertools
import json
import os
import pathlib
import sys

import numpy as np

# Its metrics -> our names.
METRICS = {
    "loss.train": "loss",
    "loss.xe": "loss_labeled",
    "loss.xeu": "loss_unlabeled",
    "loss.wd": "loss_l2",
    "monitor.mask": "confident",
    "acc.train": "train_accuracy",
}
ACCURACIES = {"acc.test": "raw", "acc.test.ema": "ema", "acc.test.la": "raw_la", "acc.test.la.ema": "ema_la"}
QUARTERS = 4
# Blocks in a group of WRN-16.
BLOCKS = [2, 2, 2]
SIDE = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "first", "shared", "views"))
    parser.add_argument("--crest", required=True, help="Checkout of google-research/crest.")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    parser.add_argument("--seed", type=int)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.settings["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(args.settings["threads"])
    sys.path.insert(0, args.crest)
    if args.action == "views":
        return strong_views(args.out)
    trainer = make_trainer(args.settings, args.seed, args.out)
    name = args.seed if args.action == "train" else args.action
    steps = {"train": trainer.num_batch * QUARTERS, "first": 1, "shared": trainer.num_batch}[args.action]
    with trainer.strategy.scope():
        trainer.config(gen_idx=0)
        kernels = [v for v in trainer.model.trainable_variables if len(v.shape) == 4]
        result = {"kernels": len(kernels), "distinct": len({kernel.numpy().tobytes() for kernel in kernels})}
        if args.action != "shared":
            draw_anew(kernels, args.seed)
            trainer.ema_init()
        trainer.train_begin()
        trainer.train_epoch_begin()
        result["steps"], arrays = trained(trainer, steps)
        if args.action == "train":
            result["accuracy"] = accuracies(trainer)
    np.savez(args.out / f"theirs_{name}.npz", **arrays)
    result["facts"] = {"TensorFlow": tf.__version__}
    (args.out / f"theirs_{name}.json").write_text(json.dumps(result))


def make_trainer(settings: dict, seed: int, out: pathlib.Path):
    """The release's FixMatch trainer, with a WRN-16 and the SGD that it can start with."""
    import tensorflow as tf

    # Its absl flags are the trainer's settings, and the module defines them when it is imported.
    import train_and_eval_lib
    import train_and_eval_loop as release
    from model import resnet

    # After the imports above, for one of them loads Keras anew.
    tf.keras.optimizers.SGD = tf.keras.optimizers.legacy.SGD
    resnet.BLOCK["WRN28"] = BLOCKS
    given = {
        "model_dir": out / f"release_{seed}",
        "method": "fixmatch",
        "dataset": "cifar10lt",
        "class_im_ratio": 0.01,
        "percent_labeled": 0.1,
        "fold": settings["fold"],
        "batch_size": settings["batch_size"],
        "unlab_ratio": settings["ratio"],
        "net_width": 1,
        "num_generation": 1,
        "num_epoch": QUARTERS,
        "num_batch": settings["steps"] // QUARTERS,
        "seed": seed,
        "force_init": True,
    }
    release.FLAGS([release.__name__, *(f"--{name}={value}" for name, value in given.items())])
    flags = release.FLAGS.get_flags_for_module(release.__name__)
    trainer = train_and_eval_lib.get_trainer(release.HParams({flag.name: flag.value for flag in flags}))
    trainer.strategy = trainer.setup_tf()
    return trainer


def draw_anew(kernels: list, seed: int) -> None:
    """Gives every kernel values of its own, by the release's own rule."""
    import tensorflow as tf

    for number, kernel in enumerate(kernels):
        rule = tf.keras.initializers.VarianceScaling(scale=2.0, mode="fan_out", seed=1000 * seed + number)
        kernel.assign(rule(kernel.shape))


def trained(trainer, steps: int) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Trains; each step's figures by our names, and the arrays: first batch, weights before it and at the end."""
    batch = next(trainer.train_iterator)
    (x_l, y_l, _), (x_w, x_s, y_u, _) = batch
    arrays = {"x_l": x_l, "labels_l": y_l, "x_w": x_w, "x_s": x_s, "labels_u": y_u}
    arrays["names"] = np.array([variable.name for variable in trainer.model.variables])

    def keep(prefix: str, model) -> None:
        arrays.update({f"{prefix}{i}": variable.numpy() for i, variable in enumerate(model.variables)})

    keep("start", trainer.model)
    figures: dict[str, list[float]] = {name: [] for name in METRICS.values()}
    for step in range(steps):
        for metric in METRICS:
            trainer.metrics[metric].reset_states()
        trainer.strategy.run(trainer.train_step_fn, args=(batch if step == 0 else next(trainer.train_iterator),))
        for metric, name in METRICS.items():
            figures[name].append(float(trainer.metrics[metric].result()))
    keep("raw", trainer.model)
    keep("ema", trainer.model_ema)
    arrays["label_average"] = trainer.p_data.p_data.numpy()
    return figures, {name: np.asarray(value) for name, value in arrays.items()}


def accuracies(trainer) -> dict[str, float]:
    """The four test accuracies that the release takes after an epoch, by our names."""
    trainer.train_epoch_begin()
    for ema, adjusted in itertools.product((False, True), repeat=2):
        trainer.eval_epoch(trainer.test_iterator, False, ema, adjusted)
    return {name: float(trainer.metrics[metric].result()) for metric, name in ACCURACIES.items()}


def strong_views(out: pathlib.Path) -> None:
    """Writes theirs_views.npz: "strong" [N, S, S, 3] for the images and choices of views.npz, and "values" [256]."""
    import tensorflow as tf
    from data import augment, augment_ops, data_util
    from third_party import rand_augment

    given = np.load(out / "views.npz")
    operations = augment.compose_augment_seq(augment.retrieve_augment(["dhrac"], size=SIDE)[0], is_training=True)
    process = data_util.BasicImageProcess((SIDE, SIDE, 3))
    # `generate_augment_ops` returns partials of its objects; RandAugment's has the names of the operations.
    randaugment = next(op.func for op in operations if isinstance(op.func, augment_ops.RandAugment))
    numbers: list = []

    def scripted(shape, minval=0, maxval=None, dtype=tf.float32, **_):
        value = numbers.pop(0)
        return tf.constant(value, dtype) * tf.constant(1 if maxval is None or dtype == tf.int32 else maxval, dtype)

    tf.random.uniform = scripted
    strong = []
    for i, image in enumerate(given["images"]):
        top, left, flip = int(given["top"][i]), int(given["left"][i]), bool(given["flip"][i])
        signs = []
        for layer in range(given["ops"].shape[1]):
            applied = 0.0 if given["applied"][i, layer] else 1.0
            op = str(given["ops"][i, layer])
            numbers += [given["level"][i, layer], randaugment.ra_ops.index(op), applied]
            if op in ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"):
                signs.append(given["sign"][i, layer])
        numbers += list(given["cutout"][i])
        tf.image.random_crop = lambda padded, size, t=top, n=left: padded[t : t + SIDE, n : n + SIDE]
        tf.image.random_flip_left_right = lambda image, flip=flip: image[:, ::-1] if flip else image
        rand_augment._randomly_negate_tensor = lambda amount, signs=signs: amount * signs.pop(0)
        strong.append(process.preprocess_image(tf.constant(image), aug_ops_list=[operations])[0].numpy())
        if numbers or signs:
            raise RuntimeError(f"image {i}: {len(numbers)} random numbers and {len(signs)} signs were not asked for")
    values = tf.range(256, dtype=tf.float32)
    rounded = randaugment.wrap((2.0 / 255.0) * values - 1.0).numpy()
    np.savez(out / "theirs_views.npz", strong=np.stack(strong), values=rounded)
    (out / "theirs_views.json").write_text(json.dumps({"images": len(strong)}))


if __name__ == "__main__":
    main()
