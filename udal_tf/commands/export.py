"""`udal-export WORKDIR OUT --format=…`: a trained model as a file that needs nothing of ours.

  udal-export runs/mine mine_onnx --format=onnx --target_prior=uniform

OUT becomes a folder with the model (saved_model/, model.keras, model.tflite or model.onnx), classes.json and
MODEL_CARD.md, which says how to use it. The model takes uint8 images of the size that it was trained on and gives a
probability per class; scaling and LA (Inf) are inside, resizing is not. What was written is run and compared with ours
on random and real images before the folder appears.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from udal_tf.commands import model_arguments, outputs, plugins
from udal_tf.reporting import terminal
from udal_tf.storage import write_json, write_text

FORMATS = ("savedmodel", "keras", "tflite", "onnx")
CARD, CLASSES = "MODEL_CARD.md", "classes.json"


def _run(args: argparse.Namespace) -> None:
    """Exports by the arguments."""
    plugins.prepare_tensorflow()
    with outputs.new_folder(args.out, args.overwrite, CARD) as folder:
        from udal_tf.inference import exporting, model_card, real_images

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
    for kind, difference in differences.items():
        print(f"Largest difference of a probability on {kind} images: {difference:.1e}")
    print(f"Written and checked: {args.out / exporting.FORMATS[args.format].file}; how to use it: {args.out / CARD}")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    terminal.accept_any_text()
    parser = argparse.ArgumentParser(
        prog="udal-export",
        description=__doc__,
        epilog="exit code: 0 done; 1 the exported model does not agree with ours; 2 bad input, nothing done",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model_arguments.add_model_arguments(parser)
    parser.add_argument("out", type=pathlib.Path, metavar="OUT", help="folder to write to")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in OUT")
    parser.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="IMAGES",
        help="files, folders, patterns of images to compare on; default: some of the training's own data",
    )
    model_arguments.add_prior_arguments(parser)
    args = parser.parse_args(argv)
    try:
        _run(args)
    except (ValueError, OSError) as error:
        model_arguments.refuse(error)
    except RuntimeError as error:
        model_arguments.refuse(error, model_arguments.EXIT_FAILED)


if __name__ == "__main__":
    main()
