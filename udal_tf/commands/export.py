"""`udal export WORKDIR OUT --format=…`: a trained model as a file that is used without this package.

  udal export runs/mine mine_onnx --format=onnx --target_prior=uniform
  udal export runs/mine mine_int8 --format=tflite --quantize=int8

OUT becomes a folder with the model (saved_model/, model.keras, model.tflite or model.onnx), classes.json, read_image.py
and MODEL_CARD.md, which says how to use it. Scaling and LA (Inf) are included. savedmodel and keras take uint8 images
of any size, which they crop and resize as the training did, and savedmodel takes encoded images too; tflite and onnx
take images of the network's size, which read_image.py makes of files. Before the folder appears, the exported model is
compared with the original on random and real images, on other sizes, transparent images and ones of 16 bits.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from udal_tf.commands import model_arguments, outputs, program
from udal_tf.commands.quiet import quiet
from udal_tf.reporting.terminal import wrapped
from udal_tf.shown_names import shown
from udal_tf.storage import write_json, write_text

FORMATS = ("savedmodel", "keras", "tflite", "onnx")
CARD = "MODEL_CARD.md"
CLASSES = "classes.json"


def _run(args: argparse.Namespace) -> None:
    """Exports as the arguments say."""
    program.placed(args, "workdir", "out")
    program.import_tensorflow()
    if args.quantize != "none" and args.format != "tflite":
        raise ValueError(f"--quantize={args.quantize} needs --format=tflite, got --format={args.format}")
    with outputs.new_folder(args.out, args.overwrite, CARD) as folder:
        from udal_tf.inference import export_check, exporting, model_card, quantizing, real_images, usage

        if missing := exporting.missing_packages(args.format):
            raise ValueError(
                f"--format={args.format} needs the packages {', '.join(missing)}: pip install {' '.join(missing)}"
            )
        model = model_arguments.load_model(args)
        shift = model.shift(args.target_prior, args.source_prior)
        model_arguments.say_caution(model, args)
        real = real_images.find(model, program.local_copies(args.images))
        chosen = quantizing.images(model, bool(args.images), real) if args.quantize == "int8" else None
        print(wrapped(f"Real images to compare on: {real.words}"))
        calibration = chosen.calibration if chosen else None
        file, loss = exporting.FORMATS[args.format].file, None
        with quiet():
            differences = exporting.export(model, shift, args.format, folder, real, calibration)
            if chosen:
                run = exporting.FORMATS[args.format].load(folder / file)[export_check.FIXED]
                loss = quantizing.loss(model, shift, run, chosen)
        source = args.source_prior or model.folder.config.method.la_prior
        export = model_card.Export(args.format, args.target_prior, source, differences, real.words, loss)
        write_text(folder / CARD, model_card.card(model, export))
        write_json(folder / CLASSES, model_card.facts(model, export))
        if exporting.reads_files(model):
            write_text(folder / usage.READER, usage.reader(model))
    if loss:
        print(wrapped(loss.said()))
    else:
        for kind, difference in differences.items():
            print(wrapped(f"Largest difference in a probability on {kind}: {difference:.1e}"))
    print(wrapped(f"Written and checked: {shown(args.out / file)}; how to use it: {shown(args.out / CARD)}"))


@program.command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    exit_codes = "exit code: 0 success; 1 the exported model differs from the original; 2 bad input, nothing done"
    parser = model_arguments.model_parser("export", __doc__, exit_codes=exit_codes)
    parser.add_argument("out", type=program.text_place, metavar="OUT", help="folder to write to")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument(
        "--quantize",
        default="none",
        choices=("none", "int8"),
        help="int8: smaller and faster, for tflite; calibrated on --images or on the run's own data, and the accuracy "
        "that it loses is in the card (default: none)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in OUT")
    parser.add_argument(
        "--images",
        nargs="+",
        type=program.word,
        default=[],
        metavar="IMAGES",
        help="files, folders, patterns of images to compare on; default: some of the run's own data",
    )
    args = parser.parse_args(argv)
    program.outlive_output()
    with program.bad_input_refused():
        try:
            _run(args)
        except RuntimeError as error:
            program.refuse(error, program.EXIT_FAILED)


if __name__ == "__main__":
    main()
