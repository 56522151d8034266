"""`python run.py`, also installed as `udal-train`: flags -> config -> training -> summary."""

import os
import sys

from absl import app, flags, logging

from udal_tf import config as config_module
from udal_tf import crest_flags
from udal_tf.commands.help_text import help_text
from udal_tf.commands.plugins import prepare_tensorflow
from udal_tf.data import settings
from udal_tf.reporting import terminal
from udal_tf.reporting.console import result_text
from udal_tf.run_records import RunDirError

EXIT_BAD_INPUT, EXIT_FAILED = 2, 1
# A process ended by a signal is reported as 128 + its number, so that schedulers start it again.
EXIT_SIGNAL = 128
# How often a worker begins anew because another one was lost, and the environment variable that counts it.
MOST_RESTARTS, RESTARTS = 50, "UDAL_TF_RESTARTS"


def _main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(_refuse(f"unexpected argument {argv[1]!r}: settings are flags, --name=value"))
    try:
        config, translations = crest_flags.resolve_command_line(resolve=settings.resolve)
    except ValueError as error:
        sys.exit(_refuse(str(error)))
    if translations:
        print("\n  ".join(["CReST's flags:", *translations]))
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    from udal_tf.data.dataset import DataError
    from udal_tf.training.checkpointing import CheckpointError
    from udal_tf.training.distribute import DeviceError, WorkerLost
    from udal_tf.training.experiment import train_and_evaluate
    from udal_tf.training.loop import Interrupted, NonFiniteLoss, StorageError

    try:
        result = train_and_evaluate(config)
    except (DataError, DeviceError, RunDirError) as error:
        sys.exit(_refuse(str(error)))
    except (CheckpointError, NonFiniteLoss, StorageError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    except Interrupted as interrupted:
        print(interrupted)
        sys.exit(EXIT_SIGNAL + interrupted.signal_number)
    except WorkerLost as error:
        _start_again(str(error))
    folder = config.train.workdir
    print(f"\n{result_text(result)}")
    print(f"\n{result.steps} steps in {result.seconds:.0f} s. Results, metrics and images: {folder}")


def _start_again(reason: str) -> None:
    """Becomes a new process of the same command, which waits for the lost worker to come back, and goes on with it."""
    restarts = int(os.environ.get(RESTARTS, "0")) + 1
    if restarts > MOST_RESTARTS:
        print(f"error: {reason}; started again {MOST_RESTARTS} times already", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    print(f"{reason}. Starting again, to go on from the last checkpoint with all workers ({restarts})", flush=True)
    os.environ[RESTARTS] = str(restarts)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # The network connections of the old cluster among them.
    os.execv(sys.executable, [sys.executable, *sys.argv])


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return EXIT_BAD_INPUT


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(_refuse(f"{error} (--help says what is allowed)"))


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Every flag of the command: our settings, and CReST's flags that translate into them."""
    config_module.define_flags(flag_values)
    crest_flags.define_flags(flag_values)


def main() -> None:
    """Entry point; defines the flags and runs."""
    terminal.accept_any_text()
    prepare_tensorflow()
    try:
        config_module.load_plugins_on(sys.argv[1:])
        define_flags()
    except ValueError as error:
        sys.exit(_refuse(str(error)))
    if {"--help", "-help", "-h"} & set(sys.argv[1:]):
        print(help_text(flags.FLAGS, sys.modules["__main__"].__doc__ or __doc__))
        return
    app.run(_main, flags_parser=_parse)
