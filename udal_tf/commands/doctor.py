"""`udal doctor`: whether this machine's devices train, how fast, and as its CPU does.

  udal doctor
  udal doctor -- --jit --precision=bfloat16 --input=device
  udal doctor -- --arch=resnet50 --batch_size=64 --unlabeled_ratio=7
  udal doctor --json -- --tpu=local

Prints versions and devices; the operations of a training step that the device has no kernel for; images per second over
a few steps on random images; and how far one step on the device is from the same step on the CPU: views to the bit,
loss and weights within the tolerance that is printed.

Settings of `run.py` after `--` say what is tried. Without them the network is small, a Wide ResNet 10-1 with batches of
16 + 2 · 32 images: give those of a run for its speed.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from udal_tf import config as config_module
from udal_tf.commands import program
from udal_tf.config import Config
from udal_tf.reporting import console, terminal

EXIT_CODES = "exit code: 0: all is well; 1: it is not, with a line for each fault; 2: a wrong argument"
DATASET = "cifar10lt"
SMALL = {"batch_size": 16, "unlabeled_ratio": 2}
SMALL_NETWORK = {"depth": 10, "width": 1}
SECONDS = 60


def diagnose(config: Config, steps: int, limit: float) -> dict[str, Any]:
    """Examines this machine with the settings of a run.

    Args:
      config: the settings.
      steps: how many to time.
      limit: seconds after which no further one is timed.

    Returns:
      "versions"; "hardware", as in `result.json`; "check", the fields of `training.checkup.Check`, or None if no step
      could be done; "faults", a sentence each.
    """
    program.import_tensorflow()
    import tensorflow as tf

    from udal_tf.training import checkup
    from udal_tf.training.distribute import DeviceError, cause, hardware, is_out_of_memory, make_strategy, out_of_memory

    found: dict[str, Any] = {"versions": checkup.versions(), "hardware": None, "check": None}
    faults = checkup.unused_devices(config)
    try:
        strategy = make_strategy(config.device)
        found["hardware"] = hardware(strategy)
        with terminal.Progress(steps, "steps") as bar:
            checked = checkup.check(config, strategy, steps, limit, bar.advance)
        found["check"], faults = dataclasses.asdict(checked), faults + checked.faults()
    except DeviceError as error:
        faults.append(str(error))
    except tf.errors.OpError as error:
        text = out_of_memory(error) if is_out_of_memory(error) else f"a step fails: {cause(error)}"
        faults.append(str(text))
    return {**found, "faults": faults}


def text(found: Mapping[str, Any]) -> str:
    """What `diagnose` found, for people; without the faults."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items() if version)
    lines = [terminal.wrapped(versions, following="  ")]
    if found["hardware"]:
        lines.append(console.hardware_text(found["hardware"]))
    check = found["check"]
    if check:
        views, (loss, update) = check["pixels_differing"], check["tolerance"]
        lacking = ", ".join(check["missing"]) or "none missing"
        speed = f"{check['images_per_second']:,.0f} images/s over {check['steps']} steps"
        lines += [
            terminal.wrapped(f"Kernels ({check['registry']}): {lacking}", following="  "),
            terminal.wrapped(f"Speed: {speed}; the first took {check['seconds_to_compile']:.1f} s", following="  "),
            f"Views: {'made on the CPU' if views is None else f'{views:,} values differ from those of the CPU'}",
            terminal.wrapped(
                f"A step beside the CPU's: loss {check['loss_difference']:.1e} (at most {loss:g}), update of the "
                f"weights {check['update_difference']:.1e} (at most {update:g})",
                following="  ",
            ),
        ]
    return "\n".join(lines)


def _config(arguments: Sequence[str]) -> Config:
    """The settings given, and of a small run what they leave open."""
    given = {"dataset": DATASET, **config_module.given_on_command_line(arguments)}
    network = SMALL_NETWORK if given.get("arch", "wrn") == "wrn" else {}
    return config_module.resolve({**SMALL, **network, **given})


@program.command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    own, settings = program.split_settings(argv)
    parser = program.make_parser("doctor", __doc__, EXIT_CODES)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON instead of text")
    parser.add_argument(
        "--steps", type=program.number(1, 10_000), default=20, help="how many steps to time (default: 20)"
    )
    parser.add_argument(
        "--seconds",
        type=program.number(0, 100_000),
        default=SECONDS,
        help=f"after which no further step is timed (default: {SECONDS})",
    )
    args = parser.parse_args(own)
    with program.bad_input_refused():
        program.load_plugins(args.plugin)
        config = _config(settings)
        found = diagnose(config, args.steps, args.seconds)
    print(json.dumps(found, indent=2, ensure_ascii=False) if args.json else text(found))
    for fault in found["faults"]:
        print(terminal.wrapped(f"fault: {fault}", following="  "), file=sys.stderr if args.json else sys.stdout)
    if found["faults"]:
        sys.exit(program.EXIT_FAILED)
    if not args.json:
        print("All is well.")


if __name__ == "__main__":
    main()
