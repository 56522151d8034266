"""`python run.py`, also installed as `udal-train`: flags -> config -> training -> summary."""

import os
import sys

from absl import app, flags, logging

from udal_tf import config as config_module
from udal_tf import crest_flags
from udal_tf.reporting.console import result_text

EXIT_BAD_INPUT, EXIT_FAILED = 2, 1
# A process ended by a signal is reported as 128 + its number, so that schedulers start it again.
EXIT_SIGNAL = 128


def _main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(_refuse(f"unexpected argument {argv[1]!r}: settings are flags, --name=value"))
    try:
        config, translations = crest_flags.resolve_command_line()
    except ValueError as error:
        sys.exit(_refuse(str(error)))
    if translations:
        print("\n  ".join(["CReST's flags:", *translations]))
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    # TensorFlow leaves oneDNN off on some processors; this has to be said before its import.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from udal_tf.data.dataset import DataError
    from udal_tf.training.checkpointing import CheckpointError
    from udal_tf.training.experiment import train_and_evaluate
    from udal_tf.training.loop import Interrupted, NonFiniteLoss
    from udal_tf.training.workdir import WorkdirError

    try:
        result = train_and_evaluate(config)
    except (DataError, WorkdirError) as error:
        sys.exit(_refuse(str(error)))
    except (CheckpointError, NonFiniteLoss) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    except Interrupted as interrupted:
        print(interrupted)
        sys.exit(EXIT_SIGNAL + interrupted.signal_number)
    folder = config.train.workdir
    print(f"\n{result_text(result, result['class_names'])}")
    print(f"\n{result['steps']} steps in {result['seconds']:.0f} s. Results, metrics and pictures: {folder}")


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
    define_flags()
    for name in config_module.section_fields():  # --help shows the flags of the program's own module only.
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    app.run(_main, flags_parser=_parse)
