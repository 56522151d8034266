"""`udal train`, also `python run.py` and `udal-train`: flags -> config -> training -> summary."""

import os
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from udal_tf import config as config_module
from udal_tf import crest_flags
from udal_tf.commands import program
from udal_tf.commands.help_text import ABOUT, further_flags, help_text
from udal_tf.commands.quiet import quiet
from udal_tf.data import settings
from udal_tf.reporting.console import result_text
from udal_tf.reporting.terminal import wrapped
from udal_tf.run_records import RunDirError
from udal_tf.shown_names import shown

# How often a worker restarts because another one was lost, and the environment variable that counts it.
MOST_RESTARTS = 50
RESTARTS = "UDAL_TF_RESTARTS"


def _main(argv: list[str]) -> None:
    if len(argv) > 1:
        program.refuse(f"unexpected argument {argv[1]!r}: settings are flags, --name=value")
    try:
        config, translations = crest_flags.resolve_command_line(resolve=settings.resolve)
    except ValueError as error:
        program.refuse(error)
    if translations:
        print("\n  ".join(["CReST's flags:", *translations]))
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    program.import_tensorflow()
    from udal_tf.data.dataset import DataError
    from udal_tf.inference import priors
    from udal_tf.training.checkpointing import CheckpointError
    from udal_tf.training.distribute import DeviceError, OutOfMemory, WorkerLost, check_cluster
    from udal_tf.training.experiment import train_and_evaluate
    from udal_tf.training.loop import Interrupted, NonFiniteLoss, StorageError

    program.outlive_output("training")
    try:
        check_cluster(os.environ.get(program.CLUSTER, ""))
        result = train_and_evaluate(config)
    except (DataError, DeviceError, RunDirError) as error:
        program.refuse(error)
    except (CheckpointError, NonFiniteLoss, OutOfMemory, StorageError) as error:
        program.refuse(error, program.EXIT_FAILED)
    except Interrupted as interrupted:
        print(interrupted)
        sys.exit(program.EXIT_SIGNAL + interrupted.signal_number)
    except WorkerLost as error:
        _start_again(str(error))
    folder = config.train.workdir
    print(f"\n{result_text(result)}")
    if caution := priors.caution(config.method.method):
        print("\n" + wrapped(caution))
    seconds = f"{result.steps} steps in {result.seconds:.0f} s"
    print("\n" + wrapped(f"{seconds}. Results, metrics and images: {shown(folder)}"))


def _start_again(reason: str) -> None:
    """Replaces this process by a new one of the same command, which waits for the lost worker and resumes."""
    restarts = int(os.environ.get(RESTARTS, "0")) + 1
    if restarts > MOST_RESTARTS:
        program.refuse(f"{reason}; restarted {MOST_RESTARTS} times already", program.EXIT_FAILED)
    print(f"{reason}. Restarting, to resume from the last checkpoint with all workers ({restarts})", flush=True)
    os.environ[RESTARTS] = str(restarts)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # The network connections of the old cluster among them.
    module = getattr(sys.modules["__main__"].__spec__, "name", "")
    program_started = ["-m", module] if module else sys.argv[:1]
    os.execv(sys.executable, [sys.executable, *program_started, *sys.argv[1:]])


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Every flag of the command: our settings, and CReST's flags that translate into them."""
    config_module.define_flags(flag_values)
    crest_flags.define_flags(flag_values)


@program.command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; defines the flags and runs. argv: by default the process's arguments."""
    given = list(sys.argv[1:] if argv is None else argv)
    if "--version" in given:
        print(program.VERSION)
        return
    called = program.as_called("train")
    program.prepare_tensorflow()
    with program.bad_input_refused(), quiet():
        config_module.load_plugins_on(given)
        define_flags()
    if {"--help", "-help", "-h", "--helpfull", "-helpfull"} & set(given):
        print(help_text(flags.FLAGS, ABOUT.format(called=called)))
        if {"--helpfull", "-helpfull"} & set(given):
            print(f"\nFlags of CReST and of absl:\n{further_flags(flags.FLAGS)}")
        return
    app.run(_main, argv=[called, *given], flags_parser=program.parse_flags)
