"""One experiment from its config to its result: `train_and_evaluate`, what `run.py` calls."""

from typing import Any

from udal_tf.augment.views import make_views
from udal_tf.config import Config
from udal_tf.data import sources
from udal_tf.data.dataset import DataError
from udal_tf.models.build import check_pictures_fit
from udal_tf.recipes import GENERATIONAL_METHODS, METHODS
from udal_tf.reporting import console
from udal_tf.training import generations, loop
from udal_tf.training.unlabeled_prior import stated_shares, with_unlabeled_prior
from udal_tf.training.workdir import Workdir


def train_and_evaluate(config: Config) -> dict[str, Any]:
    """Trains by `config`, going on from its work folder's last state, and returns what `result.json` holds.

    Raises:
      DataError, WorkdirError: before anything is written.
      CheckpointError: where no checkpoint can be read.
      NonFiniteLoss, Interrupted: see `loop`; the same command goes on from the last checkpoint.
    """
    workdir = Workdir(config)
    finished = workdir.result()
    if finished:
        print(f"This run is finished already; its results are in {workdir.path}")
        return finished
    print(console.settings_text(config.to_dict()))
    data = sources.load(config.data)
    print(console.provenance_text(data.provenance))
    generational = config.method.method in GENERATIONAL_METHODS
    if generational and not len(data.rest):
        raise DataError(
            f"--method={config.method.method} labels pictures that have no label, and --beta={config.data.beta:g} "
            "leaves none"
        )
    try:
        make_views(config.augment, *data.train.shape)
        check_pictures_fit(config.model, data.train.shape)
        stated_shares(config.darp, data.p_data)
    except ValueError as error:
        raise DataError(f"The settings do not fit {config.data.dataset}: {error}") from error
    workdir.open()
    try:
        if generational:
            return generations.train_generations(config, data, workdir.path)
        if METHODS[config.method.method].refined:
            data = with_unlabeled_prior(config, data, workdir.path)
        return loop.train(config, data, workdir.path)
    finally:
        workdir.close()
