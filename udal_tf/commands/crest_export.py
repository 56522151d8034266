"""`python -m udal_tf.commands.crest_export --dataset=cifar10lt --out=DIR`: writes the files that CReST reads.

With them CReST (ML_DATA=DIR) and this program train on the same images with the same labels. A split manifest beside
the two TFRecord files lists the positions of every fold, for --split_manifest.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import app, flags

from udal_tf import config as config_module
from udal_tf import storage
from udal_tf.commands import program
from udal_tf.commands.help_text import section_text
from udal_tf.sections import DataConfig
from udal_tf.settings import bad_text
from udal_tf.shown_names import shown

if TYPE_CHECKING:  # At run time TensorFlow is imported only after the settings have been checked.
    import numpy as np

    from udal_tf.data.dataset import Images

FOLDS = range(1, 6)
# Images fetched at a time, to bound the memory.
_AT_A_TIME = 1000


def export(config: DataConfig, out: str | pathlib.Path) -> pathlib.Path:
    """Writes cifar-lt/<folder>/{train,eval}.tfrecords and the manifest below `out`.

    Args:
      config: a CIFAR dataset under protocol crest; its fold is ignored, the manifest lists all five.
      out: CReST's ML_DATA.

    Returns:
      the folder with the three files.

    Raises:
      DataError: if the data is missing, or the folder exists already.
    """
    from udal_tf.data import cifar, crest_files, longtail, manifest, sources
    from udal_tf.data.dataset import DataError
    from udal_tf.data.problem import long_tailed_pool

    if config.dataset not in cifar.EDITIONS or config.protocol != "crest":
        raise DataError(
            f"CReST's files hold {' or '.join(cifar.EDITIONS)} with --protocol=crest, "
            f"got --dataset={config.dataset} --protocol={config.protocol}"
        )
    if config.split_manifest:
        raise DataError("--split_manifest is what this command writes; leave it out")
    edition = cifar.EDITIONS[config.dataset]
    folder = pathlib.Path(out) / "cifar-lt" / crest_files.folder_name(edition.crest, config.imbalance)
    if folder.exists():
        raise DataError(f"{shown(folder)} exists already; remove it or choose another --out")
    source = sources.load_source(config)
    try:
        pool = long_tailed_pool(source, source.train_labels, config)
    except ValueError as error:
        raise DataError(f"{config.dataset}: {error}") from error
    labels = source.train_labels[pool]
    folds = {}
    for fold in FOLDS:
        in_labeled, in_rest = longtail.fold_split(labels, config.beta, fold, len(source.class_names))
        folds[str(fold)] = {
            "labeled": manifest.hashed(pool[in_labeled]),
            "rest": manifest.hashed(pool[in_rest]),
            "labeled_records": manifest.hashed(in_labeled),
        }
    content: dict[str, Any] = {
        "format": manifest.FORMAT,
        **{name: getattr(config, name) for name in manifest.SETTINGS},
        "draw": source.draw.format(draw=config.draw),
        "source": source.provenance["source"],
        "long_tailed": source.long_tailed,
        "train_labels_sha256": manifest.positions_sha256(source.train_labels),
        "subset": manifest.hashed(pool),
        "folds": folds,
    }
    with storage.written_whole(folder) as partial:
        partial.mkdir(parents=True)
        content["files"] = {
            name: crest_files.write(partial / name, _pixels(images, positions), labels_of)
            for name, images, positions, labels_of in (
                (crest_files.TRAIN_FILE, source.train, pool, labels),
                (crest_files.EVAL_FILE, source.test, range(len(source.test)), source.test_labels),
            )
        }
        (partial / manifest.FILE_NAME).write_text(json.dumps(content) + "\n", encoding="utf-8")
    return folder


def _pixels(images: Images, positions: Sequence[int] | np.ndarray) -> np.ndarray:
    """[n, H, W, C] uint8: the images at these positions."""
    import numpy as np

    parts = [
        images.fetch(np.asarray(positions[i : i + _AT_A_TIME], np.int64)).numpy()
        for i in range(0, len(positions), _AT_A_TIME)
    ]
    return np.concatenate(parts)


def _main(argv: list[str]) -> None:
    program.import_tensorflow()
    with program.bad_input_refused():
        if len(argv) > 1:
            raise ValueError(f"unexpected argument {argv[1]!r}: settings are flags, --name=value")
        if not flags.FLAGS.out:
            raise ValueError("--out must name the folder to write to, CReST's ML_DATA")
        if fault := bad_text(flags.FLAGS.out):
            raise ValueError(f"--out must be {fault}, got {flags.FLAGS.out!r}")
        program.outlive_output()
        folder = export(config_module.from_flags().data, flags.FLAGS.out)
    print(f"Written: {shown(folder)}\nCReST reads it with ML_DATA={flags.FLAGS.out}")


@program.command
def main() -> None:
    """Entry point."""
    if "--version" in sys.argv[1:]:
        print(program.VERSION)
        return
    program.prepare_tensorflow()
    with program.bad_input_refused():
        config_module.load_plugins_on(sys.argv[1:])
        config_module.define_flags(flags.FLAGS)
    flags.DEFINE_string("out", None, "Folder to write to; CReST's ML_DATA.")
    if {"--help", "-help", "-h"} & set(sys.argv[1:]):
        print(f"{(__doc__ or '').strip()}\n\n  --out: {flags.FLAGS['out'].help}\n{section_text('data', flags.FLAGS)}")
        return
    app.run(_main, flags_parser=program.parse_flags)


if __name__ == "__main__":
    main()
