"""`udal-export WORKDIR OUT --format=…`: a trained model as a file that is used without this package.

  udal-export runs/mine mine_onnx --format=onnx --target_prior=uniform

OUT becomes a folder with the model (saved_model/, model.keras, model.tflite or model.onnx), classes.json, read_image.py
and MODEL_CARD.md, which says how to use it. The model takes uint8 images of the size that it was trained on and returns
a probability per class; scaling and LA (Inf) are included, resizing is not: read_image.py reads an image file as the
training did. Before the folder appears, the exported model is compared with the original on random and real images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from udal_tf.commands import model_arguments, outputs, program
from udal_tf.shown_names import shown
from udal_tf.storage import write_json, write_text

FORMATS = ("savedmodel", "keras", "tflite", "onnx")
CARD = "MODEL_CARD.md"
CLASSES = "classes.json"


def _run(args: argparse.Namespace) -> None:
    """Exports as the arguments say."""
    program.prepare_tensorflow()
    with outputs.new_folder(args.out, args.overwrite, CARD) as folder:
        from udal_tf.inference import exporting, image_files, model_card, real_images, usage

        if missing := exporting.missing_packages(args.format):
            raise ValueError(
                f"--format={args.format} needs the packages {', '.join(missing)}: pip install {' '.join(missing)}"
            )
        model = model_arguments.load_model(args)
        shift = model.shift(args.target_prior, args.source_prior)
        real, compared = real_images.find(model, args.images)
        print(f"Real images to compare on: {compared}")
        differences = exporting.export(model, shift, args.format, folder, real)
        source = args.source_prior or model.folder.config.method.la_prior
        export = model_card.Export(args.format, args.target_prior, source, differences, compared)
        write_text(folder / CARD, model_card.card(model, export))
        write_json(folder / CLASSES, model_card.facts(model, export))
        if model.input_shape[-1] in image_files.FILE_CHANNELS:
            write_text(folder / usage.READER, usage.reader(model))
    for kind, difference in differences.items():
        print(f"Largest difference in a probability on {kind} images: {difference:.1e}")
    written, card = shown(args.out / exporting.FORMATS[args.format].file), shown(args.out / CARD)
    print(f"Written and checked: {written}; how to use it: {card}")


@program.command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    exit_codes = "exit code: 0 success; 1 the exported model differs from the original; 2 bad input, nothing done"
    parser = model_arguments.model_parser("udal-export", __doc__, exit_codes=exit_codes)
    parser.add_argument("out", type=program.text_path, metavar="OUT", help="folder to write to")
    parser.add_argument("--format", required=True, choices=FORMATS)
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
